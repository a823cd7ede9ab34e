"""Axes of a latent space: its dimensions, its principal components, concept vectors, and random directions.

A step along an axis is one standard deviation of the model's latents in that direction, whatever the axis is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentcli.concepts.vector import AXIS, ConceptVector, unlabelled
from latentcli.errors import UsageError
from latentcli.model.noise import uniform_and_normal
from latentcli.model.prior import Geometry
from latentcli.storage.names import NUMBERED_AXIS

RANDOM = "random"  # the name of the axis that `at_random` makes
_LEAST_QUANTILE = 0.003  # of `fan`, which goes up to 1 less it


@dataclass(frozen=True, slots=True)
class Axis:
    """A direction with a name."""

    name: str
    step: np.ndarray  # (latent_dim,), one standard deviation of the latents along it
    note: str = ""  # a figure to show beside the name


def numbered(name: str, geometry: Geometry) -> Axis:
    """The axis `z0` (dimensions count from 0) or `pc1` (components count from 1, the largest).

    Raises UsageError for a number that the model does not have.
    """
    parsed = NUMBERED_AXIS.fullmatch(name)
    assert parsed, name
    kind, index, count = parsed[1], int(parsed[2]), len(geometry.mean)
    first = 0 if kind == "z" else 1
    if not first <= index < first + count:
        raise UsageError(f"there is no axis {name}; the model has {kind}{first} to {kind}{first + count - 1}")
    return dimension(index, geometry) if kind == "z" else components(geometry, index)[-1]


def dimension(index: int, geometry: Geometry, note: str = "") -> Axis:
    """The axis of a latent dimension."""
    return Axis(f"z{index}", along(np.eye(len(geometry.mean), dtype=np.float32)[index], geometry), note)


def components(geometry: Geometry, count: int) -> list[Axis]:
    """The first principal components of the latents, each with its share of their variance."""
    variances, directions = np.linalg.eigh(geometry.covariance.astype(np.float64))
    axes = []
    for rank in range(1, min(count, len(variances)) + 1):
        step = along(oriented(directions[:, -rank]).astype(np.float32), geometry)
        axes.append(Axis(f"pc{rank}", step, f"{100 * variances[-rank] / variances.sum():.1f} %"))
    return axes


def oriented(direction: np.ndarray) -> np.ndarray:
    """A direction (latent_dim,) or its opposite, so that its largest number is positive: eigenvectors have no sign."""
    return np.asarray(direction * np.sign(direction[np.argmax(np.abs(direction))]))


def as_vector(axis: Axis, geometry: Geometry, model_id: str) -> ConceptVector:
    """A concept vector, not saved, whose strength 1 is a step along the axis."""
    return unlabelled(axis.name, axis.step, AXIS, {}, geometry, model_id)


def of_vector(vector: ConceptVector, geometry: Geometry) -> Axis:
    """The axis of a concept vector, with the length of strength 1 as its note."""
    step = along(vector.direction, geometry)
    gap = np.linalg.norm(vector.direction) / max(float(np.linalg.norm(step)), 1e-12)
    return Axis(vector.name, step, f"1 is {gap:.1f} sd")


def at_random(geometry: Geometry) -> Axis:
    """A random direction, for comparison: any direction changes something."""
    direction = uniform_and_normal([0], len(geometry.mean))[1][0]
    return Axis(RANDOM, along(direction * np.sqrt(np.diag(geometry.covariance)), geometry))


def along(direction: np.ndarray, geometry: Geometry) -> np.ndarray:
    """One standard deviation of the latents in a direction: (latent_dim,) float32."""
    unit = direction.astype(np.float64) / np.linalg.norm(direction)
    return np.asarray(unit * np.sqrt(max(unit @ geometry.covariance @ unit, 0.0)), dtype=np.float32)


def fan(x: np.ndarray, y: np.ndarray, latent_dim: int) -> np.ndarray:
    """Latents (n, latent_dim) at points (n,) of a plane that shows every dimension of N(0, I).

    Dimension i follows the angle i pi / d with a phase of i / d, as a triangle wave of quantiles (plat's fan).
    """
    from scipy.special import ndtri

    shares = np.arange(latent_dim) / latent_dim
    distance = x[:, None] * np.cos(np.pi * shares) + y[:, None] * np.sin(np.pi * shares) + shares
    wave = np.abs((distance % 2) - 1)
    return np.asarray(ndtri(_LEAST_QUANTILE + (1 - 2 * _LEAST_QUANTILE) * wave), dtype=np.float32)


def names_of(text: str, most: int) -> list[str]:
    """Names of axes between commas. Raises UsageError for none, more than `most`, or one twice."""
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(names) > most or len(set(names)) < len(names):
        raise UsageError(f"`axes` takes up to {most} different names like pc1,smile, got {text[:80]!r}")
    return names


def values(geometry: Geometry, axis: Axis, quantiles: Sequence[float] | np.ndarray) -> np.ndarray:
    """Standard deviations from the mean at which an axis has these quantiles of the model's latents: (n,)."""
    length = float(np.linalg.norm(axis.step))
    projections = (geometry.drawn - geometry.mean) @ (axis.step / length) / length
    return np.asarray(np.quantile(projections, quantiles))
