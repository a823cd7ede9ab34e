"""Fit of the prior by flow matching: the network of its velocity field, and its training on encoded images."""

import copy
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentcli import tensorfile
from latentcli.config import TrainConfig
from latentcli.errors import FileFormatError
from latentcli.model.device import autocast, to_numpy
from latentcli.model.flow import FREQUENCIES, FlowPrior, MixturePaths, frequencies
from latentcli.model.prior import MixturePrior
from latentcli.model.vae import Posterior
from latentcli.training import schedule
from latentcli.training.mixture import active_dimensions, covariance
from latentcli.training.optimizer import Optimizer

KIND = "prior being fitted"
_MOST_STEPS = 3000
_STEPS_PER_PIXEL = 1.7e-6  # of the images that the network was trained on: about a third of its time, on two cores
_WIDTH, _HIDDEN, _BLOCKS, _MOMENT = 512, 1024, 6, 128
_BATCH = 512  # latents per step
_RATE, _WARM_UP = 5e-4, 50  # learning rate of AdamW; steps until it is reached
_EMA = 0.998
_MEASURE_EVERY = 100  # steps
_PATIENCE = 500  # steps without a better held-out loss, after which it stops
_LEAST = 0.001  # share of the held-out loss that counts as better
_MEASURED = 2048  # held-out latents, drawn again and again where there are fewer


def steps_after(pixels: float) -> int:
    """Steps of the training of a flow after that of a network that saw so many pixels."""
    return min(_MOST_STEPS, int(_STEPS_PER_PIXEL * pixels))


class Block(nn.Module):
    """h + gate * f(scale, shift, layer norm of h); the time sets scale, shift and gate, which start at 0.

    Peebles & Xie 2023, "Scalable diffusion models with transformers", adaLN-Zero.
    """

    def __init__(self) -> None:
        super().__init__()
        self.moment = nn.Linear(_MOMENT, 3 * _WIDTH)
        self.up = nn.Linear(_WIDTH, _HIDDEN)
        self.down = nn.Linear(_HIDDEN, _WIDTH)
        nn.init.zeros_(self.moment.weight)
        nn.init.zeros_(self.moment.bias)

    def forward(self, h: Tensor, moment: Tensor) -> Tensor:
        scale, shift, gate = self.moment(moment).chunk(3, dim=1)
        inner = F.layer_norm(h, (_WIDTH,)) * (1 + scale) + shift
        result: Tensor = h + gate * self.down(F.silu(self.up(inner)))
        return result


class VelocityField(nn.Module):
    """The network of `FlowPrior.velocity`, for training: whitened latents (n, k) at times (n,) to velocities (n, k)."""

    frequencies: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        self.first = nn.Linear(k, _WIDTH)
        self.time = nn.ModuleList([nn.Linear(2 * FREQUENCIES, _MOMENT), nn.Linear(_MOMENT, _MOMENT)])
        self.blocks = nn.ModuleList(Block() for _ in range(_BLOCKS))
        self.last = nn.Linear(_WIDTH, k)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.register_buffer("frequencies", torch.from_numpy(frequencies()), persistent=False)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        angles = t[:, None] * self.frequencies
        moment = torch.cat([angles.sin(), angles.cos()], dim=1)
        for layer in self.time:
            moment = F.silu(layer(moment))
        h = self.first(x)
        for block in self.blocks:
            h = block(h, moment)
        result: Tensor = self.last(F.layer_norm(h, (_WIDTH,))).float()
        return result


class FlowTraining:
    """The training of a flow prior on encoded images, from the mixture that is fitted to them.

    What a step does depends on the seed and its number alone.
    """

    def __init__(self, train: Posterior, held_out: Posterior, mixture: MixturePrior, seed: int, steps: int) -> None:
        self.steps, self.done = steps, 0
        self._seed = seed
        latents = {"mean": train.mean.numpy(), "logvar": train.logvar.numpy(), "held_out": held_out.mean.numpy()}
        self._of = f"{tensorfile.digest(latents)}/{seed}/{steps}"
        active = active_dimensions(train)
        self._train = _of(train, active)
        k, latent_dim = len(active), train.mean.shape[1]
        drawn = self._train.draw(torch.randn(self._train.mean.shape, generator=schedule.stream(seed, "whitening", 0)))
        variances, directions = torch.linalg.eigh(torch.from_numpy(covariance(drawn.double().numpy())))
        self._centre = drawn.mean(dim=0)
        self._whitening = (directions / variances.sqrt()).float()  # (k, k)
        self._mean = torch.zeros(latent_dim).index_copy(0, active, self._centre)
        self._basis = torch.zeros(k, latent_dim).index_copy(1, active, (directions * variances.sqrt()).T.float())
        self._paths = _Paths(mixture, active, self._centre, self._whitening)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._field = VelocityField(k)
        self._averaged = copy.deepcopy(self._field).eval().requires_grad_(False)
        self._optimizer = Optimizer(self._field, TrainConfig(optimizer="adamw"))
        self._measured = self._pairs(_of(held_out, active), torch.arange(_MEASURED) % len(held_out.mean), -1)
        self.best_loss = self.held_out_loss()
        self._best, self.best_step = _copied(self._averaged), 0

    def run(self) -> Iterator[int]:
        """Make steps until held-out latents gain no more; yields their number each time those were measured."""
        while self.done < self.steps:
            self._step()
            self.done += 1
            if self.done % _MEASURE_EVERY == 0 or self.done == self.steps:
                self._measure()
                yield self.done
            if self.done - self.best_step >= _PATIENCE:
                break

    def save(self, path: Path) -> None:
        """Write all it takes to go on exactly from here. Raises LatentCLIError when that fails."""
        header = {"of": self._of, "done": self.done, "best_loss": self.best_loss, "best_step": self.best_step}
        tensorfile.write(path, KIND, header, to_numpy(self._tensors()))

    def resume(self, path: Path) -> None:
        """Go on from a file of the same training; another or a damaged one is left alone."""
        try:
            header, arrays = tensorfile.read(path, KIND)
            if header.get("of") != self._of:
                return
            done, best_step, best_loss = int(header["done"]), int(header["best_step"]), float(header["best_loss"])
        except (FileFormatError, KeyError, TypeError, ValueError):
            return
        tensors = self._tensors()
        if {name: array.shape for name, array in arrays.items()} == {name: x.shape for name, x in tensors.items()}:
            self.done, self.best_step, self.best_loss = done, best_step, best_loss
            for name, tensor in tensors.items():
                tensor.copy_(torch.from_numpy(arrays[name]))

    def _tensors(self) -> dict[str, Tensor]:
        """All that training changes, by name."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "field": dict(self._field.named_parameters()),
            "averaged": dict(self._averaged.named_parameters()),
            "best": self._best,
            "optimizer": self._optimizer.tensors(),
        }
        return {f"{part}.{name}": value.detach() for part, some in parts.items() for name, value in some.items()}

    def _measure(self) -> None:
        loss = self.held_out_loss()
        if loss < (1 - _LEAST) * self.best_loss:
            self.best_loss, self._best, self.best_step = loss, _copied(self._averaged), self.done

    def prior(self) -> FlowPrior:
        """With the weights that were best on held-out latents."""
        return FlowPrior(self._mean.numpy(), self._basis.numpy(), self._paths.to_numpy(), to_numpy(self._best))

    @torch.inference_mode()
    def held_out_loss(self) -> float:
        """Mean squared error of the velocity with the averaged network; always on the same draws."""
        start, end, t = self._measured
        x = _between(start, end, t)
        return float((self._paths.velocity(x, t) + self._averaged(x, t) - (end - start)).square().mean())

    def _step(self) -> None:
        generator = schedule.stream(self._seed, "latents", self.done)
        rows = torch.randint(len(self._train.mean), (_BATCH,), generator=generator)
        start, end, t = self._pairs(self._train, rows, self.done)
        x = _between(start, end, t)
        rest = end - start - self._paths.velocity(x, t)
        with autocast(start.device, "bf16"):
            found = self._field(x, t)
        loss = (found - rest).square().mean()
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._optimizer.parameters, 1.0)
        rate = _RATE * min(1.0, (self.done + 1) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * self.done / self.steps))
        self._optimizer.step(rate, torch.zeros(()))
        with torch.no_grad():
            share = 1 - min(_EMA, (1 + self.done) / (10 + self.done))
            torch._foreach_lerp_(list(self._averaged.parameters()), list(self._field.parameters()), share)

    def _pairs(self, posterior: Posterior, rows: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Noise, whitened posterior draws of the rows, each (n, k), and times between them (n,)."""
        generator = schedule.stream(self._seed, "pairs", step)
        noise, start = torch.randn(2, len(rows), posterior.mean.shape[1], generator=generator)
        drawn = Posterior(posterior.mean[rows], posterior.logvar[rows]).draw(noise)
        return start, (drawn - self._centre) @ self._whitening, torch.rand(len(rows), generator=generator)


class _Paths:
    """`MixturePaths` in PyTorch, for many times at once."""

    def __init__(self, mixture: MixturePrior, active: Tensor, centre: Tensor, whitening: Tensor) -> None:
        self.weights = torch.from_numpy(mixture.weights)
        self.means = (torch.from_numpy(mixture.means)[:, active] - centre) @ whitening
        factors = whitening.T @ torch.from_numpy(mixture.factors)[:, active[:, None], active]
        self.variances, self.directions = torch.linalg.eigh(factors @ factors.transpose(1, 2))

    def to_numpy(self) -> MixturePaths:
        return MixturePaths(**to_numpy(vars(self)))

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """At x (n, k) and times t (n,): (n, k)."""
        t = t[:, None]
        log_likelihoods, velocities = [], []
        for weight, mean, variances, directions in zip(
            self.weights, self.means, self.variances, self.directions, strict=True
        ):
            along = (x - t * mean) @ directions
            between = (1 - t).square() + t.square() * variances
            log_likelihoods.append(weight.log() - 0.5 * (along.square() / between + between.log()).sum(dim=1))
            velocities.append(mean + ((t * variances - (1 - t)) / between * along) @ directions.T)
        shares = torch.stack(log_likelihoods).softmax(dim=0)  # (c, n)
        return (shares[:, :, None] * torch.stack(velocities)).sum(dim=0)


def _of(posterior: Posterior, dimensions: Tensor) -> Posterior:
    return Posterior(posterior.mean[:, dimensions], posterior.logvar[:, dimensions])


def _between(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    return start + t[:, None] * (end - start)


def _copied(field: VelocityField) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in field.state_dict().items()}
