"""Likelihoods p(x|z) of the pixels, and everything that depends on the likelihood.

To add one, write a subclass of `Likelihood`, its entry in `LIKELIHOODS` and its name in `config.Likelihood`. Images x
are (n, channels, height, width) in [0, 1]; `output` is the decoder's output before the activation, of the same shape.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from latentcli.config import ModelConfig
from latentcli.model.pca import Pca

SMALLEST_SIGMA = 1 / (255 * math.sqrt(12))  # standard deviation of rounding to 8 bits


class Likelihood:
    """Base class of likelihoods p(x|z) of images x given the decoder's output, with default methods."""

    has_sigma = False  # whether the model stores a standard deviation

    def activation(self, output: Tensor) -> Tensor:
        """Decoded images in [0, 1] from the decoder's output."""
        return output.sigmoid()

    def squared_error(self, x: Tensor, output: Tensor) -> Tensor:
        """Mean squared error of each decoded image against x, over pixels and channels: (n,)."""
        return (self.activation(output) - x).square().flatten(1).mean(dim=1)

    def negative_log(self, x: Tensor, output: Tensor, sigma: Tensor | None, error: Tensor | None = None) -> Tensor:
        """-log p(x|z) of each image in nats: (n,).

        `sigma` None takes the most likely sigma of the batch; `error` is the `squared_error` if computed already.
        """
        raise NotImplementedError

    def bits_per_dimension(self, nats: float, dimensions: int) -> float | None:
        """Bits per 8-bit value of an image of `dimensions` values and -ELBO `nats`; None if p(x|z) is not a density."""
        return None

    def baseline(self, x: Tensor, model: Pca) -> Tensor | None:
        """-log p(x) in nats, summed over images x, under the PCA `model`; None if this likelihood is not Gaussian."""
        return None


class Gaussian(Likelihood):
    """Gaussian likelihood with one standard deviation, sigma, for all pixels."""

    has_sigma = True

    def negative_log(self, x: Tensor, output: Tensor, sigma: Tensor | None, error: Tensor | None = None) -> Tensor:
        if error is None:
            error = self.squared_error(x, output)
        if sigma is None:  # Rybkin et al. 2021, "Simple and effective VAE training with calibrated decoders", eq. 7
            sigma = error.detach().mean().clamp_min(SMALLEST_SIGMA**2).sqrt()
        dimensions = x[0].numel()
        return 0.5 * dimensions * (error / sigma.square() + torch.log(2 * math.pi * sigma.square()))

    def bits_per_dimension(self, nats: float, dimensions: int) -> float | None:
        return nats / (dimensions * math.log(2)) + 8

    def baseline(self, x: Tensor, model: Pca) -> Tensor | None:
        return model.negative_log_likelihood(x).double().sum() if model.has_likelihood else None


class LinearGaussian(Gaussian):
    """Gaussian likelihood of networks with a linear path (PCA), whose output is the mean and may leave [0, 1]."""

    def activation(self, output: Tensor) -> Tensor:
        return output.clamp(0, 1)

    def squared_error(self, x: Tensor, output: Tensor) -> Tensor:
        return (output - x).square().flatten(1).mean(dim=1)


class Bernoulli(Likelihood):
    """Bernoulli likelihood: -log p(x|z) is the binary cross-entropy summed over pixels and channels."""

    def negative_log(self, x: Tensor, output: Tensor, sigma: Tensor | None, error: Tensor | None = None) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, x, reduction="none").flatten(1).sum(dim=1)

    def baseline(self, x: Tensor, model: Pca) -> Tensor | None:
        if len(model.variances):
            return None
        # A mean of exactly 0 or 1 would make one stray pixel impossible.
        chance = model.mean.clamp(1e-3, 1 - 1e-3).view_as(x[0]).expand_as(x)
        return F.binary_cross_entropy(chance, x, reduction="sum")


LIKELIHOODS: dict[str, Likelihood] = {"bernoulli": Bernoulli(), "gaussian": Gaussian()}


def likelihood_of(config: ModelConfig) -> Likelihood:
    """Likelihood of the pixels under a network with this `config`; with a linear path always `LinearGaussian`."""
    return LinearGaussian() if config.linear else LIKELIHOODS[config.likelihood]
