"""Structural similarity of two images: Wang et al. 2004, "Image quality assessment", eq. 13."""

import torch
import torch.nn.functional as F
from torch import Tensor

_RADIUS = 5  # pixels: the window is 11x11
_SIGMA = 1.5  # pixels, of the window's Gaussian weights
_C1, _C2 = 0.01**2, 0.03**2  # for a range of 1


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Mean SSIM of each pair of images (n, channels, height, width) in [0, 1]: (n,), 1 for equal ones.

    Weighted windows that lie inside the image, population variances, mean over channels: scikit-image with
    `gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1`.
    """
    stacked = torch.cat([x, y, x * x, y * y, x * y])  # one pass over all five
    down, across = (_blur(side).to(x) for side in x.shape[2:])
    mean_x, mean_y, square_x, square_y, product = (down.T @ stacked @ across).chunk(5)
    variance_x, variance_y = square_x - mean_x.square(), square_y - mean_y.square()
    covariance = product - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    denominator = (mean_x.square() + mean_y.square() + _C1) * (variance_x + variance_y + _C2)
    return (numerator / denominator).flatten(1).mean(dim=1)


def _blur(side: int) -> Tensor:
    """The window along one side as a matrix (side, places where it fits): for small images the fastest way."""
    places = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (places / _SIGMA).square())
    weights /= weights.sum()
    return torch.stack([F.pad(weights, (start, side - start - len(weights))) for start in range(side - 2 * _RADIUS)], 1)
