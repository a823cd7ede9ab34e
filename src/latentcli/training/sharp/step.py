"""One step of sharpening, and the state it changes: decoder, discriminator, and their optimizers.

The encoder stays as it is, so latents and concept vectors keep their meaning. The decoder learns from reconstructions
and from samples of the fitted prior at once, as in Larsen et al. 2016, "Autoencoding beyond pixels using a learned
similarity metric". The pixel loss leads: all other gradients are scaled relative to its own, as in Esser et al. 2021,
"Taming transformers for high-resolution image synthesis", eq. 7.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentcli.config import SharpConfig, TrainConfig
from latentcli.data.dataset import as_float_tensor
from latentcli.model.device import autocast
from latentcli.model.vae import VAE
from latentcli.training import augment, schedule
from latentcli.training.learner import Learner
from latentcli.training.optimizer import Optimizer
from latentcli.training.sharp.discriminator import Discriminator, details

_SCALES = 3  # halvings of a picture whose errors count beside those of the picture itself
_COARSE = 0.5  # weight of each
_SMALLEST = 4  # pixels: no further halving below
# A decoder trained against a discriminator first fakes detail with a lattice: every fourth or eighth pixel is a little
# too dark. Means over those pixels within a window of _WINDOW x _WINDOW reveal it; single pixels do not.
_LATTICES, _WINDOW = (4, 8), 32
_LATTICE_WEIGHT = 3.0
_COARSER = 4  # pixels whose means are compared in contrast: finer contrast is the discriminator's work
_CUT = 1 / 16  # of each side is cut off before the discriminator, at random, so that its strides favour no pixels
# Gradient norm of each term relative to that of the pixel loss. Where verdicts on samples count as much as those on
# reconstructions, samples show a lattice.
_SHARES = {"adversarial": 1.6, "feature matching": 1.0, "adversarial, samples": 0.4, "contrast, samples": 0.5}
_MEASURED_EVERY = 10  # steps between measurements of these norms: three of them take a pass through the discriminator
_PER_SAMPLE = 2  # reconstructions in a step to a sample
_EMA = 0.998
_WARM_UP = 0.05  # share of the steps until the learning rates are reached
_UNTRAINED = 0.1  # share of the steps until verdicts count in full: at first the discriminator has seen nothing
_TINY, _LEAST_VARIANCE = 1e-12, 1e-6


class SharpState(Learner):
    """A decoder that is trained on. The images, noise and rates of a step depend on its number alone."""

    def __init__(self, vae: VAE, config: SharpConfig, latents: Tensor, steps: int) -> None:
        """`latents` (n, latent_dim) are samples of the prior; `vae` is not changed."""
        self.config, self.steps = config, steps
        self.device = vae.sigma.device
        # Batch norm keeps its statistics, so that a picture depends on its latent alone.
        self.vae, self.evaluated = (copy.deepcopy(vae).eval().requires_grad_(False) for _ in range(2))
        self.vae.decoder.requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            discriminator = Discriminator(vae.config)
        self.discriminator = discriminator.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # The learning rate of the decoder falls to 0, that of the discriminator stays.
        self._schedule = TrainConfig(
            optimizer="adamw",
            learning_rate=config.learning_rate,
            learning_rate_warmup=_WARM_UP,
            weight_decay=0.0,
            ema=_EMA,
        )
        super().__init__(self.vae.decoder, self.evaluated.decoder, Optimizer(self.vae.decoder, self._schedule))
        self._of_discriminator = Optimizer(self.discriminator, self._schedule)
        self._latents = latents.to(self.device)
        self._scales = torch.zeros(len(_SHARES), device=self.device)  # of the terms in _SHARES

    def to_store(self) -> VAE:
        """The network with the best decoder."""
        self.evaluated.decoder.load_state_dict(self.best)
        return self.evaluated

    def step(self, images: Tensor, step: int, weight: float) -> dict[str, Tensor]:
        """Learn from images, uint8 (n, height, width, channels); `weight` scales all terms but the pixel loss.

        Returns losses before the update: "reconstruction", the mean absolute error over pixels, scales and lattices,
        and "discriminator", its hinge loss, which is 2 where it tells nothing apart.
        """
        x = self._input(images, step)
        with autocast(self.device, self.config.precision):
            output = self.vae.decode_output(self._latents_of(x, step))
        # Not limited to [0, 1] where the likelihood is not, because beyond the limits there would be no gradient.
        made = output if self.vae.linear else self.vae.likelihood.activation(output)
        seen = made.detach().contiguous(memory_format=torch.channels_last).requires_grad_(True)
        reconstructions, samples = seen[: len(x)], seen[len(x) :]
        with autocast(self.device, self.config.precision):
            verdicts, features = self.discriminator(self._cut(torch.cat([x, seen]), step))
        real, reconstructed, sampled = torch.split(verdicts, [len(x), len(x), len(samples)])
        hinge = F.relu(1 - real).mean() + (F.relu(1 + reconstructed).mean() + F.relu(1 + sampled).mean()) / 2
        learned = torch.autograd.grad(hinge, list(self.discriminator.parameters()), retain_graph=True)
        error = absolute_error(x, reconstructions) + _LATTICE_WEIGHT * lattice(details(samples))
        # The gradient of a split has another memory layout, with which the backward pass takes five times as long.
        for level in features:
            level.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        pairs = [torch.split(level[: 2 * len(x)], len(x)) for level in features]
        terms = torch.stack(  # in the order of _SHARES
            [-reconstructed.mean(), features_apart(pairs), -sampled.mean(), contrasts_apart(x, samples)]
        )
        if step % _MEASURED_EVERY == 0:
            self._measure_gradients(error, terms, seen)
        trained = min(1.0, (step + 1) / (_UNTRAINED * self.steps + 1))
        ramp = terms.new_tensor([trained, 1.0, trained, 1.0])
        (gradient,) = torch.autograd.grad(error + weight * (ramp * self._scales * terms).sum(), seen)
        self.optimizer.zero_grad()
        made.backward(gradient)  # type: ignore[no-untyped-call]
        for parameter, of_hinge in zip(self.discriminator.parameters(), learned, strict=True):
            parameter.grad = of_hinge
        self._update(step)
        return {"reconstruction": error.detach(), "discriminator": hinge.detach()}

    def _measure_gradients(self, error: Tensor, terms: Tensor, seen: Tensor) -> None:
        """Scale each term so that the norm of its gradient is its share of that of the pixel loss."""
        leading, *others = (
            torch.autograd.grad(term, seen, retain_graph=True)[0].norm() for term in (error, *terms.unbind())
        )
        scales = [share * leading / (size + _TINY) for share, size in zip(_SHARES.values(), others, strict=True)]
        self._scales.copy_(torch.stack(scales))

    def _input(self, images: Tensor, step: int) -> Tensor:
        x = as_float_tensor(images.to(self.device))
        if self.config.flip:
            x = augment.mirrored(x, schedule.flips(self.config.seed, step, len(x)).to(self.device))
        return x.contiguous(memory_format=torch.channels_last)

    def _cut(self, pictures: Tensor, step: int) -> Tensor:
        """Pictures without a random margin of rows and columns."""
        generator = schedule.stream(self.config.seed, "corners", step)
        for dim in (2, 3):
            most = round(_CUT * pictures.shape[dim])
            first = int(torch.randint(most + 1, (1,), generator=generator))
            pictures = pictures.narrow(dim, first, pictures.shape[dim] - most)
        return pictures.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _latents_of(self, x: Tensor, step: int) -> Tensor:
        """A posterior draw of each image, then some samples of the prior."""
        seed, latent_dim = self.config.seed, self.vae.config.latent_dim
        noise = self.config.noise_scale * schedule.noise(seed, step, len(x), latent_dim).to(self.device)
        count = max(1, len(x) // _PER_SAMPLE)
        rows = torch.randint(len(self._latents), (count,), generator=schedule.stream(seed, "samples", step))
        return torch.cat([self.vae.encode(x).draw(noise), self._latents[rows.to(self.device)]])

    @torch.no_grad()
    def _update(self, step: int) -> None:
        constant = replace(self._schedule, cosine=False)
        for optimizer, config in ((self.optimizer, self._schedule), (self._of_discriminator, constant)):
            norm = nn.utils.get_total_norm([p.grad for p in optimizer.parameters if p.grad is not None])
            rate = schedule.learning_rate(config, step, schedule.Stage(0, self.steps))
            optimizer.step(rate, (~norm.isfinite()).float())
        self.average(schedule.ema_decay(self._schedule, step))

    def tensors(self) -> dict[str, Tensor]:
        groups: dict[str, Mapping[str, Tensor]] = {
            "discriminator": self.discriminator.state_dict(),
            "of_discriminator": self._of_discriminator.tensors(),
        }
        others = {f"{group}.{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}
        return {**super().tensors(), **others, "scales": self._scales}


def absolute_error(x: Tensor, made: Tensor) -> Tensor:
    """Mean absolute error over pixels, coarser scales and lattices, of pictures `made` of images x.

    Both are (n, channels, height, width).
    """
    total = (made - x).abs().mean() + _LATTICE_WEIGHT * lattice(made - x)
    for _ in range(_SCALES):
        if min(x.shape[2:]) < 2 * _SMALLEST:
            break
        x, made = F.avg_pool2d(x, 2), F.avg_pool2d(made, 2)
        total = total + _COARSE * (made - x).abs().mean()
    return total


def lattice(apart: Tensor) -> Tensor:
    """Mean absolute value of the means over every fourth pixel of a window, and over every eighth: a scalar."""
    means = []
    for step in _LATTICES:
        height, width = (side // step * step for side in apart.shape[2:])
        cells = F.pixel_unshuffle(apart[:, :, :height, :width], step)
        means.append(F.avg_pool2d(cells, min(_WINDOW // step, *cells.shape[2:])).abs().mean())
    return torch.stack(means).mean()


def features_apart(levels: Sequence[tuple[Tensor, ...]]) -> Tensor:
    """Feature matching loss of Wang et al. 2018 (pix2pixHD), eq. 4, relative to the size of the features: a scalar.

    `levels` holds a pair for each level of the discriminator: features of the images, and of their reconstructions.
    """
    terms = []
    for real, reconstructed in levels:
        own = real.detach()
        terms.append(_mean((reconstructed - own).abs()) / (_mean(own.abs()) + _TINY))
    return torch.stack(terms).mean()


def contrasts_apart(x: Tensor, samples: Tensor) -> Tensor:
    """Relative difference between the contrast of samples and that of images, in the coarser octaves: a scalar.

    Without it samples at temperatures below 1 are pale. It compares statistics of two sets, as Salimans et al. 2016,
    section 3.1, but those of a Laplacian pyramid. The finer octaves are left to the discriminator: dots would be the
    easiest way to their contrast.
    """
    own = _contrasts(x)
    return ((_contrasts(samples) - own).abs() / own).mean()


def _contrasts(x: Tensor) -> Tensor:
    """Standard deviation of each octave of pictures (n, channels, height, width), a mean over them: (octaves,)."""
    octaves = []
    x = F.avg_pool2d(x, _COARSER)
    while min(x.shape[2:]) >= 2 * _SMALLEST:
        half = F.avg_pool2d(x, 2)
        shown = F.interpolate(half, scale_factor=2)
        octaves.append(_deviation(x[:, :, : shown.shape[2], : shown.shape[3]] - shown))
        x = half
    return torch.stack([*octaves, _deviation(x - x.mean(dim=(2, 3), keepdim=True))])


def _deviation(apart: Tensor) -> Tensor:
    return (apart.square().mean(dim=(1, 2, 3)) + _LEAST_VARIANCE).sqrt().mean()


def _mean(values: Tensor) -> Tensor:
    """Mean in float32 of values in any precision."""
    return values.mean(dtype=torch.float32)
