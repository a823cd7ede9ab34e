"""What training makes small: reconstruction + beta * KL, in nats per image."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from latentcli.model.posterior import Posterior
from latentcli.model.vae import VAE


@dataclass(frozen=True, slots=True)
class Elbo:
    """Nats per image, each (n,): loss goes down, elbo goes up."""

    reconstruction: Tensor  # -log p(x|z)
    kl: Tensor  # KL(q(z|x) || N(0, I))
    beta: float
    squared_error: Tensor  # mean over pixels, (n,), images in [0, 1]

    @property
    def loss(self) -> Tensor:
        return self.reconstruction + self.beta * self.kl

    @property
    def elbo(self) -> Tensor:
        return -(self.reconstruction + self.kl)


def evaluate_elbo(vae: VAE, x: Tensor, posterior: Posterior, noise: Tensor, beta: float = 1.0) -> Elbo:
    """The ELBO of images x with the sigma stored in the model; noise (n, latent_dim) is N(0, I)."""
    return _elbo(vae, x, posterior, noise, beta, sigma=vae.sigma)


def training_elbo(vae: VAE, x: Tensor, noise: Tensor, beta: float) -> Elbo:
    """The same with the sigma that is optimal for this batch: Rybkin et al. 2021, "Simple and effective VAE training
    with calibrated decoders", eq. 7. Its gradient is that of D/2 * log(mse)."""
    return _elbo(vae, x, vae.encode(x), noise, beta, sigma=None)


def _elbo(vae: VAE, x: Tensor, posterior: Posterior, noise: Tensor, beta: float, sigma: Tensor | None) -> Elbo:
    logits = vae.decode_logits(posterior.draw(noise))
    squared_error = (logits.sigmoid() - x).square().flatten(1).mean(dim=1)  # (n,)
    if sigma is None:
        sigma = squared_error.detach().mean().clamp_min(255.0**-2).sqrt()
    if vae.config.likelihood == "bernoulli":
        reconstruction = bernoulli(x, logits)
    else:
        reconstruction = gaussian(squared_error, sigma, vae.config.dimensions)
    return Elbo(reconstruction, posterior.kl(), beta, squared_error)


def bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """-log p(x|z) in nats, (n,): binary cross-entropy summed over all numbers of an image."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(dim=1)


def gaussian(squared_error: Tensor, sigma: Tensor, dimensions: int) -> Tensor:
    """-log p(x|z) in nats, (n,), from the mean squared error over the `dimensions` numbers of an image, (n,)."""
    return 0.5 * dimensions * (squared_error / sigma.square() + torch.log(2 * math.pi * sigma.square()))
