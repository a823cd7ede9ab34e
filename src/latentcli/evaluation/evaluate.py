"""Evaluation of a model on images it was not trained on, beside the baselines it should beat."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentcli.data.dataset import Dataset, as_float_tensor
from latentcli.evaluation import sample_metrics
from latentcli.evaluation.result import Baseline, Evaluation, Neighbours, Pixels, SampleMetrics
from latentcli.evaluation.sample_metrics import FeatureSpace
from latentcli.events import Progress
from latentcli.model import objective
from latentcli.model.device import device_of
from latentcli.model.metrics import measure, psnr_per_image, squared_error, ssim
from latentcli.model.pca import Pca, fit_pca
from latentcli.model.prior import Prior, StandardPrior
from latentcli.model.vae import VAE, Posterior

_COMPARED = 1000  # samples, and as many images, whose features are compared
_RECONSTRUCTED = 500  # training images that are reconstructed
_FITTED = 20_000  # training images that baselines are fitted to
_MANY = 10  # training images per component, above which PCA does not know them by heart
_SEARCHED = 128  # samples whose nearest training image is searched
_COPIED_FROM = 5000  # training images that copies are searched among by their features
_NEAR = 0.05  # share of held-out images that are nearer to a training image than what counts as a copy
_SHOWN = 8  # of them, beside that image
_BATCH = 250  # samples decoded at once
_END = 0.02  # of the range of a pixel: values nearer to black or white count as that


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
    yield Progress("reconstructing", 0, 1)
    metrics = measure(vae, held_out.floats(), subject.noise_scale, watch)
    training = None
    if train and not subject.on_training:
        yield Progress("reconstructing training images", 0, 1)
        pixels = _Watch(vae.config.latent_dim)
        training = measure(vae, train.spread(_RECONSTRUCTED).floats(), subject.noise_scale, pixels)
    yield Progress("comparing with baselines", 0, 1)
    simpler = _baselines(vae, held_out, train, subject.on_training)
    yield Progress("comparing samples with images", 0, 1)
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
        errors=watch.errors(),
    )


class _Watch:
    """SSIM, errors, KL per dimension and pixel statistics, measured in the same pass as the metrics."""

    def __init__(self, latent_dim: int) -> None:
        self.ssim = 0.0
        self.kl = torch.zeros(latent_dim, dtype=torch.float64)
        self._errors: list[Tensor] = []
        self._images = 0
        self._near_ends = 0.0
        self._sum: Tensor | float = 0.0
        self._squares = 0.0

    def __call__(self, x: Tensor, posterior: Posterior, decoded: Tensor) -> None:
        self.ssim += float(ssim(x, decoded).cpu().double().sum())
        self.kl += posterior.kl_per_dimension().sum(dim=0).cpu().double()
        self._errors.append(squared_error(x, decoded).cpu())
        self._images += len(x)
        self._near_ends += float(((x - 0.5).abs() >= 0.5 - _END).float().mean(dim=(1, 2, 3)).sum())
        self._sum = self._sum + x.sum(dim=0).cpu().double()
        self._squares += float(x.square().mean(dim=(1, 2, 3)).cpu().double().sum())

    def errors(self) -> tuple[float, ...]:
        """Percentiles 0 to 100 of the images' squared errors."""
        return tuple(np.percentile(torch.cat(self._errors).numpy(), range(101)).tolist())

    def pixels(self) -> Pixels:
        mean = torch.as_tensor(self._sum) / self._images
        variance = self._squares / self._images - float(mean.square().mean())
        return Pixels(self._images, self._near_ends / self._images, max(0.0, variance) ** 0.5)


@torch.inference_mode()
def _baselines(vae: VAE, held_out: Dataset, train: Dataset | None, on_training: bool) -> tuple[Baseline, ...]:
    """The mean image and principal components of the training images; none without those.

    As many components as images less one reproduce each training image exactly: such a memory is no baseline. Where
    it is measured on training images, it needs many more of them than components.
    """
    if train is None:
        return ()
    train = train.spread(_FITTED)
    mean = fit_pca(train.floats, 0)
    found = [_baseline(vae, "mean image", mean, held_out)]
    if vae.config.latent_dim * (_MANY if on_training else 1) < len(train) - 1:
        pca = fit_pca(train.floats, vae.config.latent_dim)
        k = len(pca.variances)
        if pca.has_likelihood or not on_training:
            found.append(_baseline(vae, f"PCA, {k} component{'s' if k != 1 else ''}", pca, held_out))
    return tuple(found)


def _baseline(vae: VAE, name: str, pca: Pca, held_out: Dataset) -> Baseline:
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
    distances: dict[str, _Distances] = {}
    if train:
        shown = {"": real} | made
        found, rows = sample_metrics.nearest(torch.cat([part.some for part in shown.values()]), train.floats())
        pixels = torch.split(found, [len(part.some) for part in shown.values()])
        if not subject.on_training:
            known = _Pictures.of(subject.features, train.spread(_COPIED_FROM)).features
            features = [sample_metrics.nearest_rows(part.features, known) for part in shown.values()]
            distances = {name: _Distances(*found) for name, *found in zip(shown, pixels, features, strict=True)}
        own = next(iter(made.values())).some[:_SHOWN]
        neighbours = Neighbours(own.numpy(), as_float_tensor(train.take(rows[len(real.some) :][: len(own)])).numpy())
        if len(train) > 1 and not subject.on_training:
            made["training images"] = _Pictures.of(subject.features, train.spread(count))
    return tuple(_compare(name, pictures, real, distances) for name, pictures in made.items()), neighbours


@dataclass(frozen=True, slots=True)
class _Distances:
    """Of pictures to the nearest training image."""

    pixels: Tensor  # (n,)
    features: Tensor  # (m,)

    def shares_near(self, held_out: "_Distances") -> tuple[float, float]:
        """The shares that are nearer than nearly all held-out images are, by pixels and by features."""
        pairs = ((self.pixels, held_out.pixels), (self.features, held_out.features))
        by_pixels, by_features = (float((own < real.quantile(_NEAR)).float().mean()) for own, real in pairs)
        return by_pixels, by_features


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


def _compare(name: str, made: _Pictures, real: _Pictures, distances: dict[str, _Distances]) -> SampleMetrics:
    precision, recall = sample_metrics.precision_recall(real.features, made.features)
    own, held_out = distances.get(name), distances.get("")
    nearest = near = near_in_features = None
    if own and held_out:
        nearest = float(own.pixels.quantile(0.5)) / max(float(held_out.pixels.quantile(0.5)), 1e-6)
        near, near_in_features = own.shares_near(held_out)
    return SampleMetrics(
        name=name,
        images=len(made.features),
        frechet=sample_metrics.frechet(made.features, real.features),
        kernel=sample_metrics.kernel_distance(made.features, real.features),
        precision=precision,
        recall=recall,
        diversity=sample_metrics.spread(made.some) / max(sample_metrics.spread(real.some), 1e-6),
        nearest=nearest,
        near_copies=near,
        near_copies_in_features=near_in_features,
    )
