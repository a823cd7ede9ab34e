"""Schedule of training: image order, noise, augmentation and rates of a step, from the seed and step number alone."""

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latentcli.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps from `start` to `end` (exclusive) of a run, over which the learning rate rises and falls once.

    A run has one stage; asking for more epochs or minutes after its end adds another.
    """

    start: int
    end: int
    number: int = 1


def stream(seed: int, purpose: str, position: int) -> torch.Generator:
    """Random generator seeded by a hash of seed, purpose (such as "noise") and position (a step or epoch number)."""
    mixed = hashlib.sha256(f"{seed}/{purpose}/{position}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(mixed[:8], "big") >> 1)


def order(seed: int, epoch: int, images: int) -> Tensor:
    """Random permutation of the image numbers for one epoch: (images,) int32."""
    return torch.randperm(images, dtype=torch.int32, generator=stream(seed, "order", epoch))


class Order:
    """Order of training images: per epoch a random permutation, cut into equal batches; the remainder is left out."""

    def __init__(self, seed: int, images: int, batch_size: int) -> None:
        self._seed, self._images, self._batch_size = seed, images, batch_size
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int32)  # cache of `rows`: the last permutation

    def rows(self, step: int) -> Tensor:
        """Numbers of the images in the batch of a step: (batch_size,) int32."""
        epoch, place = divmod(step, self._images // self._batch_size)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, order(self._seed, epoch, self._images)
        return self._order[place * self._batch_size :][: self._batch_size]


def noise(seed: int, step: int, count: int, latent_dim: int) -> Tensor:
    """Standard normal noise for the posterior draws of a step's images: (count, latent_dim)."""
    return torch.randn(count, latent_dim, generator=stream(seed, "noise", step))


def flips(seed: int, step: int, count: int) -> Tensor:
    """Random choice of images to mirror in a step: (count,) bool, True with probability 1/2."""
    return torch.rand(count, generator=stream(seed, "flip", step)) < 0.5


def shifts(seed: int, step: int, count: int, farthest: tuple[int, int], share: float = 1.0) -> Tensor:
    """Random shifts in pixels (down, right), -farthest to farthest, of a `share` of the images, else 0: (count, 2)."""
    most = torch.tensor(farthest)
    draws = torch.rand(count, 3, generator=stream(seed, "shift", step))
    moves = (draws[:, :2] * (2 * most + 1)).floor().long() - most
    return torch.where(draws[:, 2:] < share, moves, 0)


def shifted_share(step: int, stage: Stage) -> float:
    """Share of images that augmentation moves at a step: from 1 down to 0, so that a stage ends on unmoved images."""
    return 1 - (step - stage.start) / (stage.end - stage.start)


def jitters(seed: int, step: int, count: int, strength: float) -> Tensor:
    """Random changes in brightness and contrast for each image of a step, -strength to strength: (count, 2)."""
    return strength * (2 * torch.rand(count, 2, generator=stream(seed, "jitter", step)) - 1)


def learning_rate(config: TrainConfig, step: int, stage: Stage) -> float:
    """Learning rate at a step: linear warm-up, times half a cosine (Loshchilov & Hutter 2017) if `config.cosine`."""
    done, steps = step - stage.start, stage.end - stage.start
    warmup = config.learning_rate_warmup * steps
    rate = config.learning_rate * min(1.0, (done + 1) / (warmup + 1))
    return rate * 0.5 * (1 + math.cos(math.pi * done / steps)) if config.cosine else rate


def beta(config: TrainConfig, step: int, stage: Stage) -> float:
    """Weight of the KL at a step: it rises linearly to `config.beta` over the warm-up of the first stage."""
    warmup = config.beta_warmup * stage.end if stage.number == 1 else 0
    return config.beta * min(1.0, (step + 1) / (warmup + 1))


def ema_decay(ema: float, step: int) -> float:
    """Decay of the running average of the weights at a step: smaller at first, so that initial weights fade quickly."""
    return min(ema, (1 + step) / (10 + step))
