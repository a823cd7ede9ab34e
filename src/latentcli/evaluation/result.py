"""Result of an evaluation: metrics of a model, its baselines and its samples, and their tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentcli.figures.table import Table, cell
from latentcli.storage.history import Metrics


@dataclass(frozen=True, slots=True)
class Baseline:
    """Metrics of a simpler model, such as PCA, on the images that the evaluated model was measured on."""

    name: str
    psnr: float  # dB
    ssim: float
    negative_log_likelihood: float | None  # nats per image; exact, while a model's -ELBO is an upper bound
    bits_per_dimension: float | None


@dataclass(frozen=True, slots=True)
class SampleMetrics:
    """Metrics of a set of pictures, such as samples of a prior, compared with as many held-out images."""

    name: str
    images: int
    frechet: float | None  # squared Fréchet distance of the features; None with too few images
    kernel: float  # squared kernel distance (maximum mean discrepancy) of the features
    precision: float  # share of the pictures within the images' manifold
    recall: float  # share of the images within the pictures' manifold
    diversity: float  # mean distance of two pictures over that of two images
    nearest: float | None  # median distance to the nearest training image over that of held-out reconstructions
    copied: float | None = None  # share that copies a training image, at least
    copied_by_chance: float | None = None  # probability of so large a share if none does, 0 to 1
    kernel_margin: float | None = None  # half of the 95 % interval of `kernel`


@dataclass(frozen=True, slots=True)
class Pixels:
    """Pixel statistics of the training images, or of the evaluated images if there are no training images."""

    images: int
    near_ends: float  # share of the pixel values within 0.02 of 0 or 1
    deviation: float  # standard deviation around the mean image; pixel values are 0 to 1


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results of evaluating a model: metrics on images, baselines, and metrics of samples."""

    held_out: Metrics
    ssim: float
    kl_per_dimension: tuple[float, ...]  # nats, mean over the images
    training: Metrics | None  # metrics on some of the training images
    baselines: tuple[Baseline, ...]
    samples: tuple[SampleMetrics, ...]
    feature_space: str
    pixels: Pixels
    on_training: bool = False  # nothing was held out: `held_out` is measured on training images
    draws: int | None = None  # per image, of the importance-weighted bound
    importance_bound: float | None = None  # importance-weighted bound on log p(x), nats per image
    errors: tuple[float, ...] = ()  # percentiles 0 to 100 of the images' mean squared errors


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Samples of a prior and the training image nearest to each: two batches (n, channels, height, width)."""

    samples: np.ndarray
    training: np.ndarray


METRICS = ("PSNR, dB", "SSIM", "-ELBO, nats", "KL, nats", "bits/dim", "active")
# Held-out images that metrics of samples need: precision of digits against digits is 0.92 +- 0.11 with 10, +- 0.03
# with 100 images.
MIN_COMPARED = 100


def metrics_table(result: Evaluation) -> Table:
    """Table of metrics on the held-out images: rows for the model, its baselines, and training images if measured."""
    images = "training" if result.on_training else "held-out"
    rows = [metrics_row("this model", result.held_out, result.ssim)]
    if result.importance_bound is not None:
        bound = cell(-result.importance_bound)
        rows.append((f"  importance-weighted, {result.draws} draws", "-", "-", bound, "-", "-", "-"))
    if result.training:
        rows.append(metrics_row(f"this model on {result.training.images} training images", result.training))
    for simpler in result.baselines:
        numbers = (simpler.psnr, simpler.ssim, simpler.negative_log_likelihood, None, simpler.bits_per_dimension, None)
        rows.append((simpler.name, *map(cell, numbers)))
    caption = "Baselines have an exact -log likelihood, not an -ELBO." if result.baselines else ""
    return Table(caption, (f"on {result.held_out.images} {images} images", *METRICS), rows)


def metrics_row(name: str, metrics: Metrics, similarity: float | None = None) -> Sequence[str]:
    """Cells of a row with `name` and the columns METRICS; `similarity` is the SSIM, None shows as missing."""
    numbers = (metrics.psnr, similarity, metrics.negative_elbo, metrics.kl, metrics.bits_per_dimension)
    return name, *map(cell, numbers), cell(metrics.active_dimensions, 0)


def samples_table(result: Evaluation) -> Table | str:
    """Table of metrics of samples, a row per prior; or a sentence, if too few images were held out to compare with."""
    images, count = "training" if result.on_training else "held-out", result.held_out.images
    if count < MIN_COMPARED:
        return f"Samples are compared with {images} images from {MIN_COMPARED} of them on; there are {count}."
    rows = [
        (
            row.name,
            f"{1000 * row.kernel:.1f}{f' ± {1000 * row.kernel_margin:.1f}' if row.kernel_margin else ''}",
            *map(cell, (row.precision, row.recall, row.frechet, row.diversity, row.nearest)),
            _copies(row),
        )
        for row in result.samples
    ]
    columns = (f"in the space of {result.feature_space}", "kernel x 1000", "precision", "recall", "Fréchet",
               "diversity", "nearest", "copies")  # fmt: skip
    explained = (
        "Diversity is a share of theirs."
        if result.on_training
        else "Training images show what a perfect model would get. Diversity is a share of that of held-out "
        "images, the distance to the nearest training image one of that of their reconstructions. Copies is the share "
        "of samples that stand out as copies of a training image, and p the probability of so many by chance."
    )
    return Table(f"Each against as many {images} images. {explained}", columns, rows)


def _copies(row: SampleMetrics) -> str:
    """Cell of the share of copies, and the probability that it is chance."""
    chance = row.copied_by_chance
    if row.copied is None or chance is None:
        return cell(None)
    return f"{row.copied:.2f} (p {f'{chance:.2f}' if chance >= 0.01 else '< 0.01'})"
