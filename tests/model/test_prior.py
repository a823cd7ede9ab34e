import pytest
import torch

from latentcli.model.prior import MixturePrior, StandardPrior, fit
from latentcli.model.vae import Posterior


def two_heaps(count, latent_dim=3):
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


def test_a_seed_gives_the_same_latent_in_any_company():
    for prior in (StandardPrior(5), fit(two_heaps(600), seed=0)):
        alone = prior.sample([7], 0.8)
        together = prior.sample(range(20), 0.8)
        assert torch.equal(alone[0], together[7])
        assert not torch.equal(together[6], together[7])


def test_the_standard_prior_is_standard():
    z = StandardPrior(4).sample(range(4000), 1.0)
    assert float(z.mean().abs()) < 0.05
    assert float(z.std()) == pytest.approx(1, abs=0.03)
    torch.testing.assert_close(StandardPrior(4).sample([3], 0.5), 0.5 * StandardPrior(4).sample([3], 1.0))


def test_a_mixture_finds_the_heaps():
    prior = fit(two_heaps(3000), seed=0)
    assert len(prior.weights) > 1
    z = prior.sample(range(500), 1.0)
    assert float((z[:, 0].abs() > 2.5).float().mean()) > 0.98
    assert float(z[:, 0].mean()) == pytest.approx(0, abs=0.6)


def test_unused_dimensions_stay_standard_normal():
    prior = fit(two_heaps(3000), seed=0)
    assert not prior.means[:, -1].any()
    torch.testing.assert_close(prior.factors[:, -1, -1], torch.ones(len(prior.weights)))


def test_few_latents_make_one_shrunk_gaussian_that_can_be_drawn_from():
    generator = torch.Generator().manual_seed(0)
    few = Posterior(torch.randn(6, 10, generator=generator), torch.full((6, 10), -2.0))
    prior = fit(few, seed=0)
    assert prior.weights.tolist() == [1.0]
    assert prior.sample(range(10), 1.0).isfinite().all()


def test_collapsed_latents_give_the_standard_prior():
    prior = fit(Posterior(torch.zeros(50, 4), torch.zeros(50, 4)), seed=0)
    torch.testing.assert_close(prior.factors, torch.eye(4)[None])


def test_temperature_scales_the_spread_not_the_means():
    prior = MixturePrior(torch.ones(1), torch.full((1, 2), 5.0), torch.eye(2)[None])
    torch.testing.assert_close(prior.sample([1], 0.0), torch.full((1, 2), 5.0))
