"""Prior by flow matching: a velocity field that carries N(0, I) to the encoded training images, computed with NumPy.

Lipman et al. 2023, "Flow matching for generative modeling", with straight paths (section 4.1, sigma_min 0). It runs in
whitened latents, from x0 ~ N(0, I) at time 0 to x1 at time 1. The field is that of a Gaussian plus what a residual
network adds to it, so that an untrained network gives the Gaussian with the latents' mean and covariance.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


def gaussian_rate(t: float) -> float:
    """The factor c(t) of the velocity c(t) x that keeps N(0, I) at N(0, I), where x1 is independent of x0."""
    return (2 * t - 1) / ((1 - t) ** 2 + t**2)


@dataclass(frozen=True)
class FlowPrior:
    """A density over latents, as the model file holds it."""

    mean: np.ndarray  # (latent_dim,)
    basis: np.ndarray  # (k, latent_dim): what one unit of each whitened dimension adds to the mean
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
        return _linear(_normed(h), self.weights, "last") + np.float32(gaussian_rate(t)) * x

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
        if self.mean.shape != (latent_dim,) or int(self.is_active.sum()) != k or not k:
            return False
        try:
            moment = self._moment(0.0)
            return moment.ndim == 1 and self.velocity(np.zeros((1, k), dtype=np.float32), 0.0).shape == (1, k)
        except (KeyError, ValueError):
            return False

    def arrays(self) -> dict[str, np.ndarray]:
        """As the model file holds it."""
        return {
            "mean": self.mean,
            "basis": self.basis,
            **{f"flow.{name}": array for name, array in self.weights.items()},
        }


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
