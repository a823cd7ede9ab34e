"""Prior by flow matching: a velocity field that carries N(0, I) to the encoded training images, computed with NumPy.

Lipman et al. 2023, "Flow matching for generative modeling", with straight paths (section 4.1, sigma_min 0). It runs in
whitened latents, from x0 ~ N(0, I) at time 0 to x1 at time 1. The field is that of a Gaussian mixture, which is known,
plus what a residual network adds to it: with an untrained network it draws from the mixture.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from latentcli.config import FLOW_TEMPERATURE
from latentcli.model.noise import uniform_and_normal

FREQUENCIES = 32  # of the time's sines and cosines, from 1 to 1,000
_STEPS = 12  # of the midpoint rule, two evaluations each
_AT_ONCE = 256  # latents
_EPSILON = 1e-5  # of the layer norm

Field = Callable[[np.ndarray, float], np.ndarray]


def frequencies() -> np.ndarray:
    """Of the sines and cosines that the network sees the time as: (FREQUENCIES,) float32."""
    return np.exp(np.linspace(0, math.log(1000), FREQUENCIES)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class MixturePaths:
    """Straight paths from N(0, I) to a Gaussian mixture of c components over k whitened dimensions."""

    weights: np.ndarray  # (c,), sums to 1
    means: np.ndarray  # (c, k)
    variances: np.ndarray  # (c, k), along the directions
    directions: np.ndarray  # (c, k, k), orthonormal columns

    def velocity(self, x: np.ndarray, t: float) -> np.ndarray:
        """Mean velocity (n, k) of the paths that pass x (n, k) at time t.

        On the way a component is N(t m, (1 - t)^2 I + t^2 C), in which both ends of a path have means that are linear
        in x; components count by how likely they make x.
        """
        log_likelihoods, velocities = [], []
        for weight, mean, variances, directions in zip(
            self.weights, self.means, self.variances, self.directions, strict=True
        ):
            along = (x - t * mean) @ directions
            between = (1 - t) ** 2 + t**2 * variances
            log_likelihoods.append(np.log(weight) - 0.5 * (np.square(along) / between + np.log(between)).sum(axis=1))
            velocities.append(mean + ((t * variances - (1 - t)) / between * along) @ directions.T)
        shares = np.exp(np.stack(log_likelihoods) - np.max(log_likelihoods, axis=0))  # (c, n)
        shares /= shares.sum(axis=0)
        return np.asarray((shares[:, :, None] * np.stack(velocities)).sum(axis=0))

    def fits(self, k: int) -> bool:
        """Whether the arrays have the shapes of such paths."""
        c = self.weights.size
        expected = [(c,), (c, k), (c, k), (c, k, k)]
        return c > 0 and [array.shape for array in self.arrays().values()] == expected

    def arrays(self) -> dict[str, np.ndarray]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class FlowPrior:
    """A density over latents, as the model file holds it."""

    mean: np.ndarray  # (latent_dim,)
    basis: np.ndarray  # (k, latent_dim): what one unit of each whitened dimension adds to the mean
    paths: MixturePaths
    weights: Mapping[str, np.ndarray]  # of the network
    temperature: float = FLOW_TEMPERATURE

    def sample(self, seeds: Sequence[int], temperature: float) -> np.ndarray:
        """One latent per seed: (len(seeds), latent_dim) float32. The temperature scales the noise at the start."""
        noise = np.float32(temperature) * uniform_and_normal(seeds, len(self.mean))[1]
        return np.concatenate([self._carried(noise[i : i + _AT_ONCE]) for i in range(0, max(1, len(noise)), _AT_ONCE)])

    @cached_property
    def is_active(self) -> np.ndarray:
        """Which latent dimensions it is a density over; the others are N(0, 1): (latent_dim,) bool."""
        return np.asarray(self.basis.any(axis=0))

    def _carried(self, noise: np.ndarray) -> np.ndarray:
        z = self.mean + integrate(self.velocity, noise[:, self.is_active]) @ self.basis
        return np.where(self.is_active, z, noise)

    def velocity(self, x: np.ndarray, t: float) -> np.ndarray:
        """dx/dt of whitened latents x (n, k) at time t in [0, 1]."""
        moment = self._moment(t)
        h = _linear(x, self.weights, "first")
        for block in range(self._blocks):
            scale, shift, gate = np.split(_linear(moment, self.weights, f"blocks.{block}.moment"), 3)
            inner = _normed(h) * (1 + scale) + shift
            inner = _linear(
                _silu(_linear(inner, self.weights, f"blocks.{block}.up")), self.weights, f"blocks.{block}.down"
            )
            h = h + gate * inner
        return np.asarray(_linear(_normed(h), self.weights, "last") + self.paths.velocity(x, t))

    def _moment(self, t: float) -> np.ndarray:
        angles = np.float32(t) * frequencies()
        seen = np.concatenate([np.sin(angles), np.cos(angles)])
        return _silu(_linear(_silu(_linear(seen, self.weights, "time.0")), self.weights, "time.1"))

    @cached_property
    def _blocks(self) -> int:
        return sum(name.endswith(".up.weight") for name in self.weights)

    @property
    def fits(self) -> bool:
        """Whether the arrays have the shapes of such a prior."""
        k, latent_dim = self.basis.shape if self.basis.ndim == 2 else (0, 0)
        if self.mean.shape != (latent_dim,) or int(self.is_active.sum()) != k or not k or not self.paths.fits(k):
            return False
        try:
            moment = self._moment(0.0)
            return moment.ndim == 1 and self.velocity(np.zeros((1, k), dtype=np.float32), 0.0).shape == (1, k)
        except (KeyError, ValueError):
            return False

    def arrays(self) -> dict[str, np.ndarray]:
        """As the model file holds it."""
        parts = {"paths": self.paths.arrays(), "flow": self.weights}
        named = {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
        return {"mean": self.mean, "basis": self.basis, **named}


def integrate(velocity: Field, x: np.ndarray, steps: int = _STEPS) -> np.ndarray:
    """x (n, k) at time 1, from time 0, by the midpoint rule."""
    for step in range(steps):
        half = x + np.float32(0.5 / steps) * velocity(x, step / steps)
        x = x + np.float32(1 / steps) * velocity(half, (step + 0.5) / steps)
    return x


def _linear(x: np.ndarray, weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return np.asarray(x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])


def _silu(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # the exponential of a large number is infinite, and the quotient 0
        return np.asarray(x / (1 + np.exp(-x)))


def _normed(h: np.ndarray) -> np.ndarray:
    centred = h - h.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + np.float32(_EPSILON)))
