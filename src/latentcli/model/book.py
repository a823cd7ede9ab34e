"""The network of Chollet's *Deep Learning with Python*, chapter 8.4, layer by layer: 550,629 parameters.

Strided layers are padded as in TensorFlow's "same" padding: the odd pixel comes after the image.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from latentcli.config import ModelConfig


class BookEncoder(nn.Module):
    """Images (n, 1, 28, 28) to mean and log-variance, each (n, latent_dim)."""

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
    """Latents (n, latent_dim) to logits (n, 1, 28, 28)."""

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
    """Glorot-uniform weights and zero biases, Keras' defaults."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
