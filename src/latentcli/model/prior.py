"""Priors over latents: N(0, I), and a density fitted to the encoded training images.

A calibrated VAE leaves holes between the encodings, where N(0, I) would put most of its samples; a Gaussian mixture
fitted afterwards does not (Ghosh et al. 2020, "From variational to deterministic autoencoders", section 4), and a flow
(`model/flow.py`) follows finer structure. Every sample has a seed of its own, so it is the same in any batch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Self

import numpy as np

from latentcli.defaults import MIXTURE_TEMPERATURE
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

    def vary(self, z: np.ndarray, seeds: Sequence[int], spread: float) -> np.ndarray:
        """One variation of the latent z (latent_dim,) per seed: (len(seeds), latent_dim).

        The spread goes from 0, which changes nothing, to 1, which is a sample.
        """
        return _mixed(z, uniform_and_normal(seeds, self.latent_dim)[1], spread)


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

    def vary(self, z: np.ndarray, seeds: Sequence[int], spread: float) -> np.ndarray:
        """The same as `StandardPrior.vary`, within the component that z most likely comes from."""
        noises = np.linalg.solve(self.factors, (z - self.means)[:, :, None])[:, :, 0]  # what each would make z of
        volumes = np.log(np.abs(np.diagonal(self.factors, axis1=1, axis2=2))).sum(axis=1)
        chosen = int(np.argmax(np.log(self.weights) - volumes - 0.5 * np.square(noises).sum(axis=1)))
        varied = _mixed(noises[chosen], uniform_and_normal(seeds, len(z))[1], spread)
        return np.asarray(self.means[chosen] + varied @ self.factors[chosen].T)

    def arrays(self) -> dict[str, np.ndarray]:
        """As the model file holds it."""
        return {"weights": self.weights, "means": self.means, "factors": self.factors}


Prior = StandardPrior | MixturePrior | FlowPrior


def _mixed(z: np.ndarray, noise: np.ndarray, spread: float) -> np.ndarray:
    """Of z (d,) and noise (n, d), which are both N(0, I), and so is the result (n, d)."""
    return np.asarray(np.float32(math.sqrt(1 - spread**2)) * z + np.float32(spread) * noise)


def _mixture_of(flow: FlowPrior) -> MixturePrior:
    """The Gaussian mixture that a flow starts from, over latents: it has the mean and covariance of the encodings."""
    paths, latent_dim = flow.paths, len(flow.mean)
    factors = np.zeros((len(paths.weights), latent_dim, latent_dim), dtype=np.float32)
    spread = paths.directions * np.sqrt(paths.variances)[:, None]  # (c, k, k)
    factors[:, :, flow.is_active] = flow.basis.T @ spread
    inactive = np.flatnonzero(~flow.is_active)
    factors[:, inactive, inactive] = 1
    return MixturePrior(paths.weights, flow.mean + paths.means @ flow.basis, factors)


def mean_and_covariance(prior: Prior, latent_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (latent_dim,) and covariance (latent_dim, latent_dim) of a prior's latents; a flow's are its mixture's."""
    if isinstance(prior, StandardPrior):
        return np.zeros(latent_dim, dtype=np.float32), np.eye(latent_dim, dtype=np.float32)
    mixture = _mixture_of(prior) if isinstance(prior, FlowPrior) else prior
    mean = mixture.weights @ mixture.means
    around = mixture.means - mean
    within = mixture.factors @ mixture.factors.transpose(0, 2, 1)  # (components, latent_dim, latent_dim)
    return mean, (mixture.weights[:, None, None] * within).sum(axis=0) + (mixture.weights[:, None] * around).T @ around


_TYPICAL = 0.995  # share of the prior's latents that count as typical
_DRAWN = 2000  # latents of the prior that stand for the training images
_HALVINGS = 8  # of the way to where latents are typical no more
_INVERSE_RIDGE = 1e-6  # of the mean variance


@dataclass(frozen=True)
class Geometry:
    """Where the latents of a prior lie."""

    mean: np.ndarray  # (latent_dim,)
    covariance: np.ndarray  # (latent_dim, latent_dim)
    draw: Callable[[], np.ndarray]  # some latents (n, latent_dim) at temperature 1
    flow: FlowPrior | None = None  # the prior, where it is one

    @classmethod
    def of(cls, prior: Prior, latent_dim: int) -> Self:
        mean, covariance = mean_and_covariance(prior, latent_dim)
        flow = prior if isinstance(prior, FlowPrior) else None
        drawn_from = _mixture_of(flow) if flow else prior  # at once; the flow itself takes seconds
        return cls(mean, covariance, partial(drawn_from.sample, range(_DRAWN), 1.0), flow)

    @cached_property
    def drawn(self) -> np.ndarray:
        """Some latents from there: (n, latent_dim)."""
        return self.draw()

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

        Far is the Mahalanobis distance, or for a flow the length of the noise that it carries there; what was farther
        out before does not get farther.
        """
        way = self._way_by_noise(self.flow, z, moved) if self.flow else self._way_by_covariance(z, moved)
        return np.asarray(z + way.astype(np.float32)[:, None] * (moved - z))

    def _way_by_covariance(self, z: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """Share of the way from z to moved that stays typical: (n,)."""
        inverse = self.inverse().astype(np.float32)

        def inner(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.asarray(((a @ inverse) * b).sum(axis=1))

        drawn = self.drawn - self.mean
        start, step = z - self.mean, moved - z
        limit = np.maximum(np.quantile(inner(drawn, drawn), _TYPICAL), inner(start, start))  # (n,)
        # The larger root of |start + a * step|^2 = limit.
        square, mixed = np.maximum(inner(step, step), 1e-12), inner(start, step)
        root = np.sqrt(np.maximum(np.square(mixed) + square * (limit - inner(start, start)), 0))
        return np.asarray(np.clip((root - mixed) / square, 0, 1))

    def _way_by_noise(self, flow: FlowPrior, z: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """The same, found by halving."""
        from scipy.stats import chi2

        def squared_length(latents: np.ndarray) -> np.ndarray:
            return np.asarray(np.square(flow.noise_of(latents)).sum(axis=1))

        limit = np.maximum(chi2.ppf(_TYPICAL, len(flow.basis)), squared_length(z))
        inside, outside = np.zeros(len(z), dtype=np.float32), np.ones(len(z), dtype=np.float32)
        inside[squared_length(moved) <= limit] = 1
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            stays = squared_length(z + middle[:, None] * (moved - z)) <= limit
            inside, outside = np.where(stays, middle, inside), np.where(stays, outside, middle)
        return inside
