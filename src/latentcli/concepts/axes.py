"""Axes of a latent space: directions with a name, like a dimension, a principal component or a concept vector.

A step along any axis is one standard deviation of the model's latents in the axis's direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentcli.concepts.vector import AXIS, ConceptVector, unlabelled
from latentcli.errors import UsageError
from latentcli.model.noise import uniform_and_normal
from latentcli.model.prior import Geometry
from latentcli.storage.names import NUMBERED_AXIS

RANDOM = "random"  # name of the axis that `at_random` makes
_LEAST_QUANTILE = 0.003  # smallest quantile of N(0, 1) that `fan` uses; the largest is 0.997


@dataclass(frozen=True, slots=True)
class Axis:
    """Named direction in latent space; its vector `step` is one standard deviation of the model's latents long."""

    name: str
    step: np.ndarray  # (latent_dim,), one standard deviation of the latents along it
    note: str = ""  # figure shown beside the name, like a share of variance


def numbered(name: str, geometry: Geometry) -> Axis:
    """Axis called `name`: a latent dimension, `z0` the first, or a principal component, `pc1` that of largest variance.

    Raises UsageError if the model has too few dimensions for the number in `name`.
    """
    parsed = NUMBERED_AXIS.fullmatch(name)
    assert parsed, name
    kind, index, count = parsed[1], int(parsed[2]), len(geometry.mean)
    first = 0 if kind == "z" else 1
    if not first <= index < first + count:
        raise UsageError(f"there is no axis {name}; the model has {kind}{first} to {kind}{first + count - 1}")
    return dimension(index, geometry) if kind == "z" else components(geometry, index)[-1]


def dimension(index: int, geometry: Geometry, note: str = "") -> Axis:
    """Axis of the latent dimension `index`, counted from 0."""
    return Axis(f"z{index}", along(np.eye(len(geometry.mean), dtype=np.float32)[index], geometry), note)


def components(geometry: Geometry, count: int) -> list[Axis]:
    """Axes of the `count` largest principal components of the latents; the notes are their shares of the variance."""
    variances, directions = np.linalg.eigh(geometry.covariance.astype(np.float64))
    axes = []
    for rank in range(1, min(count, len(variances)) + 1):
        step = along(oriented(directions[:, -rank]).astype(np.float32), geometry)
        axes.append(Axis(f"pc{rank}", step, f"{100 * variances[-rank] / variances.sum():.1f} %"))
    return axes


def oriented(direction: np.ndarray) -> np.ndarray:
    """`direction` (latent_dim,), negated if its entry of largest magnitude is negative: eigenvectors have no sign."""
    return np.asarray(direction * np.sign(direction[np.argmax(np.abs(direction))]))


def as_vector(axis: Axis, geometry: Geometry, model_id: str) -> ConceptVector:
    """Unsaved concept vector whose strength 1 is one step, a standard deviation of the latents, along `axis`."""
    return unlabelled(axis.name, axis.step, AXIS, {}, geometry, model_id)


def of_vector(vector: ConceptVector, geometry: Geometry) -> Axis:
    """Axis along a concept vector; the note gives the length of strength 1 in steps, like `1 is 2.3 sd`."""
    step = along(vector.direction, geometry)
    gap = np.linalg.norm(vector.direction) / max(float(np.linalg.norm(step)), 1e-12)
    return Axis(vector.name, step, f"1 is {gap:.1f} sd")


def at_random(geometry: Geometry) -> Axis:
    """Axis in a fixed random direction, as a baseline: a step in any direction changes an image somewhat."""
    direction = uniform_and_normal([0], len(geometry.mean))[1][0]
    return Axis(RANDOM, along(direction * np.sqrt(np.diag(geometry.covariance)), geometry))


def along(direction: np.ndarray, geometry: Geometry) -> np.ndarray:
    """`direction` (latent_dim,) rescaled, as float32, to be one standard deviation of the latents along it long."""
    unit = direction.astype(np.float64) / np.linalg.norm(direction)
    return np.asarray(unit * np.sqrt(max(unit @ geometry.covariance @ unit, 0.0)), dtype=np.float32)


def fan(x: np.ndarray, y: np.ndarray, latent_dim: int) -> np.ndarray:
    """Latents (n, latent_dim) for points `x`, `y` (n,) of a plane: each dimension varies along an angle of its own.

    Dimension i of d is the N(0, 1) quantile of a triangle wave along angle i pi / d with phase i / d (White's `plat`).
    """
    from scipy.special import ndtri

    shares = np.arange(latent_dim) / latent_dim
    distance = x[:, None] * np.cos(np.pi * shares) + y[:, None] * np.sin(np.pi * shares) + shares
    wave = np.abs((distance % 2) - 1)
    return np.asarray(ndtri(_LEAST_QUANTILE + (1 - 2 * _LEAST_QUANTILE) * wave), dtype=np.float32)


def names_of(text: str, most: int) -> list[str]:
    """Names of axes in a comma-separated `text`. Raises UsageError for no name, more than `most`, or a repeated one."""
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(names) > most or len(set(names)) < len(names):
        raise UsageError(f"`axes` takes up to {most} different names like pc1,smile, got {text[:80]!r}")
    return names


def values(geometry: Geometry, axis: Axis, quantiles: Sequence[float] | np.ndarray) -> np.ndarray:
    """Quantiles (n,) of the latents' projections onto `axis`, in deviations from the mean, at `quantiles` (0 to 1)."""
    length = float(np.linalg.norm(axis.step))
    projections = (geometry.drawn - geometry.mean) @ (axis.step / length) / length
    return np.asarray(np.quantile(projections, quantiles))
