"""Baselines by the likelihood of a model: the same treatment for PCA as for the model."""

import pytest
import torch

from latentcli.model.likelihood import LIKELIHOODS, Gaussian
from latentcli.model.metrics import measure
from latentcli.model.pca import fit_pca
from latentcli.model.vae import VAE
from latentcli.presets import model_config


def drawings(count, noise=0.0):
    """Four parts on a gray ground, each there or not: four components draw them exactly."""
    generator = torch.Generator().manual_seed(0)
    parts = torch.rand(4, 3 * 16 * 16, generator=generator) * (torch.arange(768) % 4 == torch.arange(4)[:, None])
    chosen = (torch.rand(count, 4, generator=generator) < 0.5).float()
    x = 0.2 + 0.6 * (chosen @ parts) + noise * torch.randn(count, 768, generator=generator)
    return (x.clamp(0, 1).mul(255).round() / 255).view(-1, 3, 16, 16)


def test_pca_that_is_exact_has_a_likelihood():
    x = drawings(100)
    nats, bits = Gaussian().baseline(fit_pca(lambda: iter([x]), 4), lambda: iter([x]))
    assert nats is not None
    assert bits is not None
    assert 0 <= bits < 0.3


def test_pca_costs_as_many_bits_as_the_network_that_starts_from_it():
    x = drawings(400, noise=0.02)
    vae = VAE(model_config("photo", 16, 16, 3, latent_dim=4)).eval()
    path = vae.linear
    assert path
    path.fit(fit_pca(lambda: iter([path.seen(x)]), 4))
    nats, bits = Gaussian().baseline(fit_pca(lambda: iter([x]), 4), lambda: iter(x.split(70)))
    network = measure(vae, [x])
    assert bits == pytest.approx(network.bits_per_dimension, abs=2e-3)
    assert nats == pytest.approx(network.negative_elbo, rel=2e-3)


def test_components_are_no_baseline_of_a_bernoulli_model():
    x = drawings(20)
    assert LIKELIHOODS["bernoulli"].baseline(fit_pca(lambda: iter([x]), 4), lambda: iter([x])) == (None, None)
