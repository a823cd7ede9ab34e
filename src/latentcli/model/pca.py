"""Probabilistic PCA of images: the initial state of a network with a linear path, and a baseline for every model."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from latentcli.model.gray_levels import SMALLEST_SIGMA

_SPARE = 10  # extra directions: Halko et al. 2011, "Finding structure with randomness", section 4.2
# Rounds of subspace iteration, each one pass over the images: Halko et al. 2011, section 4.5. Where variances fall as
# slowly as 1 / number, the last component's comes out 14 % too small, and PSNR of other images .04 dB below exact PCA.
_ROUNDS = 4

Batches = Callable[[], Iterator[Tensor]]  # a new pass over the training images: (n, channels, height, width) in [0, 1]


@dataclass(frozen=True, slots=True)
class Pca:
    """Probabilistic PCA (Tipping & Bishop 1999) of images flattened to D numbers; k = 0 is the mean image alone."""

    mean: Tensor  # (D,) over flattened images
    components: Tensor  # (D, k), orthonormal
    variances: Tensor  # (k,), of the images along each component
    noise: float  # variance in each direction outside the components

    def reconstruct(self, x: Tensor) -> Tensor:
        """Images x (n, channels, height, width) projected onto the components and clipped to [0, 1]."""
        centred = x.flatten(1) - self.mean
        return (self.mean + centred @ self.components @ self.components.T).clamp(0, 1).view_as(x)

    def outside(self, x: Tensor) -> Tensor:
        """Mean square of n images, flat or not, over the directions outside the components: (n,)."""
        centred = x.flatten(1) - self.mean
        dimensions, k = self.components.shape
        squares = centred.square().sum(dim=1) - (centred @ self.components).square().sum(dim=1)
        return squares.clamp_min(0) / max(1, dimensions - k)

    def negative_log_likelihood(self, x: Tensor, noise: Tensor) -> Tensor:
        """-log p(x) in nats of images (n, channels, height, width): (n,). Tipping & Bishop 1999, eq. 4.

        `noise` (n,) takes the place of the training images' residual variance.
        """
        along = (x.flatten(1) - self.mean) @ self.components  # (n, k)
        dimensions, k = self.components.shape
        variances = self.variances.maximum(noise[:, None])
        outside = (dimensions - k) * (self.outside(x) / noise + noise.log())
        inside = (along.square() / variances + variances.log()).sum(dim=1)
        return 0.5 * (inside + outside + dimensions * math.log(2 * math.pi))

    def draw(self, x: Tensor, noise: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded posterior draws of images x, one by `normal` (n, k) each, and KL(q(z|x) || N(0, I)) in nats: (n,).

        The posterior is exact, with the residual variance `noise` (n,): Tipping & Bishop 1999, eq. 6 to 8.
        """
        variances = self.variances.maximum(noise[:, None])
        scale, variance = (variances - noise[:, None]).sqrt(), noise[:, None] / variances  # each (n, k)
        mean = (x.flatten(1) - self.mean) @ self.components * scale / variances
        drawn = self.mean + ((mean + variance.sqrt() * normal) * scale) @ self.components.T
        return drawn.view_as(x), 0.5 * (mean.square() + variance - 1 - variance.log()).sum(dim=1)


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
    return Pca(mean, components, variances, max(residual, SMALLEST_SIGMA**2))
