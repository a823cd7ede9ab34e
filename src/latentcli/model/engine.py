"""Engines that compute a model's encoder and decoder: ONNX Runtime, and PyTorch on any of its devices.

Using a model needs no PyTorch: ONNX Runtime starts in a tenth of the time and is as fast on a CPU. Its graphs are made
from the model file when they are first needed, which is quicker than reading them from a cache would be worth.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from latentcli.config import Device, EngineName, ModelConfig
from latentcli.errors import ConfigError
from latentcli.model import graphs
from latentcli.runtime import open_session

Weights = Mapping[str, np.ndarray]


class Engine(Protocol):
    """Images are float32 (n, channels, height, width) in [0, 1], latents float32 (n, latent_dim)."""

    @property
    def device(self) -> str:
        """Name of the device, as PyTorch calls it."""

    def prepare(self) -> None:
        """Load now what would be loaded at the first use."""

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Posterior means of images."""

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Images of latents."""


def choose_engine(config: ModelConfig, weights: Weights, wanted: EngineName, device: Device = "auto") -> Engine:
    """The wanted engine; "auto" is ONNX Runtime, but for a device that only PyTorch has.

    Raises ConfigError where the machine has no such device.
    """
    if wanted == "onnx" and device in ("cuda", "mps"):
        raise ConfigError(f"ONNX Runtime computes on the CPU; for {device} leave the engine out, or give torch")
    if wanted == "torch" or device in ("cuda", "mps"):
        from latentcli.model.device import choose_device
        from latentcli.model.network import TorchEngine, build

        return TorchEngine(build(config, weights, choose_device(device)))
    return OnnxEngine(config, weights)


class OnnxEngine:
    """ONNX Runtime on the CPU."""

    device = "cpu"

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        self._encoder = _Session(lambda: graphs.encoder(config, weights))
        self._decoder = _Session(lambda: graphs.decoder(config, weights))

    def prepare(self) -> None:
        self._encoder.load()
        self._decoder.load()

    def encode(self, images: np.ndarray) -> np.ndarray:
        return self._encoder.run(images)

    def decode(self, z: np.ndarray) -> np.ndarray:
        return self._decoder.run(z)


class _Session:
    """A graph of one input and one output, loaded when it is first run."""

    def __init__(self, graph: Callable[[], bytes]) -> None:
        self._graph = graph
        self._lock = threading.Lock()
        self._session: Any = None

    def load(self) -> Any:
        with self._lock:
            if self._session is None:
                self._session = open_session(self._graph())
        return self._session

    def run(self, values: np.ndarray) -> np.ndarray:
        session = self.load()
        (result,) = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(values)})
        return np.asarray(result)
