"""Priors over latents: N(0, I), and a density fitted to the encoded training images.

The encodings of a calibrated VAE leave holes, in which most samples from N(0, I) fall. A Gaussian mixture fitted after
the training avoids holes (Ghosh et al. 2020, "From variational to deterministic autoencoders", section 4), and a flow
(`model/flow.py`) follows finer structure. Every sample has its own seed, so samples do not depend on the batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from typing import Self

import numpy as np

from latentcli.defaults import TEMPERATURE
from latentcli.model.flow import FlowPrior
from latentcli.model.noise import mixed, uniform_and_normal


@dataclass(frozen=True, slots=True)
class StandardPrior:
    """The standard normal prior N(0, I) over latents."""

    latent_dim: int

    def sample(self, seeds: Sequence[int], temperature: float = TEMPERATURE) -> np.ndarray:
        """Samples of N(0, temperature^2 I), one per seed: (len(seeds), latent_dim) float32."""
        return np.float32(temperature) * uniform_and_normal(seeds, self.latent_dim)[1]

    def vary(self, z: np.ndarray, seeds: Sequence[int], spread: float) -> np.ndarray:
        """Variations (len(seeds), latent_dim) of z (latent_dim,): `spread` 0 changes nothing, 1 gives fresh samples."""
        return mixed(z, uniform_and_normal(seeds, self.latent_dim)[1], spread)


@dataclass(frozen=True, slots=True)
class MixturePrior:
    """Prior over latents that is a Gaussian mixture with full covariances."""

    weights: np.ndarray  # (components,), sums to 1
    means: np.ndarray  # (components, latent_dim)
    factors: np.ndarray  # (components, latent_dim, latent_dim), lower triangular: covariance = factor @ factor.T

    def sample(self, seeds: Sequence[int], temperature: float = TEMPERATURE) -> np.ndarray:
        """Samples, one per seed: (len(seeds), latent_dim) float32; `temperature` scales distances from means."""
        uniform, noise = uniform_and_normal(seeds, self.means.shape[1])
        edges = np.cumsum(self.weights, dtype=np.float32)
        components = np.minimum(np.searchsorted(edges, uniform), len(edges) - 1)
        latents = [
            self.means[component] + np.float32(temperature) * (self.factors[component] @ deviation)
            for component, deviation in zip(components, noise, strict=True)
        ]
        return np.stack(latents)

    def vary(self, z: np.ndarray, seeds: Sequence[int], spread: float) -> np.ndarray:
        """Random variations of the latent z (latent_dim,), one per seed: (len(seeds), latent_dim).

        `spread` runs from 0, no change, to 1, a fresh sample of the component that is most probable given z.
        """
        noises = np.linalg.solve(self.factors, (z - self.means)[:, :, None])[:, :, 0]  # z whitened by each component
        volumes = np.log(np.abs(np.diagonal(self.factors, axis1=1, axis2=2))).sum(axis=1)
        chosen = int(np.argmax(np.log(self.weights) - volumes - 0.5 * np.square(noises).sum(axis=1)))
        varied = mixed(noises[chosen], uniform_and_normal(seeds, len(z))[1], spread)
        return np.asarray(self.means[chosen] + varied @ self.factors[chosen].T)

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays of the mixture by their names in the model file."""
        return {"weights": self.weights, "means": self.means, "factors": self.factors}

    def fits(self, latent_dim: int) -> bool:
        """Whether the shapes of all arrays of the mixture agree with each other and with `latent_dim`."""
        c, d = self.weights.size, latent_dim
        return c > 0 and [array.shape for array in self.arrays().values()] == [(c,), (c, d), (c, d, d)]


Prior = StandardPrior | MixturePrior | FlowPrior


def mixture_of(flow: FlowPrior) -> MixturePrior:
    """Gaussian mixture over latents whose velocity `flow` corrects; latent dimensions outside the flow are N(0, 1)."""
    paths, latent_dim = flow.paths, len(flow.mean)
    factors = np.zeros((len(paths.weights), latent_dim, latent_dim), dtype=np.float32)
    spread = paths.directions * np.sqrt(paths.variances)[:, None]  # (c, k, k)
    factors[:, :, flow.is_active] = flow.basis.T @ spread
    inactive = np.flatnonzero(~flow.is_active)
    factors[:, inactive, inactive] = 1
    return MixturePrior(paths.weights, flow.mean + paths.means @ flow.basis, factors)


_TYPICAL = 0.995  # share of the prior's latents that count as typical
_DRAWN = 2000  # samples of the prior that stand for encoded training images
_HALVINGS = 8  # bisection steps in the search for the largest typical move
_INVERSE_RIDGE = 1e-6  # added to the covariance before inverting, as a share of the mean variance
_POWERS, _GAINS = (1, 3, 5, 7), (0.0, 0.25, 0.5, 0.75)  # of the covariance and of the gains, in `spectra`
_SMALLEST_GAIN = 1e-4  # of a dimension that PCA left out, as a share of the largest


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Prior covariance of a concept's direction, in coordinates in which that of the latents is the identity."""

    whiten: np.ndarray  # (latent_dim, latent_dim): from latents to the coordinates
    back: np.ndarray  # (latent_dim, latent_dim): its inverse
    variances: np.ndarray  # (latent_dim,), of mean 1: the prior covariance, which is diagonal there

    @classmethod
    def of(cls, variances: np.ndarray, directions: np.ndarray, power: float, gains: np.ndarray) -> Self:
        """Spectrum whose prior covariance is G^(1/2) C^power G^(1/2), G the diagonal matrix of `gains` (latent_dim,).

        C has the eigenvalues `variances` (latent_dim,) and the eigenvectors `directions`.
        """
        whiten, back = (directions / np.sqrt(variances)).T, directions * np.sqrt(variances)  # C = back @ back.T
        factor = whiten @ (np.sqrt(gains)[:, None] * directions * (variances / variances.max()) ** (power / 2))
        prior, rotation = np.linalg.eigh(factor @ factor.T)
        prior = np.maximum(prior, _INVERSE_RIDGE**2 * prior.max())
        return cls(rotation.T @ whiten, back @ rotation, prior / prior.mean())


@dataclass(frozen=True)
class Geometry:
    """Mean, covariance, samples and typical region of a prior over latents."""

    mean: np.ndarray  # (latent_dim,)
    covariance: np.ndarray  # (latent_dim, latent_dim)
    draw: Callable[[], np.ndarray]  # makes samples (n, latent_dim) at temperature 1
    flow: FlowPrior | None = None  # the prior, if it is a flow
    gains: np.ndarray | None = None  # (latent_dim,): squared change of the image per unit of each dimension, if known

    @classmethod
    def of(cls, prior: Prior, gains: np.ndarray | None = None) -> Self:
        """Mean, covariance and samples of `prior`.

        For a flow these are of its Gaussian mixture, which is fast: the repair gives samples of the flow the same mean
        and variances. What is typical is the flow's own.
        """
        source = mixture_of(prior) if isinstance(prior, FlowPrior) else prior
        if isinstance(source, StandardPrior):
            mean = np.zeros(source.latent_dim, dtype=np.float32)
            covariance = np.eye(source.latent_dim, dtype=np.float32)
        else:
            weights, mean = source.weights, source.weights @ source.means
            deviations = source.means - mean
            within = source.factors @ source.factors.transpose(0, 2, 1)  # (components, latent_dim, latent_dim)
            covariance = (weights[:, None, None] * within).sum(axis=0)
            covariance = covariance + (weights[:, None] * deviations).T @ deviations
        draw = partial(source.sample, range(_DRAWN), 1.0)
        return cls(mean, covariance, draw, prior if isinstance(prior, FlowPrior) else None, gains)

    @cached_property
    def drawn(self) -> np.ndarray:
        """Samples of the prior at temperature 1, drawn at the first access: (n, latent_dim)."""
        return self.draw()

    def inverse(self) -> np.ndarray:
        """Inverse of the covariance, stabilised by a small ridge, float64: (latent_dim, latent_dim)."""
        covariance = self.covariance.astype(np.float64)
        ridge = _INVERSE_RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        return np.linalg.inv(covariance + ridge)

    @cached_property
    def spectra(self) -> list[Spectrum]:
        """Spectra that the directions of concepts may have: powers of the covariance times powers of the gains.

        Concepts lie where the latents vary most and where the decoder changes images most. How strongly they do differs
        between models and between concepts, so `concepts/shrink.py` weighs the spectra by how well they fit.
        """
        covariance = self.covariance.astype(np.float64)
        variances, directions = np.linalg.eigh(covariance)
        variances = np.maximum(variances, _INVERSE_RIDGE * variances.mean())
        if self.gains is None:
            return [Spectrum.of(variances, directions, power, np.ones(len(variances))) for power in _POWERS]
        gains = self.gains.astype(np.float64)
        gains = np.maximum(gains / gains.max(), _SMALLEST_GAIN)
        return [
            Spectrum.of(variances, directions, power, gains**exponent) for power, exponent in product(_POWERS, _GAINS)
        ]

    def stay_typical(self, z: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """`moved` (n, latent_dim), pulled back towards `z` where farther out than 99.5 % of the prior's samples.

        The distance is Mahalanobis', or for a flow the norm of the noise that the flow carries to the latent. Where `z`
        itself is farther out, `moved` may be as far out as `z`.
        """
        share = self._share_by_noise(self.flow, z, moved) if self.flow else self._share_by_covariance(z, moved)
        return np.asarray(z + share.astype(np.float32)[:, None] * (moved - z))

    def _share_by_covariance(self, z: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """Largest share of each move from `z` to `moved` that stays within a typical Mahalanobis distance: (n,)."""
        inverse = self.inverse().astype(np.float32)

        def inner(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.asarray(((a @ inverse) * b).sum(axis=1))

        drawn = self.drawn - self.mean
        start, step = z - self.mean, moved - z
        limit = np.maximum(np.quantile(inner(drawn, drawn), _TYPICAL), inner(start, start))  # (n,)
        # The larger root of |start + share * step|^2 = limit.
        square, mixed = np.maximum(inner(step, step), 1e-12), inner(start, step)
        root = np.sqrt(np.maximum(np.square(mixed) + square * (limit - inner(start, start)), 0))
        return np.asarray(np.clip((root - mixed) / square, 0, 1))

    def _share_by_noise(self, flow: FlowPrior, z: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """Largest share of each move from `z` to `moved` whose noise in `flow` has a typical norm: (n,)."""
        from scipy.stats import chi2

        def squared_norm(latents: np.ndarray) -> np.ndarray:
            return np.asarray(np.square(flow.noise_of(latents)).sum(axis=1))

        limit = np.maximum(chi2.ppf(_TYPICAL, len(flow.basis)), squared_norm(z))
        inside, outside = np.zeros(len(z), dtype=np.float32), np.ones(len(z), dtype=np.float32)
        inside[squared_norm(moved) <= limit] = 1
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            is_typical = squared_norm(z + middle[:, None] * (moved - z)) <= limit
            inside, outside = np.where(is_typical, middle, inside), np.where(is_typical, outside, middle)
        return inside
