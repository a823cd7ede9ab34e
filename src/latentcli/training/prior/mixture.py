"""Fit of a Gaussian mixture to the latents of the training images, as prior of the VAE."""

import warnings

import numpy as np
import torch
from torch import Tensor

from latentcli.model.prior import MixturePrior
from latentcli.model.vae import Posterior
from latentcli.storage.history import ACTIVE_KL

_MOST_COMPONENTS = 10  # of the mixture
_PER_COMPONENT = 20  # latents per component and dimension at least
MOST_LATENTS = 30_000  # latents at most that the prior is fitted to
_RIDGE = 1e-3  # added to each variance, so that no covariance is singular


def fit(posterior: Posterior, seed: int) -> MixturePrior:
    """Fit a Gaussian mixture to one posterior draw per image; inactive latent dimensions stay N(0, 1).

    The number of components grows with the number of images. A single Gaussian is used if a held-out fifth of the
    latents is at least as likely under it; with few latents its covariance is shrunk (Ledoit & Wolf 2004).
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(posterior.mean), generator=generator)[:MOST_LATENTS]
    mean, logvar = posterior.mean[order], posterior.logvar[order]
    active = active_dimensions(Posterior(mean, logvar))
    z = Posterior(mean, logvar).draw(torch.randn(mean.shape, generator=generator))
    weights, means, covariances = np.ones(1), np.zeros((1, 0)), np.zeros((1, 0, 0))
    if len(active):
        weights, means, covariances = _fit_components(z[:, active].double().numpy(), seed)
    components, latent_dim, rows = len(weights), mean.shape[1], active.numpy()
    all_means = np.zeros((components, latent_dim), dtype=np.float32)
    all_means[:, rows] = means
    factors = np.tile(np.eye(latent_dim, dtype=np.float32), (components, 1, 1))
    factors[:, rows[:, None], rows] = torch.linalg.cholesky(torch.from_numpy(covariances)).numpy()
    return MixturePrior(weights.astype(np.float32), all_means, factors)


def active_dimensions(posterior: Posterior) -> Tensor:
    """Numbers of the latent dimensions whose mean KL over the images is above ACTIVE_KL nats: (k,) int64."""
    return torch.nonzero(posterior.kl_per_dimension().mean(dim=0) > ACTIVE_KL).flatten()


def _fit_components(z: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (k,), means (k, d), covariances (k, d, d) of a mixture fitted to z (n, d), or of one Gaussian (k = 1)."""
    count, dims = z.shape
    components = min(_MOST_COMPONENTS, count // (_PER_COMPONENT * dims))
    if components >= 2:
        train, test = z[: -count // 5], z[-count // 5 :]
        if _mixture(train, components, seed).score(test) > _mixture(train, 1, seed).score(test):
            chosen = _mixture(z, components, seed)
            return chosen.weights_, chosen.means_, chosen.covariances_
    return np.ones(1), z.mean(axis=0, keepdims=True), covariance(z)[None]


def covariance(z: np.ndarray) -> np.ndarray:
    """Covariance (d, d) of latents z (n, d), never singular; shrunk if n < 2 d (Ledoit & Wolf 2004)."""
    from sklearn.covariance import ledoit_wolf

    count, dims = z.shape
    found = ledoit_wolf(z)[0] if count < 2 * dims else np.cov(z, rowvar=False).reshape(dims, dims)
    return np.asarray(found + _RIDGE * np.eye(dims))


def _mixture(z: np.ndarray, components: int, seed: int):  # type: ignore[no-untyped-def]  # sklearn has no types
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(components, reg_covar=_RIDGE, max_iter=40, tol=1e-2, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # forty rounds are plenty for sampling
        return mixture.fit(z)
