"""The prior by flow matching: NumPy beside PyTorch."""

import numpy as np
import pytest
import torch

from latentcli.model.flow import FlowPrior, MixturePaths, integrate
from latentcli.model.prior import MixturePrior
from latentcli.training.flow import VelocityField, _Paths
from tests.conftest import close


def random_paths(k, c=2):
    means, variances = torch.randn(c, k), torch.rand(c, k) + 0.2
    directions = torch.linalg.qr(torch.randn(c, k, k)).Q
    return MixturePaths(np.array([0.3, 0.7], dtype=np.float32), *(x.numpy() for x in (means, variances, directions)))


def test_the_network_is_that_of_training():
    torch.manual_seed(0)
    field = VelocityField(5)
    for parameter in field.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    paths = random_paths(5)
    weights = {name: tensor.numpy() for name, tensor in field.state_dict().items()}
    prior = FlowPrior(np.zeros(5), np.eye(5), paths, weights)
    x = torch.randn(7, 5)
    expected = field(x, torch.full((7,), 0.3)).detach().numpy() + paths.velocity(x.numpy(), 0.3)
    close(prior.velocity(x.numpy(), 0.3), expected, atol=1e-5)


@pytest.mark.parametrize("t", [0.0, 0.4, 0.9])
def test_the_velocity_of_a_mixture_is_that_of_training(t):
    torch.manual_seed(0)
    paths = random_paths(5)
    factors = paths.directions * np.sqrt(paths.variances)[:, None]
    mixture = MixturePrior(paths.weights, paths.means, factors)
    ours = _Paths(mixture, torch.arange(5), torch.zeros(5), torch.eye(5))
    x = torch.randn(7, 5)
    close(paths.velocity(x.numpy(), t), ours.velocity(x, torch.full((7,), t)).numpy(), atol=1e-4)


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


def test_the_midpoint_rule_follows_a_known_path():
    x = np.ones((1, 1), dtype=np.float32)
    close(integrate(lambda x, t: x, x, steps=64), np.full((1, 1), np.e, dtype=np.float32), atol=1e-3)
