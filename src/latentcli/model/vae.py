"""The variational autoencoder: posterior, encoders and decoders of the presets, and the network as a whole."""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentcli.config import ModelConfig
from latentcli.model.gray_levels import SMALLEST_SIGMA
from latentcli.model.likelihood import likelihood_of
from latentcli.model.linear import LinearPath, padded

_LOGVAR_RANGE = (-20.0, 6.0)  # of log-variances; keeps exp() finite when training diverges


@dataclass(frozen=True, slots=True)
class Posterior:
    """Gaussian posteriors of n images: means and natural log-variances, each (n, latent_dim) float32."""

    mean: Tensor
    logvar: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """Draw z = mean + sigma * noise, with noise ~ N(0, I) of (n, latent_dim): Kingma & Welling 2014, eq. 10."""
        return self.mean + (0.5 * self.logvar).exp() * noise

    def kl_per_dimension(self) -> Tensor:
        """KL(q(z_j|x) || N(0, 1)) in nats for each dimension j: (n, latent_dim). Kingma & Welling 2014, appendix B."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar)

    def kl(self) -> Tensor:
        """KL(q(z|x) || N(0, I)) in nats, one value per image: (n,)."""
        return self.kl_per_dimension().sum(dim=1)


class ResidualBlock(nn.Module):
    """SiLU(x + f(x)) with two 3x3 convolutions in f; f is 0 before training, and the shape (n, width, h, w) is kept."""

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


def _down(before: int, after: int) -> nn.Sequential:
    """Downsampling stage, which halves height and width: 4x4 convolution with stride 2, batch norm, SiLU."""
    conv = nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.SiLU())


def _up(before: int, after: int) -> nn.Sequential:
    """Upsampling stage, which doubles height and width by PixelShuffle (Shi et al. 2016) and a 3x3 convolution."""
    wide = nn.Conv2d(before, 4 * after, 1)
    conv = nn.Conv2d(after, after, 3, padding=1, bias=False)
    return nn.Sequential(wide, nn.PixelShuffle(2), conv, nn.BatchNorm2d(after), nn.SiLU())


def _hidden(before: int, after: int) -> nn.Module:
    """Hidden layer from (n, before) to (n, after): linear, layer norm, SiLU."""
    return nn.Sequential(nn.Linear(before, after), nn.LayerNorm(after), nn.SiLU())


def _downs(config: ModelConfig) -> nn.Sequential:
    """All downsampling stages, from images of the padded size to the coarsest feature map."""
    return nn.Sequential(*itertools.starmap(_down, itertools.pairwise((config.channels, *config.widths))))


def _start_at_zero(*layers: nn.Module) -> None:
    """Set all weights and biases of `layers` to 0, so that the layers' outputs are 0 before training."""
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)


class Encoder(nn.Module):
    """Convolutional encoder from images (n, channels, height, width) to mean and log-variance, each (n, latent_dim).

    With a linear path (probabilistic PCA) the outputs are corrections of PCA's posterior, and 0 before training.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, rows, columns = config.coarsest
        self.padding = config.padding
        self.downs = _downs(config)
        self.block = ResidualBlock(width)
        features = config.hidden or width * rows * columns
        self.hidden = _hidden(width * rows * columns, features) if config.hidden else nn.Identity()
        self.mean = nn.Linear(features, config.latent_dim)
        self.logvar = nn.Linear(features, config.latent_dim)
        if config.linear:
            _start_at_zero(self.mean, self.logvar)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.block(self.downs(padded(x, self.padding)))
        h = self.hidden(h.flatten(1))  # (n, features)
        return self.mean(h), self.logvar(h)


class Decoder(nn.Module):
    """Convolutional decoder from latents (n, latent_dim) to logits (n, channels, height, width) of the padded size.

    With a linear path (probabilistic PCA): a U-Net (Ronneberger et al. 2015) that corrects PCA's picture. Skip
    connections are added, the coarsest level sees the latents, and the output is 0 before training.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.shape = config.coarsest
        width, rows, columns = self.shape
        self.downs = _downs(config) if config.linear else None
        self.hidden = _hidden(config.latent_dim, config.hidden) if config.hidden else nn.Identity()
        self.dense = nn.Linear(config.hidden or config.latent_dim, width * rows * columns)
        self.block = ResidualBlock(width)
        self.ups = nn.Sequential(*itertools.starmap(_up, itertools.pairwise(config.widths[::-1])))
        self.last = nn.Sequential(nn.Conv2d(config.widths[0], 4 * config.channels, 3, padding=1), nn.PixelShuffle(2))
        if config.linear:
            _start_at_zero(self.last)

    def forward(self, z: Tensor, picture: Tensor | None = None) -> Tensor:
        """Logits of the latents z, or with a linear path the correction of PCA's `picture`; both of the padded size."""
        levels = []
        if self.downs is not None and picture is not None:
            h = picture.contiguous(memory_format=torch.channels_last)
            for down in self.downs:
                h = down(h)
                levels.append(h)
        h = self.dense(self.hidden(z)).unflatten(1, self.shape)
        h = self.block(levels.pop() + h if levels else h)
        for up in self.ups:
            h = up(h) + levels.pop() if levels else up(h)
        return self.last(h)  # type: ignore[no-any-return]


class BookEncoder(nn.Module):
    """Encoder from images (n, 1, 28, 28) to mean and log-variance, each (n, latent_dim).

    With `BookDecoder` the network of Chollet's *Deep Learning with Python*, chapter 8.4, layer by layer: 550,629
    parameters. Strided layers are padded as in TensorFlow's "same" padding: the odd pixel comes after the image.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        first, second, third, fourth = config.widths
        self.conv1 = nn.Conv2d(config.channels, first, 3, padding=1)
        self.conv2 = nn.Conv2d(first, second, 3, stride=2)
        self.conv3 = nn.Conv2d(second, third, 3, padding=1)
        self.conv4 = nn.Conv2d(third, fourth, 3, padding=1)
        self.dense = nn.Linear(fourth * 14 * 14, 32)
        self.z_mean = nn.Linear(32, config.latent_dim)
        self.z_log_var = nn.Linear(32, config.latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.conv1(x).relu()
        h = self.conv2(F.pad(h, (0, 1, 0, 1))).relu()  # (n, 64, 14, 14)
        h = self.conv3(h).relu()
        h = self.conv4(h).relu()
        h = self.dense(h.flatten(1)).relu()  # (n, 32)
        return self.z_mean(h), self.z_log_var(h)


class BookDecoder(nn.Module):
    """Decoder from latents (n, latent_dim) to logits (n, 1, 28, 28), as in Chollet's *Deep Learning with Python*."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        first, *_, last = config.widths
        self.shape = (last, 14, 14)
        self.dense = nn.Linear(config.latent_dim, last * 14 * 14)
        self.up = nn.ConvTranspose2d(last, first, 3, stride=2)
        self.conv = nn.Conv2d(first, config.channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.dense(z).relu().unflatten(1, self.shape)
        h = self.up(h)[:, :, :28, :28].relu()  # (n, 32, 29, 29) without the last row and column
        return self.conv(h)  # type: ignore[no-any-return]


def initialise_as_keras(module: nn.Module) -> None:
    """Set convolutions and linear layers of `module` to Keras' defaults: Glorot-uniform weights and zero biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)


class VAE(nn.Module):
    """Variational autoencoder built from its config alone; images are (n, channels, height, width) float in [0, 1]."""

    sigma: Tensor  # standard deviation of the Gaussian likelihood, one number for all pixels

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.likelihood = likelihood_of(config)
        self.linear: LinearPath | None = None
        self.encoder: nn.Module
        self.decoder: nn.Module
        if config.preset == "book":
            self.encoder, self.decoder = BookEncoder(config), BookDecoder(config)
            initialise_as_keras(self)
        else:
            self.linear = LinearPath(config) if config.linear else None
            self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.register_buffer("sigma", torch.tensor(1.0))

    @property
    def device(self) -> torch.device:
        return self.sigma.device

    def encode(self, x: Tensor) -> Posterior:
        """Posterior q(z|x) of images x (n, channels, height, width) in [0, 1]; logvar is clamped to [-20, 6]."""
        mean, logvar = self.encoder(x)
        if self.linear:
            mean, logvar = self.linear.posterior(x, mean, logvar)
        return Posterior(mean.float(), logvar.float().clamp(*_LOGVAR_RANGE))

    def decode(self, z: Tensor) -> Tensor:
        """Images (n, channels, height, width) in [0, 1] decoded from latents z (n, latent_dim)."""
        return self.likelihood.activation(self.decode_output(z))

    def decode_output(self, z: Tensor) -> Tensor:
        """Decoder's output for latents z before activation, float32: logits, or with a linear path unclipped images."""
        if self.linear:
            picture = self.linear.decode(z)
            output = self.linear.corrected(picture, self.decoder(z, picture))
        else:
            output = self.decoder(z).float()
        return output[:, :, : self.config.height, : self.config.width]

    def set_sigma(self, mean_squared_error: Tensor) -> None:
        """Set the likelihood's sigma to the root of the error, at least to SMALLEST_SIGMA (Rybkin et al. 2021)."""
        self.sigma.copy_(mean_squared_error.sqrt().clamp_min(SMALLEST_SIGMA))
