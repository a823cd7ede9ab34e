"""Probabilities of 8-bit images under Gaussians, with standard deviations of other images than those measured.

A stored value stands for a gray level, not for a point: its probability is the integral of the density over the width
of the level, with open ends at black and white (Salimans et al. 2017, "PixelCNN++", section 2.1). It is at most 1, so
no image costs less than 0 bits, while a density at the values can be any number (Theis et al. 2016, "A note on the
evaluation of generative models", section 3.1).
"""

import math

import torch
from torch import Tensor

SMALLEST_SIGMA = 1 / (255 * math.sqrt(12))  # least sigma of models and of PCA: standard deviation of rounding to 8 bits
_BINS = 64  # per gray level, of the residuals: bits are 1e-4 off at SMALLEST_SIGMA, and less above
_WIDEST = 510  # gray levels: a larger residual, of a mean far outside of [0, 1], counts as this
_ENDS = 3  # kinds of values, each with its own integral: black, between, white


def bits_per_dimension(nats: float, dimensions: int) -> float:
    """Bits per value of an image of `dimensions` values from its -log P in nats, or from a bound on that."""
    return nats / (dimensions * math.log(2))


def of_the_other_half(errors: Tensor) -> Tensor:
    """Variance (n,) for each of n images: the mean of the `errors` (n,) of the half of the images that it is not in.

    Every second image makes one half. A single image has no other half and takes its own error.
    """
    if len(errors) < 2:
        return errors.clamp_min(SMALLEST_SIGMA**2)
    means = torch.stack([errors[1::2].mean(), errors[::2].mean()]).clamp_min(SMALLEST_SIGMA**2)
    return means[torch.arange(len(errors)) % 2]


class Residuals:
    """Residuals of images x from the means of a Gaussian p(x|z): all that -log p(x|z) depends on, for any sigma.

    Each half of the images gets the sigma that is best for the other half. Residuals are counted in a histogram, which
    takes a seventh of the time of an integral per pixel.
    """

    def __init__(self) -> None:
        self._errors: list[Tensor] = []  # mean squared errors of the images so far, by batch
        self._counts = torch.zeros(2, _ENDS, 2 * _WIDEST * _BINS + 1, dtype=torch.int64)
        self._dimensions = 0

    def add(self, x: Tensor, mean: Tensor) -> None:
        """Count a batch of images x with 8-bit values in [0, 1], and their means; both (n, channels, height, width)."""
        _, ends, bins = self._counts.shape
        residual = x - mean
        done = sum(map(len, self._errors))
        halves = ((done + torch.arange(len(x), device=x.device)) % 2).int().view(-1, 1, 1, 1)
        kinds = (x > 0).int() + (x >= 1).int()
        places = (residual * (255 * _BINS)).round_().nan_to_num_().clamp_(-_WIDEST * _BINS, _WIDEST * _BINS).int()
        index = (halves * ends + kinds) * bins + (places + _WIDEST * _BINS)
        self._counts += torch.bincount(index.flatten(), minlength=2 * ends * bins).cpu().view_as(self._counts)
        self._errors.append(residual.square().flatten(1).mean(dim=1).cpu().double())
        self._dimensions = x[0].numel()

    def density(self) -> float:
        """-log p(x|z) in nats, mean over images: that of the density at the values, which may be below 0."""
        errors = torch.cat(self._errors)
        variances = of_the_other_half(errors)
        return float(0.5 * self._dimensions * (errors / variances + (2 * math.pi * variances).log()).mean())

    def levels(self) -> float:
        """-log P(x|z) in nats, mean over images: that of the stored gray levels, 0 or more."""
        errors = torch.cat(self._errors)
        variances = of_the_other_half(errors)[:2]  # of the even and of the odd images
        total = sum(
            float((counts * -log_probabilities(math.sqrt(variance))).sum())
            for counts, variance in zip(self._counts, variances.tolist(), strict=False)  # one image has no odd half
        )
        return total / len(errors)


def log_probabilities(sigma: float) -> Tensor:
    """log P of a value by its residual from the mean, for the bins of `Residuals`: (kinds of values, bins) float64.

    The difference of two tails is computed from their logarithms: far from the mean both are 0 as numbers.
    """
    residual = torch.arange(-_WIDEST * _BINS, _WIDEST * _BINS + 1, dtype=torch.float64) / _BINS  # gray levels
    lower, upper = (residual - 0.5) / (255 * sigma), (residual + 0.5) / (255 * sigma)
    near, far = (torch.special.log_ndtr(-(residual.abs() + side) / (255 * sigma)) for side in (-0.5, 0.5))
    between = near + torch.log1p(-(far - near).exp())
    return torch.stack([torch.special.log_ndtr(upper), between, torch.special.log_ndtr(-lower)])
