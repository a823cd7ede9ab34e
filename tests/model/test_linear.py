"""The linear path: probabilistic PCA beside the convolutions."""

from dataclasses import replace

import pytest
import torch

from latentcli.model.pca import fit_pca
from latentcli.model.vae import VAE
from latentcli.presets import model_config
from tests.conftest import random_components

CONFIG = model_config("photo", 16, 16, 3, latent_dim=6)


def fitted(config=CONFIG, beta=1.0, components=6):
    torch.manual_seed(0)
    vae = VAE(config).eval()
    assert vae.linear
    found = random_components(len(vae.linear.mean), components)
    vae.linear.fit(found, beta)
    return vae, found


def test_a_network_starts_as_pca():
    """Images on the components, with next to no noise, come back as they were."""
    vae, found = fitted()
    vae.linear.fit(replace(found, noise=1e-8))
    z = torch.randn(5, 6)
    pictures = 0.5 + 0.01 * (z @ found.components.T).view(5, 16, 16, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(vae.decode(vae.encode(pictures).mean), pictures, atol=1e-4, rtol=0)


def test_the_posterior_is_that_of_tipping_and_bishop():
    """Eq. 6 to 8, with W of columns u sqrt(l - s^2) and M = W^T W + s^2."""
    vae, found = fitted()
    x = torch.rand(4, 3, 16, 16)
    w = found.components * (found.variances - found.noise).sqrt()
    m = torch.linalg.inv(w.T @ w + found.noise * torch.eye(6))
    centred = x.permute(0, 2, 3, 1).flatten(1) - found.mean
    posterior = vae.encode(x)
    torch.testing.assert_close(posterior.mean, centred @ w @ m, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(posterior.logvar.exp(), (found.noise * m).diagonal().expand(4, 6), atol=1e-5, rtol=1e-4)


def test_a_heavy_kl_leaves_out_components_that_do_not_stand_out():
    vae, found = fitted(beta=500.0)  # 500 times the noise is a variance of 5
    kept = found.variances > 5
    assert (vae.linear.basis.abs().sum(dim=1) > 0).tolist() == kept.tolist()
    assert (vae.encode(torch.rand(2, 3, 16, 16)).logvar[:, ~kept] == 0).all()


def test_dimensions_without_a_component_stay_at_the_prior():
    vae, _ = fitted(components=2)
    posterior = vae.encode(torch.rand(3, 3, 16, 16))
    assert not posterior.mean[:, 2:].any()
    assert not posterior.logvar[:, 2:].any()


@pytest.mark.parametrize(("width", "height"), [(16, 16), (51, 30), (200, 136)])
def test_pictures_of_any_size_are_seen_and_decoded_at_their_size(width, height):
    vae, _ = fitted(model_config("photo", width, height, 1, latent_dim=6))
    assert vae.decode(vae.encode(torch.rand(2, 1, height, width)).mean).shape == (2, 1, height, width)


def test_decoded_pictures_are_within_their_range_and_the_likelihood_s_mean_is_not():
    vae, _ = fitted()
    z = 30 * torch.randn(4, 6)
    assert vae.decode(z).min() == 0
    assert vae.decode(z).max() == 1
    assert vae.decode_output(z).max() > 1


def test_half_precision_does_not_reach_the_linear_path():
    vae, _ = fitted()
    x = torch.rand(4, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        half = vae.encode(x).mean
    torch.testing.assert_close(half, vae.encode(x).mean)


def test_pca_of_images_starts_a_network_that_reconstructs_them():
    torch.manual_seed(1)
    x = (torch.rand(60, 5) @ torch.rand(5, 768) / 5).view(60, 3, 16, 16)
    vae = VAE(CONFIG).eval()
    assert vae.linear
    seen = vae.linear.seen(x)
    vae.linear.fit(fit_pca(lambda: iter([seen]), 6))
    assert (vae.decode(vae.encode(x).mean) - x).square().mean() < 1e-5
