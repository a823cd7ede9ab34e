"""The network of a model file as PyTorch modules: built from its weights, on a device, in eval mode."""

from collections.abc import Mapping

import numpy as np
import torch

from latentcli.config import ModelConfig
from latentcli.model.device import device_of, prepare
from latentcli.model.vae import VAE


def build(config: ModelConfig, weights: Mapping[str, np.ndarray], device: torch.device) -> VAE:
    """The network in eval mode, without gradients."""
    vae = VAE(config)
    vae.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    return prepare(vae, device).eval().requires_grad_(False)


class TorchEngine:
    """PyTorch on the device of the network."""

    def __init__(self, vae: VAE) -> None:
        self.vae = vae

    @property
    def device(self) -> str:
        return str(device_of(self.vae))

    def prepare(self) -> None:
        """Nothing is left to load."""

    @torch.inference_mode()
    def encode(self, images: np.ndarray) -> np.ndarray:
        return self.vae.encode(self._tensor(images)).mean.cpu().numpy()

    @torch.inference_mode()
    def decode(self, z: np.ndarray) -> np.ndarray:
        return self.vae.decode(self._tensor(z)).cpu().numpy()

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device_of(self.vae))
