"""Learner: a network in training, the running average of its weights, and the best of the averages."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from latentcli.training.optimizer import Optimizer

FROZEN_PREFIX = "linear."  # tensors that training leaves unchanged


class Learner:
    """A network in training. Its averaged weights are the ones that are measured and stored."""

    def __init__(self, network: nn.Module, averaged: nn.Module, optimizer: Optimizer) -> None:
        self.network, self.averaged, self.optimizer = network, averaged, optimizer
        self.best: dict[str, Tensor] = {}  # state of `averaged` where it was best, if that is kept

    @torch.no_grad()
    def average(self, decay: float) -> None:
        """Move the averaged weights towards the current ones: `decay` is the share of the old average that stays."""
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.network.parameters()), 1 - decay)

    def keep(self) -> None:
        """Remember the averaged weights as the best."""
        self.best = {name: tensor.clone() for name, tensor in changing(self.averaged.state_dict()).items()}

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that training changes, by name, for the checkpoint."""
        groups = {
            "network": self.network.state_dict(),
            "averaged": changing(self.averaged.state_dict()),
            "optimizer": self.optimizer.tensors(),
        }
        return {f"{group}.{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}


def changing(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that training changes: all but those of the linear path."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(FROZEN_PREFIX)}
