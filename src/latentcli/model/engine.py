"""Engines that compute a model's encoder and decoder: ONNX Runtime, and PyTorch on any of its devices.

ONNX Runtime starts in a tenth of the time of PyTorch and is as fast on a CPU, so using a model loads no PyTorch. The
ONNX graphs are built from the model file when first needed, which takes less time than a cache of graphs would save.
"""

import threading
from typing import Any

import numpy as np

from latentcli.config import Device, EngineName, ModelConfig
from latentcli.errors import ConfigError
from latentcli.model import graphs
from latentcli.model.graphs import Weights
from latentcli.runtime import open_session

_BUILDERS = {"encoder": graphs.encoder, "decoder": graphs.decoder}


class OnnxEngine:
    """Encoder and decoder of a model, computed by ONNX Runtime on the CPU.

    Images of all engines are float32 (n, channels, height, width) in [0, 1], latents float32 (n, latent_dim).
    """

    device = "cpu"

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        self._config, self._weights = config, weights
        self._sessions: dict[str, Any] = {}
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Load encoder and decoder now instead of at the first call of `encode` and `decode`."""
        for name in _BUILDERS:
            self._session(name)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Posterior means, float32 (n, latent_dim), of float32 images (n, channels, height, width) in [0, 1]."""
        return self._run("encoder", images)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Images, float32 (n, channels, height, width) in [0, 1], decoded from float32 latents (n, latent_dim)."""
        return self._run("decoder", z)

    def _session(self, name: str) -> Any:
        with self._lock:
            if name not in self._sessions:
                self._sessions[name] = open_session(_BUILDERS[name](self._config, self._weights))
        return self._sessions[name]

    def _run(self, name: str, values: np.ndarray) -> np.ndarray:
        session = self._session(name)
        (result,) = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(values)})
        return np.asarray(result)


class TorchEngine:
    """Encoder and decoder of a model, computed by PyTorch on `device`; `vae` is the module, in eval mode."""

    def __init__(self, config: ModelConfig, weights: Weights, device: Device) -> None:
        import torch

        from latentcli.model.device import choose_device, prepare
        from latentcli.model.vae import VAE

        chosen = choose_device(device)
        vae = VAE(config)
        vae.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
        self.vae = prepare(vae, chosen).eval().requires_grad_(False)

    @property
    def device(self) -> str:
        return str(self.vae.device)

    def prepare(self) -> None:
        """Do nothing: the constructor has loaded encoder and decoder. `OnnxEngine` loads both on this call."""

    def encode(self, images: np.ndarray) -> np.ndarray:
        return self._compute(lambda x: self.vae.encode(x).mean, images)

    def decode(self, z: np.ndarray) -> np.ndarray:
        return self._compute(self.vae.decode, z)

    def _compute(self, function: Any, values: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            result = function(torch.from_numpy(np.ascontiguousarray(values)).to(self.vae.device))
        return np.asarray(result.cpu().numpy())


Engine = OnnxEngine | TorchEngine


def choose_engine(config: ModelConfig, weights: Weights, wanted: EngineName, device: Device = "auto") -> Engine:
    """The engine `wanted` for a model; "auto" is ONNX Runtime, or PyTorch if `device` is "cuda" or "mps".

    Raises ConfigError if the machine lacks `device`, or if `wanted` is "onnx" and `device` is not the CPU.
    """
    if wanted == "onnx" and device in ("cuda", "mps"):
        raise ConfigError(f"ONNX Runtime computes on the CPU; for {device} leave the engine out, or give torch")
    if wanted == "torch" or device in ("cuda", "mps"):
        return TorchEngine(config, weights, device)
    return OnnxEngine(config, weights)
