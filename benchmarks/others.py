"""The sides that latentcli is measured against: pythae's trainer, a plain PyTorch loop, PyTorch-VAE's network.

pythae is installed apart: pip install pythae
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE as PythaeVAE
from pythae.models import VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from latentcli.config import ModelConfig
from latentcli.data.cache import Loading
from latentcli.data.dataset import readable_part, split
from latentcli.data.sources import open_source, scan
from latentcli.model.vae import VAE

BATCH = 64
LEARNING_RATE = 1e-3


class PyTorchVAE(VAE):
    """The network of AntixK/PyTorch-VAE's `vanilla_vae.py`: 3x3 convolutions of stride 2, batch norm, LeakyReLU."""

    WIDTHS = (32, 64, 128, 256, 512)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(replace(config, linear=False))
        side = config.width // 2 ** len(self.WIDTHS)
        self.encoder = _Encoder(config, self.WIDTHS, side)
        self.decoder = _Decoder(config, self.WIDTHS[::-1], side)


class _Encoder(nn.Module):
    def __init__(self, config: ModelConfig, widths: tuple[int, ...], side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = config.channels
        for width in widths:
            layers += [nn.Conv2d(before, width, 3, 2, 1), nn.BatchNorm2d(width), nn.LeakyReLU()]
            before = width
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.mean = nn.Linear(before * side * side, config.latent_dim)
        self.logvar = nn.Linear(before * side * side, config.latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.mean(h), self.logvar(h)


class _Decoder(nn.Module):
    def __init__(self, config: ModelConfig, widths: tuple[int, ...], side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(config.latent_dim, widths[0] * side * side)]
        layers.append(nn.Unflatten(1, (widths[0], side, side)))
        for before, width in zip(widths, (*widths[1:], widths[-1]), strict=True):
            up = nn.ConvTranspose2d(before, width, 3, 2, 1, output_padding=1)
            layers += [up, nn.BatchNorm2d(width), nn.LeakyReLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(widths[-1], config.channels, 3, padding=1))

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z)


class _PythaeEncoder(BaseEncoder):
    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor) -> ModelOutput:
        posterior = self.vae.encode(x)
        return ModelOutput(embedding=posterior.mean, log_covariance=posterior.logvar)


class _PythaeDecoder(BaseDecoder):
    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.vae.decode(z))


def in_pythae(vae: VAE) -> PythaeVAE:
    """The same network as pythae's VAE, with pythae's loss (half the summed squared error + KL)."""
    config = vae.config
    shape = (config.channels, config.height, config.width)
    settings = VAEConfig(input_dim=shape, latent_dim=config.latent_dim, reconstruction_loss="mse")
    return PythaeVAE(settings, encoder=_PythaeEncoder(vae), decoder=_PythaeDecoder(vae))


def pythae_epochs(model: PythaeVAE, x: Tensor) -> Iterator[float]:
    """Train with pythae's trainer, an epoch over x (n, channels, height, width) at a time; yields seconds of each."""
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder, per_device_train_batch_size=BATCH, learning_rate=LEARNING_RATE, num_epochs=1
        )
        trainer = BaseTrainer(model, train_dataset=BaseDataset(x, torch.zeros(len(x))), training_config=settings)
        trainer.prepare_training()
        for epoch in range(1, 10**6):
            started = time.perf_counter()
            trainer.callback_handler.on_epoch_begin(
                training_config=settings, epoch=epoch, train_loader=trainer.train_loader, eval_loader=None
            )
            trainer.train_step(epoch)
            yield time.perf_counter() - started


def plain_epochs(vae: VAE, x: Tensor) -> Iterator[float]:
    """Train with the loop of PyTorch's tutorials: DataLoader, fp32, Adam; yields the seconds of each epoch."""
    loader = DataLoader(TensorDataset(x), batch_size=BATCH, shuffle=True, drop_last=True)
    optimizer = torch.optim.Adam(vae.parameters(), lr=LEARNING_RATE)
    vae.train()
    while True:
        started = time.perf_counter()
        for (batch,) in loader:
            posterior = vae.encode(batch)
            reconstruction = vae.decode(posterior.draw(torch.randn_like(posterior.mean)))
            kl = posterior.kl()
            loss = (0.5 * ((reconstruction - batch) ** 2).flatten(1).sum(dim=1) + kl).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()  # for the progress line
        yield time.perf_counter() - started


def read_images(folder: Path, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Training and held-out images of a folder, uint8 (n, height, width, channels), split as latentcli does."""
    listing = scan(open_source(folder))
    loading = Loading(listing, config)
    for _ in loading:
        pass
    parts = split(listing, "0.05")
    return tuple(torch.cat(list(readable_part(loading.decoded, part.rows).batches())) for part in parts if part)  # type: ignore[return-value]
