"""Training step of sharpening, and the state that a step changes: decoder, discriminator, and their optimizers.

The encoder does not change, so latents and concept vectors stay valid. The decoder learns from reconstructions and from
samples of the fitted prior at once, as in Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity
metric". The gradients of all other loss terms are scaled relative to that of the pixel loss, as in Esser et al. 2021,
"Taming transformers for high-resolution image synthesis", eq. 7.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentcli.config import SharpConfig, TrainConfig
from latentcli.data.dataset import as_float_tensor
from latentcli.evaluation.sample_metrics import details
from latentcli.model.device import autocast
from latentcli.model.vae import VAE
from latentcli.training import augment, schedule
from latentcli.training.checkpoint import prefixed
from latentcli.training.learner import Learner
from latentcli.training.optimizer import Optimizer
from latentcli.training.sharp.discriminator import Discriminator

_SCALES = 3  # number of coarser scales, each of half the size, that the pixel loss includes
_COARSE = 0.5  # weight of the error at each coarser scale
_SMALLEST = 4  # pixels: no scale is smaller
# A decoder trained against a discriminator first fakes detail with a lattice: every fourth or eighth pixel is a little
# too dark. Means over every fourth or eighth pixel in a window of _WINDOW x _WINDOW pixels reveal the lattice.
_LATTICES, _WINDOW = (4, 8), 32
_LATTICE_WEIGHT = 3.0  # in the pixel loss
_COARSER = 4  # side in pixels of the cells whose contrast is compared; finer contrast is the discriminator's work
_CUT = 1 / 16  # share of each side cut off at random before the discriminator, whose strides then favour no pixels
# Gradient norm of each loss term relative to that of the pixel loss. If "adversarial, samples" counts as much as
# "adversarial", which is of reconstructions, samples show a lattice.
_SHARES = {"adversarial": 1.6, "feature matching": 1.0, "adversarial, samples": 0.4, "contrast, samples": 0.5}
_MEASURED_EVERY = 10  # steps between measurements of gradient norms, which take passes through the discriminator
_PER_SAMPLE = 2  # reconstructions per decoded sample of the prior in a step
_EMA = 0.998  # decay of the running average of the weights
_WARM_UP = 0.05  # share of the steps in which the learning rates rise
_UNTRAINED = 0.1  # share of the steps in which the weight of the adversarial terms rises, as the discriminator learns
_TINY, _LEAST_VARIANCE = 1e-12, 1e-6  # added to denominators, and to variances under a square root


class SharpState(Learner):
    """Decoder in sharpening with discriminator and optimizers. Noise and rates depend on seed and step number alone."""

    def __init__(self, vae: VAE, config: SharpConfig, latents: Tensor, steps: int) -> None:
        """`latents` (n, latent_dim) are samples of the prior, half of them at other temperatures; `vae` is copied."""
        self.config, self.steps = config, steps
        self.device = vae.sigma.device
        # Batch norm keeps its statistics, so that a picture depends on its latent alone.
        self.vae, self.evaluated = (copy.deepcopy(vae).eval().requires_grad_(False) for _ in range(2))
        self.vae.decoder.requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            discriminator = Discriminator(vae.config)
        self.discriminator = discriminator.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # The decoder's learning rate falls to 0 after the warm-up; that of the discriminator is constant.
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
        self._scales = torch.zeros(len(_SHARES), device=self.device)  # factors of the loss terms in _SHARES

    def to_store(self) -> VAE:
        """The VAE with the best averaged decoder, which `keep` stored."""
        self.evaluated.decoder.load_state_dict(self.best)
        return self.evaluated

    def step(self, images: Tensor, step: int, weight: float) -> dict[str, Tensor]:
        """Update decoder and discriminator by one batch, uint8 (n, height, width, channels).

        `weight` scales all loss terms except the pixel loss. Returns losses before the update: "reconstruction", the
        pixel loss, and "discriminator", the hinge loss, which is 2 for a discriminator that tells nothing apart.
        """
        x = self._input(images, step)
        with autocast(self.device, self.config.precision):
            output = self.vae.decode_output(self._latents_of(x, step))
        # Models with a linear path are not clipped to [0, 1] here, because clipped pixels would have no gradient.
        made = self.vae.likelihood.mean(output)
        seen = made.detach().contiguous(memory_format=torch.channels_last).requires_grad_(True)
        reconstructions, samples = seen[: len(x)], seen[len(x) :]
        with autocast(self.device, self.config.precision):
            verdicts, features = self.discriminator(self._cut(torch.cat([x, seen]), step))
        real, reconstructed, sampled = torch.split(verdicts, [len(x), len(x), len(samples)])
        hinge = F.relu(1 - real).mean() + (F.relu(1 + reconstructed).mean() + F.relu(1 + sampled).mean()) / 2
        learned = torch.autograd.grad(hinge, list(self.discriminator.parameters()), retain_graph=True)
        error = absolute_error(x, reconstructions) + _LATTICE_WEIGHT * lattice(details(samples))
        # Gradients of torch.split are not channels-last, and the backward pass with them takes five times as long.
        for level in features:
            level.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        pairs = [torch.split(level[: 2 * len(x)], len(x)) for level in features]
        terms = torch.stack(  # in the order of _SHARES
            [-reconstructed.mean(), features_apart(pairs), -sampled.mean(), contrasts_apart(x, samples[::2])]
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
        """Set the factors of the losses `terms`: gradient norms at pixels `seen` become _SHARES x that of `error`."""
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
        """Crop of pictures (n, channels, height, width) at a random offset, smaller by the share _CUT of each side."""
        generator = schedule.stream(self.config.seed, "corners", step)
        for dim in (2, 3):
            most = round(_CUT * pictures.shape[dim])
            first = int(torch.randint(most + 1, (1,), generator=generator))
            pictures = pictures.narrow(dim, first, pictures.shape[dim] - most)
        return pictures.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _latents_of(self, x: Tensor, step: int) -> Tensor:
        """Latents (rows, latent_dim): a posterior draw for each image in x, then half as many samples of the prior.

        Every second sample, from the second one on, is of the second half of the samples to train on.
        """
        seed, latent_dim = self.config.seed, self.vae.config.latent_dim
        noise = self.config.noise_scale * schedule.noise(seed, step, len(x), latent_dim).to(self.device)
        count = max(1, len(x) // _PER_SAMPLE)
        half = len(self._latents) // 2
        rows = torch.randint(half, (count,), generator=schedule.stream(seed, "samples", step))
        rows[1::2] += half
        return torch.cat([self.vae.encode(x).draw(noise), self._latents[rows.to(self.device)]])

    @torch.no_grad()
    def _update(self, step: int) -> None:
        constant = replace(self._schedule, cosine=False)
        for optimizer, config in ((self.optimizer, self._schedule), (self._of_discriminator, constant)):
            norm = nn.utils.get_total_norm([p.grad for p in optimizer.parameters if p.grad is not None])
            rate = schedule.learning_rate(config, step, schedule.Stage(0, self.steps))
            optimizer.step(rate, (~norm.isfinite()).float())
        self.average(schedule.ema_decay(self._schedule.ema, step))

    def tensors(self) -> dict[str, Tensor]:
        return {
            **super().tensors(),
            **prefixed("discriminator.", self.discriminator.state_dict()),
            **prefixed("of_discriminator.", self._of_discriminator.tensors()),
            "scales": self._scales,
        }


def absolute_error(x: Tensor, made: Tensor) -> Tensor:
    """Pixel loss, a scalar, between images x and their reconstructions `made`, both (n, channels, height, width).

    Weighted sum of the mean absolute errors at full and at coarser scales, and of `lattice` of the differences.
    """
    total = (made - x).abs().mean() + _LATTICE_WEIGHT * lattice(made - x)
    for _ in range(_SCALES):
        if min(x.shape[2:]) < 2 * _SMALLEST:
            break
        x, made = F.avg_pool2d(x, 2), F.avg_pool2d(made, 2)
        total = total + _COARSE * (made - x).abs().mean()
    return total


def lattice(apart: Tensor) -> Tensor:
    """Strength, a scalar, of a regular pattern of dots in differences of images `apart` (n, channels, height, width).

    Mean absolute value of the means over every fourth and every eighth pixel in both directions, within windows.
    """
    means = []
    for step in _LATTICES:
        height, width = (side // step * step for side in apart.shape[2:])
        cells = F.pixel_unshuffle(apart[:, :, :height, :width], step)
        means.append(F.avg_pool2d(cells, min(_WINDOW // step, *cells.shape[2:])).abs().mean())
    return torch.stack(means).mean()


def features_apart(levels: Sequence[tuple[Tensor, ...]]) -> Tensor:
    """Feature matching loss of Wang et al. 2018 (pix2pixHD), eq. 4, relative to the mean |feature|: a scalar.

    `levels` holds (features of images, features of their reconstructions) for each level of the discriminator.
    """
    terms = []
    for real, reconstructed in levels:
        own = real.detach()
        terms.append(_mean((reconstructed - own).abs()) / (_mean(own.abs()) + _TINY))
    return torch.stack(terms).mean()


def contrasts_apart(x: Tensor, samples: Tensor) -> Tensor:
    """Loss, a scalar: mean over coarser octaves of |contrast of samples - contrast of images x| / contrast of x.

    Without this loss, samples at temperatures below 1 are pale. Contrast is the standard deviation in an octave of a
    Laplacian pyramid; both sets are compared by their means, as in Salimans et al. 2016, section 3.1. Finer octaves
    are left to the discriminator, because the decoder would draw dots to match them.
    """
    own = _contrasts(x)
    return ((_contrasts(samples) - own).abs() / own).mean()


def _contrasts(x: Tensor) -> Tensor:
    """Standard deviation in each octave of a Laplacian pyramid, mean over pictures (n, channels, h, w): (octaves,)."""
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
    """Mean of all values, accumulated in float32, also for bf16 values."""
    return values.mean(dtype=torch.float32)
