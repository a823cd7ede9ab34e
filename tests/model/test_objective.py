"""The ELBO and the importance-weighted bound of a model whose likelihood is known."""

import math

import numpy as np
import pytest
import torch

from latentcli.config import ModelConfig
from latentcli.model import objective
from latentcli.model.likelihood import LIKELIHOODS
from latentcli.model.metrics import measure
from latentcli.model.objective import importance_bound, refine
from latentcli.model.vae import Posterior


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def last(bound):
    *_, (_, nats) = bound
    return nats


class LinearGaussian:
    """x = b + W z + noise with orthogonal columns in W, so that the true likelihood and posterior are known.

    Its encoder is off on purpose: means by 0.3 and variances by a factor e^0.4.
    """

    training = False
    config = ModelConfig(width=16, height=16, channels=1, latent_dim=3, widths=(8,))
    likelihood = LIKELIHOODS["gaussian"]
    device = torch.device("cpu")
    sigma = torch.tensor(0.1)

    def __init__(self):
        self.w = torch.linalg.qr(torch.randn(256, 3, generator=rng())).Q * torch.tensor([0.5, 0.3, 0.1])
        self.b = torch.full((256,), 0.5)
        self.precision = 1 + (self.w.T @ self.w).diagonal() / self.sigma**2

    def true_posterior(self, x):
        mean = (x.flatten(1) - self.b) @ self.w / self.sigma**2 / self.precision
        return Posterior(mean, -self.precision.log().expand_as(mean))

    def encode(self, x):
        exact = self.true_posterior(x)
        return Posterior(exact.mean + 0.3 / self.precision.sqrt(), exact.logvar + 0.4)

    def decode_output(self, z):
        return (self.b + z @ self.w.T).view(-1, 1, 16, 16).logit()

    def decode(self, z):
        return self.decode_output(z).sigmoid()

    def log_likelihood(self, x):
        covariance = self.w @ self.w.T + self.sigma**2 * torch.eye(256)
        normal = torch.distributions.MultivariateNormal(self.b, covariance)
        return normal.log_prob(x.flatten(1)).mean().item()


@pytest.fixture(scope="module")
def linear():
    vae = LinearGaussian()
    z = 0.7 * torch.randn(40, 3, generator=rng(1))
    x = vae.b + z @ vae.w.T + vae.sigma * torch.randn(40, 256, generator=rng(2))
    return vae, x.view(-1, 1, 16, 16)


def test_the_importance_weighted_bound_reaches_the_true_likelihood(linear):
    vae, x = linear
    assert last(importance_bound(vae, lambda: [x], 500)) == pytest.approx(vae.log_likelihood(x), abs=0.05)


def test_the_bound_rises_with_the_draws(linear):
    vae, x = linear
    found = [last(importance_bound(vae, lambda: [x], draws)) for draws in (1, 10, 100)]
    assert found[0] < found[1] < found[2] < vae.log_likelihood(x) + 0.05


def test_many_draws_of_one_image_are_taken_a_few_at_a_time(linear, monkeypatch):
    vae, x = linear
    whole = last(importance_bound(vae, lambda: [x[:3]], 240))
    monkeypatch.setattr(objective, "_DECODED_AT_ONCE", 7)
    decoded: list[int] = []

    def decode(z, decode_output=vae.decode_output):
        decoded.append(len(z))
        return decode_output(z)

    monkeypatch.setattr(vae, "decode_output", decode)
    assert last(importance_bound(vae, lambda: [x[:3]], 240)) == pytest.approx(whole, abs=0.2)
    assert max(decoded) <= 7


def test_the_elbo_is_below_the_likelihood_by_the_posterior_s_error(linear):
    vae, x = linear
    gap = 3 * 0.5 * (math.exp(0.4) + 0.3**2 - 1 - 0.4)  # KL of the encoder's answer from the true posterior
    elbo = -np.mean([measure(vae, [x[torch.randperm(40, generator=rng(seed))]]).negative_elbo for seed in range(60)])
    assert elbo == pytest.approx(vae.log_likelihood(x) - gap, abs=0.15)


def test_refined_latents_reconstruct_better(linear):
    vae, x = linear
    start = vae.encode(x).mean
    before, after = ((vae.decode(z) - x).square().mean() for z in (start, refine(vae, x, start)))
    assert after < before


def test_refining_moves_what_the_posterior_is_sure_of_least(linear, monkeypatch):
    vae, x = linear
    start = vae.encode(x).mean
    loose = (refine(vae, x, start) - start).abs().mean(dim=0)
    sure = Posterior(start, torch.tensor([-12.0, 0.0, 0.0]).expand_as(start))
    monkeypatch.setattr(vae, "encode", lambda _: sure)
    moved = (refine(vae, x, start) - start).abs().mean(dim=0)
    assert moved[0] < loose[0] / 3
    assert moved[1] > moved[0]
