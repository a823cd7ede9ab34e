"""Fit of the prior by flow matching: the network of the velocity field, and its training on encoded images.

The flow runs in rotated and scaled latents, whose variance in a direction grows with the change that the direction
makes in decoded pictures. Noise then hides detail first, as noise in pixels does, so samples get their layout first. In
whitened latents, where all directions have the same variance, sampled avatars wore two haircuts at once.
"""

import contextlib
import copy
import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentcli.config import TrainConfig
from latentcli.errors import FileFormatError
from latentcli.model.device import to_numpy
from latentcli.model.flow import FREQUENCIES, FlowPrior, MixturePaths, frequencies
from latentcli.model.noise import uniform_and_normal
from latentcli.model.prior import MixturePrior
from latentcli.model.vae import Posterior
from latentcli.storage import tensorfile
from latentcli.storage.history import PriorFit
from latentcli.training import checkpoint, events, schedule
from latentcli.training.checkpoint import Position
from latentcli.training.learner import Learner
from latentcli.training.loop import Task
from latentcli.training.optimizer import Optimizer
from latentcli.training.prior import repair
from latentcli.training.prior.mixture import active_dimensions, covariance

# Steps of the training of a flow per pixel that the VAE was trained on: about a sixth of its time on two cores. Small
# pictures have as much to learn as large ones, so up to half a minute an image counts whatever its size.
_STEPS_PER_PIXEL, _STEPS_PER_IMAGE, _SHORT = 8e-6, 1 / 200, 750
_MOST_STEPS = 4000  # of the training of a flow
_STEPS_PER_MINUTE = 250  # where minutes are planned, at most: a sixth of them
# Features, inner features, blocks, features of the embedding; and the learning rate of AdamW. Held-out loss after so
# many seconds of one core: emoji 1.090 (39), .910 (123), avatars .525 (147), .421 (441). With twice the width and six
# blocks at a quarter of the rate: emoji 1.362 (67), .903, avatars .435 (both half an hour). On emoji in 39 s at 5e-4:
# 1.255, with six blocks 1.332; at 1e-3: 1.148; at 4e-3: 1.107; by Muon at 3e-3: 1.242 (50 s).
_WIDTH, _HIDDEN, _BLOCKS, _EMBEDDING = 256, 512, 4, 128
_RATE, _WARM_UP = 2e-3, 50  # the second in steps of its linear rise
_BATCH = 512  # latents per step
_EMA = 0.998  # decay of the running average of the weights
_MEASURE_EVERY = 100  # steps between measurements of the held-out loss
_ALL, _NONE = 0.5, 0.25  # shares of training latents given with all their labels, and with none; others: with some
_COMBINATIONS = 4096  # training images at most whose label combinations are stored, for samples to draw from
_LEAST = 0.001  # relative decrease of the held-out loss that counts as lower
_MEASURED = 2048  # latents in a loss or a distance at most; for a loss, fewer are repeated
# Variance of a direction in the flow's latents = (change that the direction makes in pictures) ** _EMPHASIS. Fréchet
# distance of sampled avatars (features of open_nsfw, 1,500 steps) with 0: 48, 0.5: 20, 1: 27; the mixture alone: 68.
_EMPHASIS = 0.5
_LEAST_CHANGE = 1e-6  # least change by a direction, relative to the largest change


def steps_after(images: int, pixels: int, minutes: float | None) -> int:
    """Training steps of a flow prior after a VAE that saw so many images of so many pixels, for `minutes` if planned.

    >>> steps_after(10_000, 28 * 28, None), steps_after(200_000, 24 * 24, None), steps_after(100_000, 64 * 64, 5)
    (62, 921, 1250)
    """
    most = _MOST_STEPS if minutes is None else min(_MOST_STEPS, int(_STEPS_PER_MINUTE * minutes))
    return min(most, int(max(_STEPS_PER_PIXEL * pixels * images, min(_SHORT, _STEPS_PER_IMAGE * images))))


class Block(nn.Module):
    """Residual block h + gate * f(layer norm of h, scaled and shifted): h (n, _WIDTH), embedding (n, _EMBEDDING).

    A linear layer computes scale, shift and gate from the embedding of time and labels; all three start at 0.
    Peebles & Xie 2023, "Scalable diffusion models with transformers", adaLN-Zero.
    """

    def __init__(self) -> None:
        super().__init__()
        self.moment = nn.Linear(_EMBEDDING, 3 * _WIDTH)
        self.up = nn.Linear(_WIDTH, _HIDDEN)
        self.down = nn.Linear(_HIDDEN, _WIDTH)
        nn.init.zeros_(self.moment.weight)
        nn.init.zeros_(self.moment.bias)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        scale, shift, gate = self.moment(embedding).chunk(3, dim=1)
        inner = F.layer_norm(h, (_WIDTH,)) * (1 + scale) + shift
        result: Tensor = h + gate * self.down(F.silu(self.up(inner)))
        return result


class VelocityField(nn.Module):
    """Trainable network that `FlowPrior.velocity` evaluates: latents x (n, k) and times (n,) to velocities (n, k).

    `labels` (n, values) is 1 for each label that conditions the velocity; all zeros leave the labels open (Ho &
    Salimans 2022, "Classifier-free diffusion guidance", algorithm 1).
    """

    frequencies: Tensor

    def __init__(self, k: int, values: int = 0) -> None:
        super().__init__()
        self.first = nn.Linear(k, _WIDTH)
        self.parts = nn.Embedding(values, _EMBEDDING) if values else None  # labels; named as in model files
        self.time = nn.ModuleList([nn.Linear(2 * FREQUENCIES, _EMBEDDING), nn.Linear(_EMBEDDING, _EMBEDDING)])
        self.blocks = nn.ModuleList(Block() for _ in range(_BLOCKS))
        self.last = nn.Linear(_WIDTH, k)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.register_buffer("frequencies", torch.from_numpy(frequencies()), persistent=False)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        angles = t[:, None] * self.frequencies
        seen, wanted = self.time
        embedding = wanted(F.silu(seen(torch.cat([angles.sin(), angles.cos()], dim=1))))
        if self.parts is not None and labels is not None:
            embedding = embedding + labels @ self.parts.weight
        embedding = F.silu(embedding)
        h = self.first(x)
        for block in self.blocks:
            h = block(h, embedding)
        result: Tensor = self.last(F.layer_norm(h, (_WIDTH,))).float()
        return result


@dataclass(frozen=True, slots=True)
class Encoded:
    """Posteriors of encoded images, and the labels of the images."""

    posterior: Posterior
    labels: Tensor  # (n, values) float32, 1 for each label that an image has; (n, 0) without labels

    @classmethod
    def without_labels(cls, posterior: Posterior) -> Self:
        return cls(posterior, torch.empty(len(posterior.mean), 0))

    def only(self, dimensions: Tensor) -> Self:
        """Copy with only the latent dimensions numbered in `dimensions`, (k,) int64."""
        posterior = self.posterior
        return replace(self, posterior=Posterior(posterior.mean[:, dimensions], posterior.logvar[:, dimensions]))

    def arrays(self) -> tensorfile.Arrays:
        return to_numpy({"mean": self.posterior.mean, "logvar": self.posterior.logvar, "labels": self.labels})


@dataclass(kw_only=True, slots=True)
class FlowPosition(Position):
    """Progress of the training of a flow, as its checkpoint stores it."""

    best_loss: float  # lowest held-out loss so far


Pairs = tuple[Tensor, Tensor, Tensor, Tensor]  # noise (n, k), latents in the flow's space, times (n,), labels
Network = Callable[[Tensor, Tensor, Tensor], Tensor]  # points (n, k), times, labels to corrections of the velocity


class FlowTraining(Task):
    """`Task` that trains a flow prior on encoded images: a network that corrects the velocity of a Gaussian mixture."""

    what = "fitting the prior"
    position: FlowPosition
    has_fixed_threads = True  # steps of the flow are too short for timing them

    def __init__(
        self, train: Encoded, held_out: Encoded, mixture: MixturePrior, seed: int, steps: int, checkpoint_file: Path
    ) -> None:
        """Resume from `checkpoint_file` if it is of a training with equal options; else begin anew without an error."""
        self.checkpoint_file, self.device = checkpoint_file, train.posterior.mean.device
        self.options = {
            "train": tensorfile.digest(train.arrays()),
            "held_out": tensorfile.digest(held_out.arrays()),
            "seed": seed,
            "steps": steps,
        }
        self._seed, self._mixture = seed, mixture
        self._active = active = active_dimensions(train.posterior)
        self._train = train.only(active)
        self._combinations = _combinations(train.labels)
        noise = torch.randn(len(train.labels), len(active), generator=schedule.stream(seed, "whitening", 0))
        drawn = self._train.posterior.draw(noise)
        self._centre = drawn.mean(dim=0)
        self._to_flow, self._back, self._scale = _scaling(drawn, self._train.posterior)
        self._paths = _paths(mixture, active, self._centre, self._to_flow)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            field = VelocityField(len(active), train.labels.shape[1])
        averaged = copy.deepcopy(field).eval().requires_grad_(False)
        self.learner = Learner(field, averaged, Optimizer(field, TrainConfig(optimizer="adamw")))
        self._held_out = held_out.only(active)
        self._measured = self._some(self._held_out)
        self.learner.keep()
        self.position = FlowPosition(steps=steps, best_loss=self.held_out_loss())
        with contextlib.suppress(FileFormatError):
            saved = checkpoint.read(checkpoint_file, FlowPosition)
            if saved.options == self.options:
                self.restore()
                self.position = saved.position

    def is_measured(self) -> bool:
        return self.position.step % _MEASURE_EVERY == 0 or self.position.step == self.position.steps

    def measure(self) -> Generator[events.Report, None, list[events.Report]]:
        position, loss = self.position, self.held_out_loss()
        if loss < (1 - _LEAST) * position.best_loss:
            self.learner.keep()
            position.best_loss = loss
        yield from ()
        return [events.StepReport(self.what, position.step, position.steps, None, {"held-out loss": loss})]

    def chosen(self) -> tuple[FlowPrior | MixturePrior, PriorFit]:
        """The flow if it beats the mixture on held-out latents, else the mixture; and the measurements that decide.

        The flow must have a lower loss, and samples at a smaller energy distance: a low loss does not ensure these.
        """
        seeds = range(_MEASURED)
        flow, own = self.flow()
        drawn = flow.drawn_labels(uniform_and_normal(seeds, 1)[0])
        labels = torch.empty(_MEASURED, 0) if drawn is None else torch.from_numpy(drawn)
        network = copy.deepcopy(self.learner.averaged)
        network.load_state_dict(self.learner.best)
        fit = PriorFit(
            mixture_loss=self._loss(lambda x, t, labels: torch.zeros(()), self._measured),
            train_loss=self._loss(network, self._some(self._train)),
            held_out_loss=self._loss(network, self._measured),
            own_loss=self._loss(network, self._some(own)),
            mixture_distance=self._distance(self._mixture.sample(seeds, 1.0), labels.roll(1, 0)),
            flow_distance=self._distance(flow.sample(seeds, 1.0), labels),
        )
        return flow if fit.is_flow else self._mixture, fit

    def flow(self) -> tuple[FlowPrior, Encoded]:
        """The flow with the weights of the lowest held-out loss, and samples of it, as latents that are known exactly.

        The flow is repaired, so that samples vary as the training latents do; those returned are from before.
        """
        k, latent_dim = len(self._active), self._mixture.means.shape[1]
        mean = torch.zeros(latent_dim).index_copy(0, self._active, self._centre)
        basis = torch.zeros(k, latent_dim).index_copy(1, self._active, self._back)
        weights = to_numpy(self.learner.best)
        flow = FlowPrior(mean.numpy(), basis.numpy(), self._paths, weights, combinations=self._combinations)
        ends, labels = repair.own_ends(flow, self._seed)
        latents = self._centre + torch.from_numpy(ends) @ self._back
        own = Encoded(Posterior(latents, torch.full_like(latents, -math.inf)), torch.from_numpy(labels))
        return repair.repaired(flow, ends, self._scale.numpy()), own

    def _distance(self, z: np.ndarray, labels: Tensor) -> float:
        """Energy distance of latents z (n, latent_dim) with their labels (n, values) to held-out latents with theirs.

        Labels count, because a flow that is conditioned on them can be of use where the mixture draws as well.
        """
        made = (torch.from_numpy(z)[:, self._active] - self._centre) @ self._to_flow
        rows = _spread(len(self._held_out.labels))[: len(self._held_out.labels)]  # no latent twice
        held_out, known = self._measured[1][: len(rows)], self._held_out.labels[rows]
        return repair.energy_distance(torch.cat([made, labels], dim=1), torch.cat([held_out, known], dim=1))

    def held_out_loss(self) -> float:
        """Mean squared error of the averaged network's velocity on held-out latents, with equal noise at each call."""
        return self._loss(self.learner.averaged, self._measured)

    @torch.inference_mode()
    def _loss(self, network: Network, pairs: Pairs) -> float:
        return float(self._error(network, pairs))

    def _error(self, network: Network, pairs: Pairs) -> Tensor:
        """Mean squared error of the velocity that `network` corrects, per dimension of the flow's space: a scalar."""
        start, end, t, labels = pairs
        x = torch.lerp(start, end, t[:, None])
        mixture = torch.from_numpy(self._paths.velocity(x.numpy(), t[:, None].numpy()))
        return (network(x, t, labels) - (end - start - mixture)).square().mean()

    def step(self, step: int) -> Mapping[str, Tensor]:
        optimizer = self.learner.optimizer
        rows = torch.randint(len(self._train.labels), (_BATCH,), generator=schedule.stream(self._seed, "latents", step))
        loss = self._error(self.learner.network, self._pairs(self._train, rows, step))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(optimizer.parameters, 1.0)
        rate = _RATE * min(1.0, (step + 1) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / self.position.steps))
        optimizer.step(rate, torch.zeros(()))
        self.learner.average(schedule.ema_decay(_EMA, step))
        return {"velocity": loss.detach()}

    def _some(self, encoded: Encoded) -> Pairs:
        """The pairs that losses are measured on: latents at equal steps, always with the same noise."""
        return self._pairs(encoded, _spread(len(encoded.labels)), -1)

    def _pairs(self, encoded: Encoded, rows: Tensor, step: int) -> Pairs:
        """Noise (n, k), flow latents of images `rows` (n, k), random times (n,), labels (n, values), some left out."""
        posterior = encoded.posterior
        generator = schedule.stream(self._seed, "pairs", step)
        noise, start = torch.randn(2, len(rows), posterior.mean.shape[1], generator=generator)
        drawn = Posterior(posterior.mean[rows], posterior.logvar[rows]).draw(noise)
        t = torch.rand(len(rows), generator=generator)
        if step >= 0:
            # More times in the middle, where the network corrects most: Esser et al. 2024, "Scaling rectified flow
            # transformers for high-resolution image synthesis", eq. 19, m 0, s 1. Held-out loss after 600 steps, half
            # the width: emoji 1.384, avatars 1.089, digits 1.362; with uniform times 1.394, 1.098 and 1.361.
            t = torch.special.ndtri(t).sigmoid()
        labels = encoded.labels[rows]
        which, share = torch.rand(2, len(rows), 1, generator=generator)
        share = torch.where(which < _ALL, 1.0, torch.where(which < _ALL + _NONE, 0.0, share))
        is_wanted = torch.rand(labels.shape, generator=generator) < share
        return start, (drawn - self._centre) @ self._to_flow, t, labels * is_wanted


def _spread(count: int) -> Tensor:
    """_MEASURED row numbers of `count` latents at equal steps, since images are sorted by folder; few are repeated."""
    return torch.arange(_MEASURED) * max(count, _MEASURED) // _MEASURED % count


def _scaling(drawn: Tensor, posterior: Posterior) -> tuple[Tensor, Tensor, Tensor]:
    """Matrix that maps centred latents (n, k) to the flow's space, its inverse, and their standard deviations there.

    The narrower the posterior is along a direction, the more the direction changes pictures, and the larger its scale.
    """
    variances, directions = torch.linalg.eigh(torch.from_numpy(covariance(drawn.double().numpy())))
    whiten, back = directions / variances.sqrt(), (directions * variances.sqrt()).T
    precision = (-posterior.logvar.double()).exp().mean(dim=0)
    changes, turn = torch.linalg.eigh(back @ (precision[:, None] * back.T))
    scale = changes.clamp_min(_LEAST_CHANGE * changes.max()) ** (_EMPHASIS / 2)
    scale /= scale.square().mean().sqrt()
    return (whiten @ turn * scale).float(), ((turn / scale).T @ back).float(), scale.float()


def _paths(mixture: MixturePrior, active: Tensor, centre: Tensor, to_flow: Tensor) -> MixturePaths:
    """Paths to the `active` dimensions of a Gaussian mixture, mapped to the flow's space by `to_flow` (k, k)."""
    means = (torch.from_numpy(mixture.means)[:, active] - centre) @ to_flow
    factors = to_flow.T @ torch.from_numpy(mixture.factors)[:, active[:, None], active]
    variances, directions = torch.linalg.eigh(factors @ factors.transpose(1, 2))
    return MixturePaths(mixture.weights, means.numpy(), variances.numpy(), directions.contiguous().numpy())


def _combinations(labels: Tensor) -> np.ndarray | None:
    """Numbers of the labels of m images, a row each, padded with -1: (m, most). `labels` is multi-hot (n, values)."""
    if not labels.shape[1]:
        return None
    labels = labels[:: -(-len(labels) // _COMBINATIONS)]
    most = max(1, int(labels.sum(dim=1).max()))
    return torch.where(labels > 0, torch.arange(labels.shape[1]), -1).topk(most, dim=1).values.float().numpy()
