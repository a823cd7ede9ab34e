"""The residual convolutional networks behind `digits` and `photo`, for any size from 16 to 256 pixels.

Each level halves (encoder) or doubles (decoder) the image. Sizes that do not halve evenly are padded at the right and
the bottom on the way in and cropped on the way out.
"""

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from latentcli.config import ModelConfig


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
