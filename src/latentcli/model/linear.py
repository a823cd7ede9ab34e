"""The linear path of a network: probabilistic PCA of the training images, whose results the convolutions correct.

It is fitted before training and then frozen: a network starts as PCA and learns what PCA cannot express.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentcli.config import ModelConfig
from latentcli.model.graphs import MEAN_UNIT, PICTURE_UNIT
from latentcli.model.pca import Pca

_NOISE = 0.05**2  # before the fit: the residual variance of PCA on photos of faces


class LinearPath(nn.Module):
    """Posterior and decoder of probabilistic PCA on images of the padded size, averaged over `pooling` pixels each way.

    The aggregate of its latents is N(0, I). Images are flattened as (height, width, channels) to D numbers.
    """

    mean: Tensor  # (D,)
    basis: Tensor  # (latent_dim, D): the change of the image per unit of each latent dimension
    precisions: Tensor  # (latent_dim,): inverse variances of the images along the components
    variances: Tensor  # (latent_dim,): of the posterior
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
        """Images (n, channels, height, width) padded, pooled and flattened: (n, D)."""
        x = F.avg_pool2d(padded(x, self.padding), self.pooling)
        return x.permute(0, 2, 3, 1).flatten(1)

    @torch.no_grad()
    def fit(self, pca: Pca, beta: float = 1.0) -> None:
        """Set all buffers from principal components; the posterior of further latent dimensions is the prior.

        For a component u of variance l and noise s^2, the basis vector is u sqrt(l - s^2) and the posterior variance is
        s^2 / l: Tipping & Bishop 1999, eq. 6 to 8. Weighting the KL by `beta` is the same as beta times the noise;
        components with less variance than that get a basis of 0. Beta 0, an autoencoder, is fitted like beta 1.
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
        """Fill the buffers without images, to time the network."""
        k, dimensions = self.basis.shape
        self.mean.fill_(0.5)
        self.basis.normal_(std=0.3 / k**0.5, generator=torch.Generator().manual_seed(0))
        self.precisions.fill_((k / dimensions) ** 0.5 * 10)
        self.variances.fill_(0.1)

    def posterior(self, x: Tensor, mean: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each (n, latent_dim), of images x, corrected by the outputs of the encoder."""
        with torch.autocast(x.device.type, enabled=False):
            exact = F.linear(self.seen(x.float()) - self.mean, self.basis) * self.precisions
        return exact + MEAN_UNIT * self.variances.sqrt() * mean, self.variances.log() + logvar

    def decode(self, z: Tensor) -> Tensor:
        """Pictures (n, channels, height, width) of the padded size from latents (n, latent_dim)."""
        with torch.autocast(z.device.type, enabled=False):
            picture = torch.addmm(self.mean, z.float(), self.basis).view(-1, *self.shape).permute(0, 3, 1, 2)
        if self.pooling > 1:
            picture = F.interpolate(picture, scale_factor=self.pooling, mode="bilinear", align_corners=False)
        return picture  # channels last in memory

    def corrected(self, picture: Tensor, correction: Tensor) -> Tensor:
        """A picture plus the decoder's correction, float32; not clipped to [0, 1]."""
        return picture + PICTURE_UNIT * self.noise.sqrt() * correction.float()


def padded(x: Tensor, padding: tuple[int, int]) -> Tensor:
    """Images (n, channels, height, width) with `padding` rows below and columns to the right that repeat the edge."""
    rows, columns = padding
    return F.pad(x, (0, columns, 0, rows), mode="replicate") if rows or columns else x
