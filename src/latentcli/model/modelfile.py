"""The model file: weights, config and fitted prior in one `.safetensors`, and what loading it gives.

Weights may be stored in half precision; they are computed with in float32. `model_id` names the network's tensors as
stored, so latents and vectors can say which model they belong to.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentcli import tensorfile
from latentcli.config import MODEL_FILE, ModelConfig
from latentcli.errors import ConfigError, FileFormatError
from latentcli.history import TrainingSummary
from latentcli.images import as_float
from latentcli.model.device import device_of, prepare, to_numpy_ready
from latentcli.model.prior import MixturePrior, Prior, StandardPrior
from latentcli.model.vae import VAE

KIND = "model"
_NETWORK, _PRIOR = "network.", "prior."
_BATCH = 64  # images, or latents, at once


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to use: the network in eval mode on its device."""

    path: Path
    vae: VAE
    prior: Prior
    model_id: str
    header: dict[str, Any]

    @property
    def config(self) -> ModelConfig:
        return self.vae.config

    def encode(self, images: np.ndarray) -> Tensor:
        """Posterior means (n, latent_dim), on the CPU, of uint8 images (n, height, width, channels). Never a draw."""
        return self.encode_float(as_float(torch.from_numpy(images)))

    @torch.inference_mode()
    def encode_float(self, x: Tensor) -> Tensor:
        """Posterior means (n, latent_dim), on the CPU, of images (n, channels, height, width) in [0, 1]."""
        device = device_of(self.vae)
        return torch.cat([self.vae.encode(some.to(device)).mean.cpu() for some in torch.split(x, _BATCH)])

    @torch.inference_mode()
    def decode(self, z: Tensor) -> Tensor:
        """Images (n, channels, height, width) in [0, 1], on the CPU, from latents (n, latent_dim) on any device."""
        device = device_of(self.vae)
        return torch.cat([self.vae.decode(some.to(device)).cpu() for some in torch.split(z, _BATCH)])

    @property
    def training(self) -> TrainingSummary | None:
        """How it was trained; None where its file does not say."""
        return TrainingSummary.from_header(self.header)

    @property
    def name(self) -> str:
        """The folder's name, which is what `--model` takes."""
        return self.path.parent.name


def save_model(path: Path, vae: VAE, prior: Prior, summary: dict[str, Any], half: bool = False) -> str:
    """Write weights, config and prior with a summary of the training; returns the model_id.

    `half` stores matrices and kernels in 16 bits. Raises LatentCLIError when the file cannot be written.
    """
    network = _arrays(_NETWORK, vae.state_dict(), half)
    stored = _arrays(_PRIOR, prior.tensors(), half) if isinstance(prior, MixturePrior) else {}
    model_id = tensorfile.digest(network)[:12]
    header = {**summary, "model_id": model_id, "config": vae.config.to_json()}
    tensorfile.write(path, KIND, header, network | stored)
    return model_id


def _arrays(prefix: str, tensors: dict[str, Tensor], half: bool) -> tensorfile.Arrays:
    arrays = {}
    for name, tensor in to_numpy_ready(tensors).items():
        narrow = half and tensor.is_floating_point() and tensor.dim() > 1  # batch statistics need their range
        arrays[prefix + name] = (tensor.half() if narrow else tensor).numpy()
    return arrays


def load_model(path: str | Path) -> LoadedModel:
    """Load a model from its file, or from the folder that holds it.

    Raises FileFormatError when the file is missing, damaged, or does not fit its own config.
    """
    path = Path(path)
    if os.path.isdir(path):
        path = path / MODEL_FILE
    config = read_config(path)
    with torch.device("meta"):
        skeleton = VAE(config)
    expected = {_NETWORK + name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    shapes = tensorfile.read_shapes(path, KIND)
    network = {name: shape for name, shape in shapes.items() if name.startswith(_NETWORK)}
    if network != expected:
        raise FileFormatError(f"{path} does not hold the network its config describes; make the model again")
    header, arrays = tensorfile.read(path, KIND)
    stored = {name: array for name, array in arrays.items() if name.startswith(_NETWORK)}
    model_id = tensorfile.digest(stored)[:12]
    state = {name.removeprefix(_NETWORK): _tensor(array) for name, array in stored.items()}
    if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
        raise FileFormatError(f"{path} holds weights that are not numbers; train the model again")
    vae = VAE(config)
    vae.load_state_dict(state)
    return LoadedModel(path, prepare(vae).eval().requires_grad_(False), _prior(path, config, arrays), model_id, header)


def read_config(path: Path) -> ModelConfig:
    """The ModelConfig in a model file's header. Raises FileFormatError when it is missing or makes no sense."""
    try:
        return ModelConfig.from_json(dict(tensorfile.read_header(path, KIND)["config"]))
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise FileFormatError(f"{path} has no usable config ({error}); make the model again") from error


def _prior(path: Path, config: ModelConfig, arrays: tensorfile.Arrays) -> Prior:
    parts = {name.removeprefix(_PRIOR): _tensor(array) for name, array in arrays.items() if name.startswith(_PRIOR)}
    if not parts:
        return StandardPrior(config.latent_dim)
    shapes = {name: tuple(tensor.shape) for name, tensor in parts.items()}
    components = len(parts["weights"]) if parts.get("weights") is not None and parts["weights"].dim() == 1 else 0
    d = config.latent_dim
    if shapes != {"weights": (components,), "means": (components, d), "factors": (components, d, d)} or not components:
        raise FileFormatError(f"{path} holds a prior that does not fit its config; make the model again")
    if not all(bool(tensor.isfinite().all()) for tensor in parts.values()):
        raise FileFormatError(f"{path} holds a prior that is not made of numbers; make the model again")
    return MixturePrior(parts["weights"], parts["means"], parts["factors"])


def _tensor(array: np.ndarray) -> Tensor:
    """float32 from any stored float; whole numbers stay whole."""
    tensor = torch.from_numpy(array.copy())
    return tensor.float() if tensor.is_floating_point() else tensor
