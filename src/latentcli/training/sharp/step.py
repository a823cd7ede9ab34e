"""One step of sharpening, and the state it changes: decoder, discriminator, and their optimizers.

The encoder stays as it is, so latents and concept vectors keep their meaning. The decoder learns from reconstructions
and from samples of the fitted prior at once, as in Larsen et al. 2016, "Autoencoding beyond pixels using a learned
similarity metric". The error of pixels leads: all other gradients are scaled to its size, as in Esser et al. 2021,
"Taming transformers for high-resolution image synthesis", eq. 7.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentcli.config import SharpConfig, TrainConfig
from latentcli.data.dataset import as_float_tensor
from latentcli.model.device import autocast
from latentcli.model.vae import VAE
from latentcli.training import augment, schedule
from latentcli.training.optimizer import Optimizer
from latentcli.training.sharp.discriminator import Discriminator, details

_SCALES = 3  # halvings of a picture whose errors count beside those of the picture itself
_COARSE = 0.5  # weight of each
_SMALLEST = 4  # pixels: no further halving below
# What has learned to look detailed draws a lattice first: pixels four or eight apart, all a little too dark. Means over
# such pixels, in windows of so many pixels each way, show it where single pixels do not.
_LATTICES, _WINDOW = (4, 8), 32
_LATTICE_WEIGHT = 3.0
_COARSER = 4  # pixels, whose means have the contrast that samples are given
# The discriminator sees pictures without so much of each side, from a corner that is drawn for each step, so that its
# strides favour no pixels.
_CUT = 1 / 16
# Sizes of the gradients over that of the error of pixels and scales: of verdicts and features of reconstructions, and
# of verdicts and contrasts of samples; and how often they are measured, which takes a pass through the discriminator
# for the first three. Where verdicts on samples count as much as those on reconstructions, samples show a lattice.
_SHARES = (1.6, 1.0, 0.4, 0.5)
_MEASURED_EVERY = 10  # steps
_PER_SAMPLE = 2  # reconstructions in a step to a sample
_EMA = 0.998
_WARM_UP = 0.05  # share of the steps until the learning rates are reached
_UNTRAINED = 0.1  # share of the steps until verdicts count in full: at first the discriminator has seen nothing
_TINY, _LEAST_VARIANCE = 1e-12, 1e-6


@dataclass(frozen=True, slots=True)
class SharpLosses:
    """Of one step, before the update; scalars on the device."""

    reconstruction: Tensor  # mean absolute error over pixels, scales and lattices
    discriminator: Tensor  # hinge loss: 2 where it tells nothing apart


class SharpState:
    """A decoder that is trained on. The images, noise and rates of a step depend on its number alone."""

    def __init__(self, vae: VAE, config: SharpConfig, latents: Tensor, steps: int) -> None:
        """`latents` (n, latent_dim) are samples of the prior; `vae` is not changed."""
        self.config, self.steps = config, steps
        self.device = vae.sigma.device
        # Batch norm keeps its statistics, so that a picture depends on its latent alone.
        self.vae, self.averaged = (copy.deepcopy(vae).eval().requires_grad_(False) for _ in range(2))
        self.vae.decoder.requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            discriminator = Discriminator(vae.config)
        self.discriminator = discriminator.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # That of the decoder; the rate of the discriminator does not fall.
        self._schedule = TrainConfig(
            optimizer="adamw",
            learning_rate=config.learning_rate,
            learning_rate_warmup=_WARM_UP,
            weight_decay=0.0,
            ema=_EMA,
        )
        self._of_decoder = Optimizer(self.vae.decoder, self._schedule)
        self._of_discriminator = Optimizer(self.discriminator, self._schedule)
        self._latents = latents.to(self.device)
        self._scales = torch.zeros(len(_SHARES), device=self.device)  # of the terms that have shares
        self.best: dict[str, Tensor] = {}  # the averaged decoder where it was good enough to be stored, the last time

    def keep(self) -> None:
        """Remember the averaged decoder as good enough."""
        self.best = {name: tensor.clone() for name, tensor in self.averaged.decoder.state_dict().items()}

    def to_store(self) -> VAE:
        """The network with the decoder that was kept."""
        self.averaged.decoder.load_state_dict(self.best)
        return self.averaged

    def step(self, images: Tensor, step: int, weight: float) -> SharpLosses:
        """Learn from images, uint8 (n, height, width, channels); `weight` is that of all but the error of pixels."""
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
        # The gradient of a split lies otherwise in memory, and what follows takes five times as long.
        for found in features:
            found.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        pairs = [torch.split(found[: 2 * len(x)], len(x)) for found in features]
        terms = torch.stack(
            [-reconstructed.mean(), features_apart(pairs), -sampled.mean(), contrasts_apart(x, samples)]
        )
        if step % _MEASURED_EVERY == 0:
            self._measure_gradients(error, terms, seen)
        trained = min(1.0, (step + 1) / (_UNTRAINED * self.steps + 1))
        ramp = terms.new_tensor([trained, 1.0, trained, 1.0])
        (gradient,) = torch.autograd.grad(error + weight * (ramp * self._scales * terms).sum(), seen)
        self._of_decoder.zero_grad()
        made.backward(gradient)  # type: ignore[no-untyped-call]
        for parameter, found in zip(self.discriminator.parameters(), learned, strict=True):
            parameter.grad = found
        self._update(step)
        return SharpLosses(error.detach(), hinge.detach())

    def _measure_gradients(self, error: Tensor, terms: Tensor, seen: Tensor) -> None:
        """Scale each term so that its gradient has its share of the size of that of the error."""
        leading, *others = (
            torch.autograd.grad(term, seen, retain_graph=True)[0].norm() for term in (error, *terms.unbind())
        )
        scales = [share * leading / (size + _TINY) for share, size in zip(_SHARES, others, strict=True)]
        self._scales.copy_(torch.stack(scales))

    def _input(self, images: Tensor, step: int) -> Tensor:
        x = as_float_tensor(images.to(self.device))
        if self.config.flip:
            x = augment.mirrored(x, schedule.flips(self.config.seed, step, len(x)).to(self.device))
        return x.contiguous(memory_format=torch.channels_last)

    def _cut(self, pictures: Tensor, step: int) -> Tensor:
        """Pictures without some rows and columns of their border."""
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
        for optimizer, config in ((self._of_decoder, self._schedule), (self._of_discriminator, constant)):
            norm = nn.utils.get_total_norm([p.grad for p in optimizer.parameters if p.grad is not None])
            rate = schedule.learning_rate(config, step, schedule.Stage(0, self.steps))
            optimizer.step(rate, (~norm.isfinite()).float())
        share = 1 - schedule.ema_decay(self._schedule, step)
        torch._foreach_lerp_(list(self.averaged.decoder.parameters()), list(self.vae.decoder.parameters()), share)

    def tensors(self) -> dict[str, Tensor]:
        """All that training changes, by name."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "decoder": dict(self.vae.decoder.named_parameters()),
            "averaged": dict(self.averaged.decoder.named_parameters()),
            "discriminator": self.discriminator.state_dict(),
            "of_decoder": self._of_decoder.tensors(),
            "of_discriminator": self._of_discriminator.tensors(),
            "terms": {"scales": self._scales},
        }
        return {f"{part}.{name}": value.detach() for part, some in parts.items() for name, value in some.items()}


def absolute_error(x: Tensor, made: Tensor) -> Tensor:
    """Mean absolute error of pictures made of images x, both (n, channels, height, width), of halves and lattices."""
    total = (made - x).abs().mean() + _LATTICE_WEIGHT * lattice(made - x)
    for _ in range(_SCALES):
        if min(x.shape[2:]) < 2 * _SMALLEST:
            break
        x, made = F.avg_pool2d(x, 2), F.avg_pool2d(made, 2)
        total = total + _COARSE * (made - x).abs().mean()
    return total


def lattice(apart: Tensor) -> Tensor:
    """Mean absolute value of means over pixels that lie four apart, and eight, in each window."""
    found = []
    for step in _LATTICES:
        height, width = (side // step * step for side in apart.shape[2:])
        cells = F.pixel_unshuffle(apart[:, :, :height, :width], step)
        found.append(F.avg_pool2d(cells, min(_WINDOW // step, *cells.shape[2:])).abs().mean())
    return torch.stack(found).mean()


def features_apart(levels: Sequence[tuple[Tensor, ...]]) -> Tensor:
    """How far features of reconstructions are from those of their images: pairs of images' and theirs, a level each.

    Feature matching of Wang et al. 2018 (pix2pixHD), eq. 4, relative to the size of the features.
    """
    terms = []
    for real, reconstructed in levels:
        own = real.detach()
        terms.append(_mean((reconstructed - own).abs()) / (_mean(own.abs()) + _TINY))
    return torch.stack(terms).mean()


def contrasts_apart(x: Tensor, samples: Tensor) -> Tensor:
    """How far the contrast of samples is from that of images, in the coarser octaves, relative to that of the images.

    Samples at temperatures below 1 are pale otherwise. Statistics of two sets are compared as in Salimans et al. 2016,
    section 3.1, but those of a Laplacian pyramid. The finer octaves are left to the discriminator, because their
    contrast is had most easily by dots.
    """
    own = _contrasts(x)
    return ((_contrasts(samples) - own).abs() / own).mean()


def _contrasts(x: Tensor) -> Tensor:
    """Standard deviations of what each octave adds to pictures (n, channels, height, width): means over pictures."""
    found = []
    x = F.avg_pool2d(x, _COARSER)
    while min(x.shape[2:]) >= 2 * _SMALLEST:
        half = F.avg_pool2d(x, 2)
        shown = F.interpolate(half, scale_factor=2)
        found.append(_deviation(x[:, :, : shown.shape[2], : shown.shape[3]] - shown))
        x = half
    return torch.stack([*found, _deviation(x - x.mean(dim=(2, 3), keepdim=True))])


def _deviation(apart: Tensor) -> Tensor:
    return (apart.square().mean(dim=(1, 2, 3)) + _LEAST_VARIANCE).sqrt().mean()


def _mean(values: Tensor) -> Tensor:
    """In float32, of values in any precision."""
    return values.mean(dtype=torch.float32)
