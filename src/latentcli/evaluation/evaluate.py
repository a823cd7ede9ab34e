"""Evaluation of a model on images it was not trained on, beside the baselines it should beat."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentcli.data.dataset import Dataset, as_float
from latentcli.evaluation import baselines, sample_metrics
from latentcli.evaluation.sample_metrics import FeatureSpace
from latentcli.events import Progress
from latentcli.history import Metrics
from latentcli.model import objective
from latentcli.model.device import device_of
from latentcli.model.metrics import measure, psnr_per_image, ssim
from latentcli.model.prior import Prior, StandardPrior
from latentcli.model.vae import VAE, Posterior
from latentcli.table import Table, cell

_COMPARED = 1000  # samples, and as many images, whose features are compared
_RECONSTRUCTED = 500  # training images that are reconstructed
_FITTED = 20_000  # training images that baselines are fitted to
_SEARCHED = 64  # samples whose nearest training image is searched
_SHOWN = 8  # of them, beside that image
_BATCH = 250  # samples decoded at once
_END = 0.02  # of the range of a pixel: values nearer to black or white count as that


@dataclass(frozen=True, slots=True)
class Baseline:
    """Metrics of a simpler model on the same images."""

    name: str
    psnr: float  # dB
    ssim: float
    negative_log_likelihood: float | None  # nats per image; exact, so a model's -ELBO may stay above it a little
    bits_per_dimension: float | None


@dataclass(frozen=True, slots=True)
class SampleMetrics:
    """A set of pictures compared with as many held-out images."""

    name: str
    images: int
    frechet: float
    kernel: float
    precision: float  # share of the samples that lie among the images
    recall: float  # share of the images that lie among the samples
    diversity: float  # mean distance of two samples over that of two images
    nearest: float | None  # median distance to the nearest training image over that of held-out images, if any


@dataclass(frozen=True, slots=True)
class Pixels:
    """Statistics of the training images; where they are not at hand, of the evaluated ones."""

    images: int
    near_ends: float  # share of the values that are nearly 0 or 1
    deviation: float  # standard deviation around the mean image, of the range 0 to 1


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a model is."""

    held_out: Metrics
    ssim: float
    kl_per_dimension: tuple[float, ...]  # nats, on average
    training: Metrics | None  # the same metrics on images it was trained on
    baselines: tuple[Baseline, ...]
    samples: tuple[SampleMetrics, ...]
    feature_space: str
    pixels: Pixels
    on_training: bool = False  # nothing was held out: `held_out` is measured on training images
    draws: int | None = None  # of the importance-weighted bound
    importance_bound: float | None = None  # on log p(x), nats per image

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Evaluation":
        """The reverse of `to_json`. Raises TypeError or KeyError for anything else."""
        parts = {
            "held_out": Metrics(**values["held_out"]),
            "training": Metrics(**values["training"]) if values["training"] else None,
            "kl_per_dimension": tuple(values["kl_per_dimension"]),
            "baselines": tuple(Baseline(**found) for found in values["baselines"]),
            "samples": tuple(SampleMetrics(**found) for found in values["samples"]),
            "pixels": Pixels(**values["pixels"]),
        }
        return cls(**values | parts)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Samples beside the training images nearest to them: two batches (n, channels, height, width)."""

    samples: np.ndarray
    training: np.ndarray


@dataclass(frozen=True, slots=True)
class Subject:
    """A model and the images to evaluate it on."""

    vae: VAE  # in eval mode
    prior: Prior
    held_out: Dataset
    train: Dataset | None  # None leaves out baselines and the search for copies
    noise_scale: float  # 0 for an autoencoder
    features: FeatureSpace
    on_training: bool = False  # nothing was held out: `held_out` are training images
    draws: int | None = None  # of the importance-weighted bound; None leaves it out


def evaluate(subject: Subject) -> Iterator[Progress | Evaluation | Neighbours]:
    """Measure everything; ends with the evaluation, and before it the neighbours where there are training images."""
    vae, held_out, train = subject.vae, subject.held_out, subject.train
    watch = pixels = _Watch(vae.config.latent_dim)
    yield Progress("reconstructing", 0, len(held_out))
    metrics = measure(vae, held_out.floats(), subject.noise_scale, watch)
    training = None
    if train and not subject.on_training:
        yield Progress("reconstructing training images", 0, len(train))
        pixels = _Watch(vae.config.latent_dim)
        training = measure(vae, train.spread(_RECONSTRUCTED).floats(), subject.noise_scale, pixels)
    yield Progress("comparing with baselines", 0, len(held_out))
    simpler = _baselines(vae, held_out, train)
    yield Progress("sampling", 0, _COMPARED)
    samples, neighbours = _samples(subject)
    bound = None
    if subject.draws:
        for done, estimate in objective.importance_bound(vae, held_out.floats(), subject.draws):
            bound = estimate
            yield Progress("drawing", done, len(held_out))
    if neighbours:
        yield neighbours
    yield Evaluation(
        held_out=metrics,
        ssim=watch.ssim / metrics.images,
        kl_per_dimension=tuple((watch.kl / metrics.images).tolist()) if subject.noise_scale else (),
        training=training,
        baselines=simpler,
        samples=samples,
        feature_space=subject.features.name,
        pixels=pixels.pixels(),
        on_training=subject.on_training,
        draws=subject.draws,
        importance_bound=bound,
    )


class _Watch:
    """SSIM, KL per dimension and pixel statistics, measured in the same pass as the metrics."""

    def __init__(self, latent_dim: int) -> None:
        self.ssim = 0.0
        self.kl = torch.zeros(latent_dim, dtype=torch.float64)
        self._images = 0
        self._near_ends = 0.0
        self._sum: Tensor | float = 0.0
        self._squares = 0.0

    def __call__(self, x: Tensor, posterior: Posterior, decoded: Tensor) -> None:
        self.ssim += float(ssim(x, decoded).cpu().double().sum())
        self.kl += posterior.kl_per_dimension().sum(dim=0).cpu().double()
        self._images += len(x)
        self._near_ends += float(((x - 0.5).abs() >= 0.5 - _END).float().mean(dim=(1, 2, 3)).sum())
        self._sum = self._sum + x.sum(dim=0).cpu().double()
        self._squares += float(x.square().mean(dim=(1, 2, 3)).cpu().double().sum())

    def pixels(self) -> Pixels:
        mean = torch.as_tensor(self._sum) / self._images
        variance = self._squares / self._images - float(mean.square().mean())
        return Pixels(self._images, self._near_ends / self._images, max(0.0, variance) ** 0.5)


@torch.inference_mode()
def _baselines(vae: VAE, held_out: Dataset, train: Dataset | None) -> tuple[Baseline, ...]:
    """The mean image and principal components of the training images; none without those.

    As many components as images less one reproduce each training image exactly: such a memory is no baseline.
    """
    if train is None:
        return ()
    train = train.spread(_FITTED)
    mean = baselines.fit(train.floats, 0)
    found = [_baseline(vae, "mean image", mean, held_out)]
    if vae.config.latent_dim < len(train) - 1:
        pca = baselines.fit(train.floats, vae.config.latent_dim)
        k = len(pca.variances)
        found.append(_baseline(vae, f"PCA, {k} component{'s' if k != 1 else ''}", pca, held_out))
    return tuple(found)


def _baseline(vae: VAE, name: str, pca: baselines.Pca, held_out: Dataset) -> Baseline:
    psnr = similarity = nats = 0.0
    for x in held_out.floats():
        reconstruction = pca.reconstruct(x)
        psnr += float(psnr_per_image(x, reconstruction).double().sum())
        similarity += float(ssim(x, reconstruction).double().sum())
        exact = vae.likelihood.baseline(x, pca)
        nats += 0.0 if exact is None else float(exact)
    images = len(held_out)
    likely = nats / images if nats else None
    bits = None if likely is None else vae.likelihood.bits_per_dimension(likely, vae.config.dimensions)
    return Baseline(name, psnr / images, similarity / images, likely, bits)


@torch.inference_mode()
def _samples(subject: Subject) -> tuple[tuple[SampleMetrics, ...], Neighbours | None]:
    """Metrics of both priors, and of training images in place of samples: what a perfect model would get.

    Where nothing was held out, the rows that compare with training images are left out.
    """
    held_out, train = subject.held_out.spread(_COMPARED), subject.train
    count = len(held_out)
    if count < 2:
        return (), None
    priors: dict[str, Prior] = {"standard prior": StandardPrior(subject.vae.config.latent_dim)}
    if not isinstance(subject.prior, StandardPrior):
        priors = {f"fitted prior, temperature {subject.prior.temperature:g}": subject.prior, **priors}
    real = _Pictures.of(subject.features, held_out)
    made = {name: _Pictures.sampled(subject, prior, count) for name, prior in priors.items()}
    neighbours = None
    ratios: dict[str, float] = {}
    if train:
        shown = {"": real.some} | {name: pictures.some for name, pictures in made.items()}
        found, rows = sample_metrics.nearest(torch.cat(list(shown.values())), train.floats())
        medians = [float(part.quantile(0.5)) for part in torch.split(found, [len(some) for some in shown.values()])]
        if not subject.on_training:
            ratios = {name: median / max(medians[0], 1e-6) for name, median in zip(shown, medians, strict=True)}
        own = next(iter(made.values())).some[:_SHOWN]
        neighbours = Neighbours(own.numpy(), as_float(train.take(rows[len(real.some) :][: len(own)])).numpy())
        if len(train) > 1 and not subject.on_training:
            made["training images"] = _Pictures.of(subject.features, train.spread(count))
    return tuple(_compare(name, pictures, real, ratios.get(name)) for name, pictures in made.items()), neighbours


@dataclass(frozen=True, slots=True)
class _Pictures:
    """Features of a set of pictures, and some of the pictures."""

    features: Tensor
    some: Tensor  # (n, channels, height, width)

    @classmethod
    def of(cls, space: FeatureSpace, images: Dataset) -> "_Pictures":
        some = images.spread(_SEARCHED)  # of all folders
        return cls(torch.cat([space(batch) for batch in images.floats()]), torch.cat(list(some.floats())))

    @classmethod
    def sampled(cls, subject: Subject, prior: Prior, count: int) -> "_Pictures":
        z = torch.from_numpy(prior.sample(range(count), prior.temperature)).to(device_of(subject.vae))
        features, some = [], torch.empty(0)
        for latents in torch.split(z, _BATCH):
            decoded = subject.vae.decode(latents).cpu()
            features.append(subject.features(decoded))
            some = some if len(some) else decoded[:_SEARCHED].clone()
        return cls(torch.cat(features), some)


def _compare(name: str, made: _Pictures, real: _Pictures, nearest: float | None) -> SampleMetrics:
    precision, recall = sample_metrics.precision_recall(real.features, made.features)
    return SampleMetrics(
        name=name,
        images=len(made.features),
        frechet=sample_metrics.frechet(made.features, real.features),
        kernel=sample_metrics.kernel_distance(made.features, real.features),
        precision=precision,
        recall=recall,
        diversity=sample_metrics.spread(made.some) / max(sample_metrics.spread(real.some), 1e-6),
        nearest=nearest,
    )


def metrics_table(found: Evaluation) -> Table:
    """Metrics on held-out images, of the model and of its baselines."""
    images = "training" if found.on_training else "held-out"
    rows = [metrics_row("this model", found.held_out, found.ssim)]
    if found.importance_bound is not None:
        bound = cell(-found.importance_bound)
        rows.append((f"  importance-weighted, {found.draws} draws", "-", "-", bound, "-", "-", "-"))
    if found.training:
        rows.append(metrics_row(f"this model on {found.training.images} training images", found.training))
    for simpler in found.baselines:
        numbers = (simpler.psnr, simpler.ssim, simpler.negative_log_likelihood, None, simpler.bits_per_dimension, None)
        rows.append((simpler.name, *map(cell, numbers)))
    caption = "Baselines have an exact -log likelihood, not an -ELBO." if found.baselines else ""
    return Table(caption, (f"on {found.held_out.images} {images} images", *METRICS), rows)


METRICS = ("PSNR, dB", "SSIM", "-ELBO, nats", "KL, nats", "bits/dim", "active")


def metrics_row(name: str, metrics: Metrics, similarity: float | None = None) -> Sequence[str]:
    """The cells under METRICS."""
    numbers = (metrics.psnr, similarity, metrics.negative_elbo, metrics.kl, metrics.bits_per_dimension)
    return name, *map(cell, numbers), cell(metrics.active_dimensions, 0)


def samples_table(found: Evaluation) -> Table:
    """Metrics of samples, one row a prior."""
    rows = [
        (row.name, *map(cell, (row.frechet, row.kernel, row.precision, row.recall, row.diversity, row.nearest)))
        for row in found.samples
    ]
    columns = (f"in the space of {found.feature_space}", "Fréchet", "kernel", "precision", "recall", "diversity",
               "nearest")  # fmt: skip
    images = "training" if found.on_training else "held-out"
    return Table(
        f"Each against as many {images} images. "
        + (
            "Diversity is a share of theirs."
            if found.on_training
            else "Training images show what a perfect model would get. Diversity and the distance to the nearest "
            "training image are shares of those of held-out images."
        ),
        columns,
        rows,
    )
