"""The linear path of a network: probabilistic PCA of the training images, which the convolutions only correct.

It is fitted once, before training, and stays as it is: a network starts as PCA and learns what PCA cannot express.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentcli.config import ModelConfig
from latentcli.model.graphs import MEAN_UNIT, PICTURE_UNIT
from latentcli.model.pca import Pca

_NOISE = 0.05**2  # before it is fitted: what PCA leaves over of photos of faces


class LinearPath(nn.Module):
    """The posterior and the decoding of probabilistic PCA, for images of the padded size averaged over `pooling`.

    Its latents are N(0, I) as the prior wants them. Pictures are flattened as (height, width, channels).
    """

    mean: Tensor  # (D,)
    basis: Tensor  # (latent_dim, D): what one unit of each latent dimension adds to the mean
    precisions: Tensor  # (latent_dim,): one over the variance along the component
    variances: Tensor  # (latent_dim,): of the posterior
    noise: Tensor  # variance of what PCA leaves over, per number

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
        """Images (n, channels, height, width) as the components are of them: (n, D)."""
        x = F.avg_pool2d(padded(x, self.padding), self.pooling)
        return x.permute(0, 2, 3, 1).flatten(1)

    @torch.no_grad()
    def fit(self, found: Pca, beta: float = 1.0) -> None:
        """Take over what was found; latent dimensions beyond its components stay at the prior.

        With variance l along a component u and noise s^2, a unit of latent is u sqrt(l - s^2), and its posterior has
        the variance s^2 / l: Tipping & Bishop 1999, eq. 6 to 8. A KL of weight `beta` acts as so many times the noise;
        components that do not stand out from it are left out. 0, an autoencoder, keeps the units of 1.
        """
        noise = found.noise * (beta or 1.0)
        variances = found.variances.clamp_min(noise)
        basis = (found.components * (variances - noise).sqrt()).T
        self.mean.copy_(found.mean)
        self.noise.fill_(found.noise)
        self.basis.zero_()[: len(basis)] = basis.half()  # as it is stored
        self.precisions.zero_()[: len(basis)] = 1 / variances
        self.variances.fill_(1.0)[: len(basis)] = noise / variances

    @torch.no_grad()
    def fit_by_chance(self) -> None:
        """Components of no images, for a network whose speed and precision are tested."""
        k, dimensions = self.basis.shape
        self.mean.fill_(0.5)
        self.basis.normal_(std=0.3 / k**0.5, generator=torch.Generator().manual_seed(0))
        self.precisions.fill_((k / dimensions) ** 0.5 * 10)
        self.variances.fill_(0.1)

    def posterior(self, x: Tensor, mean: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents of images x, each (n, latent_dim), with the encoder's corrections."""
        with torch.autocast(x.device.type, enabled=False):
            exact = F.linear(self.seen(x.float()) - self.mean, self.basis) * self.precisions
        return exact + MEAN_UNIT * self.variances.sqrt() * mean, self.variances.log() + logvar

    def decode(self, z: Tensor) -> Tensor:
        """Pictures (n, channels, height, width) of the padded size, of latents (n, latent_dim)."""
        with torch.autocast(z.device.type, enabled=False):
            picture = torch.addmm(self.mean, z.float(), self.basis).view(-1, *self.shape).permute(0, 3, 1, 2)
        if self.pooling > 1:
            picture = F.interpolate(picture, scale_factor=self.pooling, mode="bilinear", align_corners=False)
        return picture  # channels last, as convolutions want it

    def corrected(self, picture: Tensor, correction: Tensor) -> Tensor:
        """A picture with the decoder's correction, float32; not limited to [0, 1]."""
        return picture + PICTURE_UNIT * self.noise.sqrt() * correction.float()


def padded(x: Tensor, padding: tuple[int, int]) -> Tensor:
    """Images (n, channels, height, width) with `padding` more rows below and columns to the right, edges repeated."""
    rows, columns = padding
    return F.pad(x, (0, columns, 0, rows), mode="replicate") if rows or columns else x
