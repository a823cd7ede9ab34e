"""The importance-weighted bound: closer to the likelihood than the ELBO, the more draws the closer."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from latentcli.model import objective
from latentcli.model.figures import device_of
from latentcli.model.vae import VAE

_DECODED_AT_ONCE = 250  # latents


@torch.inference_mode()
def log_weights(vae: VAE, x: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """log p(x|z) + log p(z) - log q(z|x) in nats for draws z of each image's posterior: (n, draws)."""
    posterior = vae.encode(x)
    n, latent_dim = posterior.mean.shape
    noise = torch.randn(n, draws, latent_dim, generator=generator).to(x.device)
    sd = (0.5 * posterior.logvar).exp()[:, None]
    z = posterior.mean[:, None] + sd * noise  # (n, draws, latent_dim)
    prior_over_posterior = 0.5 * (noise.square() - z.square() + posterior.logvar[:, None]).sum(dim=2)
    repeated = x.repeat_interleave(draws, dim=0)
    parts = zip(torch.split(repeated, _DECODED_AT_ONCE), torch.split(z.flatten(0, 1), _DECODED_AT_ONCE), strict=True)
    likelihood = -torch.cat([_reconstruction(vae, some, latents) for some, latents in parts])
    return likelihood.cpu().view(n, draws).double() + prior_over_posterior.cpu().double()


def _reconstruction(vae: VAE, x: Tensor, z: Tensor) -> Tensor:
    logits = vae.decode_logits(z)
    if vae.config.likelihood == "bernoulli":
        return objective.bernoulli(x, logits)
    squared_error = (logits.sigmoid() - x).square().flatten(1).mean(dim=1)
    return objective.gaussian(squared_error, vae.sigma, vae.config.dimensions)


def importance_bound(vae: VAE, batches: Iterable[Tensor], draws: int) -> Iterable[tuple[int, float]]:
    """The bound on log p(x) from so many draws per image: Burda et al. 2016, eq. 8.

    Yields how many images are done and the mean over them, in nats; memory does not grow with the draws.
    """
    generator = torch.Generator().manual_seed(0)
    done, total = 0, 0.0
    at_once = max(1, _DECODED_AT_ONCE // draws)
    for batch in batches:
        for x in torch.split(batch.to(device_of(vae)), at_once):
            weights = log_weights(vae, x, draws, generator)
            total += float((weights.logsumexp(dim=1) - math.log(draws)).sum())
            done += len(x)
            yield done, total / done
