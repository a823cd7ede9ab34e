"""Latents moved to where the decoder draws an image best: a few steps of descent from the encoder's first guess."""

import torch
from torch import Tensor

from latentcli.model.figures import device_of
from latentcli.model.objective import bernoulli, gaussian
from latentcli.model.vae import VAE

STEPS = 30
_RATE = 0.03  # of Adam


def refine(vae: VAE, x: Tensor, z: Tensor, steps: int = STEPS) -> Tensor:
    """Latents (n, latent_dim) near `z` that explain images x (n, channels, height, width) in [0, 1] better.

    Descends -log p(x|z) + |z - z0|^2 / 2 in nats: far from where the encoder puts images, concept vectors mean nothing.
    """
    device = device_of(vae)
    x, start = x.to(device), z.detach().to(device)
    refined = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([refined], lr=_RATE)
    with torch.enable_grad():
        for _ in range(steps):
            logits = vae.decode_logits(refined)
            if vae.config.likelihood == "bernoulli":
                reconstruction = bernoulli(x, logits)
            else:
                squared_error = (logits.sigmoid() - x).square().flatten(1).mean(dim=1)
                reconstruction = gaussian(squared_error, vae.sigma, vae.config.dimensions)
            loss = (reconstruction + (refined - start).square().sum(dim=1) / 2).sum()
            (refined.grad,) = torch.autograd.grad(loss, [refined])
            optimizer.step()
    return refined.detach().cpu()
