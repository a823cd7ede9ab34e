"""Priors over latents: N(0, I), and a density fitted to the encoded training images.

A calibrated VAE leaves holes between the encodings, where N(0, I) would put most of its samples; a Gaussian mixture
fitted afterwards does not (Ghosh et al. 2020, "From variational to deterministic autoencoders", section 4), and a flow
(`model/flow.py`) follows finer structure. Every sample has a seed of its own, so it is the same in any batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentcli.config import MIXTURE_TEMPERATURE
from latentcli.model.flow import FlowPrior
from latentcli.model.noise import uniform_and_normal


@dataclass(frozen=True, slots=True)
class StandardPrior:
    """N(0, I)."""

    latent_dim: int
    temperature: float = 1.0  # the default of `sample`

    def sample(self, seeds: Sequence[int], temperature: float) -> np.ndarray:
        """One latent per seed: (len(seeds), latent_dim) float32."""
        return np.float32(temperature) * uniform_and_normal(seeds, self.latent_dim)[1]


@dataclass(frozen=True, slots=True)
class MixturePrior:
    """A Gaussian mixture with full covariances over the latents."""

    weights: np.ndarray  # (components,), sums to 1
    means: np.ndarray  # (components, latent_dim)
    factors: np.ndarray  # (components, latent_dim, latent_dim), lower triangular: covariance = factor @ factor.T
    temperature: float = MIXTURE_TEMPERATURE

    def sample(self, seeds: Sequence[int], temperature: float) -> np.ndarray:
        """One latent per seed: (len(seeds), latent_dim) float32. The temperature scales each component's spread."""
        positions, noise = uniform_and_normal(seeds, self.means.shape[1])
        edges = np.cumsum(self.weights, dtype=np.float32)
        chosen = np.minimum(np.searchsorted(edges, positions), len(edges) - 1)
        latents = [
            self.means[component] + np.float32(temperature) * (self.factors[component] @ one)
            for component, one in zip(chosen, noise, strict=True)
        ]
        return np.stack(latents)

    def arrays(self) -> dict[str, np.ndarray]:
        """As the model file holds it."""
        return {"weights": self.weights, "means": self.means, "factors": self.factors}


Prior = StandardPrior | MixturePrior | FlowPrior


def mean_and_covariance(prior: Prior, latent_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (latent_dim,) and covariance (latent_dim, latent_dim) of a prior's latents."""
    if isinstance(prior, StandardPrior):
        return np.zeros(latent_dim, dtype=np.float32), np.eye(latent_dim, dtype=np.float32)
    if isinstance(prior, FlowPrior):
        return prior.mean, prior.basis.T @ prior.basis + np.diag(~prior.is_active).astype(np.float32)
    mean = prior.weights @ prior.means
    around = prior.means - mean
    within = (prior.weights[:, None, None] * (prior.factors @ prior.factors.transpose(0, 2, 1))).sum(axis=0)
    return mean, within + (prior.weights[:, None] * around).T @ around


_TYPICAL = 0.995  # share of the prior's latents that count as typical
_INVERSE_RIDGE = 1e-6  # of the mean variance


@dataclass(frozen=True)
class Geometry:
    """Mean (latent_dim,), covariance (latent_dim, latent_dim), and some latents (n, latent_dim) drawn from there."""

    mean: np.ndarray
    covariance: np.ndarray
    drawn: np.ndarray

    def inverse(self) -> np.ndarray:
        """Of the covariance, in double precision: (latent_dim, latent_dim)."""
        covariance = self.covariance.astype(np.float64)
        ridge = _INVERSE_RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        return np.linalg.inv(covariance + ridge)

    def leading(self, share: float) -> np.ndarray:
        """The principal directions that hold this share of the variance: (latent_dim, k), orthonormal."""
        variances, directions = np.linalg.eigh(self.covariance.astype(np.float64))
        held = np.cumsum(variances[::-1]) / variances.sum()
        return directions[:, ::-1][:, : int(np.searchsorted(held, share)) + 1]

    def stay_typical(self, z: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """`moved` (n, latent_dim), drawn back towards `z` where it is farther out than 99.5 % of the prior's latents.

        Far is the Mahalanobis distance; what was farther out before does not get farther.
        """
        inverse = self.inverse().astype(np.float32)

        def inner(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.asarray(((a @ inverse) * b).sum(axis=1))

        drawn = self.drawn - self.mean
        start, step = z - self.mean, moved - z
        limit = np.maximum(np.quantile(inner(drawn, drawn), _TYPICAL), inner(start, start))  # (n,)
        # The larger root of |start + a * step|^2 = limit.
        square, mixed = np.maximum(inner(step, step), 1e-12), inner(start, step)
        root = np.sqrt(np.maximum(np.square(mixed) + square * (limit - inner(start, start)), 0))
        a = np.clip((root - mixed) / square, 0, 1).astype(np.float32)
        return np.asarray(z + a[:, None] * step)
