from typing import Any

import pytest
import torch
import torch.nn.functional as F

from latentcli.config import ModelConfig
from latentcli.errors import ConfigError
from latentcli.model.objective import evaluate_elbo
from latentcli.model.vae import VAE, BookDecoder, BookEncoder, Posterior
from latentcli.presets import model_config, train_config
from tests.conftest import TINY

BOOK = model_config("book", 28, 28, 1)


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def test_the_network_of_the_book_has_550629_parameters():
    assert sum(parameter.numel() for parameter in VAE(BOOK).parameters()) == 550_629


def test_the_books_decoder_has_56385_parameters():
    assert sum(parameter.numel() for parameter in BookDecoder(BOOK).parameters()) == 56_385


def test_strided_layers_pad_as_tensorflow_does():
    """TensorFlow's SAME with stride 2 on 28 pixels puts one row after the image and none before."""
    encoder = BookEncoder(BOOK)
    x = torch.zeros(1, 32, 28, 28)
    x[:, :, 0, 0] = 1
    weights = encoder.conv2.weight
    padded = F.conv2d(F.pad(x, (0, 1, 0, 1)), weights, stride=2)
    torch.testing.assert_close(padded[0, :, 0, 0], weights[:, :, 0, 0].sum(dim=1))  # the kernel's first tap sees it
    decoder = BookDecoder(BOOK)
    h = torch.zeros(1, 64, 14, 14)
    h[:, :, 0, 0] = 1
    up = F.conv_transpose2d(h, decoder.up.weight, stride=2)[:, :, :28, :28]
    torch.testing.assert_close(up[0, :, 0, 0], decoder.up.weight[:, :, 0, 0].sum(dim=0))
    assert decoder(torch.zeros(1, 2)).shape == (1, 1, 28, 28)


def test_the_book_starts_as_keras_does():
    vae = VAE(BOOK)
    dense = vae.encoder.dense
    assert isinstance(dense, torch.nn.Linear)
    limit = (6 / (12_544 + 32)) ** 0.5
    assert float(dense.weight.detach().abs().max()) <= limit
    assert float(dense.weight.detach().abs().max()) > 0.99 * limit
    assert not dense.bias.any()


@pytest.mark.parametrize(
    ("width", "height", "channels"),
    [(16, 16, 1), (17, 23, 3), (28, 28, 1), (64, 64, 3), (96, 64, 3), (256, 16, 1), (100, 75, 3), (256, 256, 3)],
)
def test_any_size_comes_back_as_it_went_in(width, height, channels):
    config = model_config("photo", width, height, channels, latent_dim=3)
    vae = VAE(config).eval()
    x = torch.rand(2, channels, height, width)
    posterior = vae.encode(x)
    images = vae.decode(posterior.mean)
    assert posterior.mean.shape == posterior.logvar.shape == (2, 3)
    assert images.shape == x.shape
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1


def test_a_hidden_layer_lies_on_both_sides_of_the_latent():
    config = ModelConfig(width=16, height=16, channels=1, latent_dim=2, widths=(8, 8), hidden=24)
    vae = VAE(config).eval()
    posterior = vae.encode(torch.rand(5, 1, 16, 16))
    assert posterior.mean.shape == (5, 2)
    assert vae.decode(posterior.mean).shape == (5, 1, 16, 16)
    for layer in (vae.encoder.mean, vae.decoder.dense):
        assert isinstance(layer, torch.nn.Linear)
        assert layer.in_features == 24


@pytest.mark.parametrize("size", [15, 257, 0, -4])
def test_sizes_beyond_the_limits_are_refused(size):
    with pytest.raises(ConfigError, match="16 to 256"):
        ModelConfig(width=size)


def test_presets_have_their_latent_dimensions():
    assert model_config("photo", 64, 64, 3, images=9_999).latent_dim == 192
    assert model_config("photo", 64, 64, 3, images=10_000).latent_dim == 256
    assert model_config("photo", 48, 48, 3, images=10_000).latent_dim == 192
    assert model_config("photo", 128, 128, 3).latent_dim == 256
    assert model_config("digits", 28, 28, 1).latent_dim == 32
    assert BOOK.latent_dim == 2


def test_a_config_survives_json_and_refuses_nonsense():
    assert ModelConfig.from_json(TINY.to_json()) == TINY
    with pytest.raises(ConfigError, match="unknown settings wings"):
        ModelConfig.from_json(TINY.to_json() | {"wings": 2})
    broken: dict[str, Any]
    for broken in ({"width": "wide"}, {"channels": 5}, {"likelihood": "cauchy"}, {"preset": "nope"}, {"widths": []}):
        with pytest.raises(ConfigError):
            ModelConfig.from_json(TINY.to_json() | broken)


def test_capacity_widens_the_finer_levels():
    assert model_config("photo", 128, 128, 3, capacity=2).widths == (32, 64, 128, 192, 192)
    assert model_config("digits", 28, 28, 1, capacity=0.5).widths == (8, 16)
    with pytest.raises(ConfigError, match=r"capacity must be 0\.25 to 8, got 9"):
        model_config("photo", 64, 64, 3, capacity=9)
    with pytest.raises(ConfigError, match="leave out `capacity`"):
        model_config("book", 28, 28, 1, capacity=2)


def test_large_pictures_are_halved_for_the_linear_path():
    assert [model_config("photo", side, side, 3).pooling for side in (64, 96, 128, 256)] == [1, 1, 2, 2]


def test_a_config_that_lacks_a_setting_is_refused():
    values = TINY.to_json()
    del values["pooling"]
    with pytest.raises(ConfigError, match="the settings pooling are missing"):
        ModelConfig.from_json(values)


def test_small_pictures_go_in_larger_batches():
    batches = [train_config(model_config("photo", side, side, 3)).batch_size for side in (16, 32, 64, 128, 256)]
    assert batches == [256, 256, 64, 32, 32]


def test_each_level_of_a_photo_network_costs_as_much():
    assert model_config("photo", 24, 24, 3).widths == (16, 32)
    assert model_config("photo", 128, 128, 3).widths == (16, 32, 64, 128, 192)


def test_a_bernoulli_network_has_no_linear_path_and_is_warmed_up():
    model = model_config("photo", 32, 32, 3, likelihood="bernoulli")
    assert VAE(model).linear is None
    assert train_config(model).beta_warmup > 0


def test_one_image_encodes_as_it_does_in_a_batch():
    vae = VAE(model_config("photo", 32, 32, 3, latent_dim=8)).eval()
    x = torch.rand(40, 3, 32, 32)
    torch.testing.assert_close(vae.encode(x[7:8]).mean[0], vae.encode(x).mean[7], atol=1e-5, rtol=0)


def test_kl_matches_torch():
    posterior = Posterior(torch.randn(5, 3), torch.randn(5, 3))
    q = torch.distributions.Normal(posterior.mean, (0.5 * posterior.logvar).exp())
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(posterior.kl(), expected)


def test_a_draw_has_the_posteriors_mean_and_deviation():
    posterior = Posterior(torch.full((20_000, 1), 2.0), torch.full((20_000, 1), -1.0))
    z = posterior.draw(torch.randn(20_000, 1))
    assert float(z.mean()) == pytest.approx(2, abs=0.02)
    assert float(z.var()) == pytest.approx(0.3679, abs=0.02)  # exp(-1): logvar is a log-variance


def test_bernoulli_reconstruction_is_cross_entropy_summed_over_pixels():
    vae = VAE(BOOK).eval()
    x = torch.rand(3, 1, 28, 28)
    posterior = vae.encode(x)
    elbo = evaluate_elbo(vae, x, posterior, torch.zeros(3, 2), vae.sigma)
    expected = F.binary_cross_entropy(vae.decode(posterior.mean), x, reduction="none").flatten(1).sum(dim=1)
    torch.testing.assert_close(elbo.reconstruction, expected, rtol=1e-4, atol=1e-2)


def test_gaussian_reconstruction_is_the_log_density_at_the_stored_sigma():
    vae = VAE(TINY).eval()
    vae.set_sigma(torch.tensor(0.04))
    x = torch.rand(3, 3, 16, 16)
    posterior = vae.encode(x)
    elbo = evaluate_elbo(vae, x, posterior, torch.zeros(3, 4), vae.sigma)
    density = torch.distributions.Normal(vae.decode(posterior.mean), 0.2).log_prob(x).flatten(1).sum(dim=1)
    torch.testing.assert_close(elbo.reconstruction, -density, rtol=1e-4, atol=1e-2)


def test_training_uses_the_sigma_that_is_best_for_the_batch():
    vae = VAE(TINY).eval()
    x, noise = torch.rand(4, 3, 16, 16), torch.zeros(4, 4)
    posterior = vae.encode(x)
    best = evaluate_elbo(vae, x, posterior, noise, sigma=None)
    for factor in (0.8, 1.25):
        vae.set_sigma(best.squared_error.mean() * factor)
        other = evaluate_elbo(vae, x, posterior, noise, vae.sigma)
        assert float(other.reconstruction.mean()) > float(best.reconstruction.mean())
