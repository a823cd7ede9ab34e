"""The variational autoencoder: its posterior, residual blocks, encoder, decoder, and the two together."""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentcli.config import ModelConfig
from latentcli.model.book import BookDecoder, BookEncoder, initialise_as_keras
from latentcli.model.likelihood import LIKELIHOODS, SMALLEST_SIGMA

_LOGVAR_RANGE = (-12.0, 6.0)  # keeps exp() finite when training diverges


@dataclass(frozen=True, slots=True)
class Posterior:
    """Means and log-variances, each (n, latent_dim) float32; logvar is the natural log of the variance."""

    mean: Tensor
    logvar: Tensor

    @classmethod
    def from_head(cls, mean: Tensor, logvar: Tensor) -> "Posterior":
        """From the encoder's output of any precision; the log-variance is clamped to [-12, 6]."""
        return cls(mean.float(), logvar.float().clamp(*_LOGVAR_RANGE))

    def draw(self, noise: Tensor) -> Tensor:
        """z = mean + sigma * noise, with noise ~ N(0, I) of (n, latent_dim): Kingma & Welling 2014, eq. 10."""
        return self.mean + (0.5 * self.logvar).exp() * noise

    def kl_per_dimension(self) -> Tensor:
        """KL(q(z_j|x) || N(0, 1)) in nats: (n, latent_dim). Kingma & Welling 2014, appendix B."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar)

    def kl(self) -> Tensor:
        """KL(q(z|x) || N(0, I)) in nats, one value per image: (n,)."""
        return self.kl_per_dimension().sum(dim=1)


class ResidualBlock(nn.Module):
    """x + f(x) with two 3x3 convolutions; f starts at zero. (n, width, h, w) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = F.silu(self.norm1(self.conv1(x)))
        return F.silu(x + self.norm2(self.conv2(h)))


class Down(nn.Sequential):
    """Half the height and width: 4x4 convolution with stride 2."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(
            nn.Conv2d(width_in, width_out, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width_out),
            nn.SiLU(),
        )


class Up(nn.Sequential):
    """Twice the height and width: 1x1 convolution, PixelShuffle (Shi et al. 2016), 3x3 convolution."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(
            nn.Conv2d(width_in, 4 * width_out, 1),
            nn.PixelShuffle(2),
            nn.Conv2d(width_out, width_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(width_out),
            nn.SiLU(),
        )


def dense(before: int, after: int) -> nn.Module:
    """A hidden layer (n, before) to (n, after)."""
    return nn.Sequential(nn.Linear(before, after), nn.LayerNorm(after), nn.SiLU())


def coarsest_shape(config: ModelConfig) -> tuple[int, int, int]:
    """Feature maps, height and width at the coarsest level."""
    factor = 2 ** len(config.widths)
    return config.widths[-1], -(-config.height // factor), -(-config.width // factor)


class ResidualEncoder(nn.Module):
    """Images (n, channels, height, width) to mean and log-variance, each (n, latent_dim)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, rows, columns = coarsest_shape(config)
        factor = 2 ** len(config.widths)
        self.padding = (0, columns * factor - config.width, 0, rows * factor - config.height)
        steps = zip((config.channels, *config.widths), config.widths, strict=False)
        self.downs = nn.Sequential(*(Down(before, after) for before, after in steps))
        self.block = ResidualBlock(width)
        features = config.hidden or width * rows * columns
        self.hidden = dense(width * rows * columns, features) if config.hidden else nn.Identity()
        self.mean = nn.Linear(features, config.latent_dim)
        self.logvar = nn.Linear(features, config.latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if any(self.padding):
            x = F.pad(x, self.padding, mode="replicate")
        h = self.hidden(self.block(self.downs(x)).flatten(1))  # (n, features)
        return self.mean(h), self.logvar(h)


class ResidualDecoder(nn.Module):
    """Latents (n, latent_dim) to logits (n, channels, height, width)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.size = (config.height, config.width)
        self.shape = coarsest_shape(config)
        width, rows, columns = self.shape
        self.hidden = dense(config.latent_dim, config.hidden) if config.hidden else nn.Identity()
        self.dense = nn.Linear(config.hidden or config.latent_dim, width * rows * columns)
        self.block = ResidualBlock(width)
        levels = config.widths[::-1]
        self.ups = nn.Sequential(*(Up(before, after) for before, after in itertools.pairwise(levels)))
        self.last = nn.Sequential(nn.Conv2d(levels[-1], 4 * config.channels, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, z: Tensor) -> Tensor:
        h: Tensor = self.dense(self.hidden(z)).unflatten(1, self.shape)
        h = self.last(self.ups(self.block(h)))
        return h[:, :, : self.size[0], : self.size[1]]


class VAE(nn.Module):
    """A network built from its config alone. Images are (n, channels, height, width) float in [0, 1]."""

    sigma: Tensor  # standard deviation of the Gaussian likelihood, one number for all pixels

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.likelihood = LIKELIHOODS[config.likelihood]
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
        return self.likelihood.activation(self.decode_logits(z))

    def decode_logits(self, z: Tensor) -> Tensor:
        """The images before the activation, float32."""
        return self.decoder(z).float()  # type: ignore[no-any-return]

    def set_sigma(self, mean_squared_error: Tensor) -> None:
        """Store the likelihood's sigma, at least one gray level (Rybkin et al. 2021, sigma-VAE)."""
        self.sigma.copy_(mean_squared_error.sqrt().clamp_min(SMALLEST_SIGMA))
