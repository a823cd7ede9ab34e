import copy

import pytest
import torch
from torch import nn

from latentcli.config import TrainConfig
from latentcli.training.optimizer import Optimizer, orthogonal

CONFIGS = {name: TrainConfig(optimizer=name, precision="fp32") for name in ("muon", "adamw", "rmsprop")}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(16, 32, 3), nn.Flatten(), nn.Linear(32, 20), nn.Linear(20, 1))


def learn(net, optimizer, steps, rate=0.01):
    """A few steps towards predicting 1; returns the last loss."""
    loss = torch.tensor(0.0)
    for step in range(steps):
        x = torch.randn(8, 16, 3, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss = (net(x) - 1).square().mean()
        loss.backward()
        optimizer.step(rate, torch.tensor(0.0))
    return float(loss.detach())


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (32, 32)])
def test_orthogonal_evens_out_the_spectrum_and_keeps_the_directions(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    (result,) = orthogonal([matrix])
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    spectrum = u.T @ result @ vh.T
    values = spectrum.diagonal()[s > 0.03 * s[0]]
    assert values.min() > 0.6
    assert values.max() < 1.3
    torch.testing.assert_close(spectrum, torch.diag(spectrum.diagonal()), atol=2e-3, rtol=0)


def test_orthogonal_is_newton_schulz_as_published():
    """Five rounds of X <- aX + b(XX^T)X + c(XX^T)^2 X, in double precision."""
    matrix = torch.randn(12, 30, generator=torch.Generator().manual_seed(2))
    x = (matrix / matrix.norm()).double()
    for _ in range(5):
        m = x @ x.T
        x = 3.4445 * x - 4.7750 * m @ x + 2.0315 * m @ m @ x
    torch.testing.assert_close(orthogonal([matrix])[0], x.float(), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_optimizer_learns(name):
    net = network()
    optimizer = Optimizer(net, CONFIGS[name])
    assert {id(parameter) for parameter in optimizer.parameters} == {id(parameter) for parameter in net.parameters()}
    before = copy.deepcopy(net.state_dict())
    first = learn(net, optimizer, 1, rate=0.002)
    assert not any(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert learn(net, optimizer, 150, rate=0.002) < 0.2 * first


@pytest.mark.parametrize(("name", "reads_back"), [("muon", True), ("muon", False), ("adamw", False), ("rmsprop", True)])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_skipped_step_changes_nothing_at_all(name, reads_back, bad):
    """With `reads_back` False it goes as on CUDA, where nobody looks at `skip`."""
    net = network()
    optimizer = Optimizer(net, CONFIGS[name])
    optimizer._reads_back = reads_back
    learn(net, optimizer, 3)
    weights, memory = copy.deepcopy(net.state_dict()), copy.deepcopy(optimizer.tensors())
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, bad)
    optimizer.step(0.01, torch.tensor(1.0))
    for before, after in ((weights, net.state_dict()), (memory, optimizer.tensors())):
        assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_restored_optimizer_goes_on_as_the_first(name):
    first = network()
    optimizer = Optimizer(first, CONFIGS[name])
    learn(first, optimizer, 4)
    second = copy.deepcopy(first)
    again = Optimizer(second, CONFIGS[name])
    for key, value in again.tensors().items():
        value.copy_(optimizer.tensors()[key])
    learn(first, optimizer, 3)
    learn(second, again, 3)
    assert all(torch.equal(one, two) for one, two in zip(first.parameters(), second.parameters(), strict=True))


def test_not_reading_back_makes_no_difference():
    first, second = network(), network()
    for net, reads_back in ((first, True), (second, False)):
        optimizer = Optimizer(net, CONFIGS["muon"])
        optimizer._reads_back = reads_back
        learn(net, optimizer, 5)
    for one, two in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, two)
