"""Probabilistic PCA of images: the initial state of a network with a linear path, and a baseline for every model."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_SPARE = 10  # extra directions: Halko et al. 2011, "Finding structure with randomness", section 4.2
_ROUNDS = 4  # of subspace iteration, each one pass over the images: Halko et al. 2011, section 4.5
_SMALLEST_VARIANCE = 255.0**-2  # least residual variance: one gray level squared

Batches = Callable[[], Iterator[Tensor]]  # a new pass over the training images: (n, channels, height, width) in [0, 1]


@dataclass(frozen=True, slots=True)
class Pca:
    """Probabilistic PCA (Tipping & Bishop 1999) of images flattened to D numbers; k = 0 is the mean image alone."""

    mean: Tensor  # (D,) over flattened images
    components: Tensor  # (D, k), orthonormal
    variances: Tensor  # (k,), of the images along each component
    noise: float  # variance in each direction outside the components

    @property
    def has_likelihood(self) -> bool:
        """Whether the components leave a residual variance, which p(x) needs; with few training images none is left."""
        return self.noise > _SMALLEST_VARIANCE

    def reconstruct(self, x: Tensor) -> Tensor:
        """Images x (n, channels, height, width) projected onto the components and clipped to [0, 1]."""
        centred = x.flatten(1) - self.mean
        return (self.mean + centred @ self.components @ self.components.T).clamp(0, 1).view_as(x)

    def negative_log_likelihood(self, x: Tensor) -> Tensor:
        """-log p(x) in nats of images (n, channels, height, width): (n,). Tipping & Bishop 1999, eq. 4."""
        centred = x.flatten(1) - self.mean
        along = centred @ self.components  # (n, k)
        dimensions, k = self.components.shape
        variances = self.variances.clamp_min(self.noise)
        outside = (centred.square().sum(dim=1) - along.square().sum(dim=1)).clamp_min(0) / self.noise
        log_determinant = float(variances.log().sum()) + (dimensions - k) * math.log(self.noise)
        inside = (along.square() / variances).sum(dim=1)
        return 0.5 * (inside + outside + log_determinant + dimensions * math.log(2 * math.pi))


def fit_pca(batches: Batches, k: int) -> Pca:
    """Fit the mean and the k leading components of the training images by randomised subspace iteration.

    Five passes are made over the images, and memory does not grow with the number of images. With fewer images or
    dimensions than k there are fewer components.
    """
    count, total, squares = 0, torch.zeros(()), 0.0
    for batch in batches():
        flat = batch.flatten(1).double()
        total = total + flat.sum(dim=0)
        squares += float(flat.square().sum())
        count += len(flat)
    mean = (total / count).float()
    variance = squares / count - float((total / count).square().sum())  # total over all directions
    dimensions = len(mean)
    k = min(k, count - 1, dimensions)
    components, variances = torch.zeros(dimensions, 0), torch.zeros(0)
    if k >= 1:
        generator = torch.Generator().manual_seed(0)
        directions = torch.randn(dimensions, min(k + _SPARE, count, dimensions), generator=generator)
        for _ in range(_ROUNDS):
            directions = torch.linalg.qr(directions).Q
            product = torch.zeros_like(directions)  # covariance @ directions * count
            for batch in batches():
                centred = batch.flatten(1) - mean
                product += centred.T @ (centred @ directions)
            directions = product / count
        directions, variances, _ = torch.linalg.svd(directions, full_matrices=False)
        components, variances = directions[:, :k].contiguous(), variances[:k]
    residual = (variance - float(variances.sum())) / max(1, dimensions - k)
    return Pca(mean, components, variances, max(residual, _SMALLEST_VARIANCE))
