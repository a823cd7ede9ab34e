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
    if vae.config.likelihood == "bernoulli":
        terms = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        return Elbo(terms.flatten(1).sum(dim=1), posterior.kl(), beta, squared_error)
    variance = squared_error.detach().mean().clamp_min(255.0**-2) if sigma is None else sigma.square()
    reconstruction = 0.5 * vae.config.dimensions * (squared_error / variance + torch.log(2 * math.pi * variance))
    return Elbo(reconstruction, posterior.kl(), beta, squared_error)
