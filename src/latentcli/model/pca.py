"""Probabilistic PCA of images: what a network with a linear path starts from, and what every model should beat."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_SPARE = 10  # directions beyond those asked for, and
_ROUNDS = 4  # passes over the images: Halko et al. 2011, "Finding structure with randomness", section 4.5
_SMALLEST_VARIANCE = 255.0**-2  # of the residual: one gray level

Batches = Callable[[], Iterator[Tensor]]  # a new pass over the training images: (n, channels, height, width) in [0, 1]


@dataclass(frozen=True, slots=True)
class Pca:
    """Probabilistic PCA (Tipping & Bishop 1999); without components it is the mean image."""

    mean: Tensor  # (D,) over flattened images
    components: Tensor  # (D, k), orthonormal
    variances: Tensor  # (k,), along the components
    noise: float  # variance in each other direction

    @property
    def has_likelihood(self) -> bool:
        """Whether the components leave a residual: with few images they do not."""
        return self.noise > _SMALLEST_VARIANCE

    def reconstruct(self, x: Tensor) -> Tensor:
        """Images (n, channels, height, width) projected onto the components, in [0, 1]."""
        centred = x.flatten(1) - self.mean
        return (self.mean + centred @ self.components @ self.components.T).clamp(0, 1).view_as(x)

    def negative_log_likelihood(self, x: Tensor) -> Tensor:
        """-log p(x) in nats under a Gaussian of this covariance: (n,). Tipping & Bishop 1999, eq. 4."""
        centred = x.flatten(1) - self.mean
        along = centred @ self.components  # (n, k)
        dimensions, k = self.components.shape
        variances = self.variances.clamp_min(self.noise)
        outside = (centred.square().sum(dim=1) - along.square().sum(dim=1)).clamp_min(0) / self.noise
        log_determinant = float(variances.log().sum()) + (dimensions - k) * math.log(self.noise)
        inside = (along.square() / variances).sum(dim=1)
        return 0.5 * (inside + outside + log_determinant + dimensions * math.log(2 * math.pi))


def fit_pca(batches: Batches, k: int) -> Pca:
    """Mean and the k leading components of the training images, by a few passes over them.

    Memory does not grow with the images. Fewer components come out of fewer images or dimensions.
    """
    count, total, squares = 0, torch.zeros(0), 0.0
    for batch in batches():
        flat = batch.flatten(1).double()
        total = total + flat.sum(dim=0) if count else flat.sum(dim=0)
        squares += float(flat.square().sum())
        count += len(flat)
    mean = total / count
    dimensions = len(mean)
    k = min(k, count - 1, dimensions)
    variance = squares / count - float(mean.square().sum())  # of all directions together
    if k < 1:
        return _pca(mean.float(), torch.zeros(dimensions, 0), torch.zeros(0), variance)
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(dimensions, min(k + _SPARE, count, dimensions), generator=generator)
    for _ in range(_ROUNDS):
        directions = torch.linalg.qr(directions).Q
        directions = _times_covariance(batches, mean.float(), directions) / count
    directions, lengths, _ = torch.linalg.svd(directions, full_matrices=False)
    return _pca(mean.float(), directions[:, :k].contiguous(), lengths[:k], variance)


def _times_covariance(batches: Batches, mean: Tensor, directions: Tensor) -> Tensor:
    product = torch.zeros_like(directions)
    for batch in batches():
        centred = batch.flatten(1) - mean
        product += centred.T @ (centred @ directions)
    return product


def _pca(mean: Tensor, components: Tensor, variances: Tensor, variance: float) -> Pca:
    rest = (variance - float(variances.sum())) / max(1, len(mean) - len(variances))
    return Pca(mean, components, variances, max(rest, _SMALLEST_VARIANCE))
