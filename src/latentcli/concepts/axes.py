"""Axes of a latent space: its dimensions, its principal components, concept vectors, and directions by chance.

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

RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Axis:
    """A direction with a name."""

    name: str
    step: np.ndarray  # (latent_dim,), one standard deviation of the latents along it
    note: str = ""  # a figure to be printed beside it


def numbered(name: str, geometry: Geometry) -> Axis:
    """The axis `z0` (dimensions count from 0) or `pc1` (components count from 1, the largest).

    Raises UsageError where there are not so many.
    """
    found = NUMBERED_AXIS.fullmatch(name)
    assert found, name
    kind, index, most = found[1], int(found[2]), len(geometry.mean)
    if not (0 <= index < most if kind == "z" else 1 <= index <= most):
        first, last = ("z0", f"z{most - 1}") if kind == "z" else ("pc1", f"pc{most}")
        raise UsageError(f"there is no axis {name}; the model has {first} to {last}")
    if kind == "z":
        return dimension(index, geometry)
    return components(geometry, index)[-1]


def dimension(index: int, geometry: Geometry, note: str = "") -> Axis:
    """A latent dimension."""
    return Axis(f"z{index}", along(np.eye(len(geometry.mean), dtype=np.float32)[index], geometry), note)


def components(geometry: Geometry, count: int) -> list[Axis]:
    """The first principal components of the latents, each with its share of their variance."""
    variances, directions = np.linalg.eigh(geometry.covariance.astype(np.float64))
    found = []
    for rank in range(1, min(count, len(variances)) + 1):
        direction = oriented(directions[:, -rank])
        share = 100 * variances[-rank] / variances.sum()
        found.append(Axis(f"pc{rank}", along(direction.astype(np.float32), geometry), f"{share:.1f} %"))
    return found


def oriented(direction: np.ndarray) -> np.ndarray:
    """A direction (latent_dim,) turned so that its largest number is positive: eigenvectors have no sign."""
    return np.asarray(direction * np.sign(direction[np.argmax(np.abs(direction))]))


def as_vector(axis: Axis, geometry: Geometry, model_id: str) -> ConceptVector:
    """A step along an axis as a vector that is not saved."""
    return unlabelled(axis.name, axis.step, AXIS, {}, geometry, model_id)


def of_vector(vector: ConceptVector, geometry: Geometry) -> Axis:
    """The direction of a concept vector; with how far strength 1 goes along it."""
    step = along(vector.direction, geometry)
    gap = np.linalg.norm(vector.direction) / max(float(np.linalg.norm(step)), 1e-12)
    return Axis(vector.name, step, f"1 is {gap:.1f} sd")


def at_random(geometry: Geometry, seed: int = 0) -> Axis:
    """A direction by chance, for comparison: any direction changes something."""
    direction = uniform_and_normal([seed], len(geometry.mean))[1][0]
    return Axis(RANDOM, along(direction * np.sqrt(np.diag(geometry.covariance)), geometry))


def along(direction: np.ndarray, geometry: Geometry) -> np.ndarray:
    """One standard deviation of the latents in a direction: (latent_dim,) float32."""
    unit = direction.astype(np.float64) / np.linalg.norm(direction)
    return np.asarray(unit * np.sqrt(max(unit @ geometry.covariance @ unit, 0.0)), dtype=np.float32)


def fan(x: np.ndarray, y: np.ndarray, latent_dim: int) -> np.ndarray:
    """Latents (n, latent_dim) at places (n,) of a plane that shows every dimension of N(0, I).

    Dimension i looks along the angle i pi / d, with a phase of i / d, as a triangle wave of quantiles (plat's fan).
    """
    from scipy.special import ndtri

    number = np.arange(latent_dim) / latent_dim
    way = x[:, None] * np.cos(np.pi * number) + y[:, None] * np.sin(np.pi * number) + number
    wave = np.abs((way % 2) - 1)
    return np.asarray(ndtri(_LEAST_QUANTILE + (1 - 2 * _LEAST_QUANTILE) * wave), dtype=np.float32)


_LEAST_QUANTILE = 0.003


def names_of(text: str, most: int) -> list[str]:
    """Names of axes, separated by commas. Raises UsageError for none, for more than `most`, or for one twice."""
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(names) > most or len(set(names)) < len(names):
        raise UsageError(f"`axes` takes up to {most} different names like pc1,smile, got {text[:80]!r}")
    return names


def values(geometry: Geometry, axis: Axis, quantiles: Sequence[float] | np.ndarray) -> np.ndarray:
    """Standard deviations from the mean at which an axis has these quantiles of the model's latents: (n,)."""
    length = float(np.linalg.norm(axis.step))
    projections = (geometry.drawn - geometry.mean) @ (axis.step / length) / length
    return np.asarray(np.quantile(projections, quantiles))
