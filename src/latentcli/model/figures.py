"""How good a model is on images it was not trained on: the figures of every table, defined once."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from latentcli.model.objective import evaluate_elbo
from latentcli.model.posterior import Posterior
from latentcli.model.prior import ACTIVE_KL
from latentcli.model.vae import VAE


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over images; nats per image."""

    images: int
    negative_elbo: float  # reconstruction + KL with one draw per image, beta 1, the model's sigma
    reconstruction: float
    kl: float
    psnr: float  # dB, mean over images, 8-bit reconstruction from the posterior mean
    active_dimensions: int  # KL above 0.01 nats on average
    bits_per_dimension: float | None  # Gaussian models only


def device_of(vae: VAE) -> torch.device:
    """Where the network is."""
    return vae.sigma.device


@torch.inference_mode()
def measure(vae: VAE, batches: Iterable[Tensor], seed: int = 0) -> Figures:
    """Figures over batches of images (n, channels, height, width) in [0, 1]; `vae` must be in eval mode.

    Bernoulli models: reconstruction is the binary cross-entropy summed over pixels.
    """
    assert not vae.training, "batch norm would learn from held-out images"
    generator = torch.Generator().manual_seed(seed)
    reconstruction = kl = psnr = 0.0
    kl_per_dimension = torch.zeros(vae.config.latent_dim)
    images = 0
    for batch in batches:
        x = batch.to(device_of(vae))
        posterior = vae.encode(x)
        noise = torch.randn(len(x), vae.config.latent_dim, generator=generator).to(x.device)
        elbo = evaluate_elbo(vae, x, posterior, noise)
        reconstruction += float(elbo.reconstruction.double().sum())
        kl += float(elbo.kl.double().sum())
        kl_per_dimension += posterior.kl_per_dimension().sum(dim=0).cpu()
        psnr += float(psnr_per_image(x, vae.decode(posterior.mean)).double().sum())
        images += len(x)
    negative_elbo = (reconstruction + kl) / images
    gaussian = vae.config.likelihood == "gaussian"
    return Figures(
        images=images,
        negative_elbo=negative_elbo,
        reconstruction=reconstruction / images,
        kl=kl / images,
        psnr=psnr / images,
        active_dimensions=int((kl_per_dimension / images > ACTIVE_KL).sum()),
        bits_per_dimension=vae.bits_per_dimension(negative_elbo) if gaussian else None,
    )


def psnr_per_image(x: Tensor, reconstruction: Tensor) -> Tensor:
    """10 log10(1 / mse) in dB of the reconstruction rounded to 8 bits, all channels: (n,)."""
    rounded = reconstruction.mul(255).round() / 255
    mse = (rounded - x).square().flatten(1).mean(dim=1)
    return 10 * torch.log10(1 / mse.clamp_min(1e-10))


@torch.inference_mode()
def draw_error(vae: VAE, batches: Iterable[Tensor], seed: int = 0) -> Tensor:
    """Mean squared error, over images and pixels, of decoding one posterior draw per image: a scalar.

    Its root is the sigma under which these images are most likely.
    """
    generator = torch.Generator().manual_seed(seed)
    errors = []
    for batch in batches:
        x = batch.to(device_of(vae))
        noise = torch.randn(len(x), vae.config.latent_dim, generator=generator).to(x.device)
        errors.append(evaluate_elbo(vae, x, vae.encode(x), noise).squared_error.double())
    return torch.cat(errors).mean().float()


@torch.inference_mode()
def encode_all(vae: VAE, batches: Iterable[Tensor]) -> Posterior:
    """The posterior of every image, on the CPU: mean and logvar (n, latent_dim)."""
    parts = [vae.encode(batch.to(device_of(vae))) for batch in batches]
    return Posterior(torch.cat([part.mean for part in parts]).cpu(), torch.cat([part.logvar for part in parts]).cpu())
