"""The prior by flow matching: NumPy beside PyTorch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from latentcli.model.flow import FlowPrior, MixturePaths, carried
from latentcli.model.noise import uniform_and_normal
from latentcli.model.prior import Geometry, MixturePrior, StandardPrior
from latentcli.training.prior import flow
from latentcli.training.prior.flow import VelocityField
from tests.conftest import close


def random_paths(k, c=2):
    means, variances = torch.randn(c, k), torch.rand(c, k) + 0.2
    directions = torch.linalg.qr(torch.randn(c, k, k)).Q
    return MixturePaths(np.array([0.3, 0.7], dtype=np.float32), *(x.numpy() for x in (means, variances, directions)))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, value in (("_WIDTH", 32), ("_HIDDEN", 64), ("_BLOCKS", 2)):
        monkeypatch.setattr(flow, name, value)


def random_field(k, values=0):
    torch.manual_seed(0)
    field = VelocityField(k, values).requires_grad_(False)
    for parameter in field.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return field, {name: tensor.numpy() for name, tensor in field.state_dict().items()}


def random_prior(k=5, **changes):
    return FlowPrior(
        np.ones(k, np.float32), 2 * np.eye(k, dtype=np.float32), random_paths(k), random_field(k)[1], **changes
    )


def test_the_network_is_that_of_training():
    field, weights = random_field(5)
    paths = random_paths(5)
    prior = FlowPrior(np.zeros(5), np.eye(5), paths, weights, guidance=1.5)
    x, t = torch.randn(7, 5), torch.full((7,), 0.3)
    added = field(x, t).numpy()
    close(prior.velocity(x.numpy(), 0.3), paths.velocity(x.numpy(), 0.3) + 1.5 * added, atol=1e-5)


def test_each_point_may_have_its_own_time():
    paths, x, t = random_paths(5), torch.randn(3, 5).numpy(), np.array([[0.0], [0.4], [0.9]], np.float32)
    one_by_one = [paths.velocity(x[[row]], float(t[row, 0]))[0] for row in range(3)]
    close(paths.velocity(x, t), np.stack(one_by_one), atol=1e-5)


def test_the_velocity_of_a_mixture_is_the_mean_one_of_its_paths():
    """Paths that pass near a place at a time go on with this velocity on average."""
    torch.manual_seed(0)
    paths, count, t = random_paths(2), 400_000, 0.6
    chosen = torch.multinomial(torch.from_numpy(paths.weights), count, replacement=True)
    along = torch.randn(count, 2) * torch.from_numpy(paths.variances)[chosen].sqrt()
    turned = torch.from_numpy(paths.directions)[chosen] @ along[:, :, None]
    end = torch.from_numpy(paths.means)[chosen] + turned.squeeze(2)
    start = torch.randn(count, 2)
    place = torch.tensor([[0.1, 0.3]])
    passing = (start + t * (end - start) - place).norm(dim=1) < 0.08
    close(paths.velocity(place.numpy(), t)[0], (end - start)[passing].mean(dim=0).numpy(), atol=0.12)


def test_a_known_path_is_followed_there_and_back():
    x = np.ones((300, 1), np.float32)
    end = carried(lambda x, t, labels: x * t**0, x, 0.0, steps=24)
    assert end.dtype == np.float32
    close(end, np.full((300, 1), np.e), atol=1e-3)
    close(carried(lambda x, t, labels: x, x, 0.75, steps=24), np.full((300, 1), np.exp(0.25)), atol=1e-4)
    close(carried(lambda x, t, labels: -x, end, 0.0, steps=24), x, atol=1e-3)


def test_twice_the_steps_make_an_eighth_of_the_error():
    errors = [abs(carried(lambda x, t, labels: x, np.ones((1, 1)), 0.0, steps=n).item() - np.e) for n in (20, 40)]
    assert errors[1] < errors[0] / 6


def test_labels_count_twice_where_they_are_asked_for_and_else_as_trained():
    field, weights = random_field(5, values=3)
    prior = FlowPrior(np.zeros(5), np.eye(5), random_paths(5), weights, guidance=1.0)
    x, t = torch.randn(7, 5), torch.full((7,), 0.3)
    anything = field(x, t).numpy()
    wanted = field(x, t, torch.tensor([[1.0, 0.0, 1.0]])).numpy()
    labels, mixture = np.array([[1, 0, 1]], np.float32), prior.paths.velocity(x.numpy(), 0.3)
    close(prior.velocity(x.numpy(), 0.3, labels), mixture + wanted, atol=1e-5)
    close(replace(prior, like=(0, 2)).velocity(x.numpy(), 0.3, labels), mixture + 2 * wanted - anything, atol=1e-5)


COMBINATIONS = np.array([[3, 0], [4, 0], [4, 1], [2, -1]], np.float32)  # rows of a table of five values in two columns


def prior_with_labels(**changes):
    weights = random_field(5, values=5)[1]
    return FlowPrior(np.zeros(5), np.eye(5), random_paths(5), weights, combinations=COMBINATIONS, **changes)


def test_samples_have_the_label_combination_of_a_training_image():
    found = prior_with_labels().drawn_labels(np.array([0.0, 0.3, 0.6, 0.99], np.float32))
    assert [list(np.flatnonzero(row)) for row in found] == [[0, 3], [0, 4], [1, 4], [2]]


@pytest.mark.parametrize(
    ("like", "expected"), [((4,), {(0, 4), (1, 4)}), ((0, 4), {(0, 4)}), ((2,), {(2,)}), ((1, 3), {(1, 3)})]
)
def test_wanted_labels_leave_the_combinations_that_have_them(like, expected):
    """Where no image has them all, samples have the wanted labels alone."""
    found = prior_with_labels(like=like).drawn_labels(np.linspace(0, 0.99, 20, dtype=np.float32))
    assert {tuple(np.flatnonzero(row).tolist()) for row in found} == expected


def test_a_sample_has_the_same_labels_in_any_batch():
    prior = prior_with_labels()
    together = prior.sample(range(9), 1.0)
    close(prior.sample([5], 1.0)[0], together[5], atol=1e-4)
    other = FlowPrior(prior.mean, prior.basis, prior.paths, prior.weights).sample(range(9), 1.0)
    assert np.abs(together - other).max() > 1e-3


@pytest.mark.parametrize("rows", [[[5.0]], [[-2.0]], [0.0], np.zeros((0, 2))])
def test_impossible_combinations_do_not_fit(rows):
    prior = prior_with_labels()
    assert prior.fits(5)
    broken = FlowPrior(prior.mean, prior.basis, prior.paths, prior.weights, combinations=np.array(rows, np.float32))
    assert not broken.fits(5)


def with_repair(prior):
    repair = {"repair.weight": np.diag(np.arange(1, 6)).astype(np.float32), "repair.bias": np.ones(5, np.float32)}
    return replace(prior, weights={**prior.weights, **repair})


def test_a_repair_is_applied_after_the_flow():
    prior = random_prior()
    ends = (prior.sample(range(5), 1.0) - prior.mean) / 2
    close(with_repair(prior).sample(range(5), 1.0), prior.mean + 2 * (ends * np.arange(1, 6) + 1), atol=1e-4)


def test_a_prior_with_a_repair_of_another_size_does_not_fit():
    prior = with_repair(random_prior())
    assert prior.fits(5)
    assert not replace(prior, weights={**prior.weights, "repair.bias": np.ones(4, np.float32)}).fits(5)


@pytest.mark.parametrize("prior", [random_prior, lambda: with_repair(random_prior())])
def test_the_noise_of_a_sample_is_found_again(prior):
    prior = prior()
    z = prior.sample(range(20), 1.0)
    apart = np.abs(prior.noise_of(z) - uniform_and_normal(range(20), 5)[1])
    assert np.median(apart) < 0.03
    assert apart.max() < 0.4


def test_mean_and_covariance_are_those_of_samples_of_the_mixture():
    paths = random_paths(3)
    geometry = Geometry.of(FlowPrior(np.zeros(3), np.eye(3, dtype=np.float32), paths, {}))
    mixture = MixturePrior(paths.weights, paths.means, paths.directions * np.sqrt(paths.variances)[:, None])
    z = mixture.sample(range(20_000), 1.0)
    close(geometry.mean, z.mean(axis=0), atol=0.05)
    close(geometry.covariance, np.cov(z, rowvar=False), atol=0.1)


def test_latents_that_stand_for_the_data_come_from_the_mixture_with_inactive_dimensions_as_noise():
    basis = 2 * np.eye(3, 4, dtype=np.float32)
    prior = FlowPrior(np.ones(4, np.float32) * basis.any(axis=0), basis, random_paths(3), {})
    where = Geometry.of(prior)
    close(where.drawn.mean(axis=0), where.mean, atol=0.2)
    close(np.cov(where.drawn, rowvar=False), where.covariance, atol=0.6)
    assert where.covariance[3].tolist() == [0, 0, 0, 1]


def priors():
    factors = np.linalg.cholesky(np.array([[[2.0, 0.3], [0.3, 1.0]]] * 2)).astype(np.float32)
    means = np.array([[5, 5], [-5, -5]], dtype=np.float32)
    return [
        StandardPrior(2),
        MixturePrior(np.array([0.5, 0.5], np.float32), means, factors),
        random_prior(2, guidance=1.0),
    ]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_variations_go_from_the_latent_itself_to_samples(number):
    prior = priors()[number]
    z = prior.sample([3], 1.0)[0]
    apart = [np.abs(prior.vary(z, range(50), spread) - z).mean() for spread in (0.0, 0.1, 0.4, 0.8)]
    assert apart[0] < 1e-5
    assert apart == sorted(apart)
    assert apart[3] > 0.3
    close(prior.vary(z, [7], 0.4)[0], prior.vary(z, range(20), 0.4)[7], atol=1e-4)


def test_all_of_the_spread_is_a_sample_of_a_flow():
    prior = random_prior()
    close(prior.vary(np.zeros(5, np.float32), range(5), 1.0), prior.sample(range(5), 1.0), atol=1e-4)


def test_variations_stay_in_the_component_of_their_latent():
    mixture = priors()[1]
    assert (mixture.vary(np.array([5, 4], np.float32), range(100), 0.9) > 0).mean() > 0.99


def test_latents_stay_where_the_noise_of_a_flow_is_typical():
    prior = random_prior(guidance=1.0)
    where = Geometry.of(prior)
    z = prior.sample(range(10), 0.5)
    near, far = z + 0.01, z + 50
    close(where.stay_typical(z, near), near)
    back = where.stay_typical(z, far)
    share = (back - z) / (far - z)
    close(share, np.broadcast_to(share[:, :1], share.shape), atol=1e-4)  # on the way
    lengths = np.square(prior.noise_of(back)).sum(axis=1)
    assert (lengths <= 16.75 + 0.1).all()  # the 99.5 % quantile of chi squared with 5 degrees of freedom
    assert (lengths > 10).all()
