"""Likelihoods p(x|z) of the pixels, and everything that depends on the likelihood.

To add one, write a subclass of `Likelihood`, its entry in `LIKELIHOODS` and its name in `config.Likelihood`. Images x
are (n, channels, height, width) in [0, 1]; `output` is the decoder's output before the activation, of the same shape.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from latentcli.config import ModelConfig
from latentcli.model.gray_levels import SMALLEST_SIGMA, Residuals, bits_per_dimension, of_the_other_half
from latentcli.model.pca import Batches, Pca


class Likelihood:
    """Base class of likelihoods p(x|z) of images x given the decoder's output, with default methods."""

    has_sigma = False  # whether the model stores a standard deviation

    def mean(self, output: Tensor) -> Tensor:
        """Mean of p(x|z) from the decoder's output."""
        return output.sigmoid()

    def activation(self, output: Tensor) -> Tensor:
        """Decoded images in [0, 1] from the decoder's output."""
        return self.mean(output)

    def squared_error(self, x: Tensor, output: Tensor) -> Tensor:
        """Mean squared error of the mean of p(x|z) for each image x, over pixels and channels: (n,)."""
        return (self.mean(output) - x).square().flatten(1).mean(dim=1)

    def negative_log(self, x: Tensor, output: Tensor, sigma: Tensor | None, error: Tensor | None = None) -> Tensor:
        """-log p(x|z) of each image in nats: (n,).

        `sigma` is one for all or (n,), None the most likely of the batch; `error` the `squared_error` if known already.
        """
        raise NotImplementedError

    def baseline(self, model: Pca, batches: Batches) -> tuple[float | None, float | None]:
        """-log p(x) in nats and bits per dimension under the PCA `model`, means over images; None where undefined."""
        return None, None


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

    def baseline(self, model: Pca, batches: Batches) -> tuple[float | None, float | None]:
        # As for the model: sigma from the other half of the images, and bits by one draw from the (exact) posterior.
        noise = of_the_other_half(torch.cat([model.outside(x) for x in batches()]))
        generator = torch.Generator().manual_seed(0)
        residuals, nats, kl, images, dimensions = Residuals(), 0.0, 0.0, 0, len(model.mean)
        for x in batches():
            own = noise[images : images + len(x)]
            drawn, divergence = model.draw(x, own, torch.randn(len(x), len(model.variances), generator=generator))
            residuals.add(x, drawn)
            nats += float(model.negative_log_likelihood(x, own).double().sum())
            kl += float(divergence.double().sum())
            images += len(x)
        return nats / images, bits_per_dimension(residuals.levels() + kl / images, dimensions)


class LinearGaussian(Gaussian):
    """Gaussian likelihood of networks with a linear path (PCA), whose output is the mean and may leave [0, 1]."""

    def mean(self, output: Tensor) -> Tensor:
        return output

    def activation(self, output: Tensor) -> Tensor:
        return output.clamp(0, 1)


class Bernoulli(Likelihood):
    """Bernoulli likelihood: -log p(x|z) is the binary cross-entropy summed over pixels and channels."""

    def negative_log(self, x: Tensor, output: Tensor, sigma: Tensor | None, error: Tensor | None = None) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, x, reduction="none").flatten(1).sum(dim=1)

    def baseline(self, model: Pca, batches: Batches) -> tuple[float | None, float | None]:
        if len(model.variances):
            return None, None
        # A mean of exactly 0 or 1 would make one stray pixel impossible.
        chance = model.mean.clamp(1e-3, 1 - 1e-3)
        nats = [F.binary_cross_entropy(chance.expand(len(x), -1), x.flatten(1), reduction="none") for x in batches()]
        return float(torch.cat(nats).sum(dim=1).double().mean()), None


LIKELIHOODS: dict[str, Likelihood] = {"bernoulli": Bernoulli(), "gaussian": Gaussian()}


def likelihood_of(config: ModelConfig) -> Likelihood:
    """Likelihood of the pixels under a network with this `config`; with a linear path always `LinearGaussian`."""
    return LinearGaussian() if config.linear else LIKELIHOODS[config.likelihood]
