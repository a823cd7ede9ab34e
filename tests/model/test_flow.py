"""The prior by flow matching: NumPy beside PyTorch."""

import numpy as np
import torch

from latentcli.model.flow import FlowPrior, integrate
from latentcli.training.flow import VelocityField
from tests.conftest import close


def test_the_velocity_is_that_of_the_network():
    torch.manual_seed(0)
    field = VelocityField(5)
    for parameter in field.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    prior = FlowPrior(np.zeros(5), np.eye(5), {name: tensor.numpy() for name, tensor in field.state_dict().items()})
    x = torch.randn(7, 5)
    expected = field(x, torch.full((7,), 0.3)).detach().numpy()
    close(prior.velocity(x.numpy(), 0.3), expected, atol=1e-5)


def test_the_midpoint_rule_follows_a_known_path():
    x = np.ones((1, 1), dtype=np.float32)
    close(integrate(lambda x, t: x, x, steps=64), np.full((1, 1), np.e, dtype=np.float32), atol=1e-3)
