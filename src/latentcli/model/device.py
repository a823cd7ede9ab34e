"""Device, precision and memory layout of the network."""

from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor

from latentcli.config import Device, Precision
from latentcli.errors import ConfigError
from latentcli.model.vae import VAE


def choose_device(wanted: Device = "auto") -> torch.device:
    """Torch device for `wanted`; "auto" is the first present of CUDA, MPS and CPU. Raises ConfigError if absent."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, is_available in available.items() if is_available))
    if not available[wanted]:
        raise ConfigError(f"this machine (or this build of torch) has no {wanted}; leave out `device`")
    return torch.device(wanted)


def prepare(vae: VAE, device: torch.device | None = None) -> VAE:
    """Move `vae`, in place, to `device` (None: the fastest), channels last: convolutions are 1.3 times as fast."""
    return vae.to(device or choose_device(), memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Context manager that enables torch's autocast to bfloat16 if `precision` is "bf16", and else changes nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def to_numpy(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Convert `tensors` to contiguous NumPy arrays on the CPU, under the same names."""
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}
