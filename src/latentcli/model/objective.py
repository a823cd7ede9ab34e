"""ELBO, importance-weighted bound and refinement of latents, all computed from the likelihood p(x|z) of images."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from latentcli.model.gray_levels import of_the_other_half
from latentcli.model.vae import VAE, Posterior


@dataclass(frozen=True, slots=True)
class Elbo:
    """Terms of the ELBO of each of n images, in nats: the ELBO is -(reconstruction + kl)."""

    reconstruction: Tensor  # -log p(x|z): (n,)
    kl: Tensor  # KL(q(z|x) || N(0, I)): (n,)
    squared_error: Tensor  # mean over pixels in [0, 1]: (n,)


def evaluate_elbo(vae: VAE, x: Tensor, posterior: Posterior, noise: Tensor, sigma: Tensor | None) -> Elbo:
    """ELBO of images x (n, channels, height, width) by one posterior draw each; `noise` (n, latent_dim) is N(0, I).

    `sigma` None, as in training, takes the most likely sigma of the batch: the gradient is that of D/2 * log(mse).
    """
    output = vae.decode_output(posterior.draw(noise))
    squared_error = vae.likelihood.squared_error(x, output)
    reconstruction = vae.likelihood.negative_log(x, output, sigma, squared_error)
    return Elbo(reconstruction, posterior.kl(), squared_error)


def draws(vae: VAE, batches: Iterable[Tensor], noise_scale: float = 1.0) -> Iterator[tuple[Tensor, Posterior, Tensor]]:
    """Each batch on the device, its posterior, and the decoder's output for a draw with noise x `noise_scale` each."""
    generator = torch.Generator().manual_seed(0)
    for batch in batches:
        x = batch.to(vae.device)
        posterior = vae.encode(x)
        noise = noise_scale * torch.randn(posterior.mean.shape, generator=generator)
        yield x, posterior, vae.decode_output(posterior.draw(noise.to(x.device)))


@torch.inference_mode()
def draw_errors(vae: VAE, batches: Iterable[Tensor], noise_scale: float = 1.0) -> Tensor:
    """Mean squared errors of all n images over pixels, with one posterior draw per image decoded: (n,) on the CPU.

    The root of their mean is the sigma of the Gaussian likelihood that makes the images most likely.
    """
    errors = [vae.likelihood.squared_error(x, output).cpu() for x, _, output in draws(vae, batches, noise_scale)]
    return torch.cat(errors).double()


_DECODED_AT_ONCE = 250  # latents decoded in one batch for the importance-weighted bound


@torch.inference_mode()
def _log_weights(vae: VAE, x: Tensor, sigma: Tensor, posterior: Posterior, noise: Tensor) -> Tensor:
    """Log importance weights log p(x|z) + log p(z) - log q(z|x), in nats, of posterior draws z: (n, count).

    `noise` (n, count, latent_dim) is N(0, I), and `sigma` (n,) that of the Gaussian likelihood.
    """
    n, count, _ = noise.shape
    sd = (0.5 * posterior.logvar).exp()[:, None]
    z = posterior.mean[:, None] + sd * noise  # (n, count, latent_dim)
    prior_over_posterior = 0.5 * (noise.square() - z.square() + posterior.logvar[:, None]).sum(dim=2)
    output = vae.decode_output(z.flatten(0, 1))
    repeated, sigmas = (tensor.repeat_interleave(count, dim=0) for tensor in (x, sigma))
    likelihood = -vae.likelihood.negative_log(repeated, output, sigmas)
    return likelihood.cpu().view(n, count).double() + prior_over_posterior.cpu().double()


def importance_bound(vae: VAE, batches: Callable[[], Iterable[Tensor]], count: int) -> Iterable[tuple[int, float]]:
    """Compute the importance-weighted bound on log p(x) in nats by `count` draws per image: Burda et al. 2016, eq. 8.

    Each half of the images has the sigma of the other half, as in the ELBO of `metrics.measure`. Yields, batch by
    batch, the number of images done so far and the mean of their bounds. Memory does not grow with `count`.
    """
    sigma = of_the_other_half(draw_errors(vae, batches())).sqrt().float().to(vae.device)
    generator = torch.Generator().manual_seed(0)
    done, total = 0, 0.0
    at_once = max(1, _DECODED_AT_ONCE // count)
    for batch in batches():
        for x in torch.split(batch.to(vae.device), at_once):
            with torch.inference_mode():
                posterior = vae.encode(x)
            total_weight = torch.full((len(x),), -torch.inf, dtype=torch.float64)  # log of the sum so far
            for drawn in range(0, count, _DECODED_AT_ONCE):
                shape = len(x), min(_DECODED_AT_ONCE, count - drawn), vae.config.latent_dim
                noise = torch.randn(shape, generator=generator).to(x.device)
                weights = _log_weights(vae, x, sigma[done : done + len(x)], posterior, noise)
                total_weight = total_weight.logaddexp(weights.logsumexp(dim=1))
            total += float((total_weight - math.log(count)).sum())
            done += len(x)
            yield done, total / done


_STEPS, _RATE = 30, 0.03  # steps and learning rate of Adam in `refine`


def refine(vae: VAE, x: Tensor, z: Tensor) -> Tensor:
    """Latents (n, latent_dim) near `z` that reconstruct images x (n, channels, height, width) in [0, 1] better.

    Adam minimises -log p(x|z) + |(z - z0) / s|^2 / 2 in nats, where z0 is the given `z` and s the standard deviation of
    the posterior. The second term keeps latents near the encoder's, since concept vectors mean nothing far away from
    encoded images; what an image determines exactly moves least.
    """
    x, start = x.to(vae.device), z.detach().to(vae.device)
    with torch.no_grad():
        precision = (-vae.encode(x).logvar).exp()
    refined = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([refined], lr=_RATE)
    with torch.enable_grad():
        for _ in range(_STEPS):
            reconstruction = vae.likelihood.negative_log(x, vae.decode_output(refined), vae.sigma)
            loss = (reconstruction + (precision * (refined - start).square()).sum(dim=1) / 2).sum()
            (refined.grad,) = torch.autograd.grad(loss, [refined])
            optimizer.step()
    return refined.detach().cpu()
