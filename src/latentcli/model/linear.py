"""The linear path of a network: probabilistic PCA of the training images, whose results the convolutions correct.

The path is fitted before training and then frozen: a network starts as PCA and learns what PCA cannot express.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentcli.config import ModelConfig
from latentcli.model.graphs import MEAN_UNIT, PICTURE_UNIT
from latentcli.model.pca import Pca

_NOISE = 0.05**2  # residual variance until `fit` sets it: that of PCA on photos of faces


class LinearPath(nn.Module):
    """Posterior and decoder by probabilistic PCA of padded images, averaged over squares of `pooling` pixels.

    The aggregate posterior is N(0, I). Images are flattened as (height, width, channels) to D numbers.
    """

    mean: Tensor  # (D,)
    basis: Tensor  # (latent_dim, D): the change of the image per unit of each latent dimension
    precisions: Tensor  # (latent_dim,): inverse variances of the images along the components
    variances: Tensor  # (latent_dim,): variances of PCA's posterior
    noise: Tensor  # residual variance of PCA, per number of an image: a scalar

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.padding = config.padding
        self.pooling = config.pooling
        self.shape = config.linear_shape
        dimensions = math.prod(self.shape)
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("basis", torch.zeros(config.latent_dim, dimensions))
        self.register_buffer("precisions", torch.zeros(config.latent_dim))
        self.register_buffer("variances", torch.ones(config.latent_dim))
        self.register_buffer("noise", torch.tensor(_NOISE))

    def seen(self, x: Tensor) -> Tensor:
        """Input of PCA, (n, D): images x (n, channels, height, width) padded, average-pooled and flattened."""
        x = F.avg_pool2d(padded(x, self.padding), self.pooling)
        return x.permute(0, 2, 3, 1).flatten(1)

    @torch.no_grad()
    def fit(self, pca: Pca, beta: float = 1.0) -> None:
        """Set all buffers from the components of `pca`; latent dimensions beyond the components keep the prior N(0, 1).

        For a component u of variance l and noise s^2, the basis vector is u sqrt(l - s^2) and the posterior variance is
        s^2 / l: Tipping & Bishop 1999, eq. 6 to 8. Weighting the KL by `beta` amounts to beta times the noise, and
        components of less variance than that noise get a basis of 0. Beta 0, an autoencoder, is fitted like beta 1.
        """
        noise = pca.noise * (beta or 1.0)
        variances = pca.variances.clamp_min(noise)
        basis = (pca.components * (variances - noise).sqrt()).T
        self.mean.copy_(pca.mean)
        self.noise.fill_(pca.noise)
        self.basis.zero_()[: len(basis)] = basis.half()  # rounded to the precision of the file
        self.precisions.zero_()[: len(basis)] = 1 / variances
        self.variances.fill_(1.0)[: len(basis)] = noise / variances

    @torch.no_grad()
    def fit_by_chance(self) -> None:
        """Fill all buffers with plausible constants and random numbers, to time the network without training images."""
        k, dimensions = self.basis.shape
        self.mean.fill_(0.5)
        self.basis.normal_(std=0.3 / k**0.5, generator=torch.Generator().manual_seed(0))
        self.precisions.fill_((k / dimensions) ** 0.5 * 10)
        self.variances.fill_(0.1)

    def posterior(self, x: Tensor, mean: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
        """PCA's posterior mean and log-variance of images x, corrected by the encoder: each (n, latent_dim)."""
        with torch.autocast(x.device.type, enabled=False):
            exact = F.linear(self.seen(x.float()) - self.mean, self.basis) * self.precisions
        return exact + MEAN_UNIT * self.variances.sqrt() * mean, self.variances.log() + logvar

    def decode(self, z: Tensor) -> Tensor:
        """Pictures (n, channels, height, width) of the padded size that PCA decodes from latents z (n, latent_dim)."""
        with torch.autocast(z.device.type, enabled=False):
            picture = torch.addmm(self.mean, z.float(), self.basis).view(-1, *self.shape).permute(0, 3, 1, 2)
        if self.pooling > 1:
            picture = F.interpolate(picture, scale_factor=self.pooling, mode="bilinear", align_corners=False)
        return picture  # channels last in memory

    def corrected(self, picture: Tensor, correction: Tensor) -> Tensor:
        """Sum of PCA's `picture` and the decoder's scaled `correction`, float32, not clipped to [0, 1]."""
        return picture + PICTURE_UNIT * self.noise.sqrt() * correction.float()


def padded(x: Tensor, padding: tuple[int, int]) -> Tensor:
    """Images x (n, channels, height, width) with `padding` (rows below, columns to the right) that repeats the edge."""
    rows, columns = padding
    return F.pad(x, (0, columns, 0, rows), mode="replicate") if rows or columns else x
