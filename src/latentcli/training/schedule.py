"""Schedule of a run: order, noise and rates of each step, as functions of (seed, step) alone."""

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latentcli.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps from `start` to `end` of a run, with their own rise and fall of the learning rate.

    A run has one; asking for more epochs when it has ended adds another.
    """

    start: int
    end: int
    number: int = 1


def stream(seed: int, purpose: str, position: int) -> torch.Generator:
    """Random generator for one purpose at one position of a run."""
    mixed = hashlib.sha256(f"{seed}/{purpose}/{position}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(mixed[:8], "big") >> 1)


def order(seed: int, epoch: int, images: int) -> Tensor:
    """The permutation of an epoch: (images,) int32."""
    return torch.randperm(images, dtype=torch.int32, generator=stream(seed, "order", epoch))


class Order:
    """The images of each step: those at its place in the permutation of its epoch."""

    def __init__(self, seed: int, images: int, batch_size: int) -> None:
        self._seed, self._images, self._batch_size = seed, images, batch_size
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int32)  # the last that was needed

    def rows(self, step: int) -> Tensor:
        """Rows of the images of a step: (batch_size,) int32."""
        epoch, place = divmod(step, self._images // self._batch_size)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, order(self._seed, epoch, self._images)
        return self._order[place * self._batch_size :][: self._batch_size]


def noise(seed: int, step: int, count: int, latent_dim: int) -> Tensor:
    """N(0, I) for the posterior draws of a step: (count, latent_dim)."""
    return torch.randn(count, latent_dim, generator=stream(seed, "noise", step))


def flips(seed: int, step: int, count: int) -> Tensor:
    """Whether each image of a step is mirrored: (count,) bool, half of them on average."""
    return torch.rand(count, generator=stream(seed, "flip", step)) < 0.5


def shifts(seed: int, step: int, count: int, farthest: tuple[int, int], share: float = 1.0) -> Tensor:
    """Rows and columns by which a share of a step's images is moved, `farthest` each way at most: (count, 2) int64."""
    most = torch.tensor(farthest)
    draws = torch.rand(count, 3, generator=stream(seed, "shift", step))
    moves = (draws[:, :2] * (2 * most + 1)).floor().long() - most
    return torch.where(draws[:, 2:] < share, moves, 0)


def shifted_share(step: int, stage: Stage) -> float:
    """Share of the images that are moved: from 1 down to 0 over a stage, so that it ends on images as they are."""
    return 1 - (step - stage.start) / (stage.end - stage.start)


def jitters(seed: int, step: int, count: int, strength: float) -> Tensor:
    """Changes in brightness and contrast of each image of a step, -strength to strength: (count, 2)."""
    return strength * (2 * torch.rand(count, 2, generator=stream(seed, "jitter", step)) - 1)


def learning_rate(config: TrainConfig, step: int, stage: Stage) -> float:
    """Learning rate: a linear warm-up, then half a cosine to 0 (Loshchilov & Hutter 2017, eq. 5), or constant."""
    done, steps = step - stage.start, stage.end - stage.start
    warmup = config.learning_rate_warmup * steps
    rate = config.learning_rate * min(1.0, (done + 1) / (warmup + 1))
    return rate * 0.5 * (1 + math.cos(math.pi * done / steps)) if config.cosine else rate


def beta(config: TrainConfig, step: int, stage: Stage) -> float:
    """Weight of the KL, which rises linearly from 0 over the warm-up of the first stage."""
    warmup = config.beta_warmup * stage.end if stage.number == 1 else 0
    return config.beta * min(1.0, (step + 1) / (warmup + 1))


def ema_decay(config: TrainConfig, step: int) -> float:
    """Decay of the averaged weights: short at first, so that the random start is forgotten."""
    return min(config.ema, (1 + step) / (10 + step))
