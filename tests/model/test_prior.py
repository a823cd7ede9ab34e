import numpy as np
import pytest
import torch

from latentcli.model.noise import uniform_and_normal
from latentcli.model.prior import MixturePrior, StandardPrior
from latentcli.model.vae import Posterior
from latentcli.training.prior.mixture import fit
from tests.conftest import close


@pytest.mark.parametrize("count", [1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 48, 100, 192])
def test_random_numbers_are_those_of_pytorch(count):
    seeds = (0, 1, 7, 2**31 + 5, 2**40 + 3, 2**62)
    uniform, normal = uniform_and_normal(seeds, count)
    for seed, number, numbers in zip(seeds, uniform, normal, strict=True):
        generator = torch.Generator().manual_seed(seed)
        assert number == float(torch.rand((), generator=generator))
        close(numbers, torch.randn(count, generator=generator).numpy())


def two_clusters(count, latent_dim=3):
    """Latents around -4 and +4 along the first dimension, with correlated others; the last is unused."""
    generator = torch.Generator().manual_seed(0)
    mean = 0.3 * torch.randn(count, latent_dim, generator=generator)
    mean[:, 1] += mean[:, 0]
    mean[: count // 2, 0] += 4
    mean[count // 2 :, 0] -= 4
    mean[:, -1] = 0
    logvar = torch.full_like(mean, -3.0)
    logvar[:, -1] = 0
    return Posterior(mean, logvar)


def test_a_seed_gives_the_same_latent_in_any_batch():
    for prior in (StandardPrior(5), fit(two_clusters(600), seed=0)):
        alone = prior.sample([7], 0.8)
        together = prior.sample(range(20), 0.8)
        assert np.array_equal(alone[0], together[7])
        assert not np.array_equal(together[6], together[7])


def test_the_standard_prior_is_standard():
    z = StandardPrior(4).sample(range(4000), 1.0)
    assert abs(float(z.mean())) < 0.05
    assert float(z.std()) == pytest.approx(1, abs=0.03)
    close(StandardPrior(4).sample([3], 0.5), 0.5 * StandardPrior(4).sample([3], 1.0))


def test_a_mixture_finds_the_clusters():
    prior = fit(two_clusters(3000), seed=0)
    assert len(prior.weights) > 1
    z = prior.sample(range(500), 1.0)
    assert float((np.abs(z[:, 0]) > 2.5).mean()) > 0.98
    assert float(z[:, 0].mean()) == pytest.approx(0, abs=0.6)


def test_unused_dimensions_stay_standard_normal():
    prior = fit(two_clusters(3000), seed=0)
    assert not prior.means[:, -1].any()
    close(prior.factors[:, -1, -1], np.ones(len(prior.weights)))


def test_few_latents_make_one_shrunk_gaussian_that_can_be_drawn_from():
    generator = torch.Generator().manual_seed(0)
    few = Posterior(torch.randn(6, 10, generator=generator), torch.full((6, 10), -2.0))
    prior = fit(few, seed=0)
    assert prior.weights.tolist() == [1.0]
    assert np.isfinite(prior.sample(range(10), 1.0)).all()


def test_collapsed_latents_give_the_standard_prior():
    prior = fit(Posterior(torch.zeros(50, 4), torch.zeros(50, 4)), seed=0)
    close(prior.factors, np.eye(4)[None])


def test_temperature_scales_the_spread_not_the_means():
    prior = MixturePrior(np.ones(1, np.float32), np.full((1, 2), 5.0, np.float32), np.eye(2, dtype=np.float32)[None])
    close(prior.sample([1], 0.0), np.full((1, 2), 5.0))
