"""Evaluation of a model on held-out images, beside simpler models (baselines) that the model should beat."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from latentcli.data.dataset import Dataset, as_float_tensor
from latentcli.defaults import TEMPERATURE
from latentcli.evaluation import copies, sample_metrics
from latentcli.evaluation.result import Baseline, Evaluation, Neighbours, Pixels, SampleMetrics
from latentcli.evaluation.sample_metrics import WHITENED_BY, FeatureSpace
from latentcli.events import Progress
from latentcli.model import objective
from latentcli.model.metrics import measure, psnr_per_image, squared_error, ssim
from latentcli.model.pca import fit_pca
from latentcli.model.prior import Prior, StandardPrior
from latentcli.model.vae import VAE, Posterior

_COMPARED = 1000  # limit on samples, and on held-out images, whose features are compared
_RECONSTRUCTED = 500  # limit on training images that are reconstructed
_FITTED = 20_000  # limit on training images that baselines are fitted to
_MANY = 10  # training images per component, above which PCA does not memorise the images
_SPREAD = 128  # limit on pictures whose diversity is measured
_COPIED_FROM = 5000  # limit on training images that copies are searched among by features
_SHOWN = 8  # samples that a report shows beside their nearest training image
_BATCH = 250  # samples decoded at once
_END = 0.02  # pixel values within 0.02 of 0 or 1 count as black or white


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to evaluate, with the held-out and training images and the settings of the evaluation."""

    vae: VAE  # in eval mode
    prior: Prior
    held_out: Dataset
    train: Dataset | None  # None skips baselines and the search for copies
    noise_scale: float  # factor on the noise of posterior draws; 0 for an autoencoder
    features: FeatureSpace
    on_training: bool = False  # nothing was held out: `held_out` are training images
    draws: int | None = None  # per image, of the importance-weighted bound; None skips it


def evaluate(subject: Subject) -> Iterator[Progress | Evaluation | Neighbours]:
    """Compute all metrics of a model: yields progress, then samples' nearest training images, last the evaluation.

    Without training images, or with fewer than two held-out images, no `Neighbours` are yielded.
    """
    vae, held_out, train = subject.vae, subject.held_out, subject.train
    watch = training_watch = _Watch(vae.config.latent_dim)
    yield Progress("reconstructing", 0, 1)
    metrics = measure(vae, held_out.floats(), subject.noise_scale, watch)
    training = None
    if train and not subject.on_training:
        yield Progress("reconstructing training images", 0, 1)
        training_watch = _Watch(vae.config.latent_dim)
        training = measure(vae, train.spread(_RECONSTRUCTED).floats(), subject.noise_scale, training_watch)
    yield Progress("comparing with baselines", 0, 1)
    baselines = tuple(_baselines(vae, held_out, train, subject.on_training)) if train else ()
    yield Progress("comparing samples with images", 0, 1)
    samples, neighbours = _samples(subject)
    bound = None
    if subject.draws:
        for done, mean in objective.importance_bound(vae, held_out.floats, subject.draws):
            bound = mean
            yield Progress("drawing", done, len(held_out))
    if neighbours:
        yield neighbours
    yield Evaluation(
        held_out=metrics,
        ssim=watch.ssim / metrics.images,
        kl_per_dimension=tuple((watch.kl / metrics.images).tolist()) if subject.noise_scale else (),
        training=training,
        baselines=baselines,
        samples=samples,
        feature_space=subject.features.name,
        pixels=training_watch.pixels(),
        on_training=subject.on_training,
        draws=subject.draws,
        importance_bound=bound,
        errors=watch.errors(),
    )


class _Watch:
    """Accumulator of SSIM, KL per dimension, errors and pixel statistics, which `measure` calls with each batch."""

    def __init__(self, latent_dim: int) -> None:
        self.ssim = 0.0
        self.kl = torch.zeros(latent_dim, dtype=torch.float64)
        self._errors: list[Tensor] = []
        self._images = 0
        self._near_ends = 0.0
        self._sum = torch.zeros((), dtype=torch.float64)
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
        """Percentiles 0 to 100 of the mean squared errors of the images' reconstructions."""
        return tuple(np.percentile(torch.cat(self._errors).numpy(), range(101)).tolist())

    def pixels(self) -> Pixels:
        mean = self._sum / self._images
        variance = self._squares / self._images - float(mean.square().mean())
        return Pixels(self._images, self._near_ends / self._images, max(0.0, variance) ** 0.5)


@torch.inference_mode()
def _baselines(vae: VAE, held_out: Dataset, train: Dataset, on_training: bool) -> Iterator[Baseline]:
    """Held-out metrics of two simple models of the training images: the mean image, and PCA of `latent_dim` components.

    PCA is left out with too few training images, which it would memorise: n - 1 components reproduce n images exactly.
    If `on_training`, the images in `held_out` are training images, and PCA needs _MANY times more of them.
    """
    train = train.spread(_FITTED)
    models = {"mean image": fit_pca(train.floats, 0)}
    if vae.config.latent_dim * (_MANY if on_training else 1) < len(train) - 1:
        pca = fit_pca(train.floats, vae.config.latent_dim)
        k = len(pca.variances)
        models[f"PCA, {k} component{'s' if k != 1 else ''}"] = pca
    images = len(held_out)
    for name, model in models.items():
        psnr = similarity = 0.0
        for x in held_out.floats():
            reconstruction = model.reconstruct(x)
            psnr += float(psnr_per_image(x, reconstruction).double().sum())
            similarity += float(ssim(x, reconstruction).double().sum())
        yield Baseline(name, psnr / images, similarity / images, *vae.likelihood.baseline(model, held_out.floats))


@torch.inference_mode()
def _samples(subject: Subject) -> tuple[tuple[SampleMetrics, ...], Neighbours | None]:
    """Metrics of samples from the fitted and the standard prior, and samples beside their nearest training images.

    If images were held out, metrics of training images are added: those that samples of a perfect model would have.
    """
    held_out, train = subject.held_out.spread(_COMPARED), subject.train
    count = len(held_out)
    if count < 2:
        return (), None
    subject = replace(subject, features=subject.features.whitened((train or held_out).spread(WHITENED_BY).floats()))
    priors: dict[str, Prior] = {"standard prior": StandardPrior(subject.vae.config.latent_dim)}
    if not isinstance(subject.prior, StandardPrior):
        priors = {"fitted prior": subject.prior, **priors}
    at = f", temperature {TEMPERATURE:g}"
    real = _Pictures.of(subject.features, held_out)
    drawn = {name + at: prior.sample(range(count)) for name, prior in priors.items()}
    made = {name: _Pictures.decoded(subject, torch.from_numpy(z)) for name, z in drawn.items()}
    neighbours = _search(subject, train, held_out, list(made.values())) if train else None
    if train and not subject.on_training and len(train) > 1:
        made["training images"] = _Pictures.of(subject.features, train.spread(count))
    return tuple(_compare(name, pictures, real) for name, pictures in made.items()), neighbours


def _search(subject: Subject, train: Dataset, held_out: Dataset, made: list["_Pictures"]) -> Neighbours:
    """Search the training images for those that samples are near to: sets `nearness`, returns the first samples' pairs.

    The samples `made` are compared with as many reconstructions of held-out images, if there are any.
    """
    sets, vae = list(made), subject.vae
    if not subject.on_training:
        means = torch.cat([vae.encode(x.to(vae.device)).mean for x in held_out.floats()])
        sets.append(_Pictures.decoded(subject, means))
    thumbnails, count = torch.cat([pictures.thumbnails for pictures in sets]), len(held_out)
    distances, rows = copies.nearest(thumbnails, map(copies.thumbnails, train.floats()))
    if not subject.on_training:
        trained_on = map(subject.features, train.spread(_COPIED_FROM).floats())
        by_features, _ = copies.nearest(torch.cat([pictures.features for pictures in sets]), trained_on)
        *own, usual = zip(torch.split(distances, count), torch.split(by_features, count), strict=True)
        for pictures, to_training in zip(made, own, strict=True):
            pictures.nearness = copies.compare(to_training, usual)
    shown = made[0].few[:_SHOWN]
    return Neighbours(shown.numpy(), as_float_tensor(train.take(rows[: len(shown), 0])).numpy())


@dataclass(slots=True)
class _Pictures:
    """Features and thumbnails of n pictures, decoded samples or images, and the pixels of m of the pictures."""

    features: Tensor  # (n, d)
    few: Tensor  # (m, channels, height, width)
    thumbnails: Tensor  # (n, t)
    nearness: copies.Nearness | None = None  # to the training images

    @classmethod
    def of(cls, space: FeatureSpace, images: Dataset) -> "_Pictures":
        few = images.spread(_SPREAD)  # evenly, so that all folders contribute
        features, thumbnails = zip(*((space(x), copies.thumbnails(x)) for x in images.floats()), strict=True)
        return cls(torch.cat(features), torch.cat(list(few.floats())), torch.cat(thumbnails))

    @classmethod
    def decoded(cls, subject: Subject, z: Tensor) -> "_Pictures":
        features, few, thumbnails = [], torch.empty(0), []
        for latents in torch.split(z.to(subject.vae.device), _BATCH):
            decoded = subject.vae.decode(latents).cpu()
            features.append(subject.features(decoded))
            thumbnails.append(copies.thumbnails(decoded))
            few = few if len(few) else decoded[:_SPREAD].clone()
        return cls(torch.cat(features), few, torch.cat(thumbnails))


def _compare(name: str, made: _Pictures, real: _Pictures) -> SampleMetrics:
    """Metrics of the pictures `made` compared with the held-out images `real`; `name` is for the tables of results."""
    precision, recall = sample_metrics.precision_recall(real.features, made.features)
    kernel, margin = sample_metrics.kernel_distance(made.features, real.features)
    return SampleMetrics(
        name=name,
        images=len(made.features),
        kernel=kernel,
        kernel_margin=margin,
        frechet=sample_metrics.frechet(made.features, real.features),
        precision=precision,
        recall=recall,
        diversity=sample_metrics.spread(made.few) / max(sample_metrics.spread(real.few), 1e-6),
        nearest=made.nearness.nearest if made.nearness else None,
        copied=made.nearness.copied if made.nearness else None,
        copied_by_chance=made.nearness.by_chance if made.nearness else None,
    )
