"""Device, precision and memory layout of the network."""

from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor

from latentcli.config import Device, Precision
from latentcli.errors import ConfigError
from latentcli.model.vae import VAE


def choose_device(wanted: Device = "auto") -> torch.device:
    """The wanted device; "auto" is CUDA, else Apple's MPS, else the CPU. Raises ConfigError where it is missing."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, is_available in available.items() if is_available))
    if not available[wanted]:
        raise ConfigError(f"this machine (or this build of torch) has no {wanted}; leave out `device`")
    return torch.device(wanted)


def prepare(vae: VAE, device: torch.device | None = None) -> VAE:
    """Move a network to a device in channels-last layout, in which convolutions are 1.3 times as fast."""
    return vae.to(device or choose_device(), memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """A context that computes in bf16 where autocast allows it; with fp32 it changes nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def to_numpy(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Contiguous arrays for a file."""
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}
