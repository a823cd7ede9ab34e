"""Metrics of a model on images, each defined once: ELBO, KL, PSNR, SSIM, sharpness, bits per dimension."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from latentcli.model.gray_levels import Residuals, bits_per_dimension
from latentcli.model.objective import draws
from latentcli.model.vae import VAE, Posterior
from latentcli.storage.history import ACTIVE_KL, Metrics

Watch = Callable[[Tensor, Posterior, Tensor], None]  # takes a batch, its posterior, the decoded posterior means


@torch.inference_mode()
def measure(
    vae: VAE, batches: Iterable[Tensor], noise_scale: float = 1.0, watch: Watch = lambda x, posterior, decoded: None
) -> Metrics:
    """Mean metrics over all images in `batches` (n, channels, height, width) in [0, 1]; `vae` must be in eval mode.

    The reconstruction of Bernoulli models is the binary cross-entropy summed over pixels, that of Gaussian models has
    for each half of the images the sigma of the other half. `noise_scale`, a factor on the noise of posterior draws, is
    1 for a VAE and 0 for an autoencoder, which has no ELBO. `watch` is called with images, posterior and decoded images
    of each batch, to measure more.
    """
    assert not vae.training, "batch norm would learn from held-out images"
    residuals = Residuals() if vae.likelihood.has_sigma else None
    reconstruction = kl = psnr = 0.0
    kl_per_dimension = torch.zeros(vae.config.latent_dim)
    images = 0
    for x, posterior, output in draws(vae, batches, noise_scale):
        if residuals:
            residuals.add(x, vae.likelihood.mean(output))
        else:
            reconstruction += float(vae.likelihood.negative_log(x, output, None).cpu().double().sum())
        kl += float(posterior.kl().cpu().double().sum())
        kl_per_dimension += posterior.kl_per_dimension().sum(dim=0).cpu()
        decoded = vae.decode(posterior.mean)
        psnr += float(psnr_per_image(x, decoded).cpu().double().sum())
        watch(x, posterior, decoded)
        images += len(x)
    reconstruction = residuals.density() if residuals else reconstruction / images
    variational = noise_scale > 0
    bits = None
    if residuals and variational:
        bits = bits_per_dimension(residuals.levels() + kl / images, vae.config.dimensions)
    return Metrics(
        images=images,
        negative_elbo=reconstruction + kl / images if variational else None,
        reconstruction=reconstruction,
        kl=kl / images if variational else None,
        psnr=psnr / images,
        active_dimensions=int((kl_per_dimension / images > ACTIVE_KL).sum()) if variational else None,
        bits_per_dimension=bits,
    )


@torch.inference_mode()
def kl_of_images(vae: VAE, images: np.ndarray) -> list[float]:
    """KL(q(z_j|x) || N(0, 1)) in nats for each latent dimension j, mean over images (n, channels, height, width)."""
    x = torch.from_numpy(images).to(vae.device)
    return [float(nats) for nats in vae.encode(x).kl_per_dimension().mean(dim=0).cpu()]


def sharpness(x: Tensor) -> Tensor:
    """Sharpness (n,) of images (n, channels, height, width): variance of the Laplacian of the mean over channels."""
    kernel = torch.tensor(((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0)), device=x.device)[None, None]
    return F.conv2d(x.mean(dim=1, keepdim=True), kernel).flatten(1).var(dim=1)


def psnr_per_image(x: Tensor, reconstruction: Tensor) -> Tensor:
    """PSNR in dB, 10 log10(1 / mse), of each image's reconstruction rounded to 8 bits: (n,)."""
    return 10 * torch.log10(1 / squared_error(x, reconstruction).clamp_min(1e-10))


def squared_error(x: Tensor, reconstruction: Tensor) -> Tensor:
    """Mean squared error, over pixels and channels, of each image's reconstruction rounded to 8 bits: (n,)."""
    rounded = reconstruction.mul(255).round() / 255
    return (rounded - x).square().flatten(1).mean(dim=1)


@torch.inference_mode()
def encode_all(vae: VAE, batches: Iterable[Tensor]) -> Posterior:
    """Posteriors of all images in `batches`, on the CPU: mean and logvar, each (n, latent_dim)."""
    posteriors = [vae.encode(batch.to(vae.device)) for batch in batches]
    means, logvars = zip(*((posterior.mean, posterior.logvar) for posterior in posteriors), strict=True)
    return Posterior(torch.cat(means).cpu(), torch.cat(logvars).cpu())


# Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", section III.C.
_RADIUS = 5  # pixels: the window of SSIM is 11x11
_SIGMA = 1.5  # pixels, standard deviation of the Gaussian weights in the window of SSIM
_C1, _C2 = 0.01**2, 0.03**2  # constants of SSIM for pixel values from 0 to 1


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """SSIM of each pair of images x and y (n, channels, height, width) in [0, 1]: (n,), 1 for equal images.

    Equals scikit-image's with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1`, averaged
    over the windows that lie inside the image.
    """
    stacked = torch.cat([x, y, x * x, y * y, x * y])  # one pass over all five
    down, across = (_blur(side).to(x) for side in x.shape[2:])
    mean_x, mean_y, square_x, square_y, product = (down.T @ stacked @ across).chunk(5)
    variance_x, variance_y = square_x - mean_x.square(), square_y - mean_y.square()
    covariance = product - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    denominator = (mean_x.square() + mean_y.square() + _C1) * (variance_x + variance_y + _C2)
    return (numerator / denominator).flatten(1).mean(dim=1)


def _blur(side: int) -> Tensor:
    """Gaussian blur of one image side as a matrix (side, window positions): the fastest way for small images."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / _SIGMA).square())
    weights /= weights.sum()
    return torch.stack([F.pad(weights, (first, side - first - len(weights))) for first in range(side - 2 * _RADIUS)], 1)
