"""State of training any network: its weights, their running average, the best average so far, and the optimizer."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from latentcli.training.checkpoint import prefixed
from latentcli.training.optimizer import Optimizer

FROZEN_PREFIX = "linear."  # of the names of tensors that training leaves unchanged: the linear path


class Learner:
    """A network in training, a copy with averaged weights, which is measured and stored, and the optimizer."""

    def __init__(self, network: nn.Module, averaged: nn.Module, optimizer: Optimizer) -> None:
        self.network, self.averaged, self.optimizer = network, averaged, optimizer
        self.best: dict[str, Tensor] = {}  # state of `averaged` at the last `keep`

    @torch.no_grad()
    def average(self, decay: float) -> None:
        """Update the running average of the weights: average = `decay` * average + (1 - `decay`) * weights."""
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.network.parameters()), 1 - decay)

    def keep(self) -> None:
        """Copy the averaged weights to `best`, as the best weights so far."""
        self.best = {name: tensor.clone() for name, tensor in changing(self.averaged.state_dict()).items()}

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that training changes, by their names in the checkpoint."""
        return {
            **prefixed("network.", self.network.state_dict()),
            **prefixed("averaged.", changing(self.averaged.state_dict())),
            **prefixed("optimizer.", self.optimizer.tensors()),
        }


def changing(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` without those of the linear path (probabilistic PCA), which training leaves unchanged."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(FROZEN_PREFIX)}
