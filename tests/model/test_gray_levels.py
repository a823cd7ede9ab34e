"""Probabilities of gray levels against numerical integration, and sigmas of images other than those measured."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from latentcli.model.gray_levels import SMALLEST_SIGMA, Residuals, bits_per_dimension, of_the_other_half


def stored(*shape, seed=0):
    """8-bit images in [0, 1], with black and white values."""
    levels = np.random.default_rng(seed).integers(-20, 276, shape).clip(0, 255)
    return torch.from_numpy(levels).float() / 255


def bits(x, mean):
    residuals = Residuals()
    residuals.add(x, mean)
    return bits_per_dimension(residuals.levels(), x[0].numel())


def integrated(x, mean, sigma):
    """Bits per value by numerical integration, value by value."""
    total = 0.0
    for value, at in zip(x.flatten().tolist(), mean.double().flatten().tolist(), strict=True):
        lower = value - 0.5 / 255 if value > 0 else -math.inf
        upper = value + 0.5 / 255 if value < 1 else math.inf
        total -= math.log2(quad(norm(at, sigma).pdf, lower, upper)[0])
    return total / x.numel()


def test_a_perfect_reconstruction_costs_what_the_integral_over_its_levels_says():
    x = stored(2, 1, 6, 6)
    found = bits(x, x)
    assert found >= 0
    assert found == pytest.approx(integrated(x, x, SMALLEST_SIGMA), abs=1e-3)


@pytest.mark.parametrize("sigma", [0.002, 0.02, 0.2])
def test_bits_are_those_of_the_integral_over_the_level(sigma):
    x = stored(2, 1, 6, 6)
    mean = x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    even, odd = (x - mean).square().flatten(1).mean(dim=1).sqrt().tolist()
    expected = (integrated(x[:1], mean[:1], odd) + integrated(x[1:], mean[1:], even)) / 2
    assert bits(x, mean) == pytest.approx(expected, abs=1e-3)


def test_larger_errors_cost_more_bits():
    x, noise = stored(20, 1, 12, 12), torch.randn(20, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    costs = [bits(x, x + error * noise) for error in (0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1)]
    assert costs == sorted(costs)
    assert costs[0] >= 0


def test_a_value_that_the_mean_misses_by_far_costs_many_bits():
    x = torch.zeros(4, 1, 8, 8)
    mean = x.clone()
    mean[:2, 0, 0, 0] = 1.0
    sigma = 1 / 8  # root mean square of one miss in 64 values
    expected = (63 * -norm.logcdf(0.5 / 255 / sigma) - norm.logcdf(-254.5 / 255 / sigma)) / 64 / math.log(2)
    assert bits(x[:2], mean[:2]) == pytest.approx(expected, abs=1e-3)


def test_the_density_is_that_of_the_normal_distribution():
    x = stored(6, 3, 4, 4)
    mean = torch.full_like(x, 0.5)
    residuals = Residuals()
    residuals.add(x[:1], mean[:1])
    residuals.add(x[1:], mean[1:])
    sigmas = of_the_other_half((x - mean).square().flatten(1).mean(dim=1)).sqrt()
    densities = torch.distributions.Normal(mean, sigmas.view(-1, 1, 1, 1)).log_prob(x).flatten(1).sum(dim=1)
    assert residuals.density() == pytest.approx(-densities.mean().item(), rel=1e-5)


def test_no_image_has_a_say_in_its_own_sigma():
    errors = torch.rand(7, generator=torch.Generator().manual_seed(0))
    for image in range(7):
        changed = errors.clone()
        changed[image] = 100.0
        assert of_the_other_half(changed)[image] == of_the_other_half(errors)[image]


def test_a_single_image_takes_its_own_error():
    assert of_the_other_half(torch.tensor([0.04])).tolist() == pytest.approx([0.04])
