"""The variational autoencoder: an encoder to a mean and a log-variance, a decoder back."""

import math

import torch
from torch import Tensor, nn

from latentcli.config import ModelConfig
from latentcli.model.book import BookDecoder, BookEncoder, initialise_as_keras
from latentcli.model.posterior import Posterior
from latentcli.model.residual import ResidualDecoder, ResidualEncoder

_SMALLEST_SIGMA = 1 / 255  # one gray level: 8-bit images cannot be known better


class VAE(nn.Module):
    """A network built from its config alone. Images are (n, channels, height, width) float in [0, 1]."""

    sigma: Tensor  # standard deviation of the Gaussian likelihood, one number for all pixels

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: nn.Module
        self.decoder: nn.Module
        if config.preset == "book":
            self.encoder, self.decoder = BookEncoder(config), BookDecoder(config)
            initialise_as_keras(self)
        else:
            self.encoder, self.decoder = ResidualEncoder(config), ResidualDecoder(config)
        self.register_buffer("sigma", torch.tensor(1.0))

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x) for images x (n, channels, height, width) in [0, 1]."""
        return Posterior.from_head(*self.encoder(x))

    def decode(self, z: Tensor) -> Tensor:
        """Images (n, channels, height, width) in [0, 1] from latents (n, latent_dim)."""
        return self.decode_logits(z).sigmoid()

    def decode_logits(self, z: Tensor) -> Tensor:
        """The images before the sigmoid, float32."""
        return self.decoder(z).float()  # type: ignore[no-any-return]

    def set_sigma(self, mean_squared_error: Tensor) -> None:
        """Store the likelihood's sigma, at least one gray level (Rybkin et al. 2021, sigma-VAE)."""
        self.sigma.copy_(mean_squared_error.sqrt().clamp_min(_SMALLEST_SIGMA))

    def bits_per_dimension(self, negative_elbo: float) -> float:
        """Bits per 8-bit number from -ELBO in nats per image; defined for Gaussian models."""
        return negative_elbo / (self.config.dimensions * math.log(2)) + 8
