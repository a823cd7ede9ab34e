"""Priors over latents: N(0, I), and a density fitted to the encoded training images.

A calibrated VAE leaves holes between the encodings, where N(0, I) would put most of its samples; a Gaussian mixture
fitted afterwards does not (Ghosh et al. 2020, "From variational to deterministic autoencoders", section 4). Every
sample has a seed of its own, so it is the same in any batch.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentcli.config import FITTED_TEMPERATURE
from latentcli.model.vae import Posterior

ACTIVE_KL = 0.01  # nats on average, above which a latent dimension carries information
_MOST_COMPONENTS = 10
_PER_COMPONENT = 20  # latents per component and dimension
MOST_LATENTS = 30_000  # that the mixture is fitted to
_RIDGE = 1e-3  # added to each variance


@dataclass(frozen=True, slots=True)
class StandardPrior:
    """N(0, I)."""

    latent_dim: int
    temperature: float = 1.0  # the default of `sample`

    def sample(self, seeds: Sequence[int], temperature: float) -> Tensor:
        """One latent per seed: (len(seeds), latent_dim)."""
        return torch.stack([temperature * _noise(seed, self.latent_dim)[1] for seed in seeds])


@dataclass(frozen=True, slots=True)
class MixturePrior:
    """A Gaussian mixture with full covariances over the latents."""

    weights: Tensor  # (components,), sums to 1
    means: Tensor  # (components, latent_dim)
    factors: Tensor  # (components, latent_dim, latent_dim), lower triangular: covariance = factor @ factor.T
    temperature: float = FITTED_TEMPERATURE

    def sample(self, seeds: Sequence[int], temperature: float) -> Tensor:
        """One latent per seed: (len(seeds), latent_dim). The temperature scales each component's spread."""
        edges = self.weights.cumsum(0)
        latents = []
        for seed in seeds:
            position, noise = _noise(seed, self.means.shape[1])
            component = min(int(torch.searchsorted(edges, position)), len(edges) - 1)
            latents.append(self.means[component] + temperature * (self.factors[component] @ noise))
        return torch.stack(latents)

    def tensors(self) -> dict[str, Tensor]:
        return {"weights": self.weights, "means": self.means, "factors": self.factors}


Prior = StandardPrior | MixturePrior


def mean_and_covariance(prior: Prior, latent_dim: int) -> tuple[Tensor, Tensor]:
    """Mean (latent_dim,) and covariance (latent_dim, latent_dim) of a prior's latents."""
    if not isinstance(prior, MixturePrior):
        return torch.zeros(latent_dim), torch.eye(latent_dim)
    mean = prior.weights @ prior.means
    around = prior.means - mean
    within = (prior.weights[:, None, None] * (prior.factors @ prior.factors.mT)).sum(dim=0)
    return mean, within + (prior.weights[:, None] * around).T @ around


def _noise(seed: int, latent_dim: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((), generator=generator), torch.randn(latent_dim, generator=generator)


def fit(posterior: Posterior, seed: int) -> MixturePrior:
    """Fit a mixture to one draw per training image; dimensions that carry nothing stay N(0, 1).

    The number of components grows with the latents there are, and one Gaussian is taken where a held-out fifth says
    it is at least as likely. With fewer latents than twice the dimensions its covariance is shrunk (Ledoit & Wolf
    2004).
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(posterior.mean), generator=generator)[:MOST_LATENTS]
    mean, logvar = posterior.mean[order], posterior.logvar[order]
    kl = Posterior(mean, logvar).kl_per_dimension().mean(dim=0)
    active = torch.nonzero(kl > ACTIVE_KL).flatten()
    z = Posterior(mean, logvar).draw(torch.randn(mean.shape, generator=generator))
    if len(active) == 0:
        latent_dim = mean.shape[1]
        return MixturePrior(torch.ones(1), torch.zeros(1, latent_dim), torch.eye(latent_dim)[None])
    weights, means, covariances = _fit_components(z[:, active].double().numpy(), seed)
    return _embed(weights, means, covariances, active, mean.shape[1])


def _fit_components(z: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (k,), means (k, d) and covariances (k, d, d) of the better of a mixture and one Gaussian."""
    from sklearn.covariance import ledoit_wolf

    count, dims = z.shape
    components = min(_MOST_COMPONENTS, count // (_PER_COMPONENT * dims))
    if components >= 2:
        train, test = z[: -count // 5], z[-count // 5 :]
        if _mixture(train, components, seed).score(test) > _mixture(train, 1, seed).score(test):
            chosen = _mixture(z, components, seed)
            return chosen.weights_, chosen.means_, chosen.covariances_
    covariance = ledoit_wolf(z)[0] if count < 2 * dims else np.cov(z, rowvar=False).reshape(dims, dims)
    return np.ones(1), z.mean(axis=0, keepdims=True), (covariance + _RIDGE * np.eye(dims))[None]


def _mixture(z: np.ndarray, components: int, seed: int):  # type: ignore[no-untyped-def]  # sklearn has no types
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(components, reg_covar=_RIDGE, max_iter=40, tol=1e-2, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # forty rounds are plenty for sampling
        return mixture.fit(z)


def _embed(
    weights: np.ndarray, means: np.ndarray, covariances: np.ndarray, active: Tensor, latent_dim: int
) -> MixturePrior:
    """From the active dimensions to all: the others are N(0, 1)."""
    components = len(weights)
    all_means = torch.zeros(components, latent_dim)
    all_means[:, active] = torch.from_numpy(means).float()
    factors = torch.eye(latent_dim).repeat(components, 1, 1)
    lower = torch.linalg.cholesky(torch.from_numpy(covariances)).float()
    for component in range(components):
        factors[component, active[:, None], active[None, :]] = lower[component]
    return MixturePrior(torch.from_numpy(weights).float(), all_means, factors)


_TYPICAL = 0.995  # share of the prior's latents that count as typical
_INVERSE_RIDGE = 1e-6  # of the mean variance


@dataclass(frozen=True)
class Geometry:
    """Mean (latent_dim,), covariance (latent_dim, latent_dim), and some latents (n, latent_dim) drawn from there."""

    mean: Tensor
    covariance: Tensor
    drawn: Tensor

    def inverse(self) -> np.ndarray:
        """Of the covariance, in double precision: (latent_dim, latent_dim)."""
        covariance = self.covariance.double().numpy()
        ridge = _INVERSE_RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        return np.linalg.inv(covariance + ridge)

    def leading(self, share: float) -> np.ndarray:
        """The principal directions that hold this share of the variance: (latent_dim, k), orthonormal."""
        variances, directions = np.linalg.eigh(self.covariance.double().numpy())
        held = np.cumsum(variances[::-1]) / variances.sum()
        return directions[:, ::-1][:, : int(np.searchsorted(held, share)) + 1]

    def stay_typical(self, z: Tensor, moved: Tensor) -> Tensor:
        """`moved` (n, latent_dim), drawn back towards `z` where it is farther out than 99.5 % of the prior's latents.

        Far is the Mahalanobis distance; what was farther out before does not get farther.
        """
        inverse = torch.from_numpy(self.inverse()).float()

        def inner(a: Tensor, b: Tensor) -> Tensor:
            return ((a @ inverse) * b).sum(dim=1)

        drawn = self.drawn - self.mean
        start, step = z - self.mean, moved - z
        limit = inner(drawn, drawn).quantile(_TYPICAL).clamp_min(inner(start, start))  # (n,)
        # The larger root of |start + a * step|^2 = limit.
        square, mixed = inner(step, step).clamp_min(1e-12), inner(start, step)
        a = (-mixed + (mixed.square() + square * (limit - inner(start, start))).clamp_min(0).sqrt()) / square
        return z + a.clamp(0, 1)[:, None] * step
