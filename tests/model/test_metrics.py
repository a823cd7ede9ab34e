import math

import pytest
import torch

from latentcli.model.metrics import encode_all, measure, psnr_per_image, ssim
from latentcli.model.objective import draw_errors, evaluate_elbo
from latentcli.model.vae import VAE
from latentcli.presets import model_config
from tests.conftest import TINY


def test_psnr_is_the_mean_over_images_of_the_8_bit_output():
    x = torch.zeros(2, 1, 4, 4)
    off = torch.stack([torch.full((1, 4, 4), 10 / 255), torch.full((1, 4, 4), 20.4 / 255)])
    expected = [20 * math.log10(255 / 10), 20 * math.log10(255 / 20)]
    assert psnr_per_image(x, off).tolist() == pytest.approx(expected, rel=1e-5)


def test_batches_do_not_change_the_figures():
    vae = VAE(TINY).eval()
    x = torch.rand(7, 3, 16, 16)
    whole, parts = measure(vae, [x]), measure(vae, [x[:2], x[2:]])
    assert whole.images == parts.images == 7
    assert whole.psnr == pytest.approx(parts.psnr, abs=1e-3)
    assert whole.kl == pytest.approx(parts.kl, rel=1e-4)
    assert whole.kl is not None
    assert whole.negative_elbo == pytest.approx(whole.reconstruction + whole.kl)


def test_bits_of_small_residuals_are_the_elbo_plus_the_bits_of_255_steps():
    """Where a density hardly changes within a level, and no value is black or white."""
    vae = VAE(TINY).eval()
    figures = measure(vae, [torch.rand(4, 3, 16, 16) * 0.5 + 0.25])
    assert figures.negative_elbo is not None
    assert figures.bits_per_dimension == pytest.approx(
        figures.negative_elbo / (768 * math.log(2)) + math.log2(255), abs=1e-3
    )


def test_bits_per_dimension_are_for_gaussian_models():
    digits = VAE(model_config("digits", 16, 16, 1)).eval()
    assert measure(digits, [torch.rand(2, 1, 16, 16)]).bits_per_dimension is None


def test_sigma_is_the_root_mean_squared_error_of_a_draw():
    vae = VAE(TINY).eval()
    x = torch.rand(8, 3, 16, 16)
    vae.set_sigma(draw_errors(vae, [x[:3], x[3:]]).mean())
    posterior, noise = vae.encode(x), torch.zeros(8, 4)

    def nats(factor):
        return evaluate_elbo(vae, x, posterior, noise, vae.sigma * factor).reconstruction.sum().item()

    assert nats(1) < min(nats(0.8), nats(1.25))


def test_metrics_do_not_depend_on_the_stored_sigma():
    """It may be that of the very images measured."""
    vae = VAE(TINY).eval()
    x = torch.rand(8, 3, 16, 16)
    before = measure(vae, [x])
    vae.set_sigma(torch.tensor(9.0))
    assert measure(vae, [x]) == before


def test_encoding_all_keeps_the_order():
    vae = VAE(TINY).eval()
    x = torch.rand(5, 3, 16, 16)
    torch.testing.assert_close(encode_all(vae, [x[:3], x[3:]]).mean, vae.encode(x).mean, atol=1e-5, rtol=0)


def test_equal_images_are_alike_and_inverted_ones_are_not():
    x = torch.rand(3, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    assert ssim(x, x).tolist() == pytest.approx([1, 1, 1])
    assert (ssim(x, 1 - x) < 0).all()


def test_ssim_of_flat_images_is_its_first_factor():
    """Variances are 0: only the means count."""
    x, y = torch.full((1, 1, 12, 12), 0.2), torch.full((1, 1, 12, 12), 0.6)
    assert ssim(x, y).item() == pytest.approx((2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4), rel=3e-4)
