"""Result of an evaluation: metrics of a model, of its baselines and of its samples, and their tables."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from latentcli.figures.table import Table, cell
from latentcli.storage.history import Metrics


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
    near_copies: float | None = None  # share that is nearer to a training image than 95 % of held-out images are
    near_copies_in_features: float | None = None  # the same in the feature space


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
    errors: tuple[float, ...] = ()  # percentiles 0 to 100 of the images' mean squared errors, of the range 0 to 1

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Samples beside the training images nearest to them: two batches (n, channels, height, width)."""

    samples: np.ndarray
    training: np.ndarray


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


# Held-out images for statistics of samples. Digits beside digits: precision is 0.92 +- 0.11 of 10, +- 0.03 of 100.
MIN_COMPARED = 100


def samples_table(found: Evaluation) -> Table | str:
    """Metrics of samples, one row a prior; a sentence where there are too few images to compare them with."""
    images = "training" if found.on_training else "held-out"
    if found.held_out.images < MIN_COMPARED:
        count = found.held_out.images
        return f"Samples are compared with {images} images from {MIN_COMPARED} of them on; there are {count}."
    rows = [
        (
            row.name,
            *map(cell, (row.frechet, row.kernel, row.precision, row.recall, row.diversity, row.nearest)),
            f"{cell(row.near_copies)} / {cell(row.near_copies_in_features)}",
        )
        for row in found.samples
    ]
    columns = (f"in the space of {found.feature_space}", "Fréchet", "kernel", "precision", "recall", "diversity",
               "nearest", "near copies")  # fmt: skip
    return Table(
        f"Each against as many {images} images. "
        + (
            "Diversity is a share of theirs."
            if found.on_training
            else "Training images show what a perfect model would get. Diversity and the distance to the nearest "
            "training image are shares of those of held-out images. Near copies are nearer to a training image than "
            "95 % of held-out images are, by pixels / by features; 0.05 is what new images would have."
        ),
        columns,
        rows,
    )
