"""The importance-weighted bound: closer to the likelihood than the ELBO, the more draws the closer."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from latentcli.model import objective
from latentcli.model.figures import device_of
from latentcli.model.posterior import Posterior
from latentcli.model.vae import VAE

_DECODED_AT_ONCE = 250  # latents


@torch.inference_mode()
def log_weights(vae: VAE, x: Tensor, posterior: Posterior, draws: int, generator: torch.Generator) -> Tensor:
    """log p(x|z) + log p(z) - log q(z|x) in nats for draws z of each image's posterior: (n, draws)."""
    n, latent_dim = posterior.mean.shape
    noise = torch.randn(n, draws, latent_dim, generator=generator).to(x.device)
    sd = (0.5 * posterior.logvar).exp()[:, None]
    z = posterior.mean[:, None] + sd * noise  # (n, draws, latent_dim)
    prior_over_posterior = 0.5 * (noise.square() - z.square() + posterior.logvar[:, None]).sum(dim=2)
    likelihood = -_reconstruction(vae, x.repeat_interleave(draws, dim=0), z.flatten(0, 1))
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
            with torch.inference_mode():
                posterior = vae.encode(x)
            weights = torch.full((len(x),), -torch.inf, dtype=torch.float64)  # log of their sum so far
            for drawn in range(0, draws, _DECODED_AT_ONCE):
                some = log_weights(vae, x, posterior, min(_DECODED_AT_ONCE, draws - drawn), generator)
                weights = weights.logaddexp(some.logsumexp(dim=1))
            total += float((weights - math.log(draws)).sum())
            done += len(x)
            yield done, total / done
