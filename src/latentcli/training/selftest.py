"""A few steps on a throw-away network: how long a step takes here, and whether bf16 is faster and as good."""

import time
from dataclasses import replace

import torch
from torch import Tensor

from latentcli.config import ModelConfig, Precision, TrainConfig
from latentcli.training.loop import Learner

_WARM, _TIMED = 3, 8  # steps
_AGREE = 0.05  # relative difference of the loss after the timed steps that counts as equally good
_FASTER = 0.9  # share of the fp32 time that bf16 must stay below


def measure(model: ModelConfig, config: TrainConfig, images: Tensor) -> tuple[Precision, float]:
    """The precision to train in and its seconds per step, from `images` uint8 (n, height, width, channels).

    `config.precision` decides unless it is "auto".
    """
    if config.precision != "auto":
        return config.precision, _time(model, config, config.precision, images)[0]
    full, full_loss = _time(model, config, "fp32", images)
    if torch.backends.mps.is_available():
        return "fp32", full
    half, half_loss = _time(model, config, "bf16", images)
    good = half < _FASTER * full and abs(half_loss - full_loss) < _AGREE * abs(full_loss)
    return ("bf16", half) if good else ("fp32", full)


def _time(model: ModelConfig, config: TrainConfig, precision: Precision, images: Tensor) -> tuple[float, float]:
    """Median seconds per step and the last loss (nats per number of the image)."""
    learner = Learner(model, replace(config, precision=precision), steps=10 * (_WARM + _TIMED))
    seconds = []
    loss = 0.0
    for step in range(_WARM + _TIMED):
        rows = torch.arange(step * config.batch_size, (step + 1) * config.batch_size) % len(images)
        started = time.perf_counter()
        elbo = learner.step(images[rows], step)
        loss = float(elbo.loss.detach().mean()) / model.dimensions  # reading it waits for the device
        seconds.append(time.perf_counter() - started)
    return sorted(seconds[_WARM:])[_TIMED // 2], loss
