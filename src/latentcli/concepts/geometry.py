"""Where a model's latents lie: the mean and covariance of its prior, which was fitted to encoded training images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_TYPICAL = 0.995  # share of the prior's latents that count as typical
_RIDGE = 1e-6  # of the mean variance


@dataclass(frozen=True)
class Geometry:
    """Mean (latent_dim,), covariance (latent_dim, latent_dim), and some latents (n, latent_dim) drawn from there."""

    mean: Tensor
    covariance: Tensor
    drawn: Tensor

    def inverse(self) -> np.ndarray:
        """Of the covariance, in double precision: (latent_dim, latent_dim)."""
        covariance = self.covariance.double().numpy()
        ridge = _RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
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
