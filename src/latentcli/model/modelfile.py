"""The model file: weights, config and fitted prior in one `.safetensors`, and what loading it gives.

Weights may be stored in half precision; they are computed with in float32. `model_id` is a digest of the network's
tensors as stored, so latents and vectors can say which model they belong to. A model whose decoder alone was trained on
keeps the model_id of the one it was, because latents and vectors of that one are its own; its `network_id` differs.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from latentcli.config import Device, EngineName, ModelConfig
from latentcli.errors import ConfigError, FileFormatError
from latentcli.imaging.images import as_float
from latentcli.model import graphs
from latentcli.model.engine import Engine, Weights, choose_engine
from latentcli.model.flow import FlowPrior, MixturePaths
from latentcli.model.parts import Parts
from latentcli.model.prior import Geometry, MixturePrior, Prior, StandardPrior
from latentcli.storage import tensorfile
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.header import ModelHeader, read_model_header
from latentcli.storage.history import TrainingSummary
from latentcli.storage.names import MODEL_FILE

if TYPE_CHECKING:
    from latentcli.model.vae import VAE

_Rows = TypeVar("_Rows", np.ndarray, list[Any], tuple[Any, ...])
KIND = "model"
_NETWORK, _PRIOR = "network.", "prior."
_COUNT = ".num_batches_tracked"  # a whole number that batch norm keeps
BATCH = 64  # images, or latents, at once
_MOST_PRIOR, _MOST_COMPONENTS = 1 << 25, 20  # numbers in a flow's network, and matrices of latent_dim^2 numbers


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to use; images and latents are NumPy arrays, whatever computes them."""

    path: Path
    config: ModelConfig
    weights: Weights  # of the network, by the names of PyTorch's modules
    prior: Prior
    model_id: str
    header: ModelHeader
    engine: Engine
    device: Device = "auto"  # of the network as a PyTorch module

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Posterior means (n, latent_dim) of uint8 images (n, height, width, channels). Never a draw."""
        return self.encode_float(as_float(images))

    def encode_float(self, x: np.ndarray) -> np.ndarray:
        """Posterior means (n, latent_dim) of float32 images (n, channels, height, width) in [0, 1]."""
        return np.concatenate([self.engine.encode(some) for some in batches(x)])

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Images (n, channels, height, width) in [0, 1] of latents (n, latent_dim), both float32."""
        return np.concatenate([self.engine.decode(some) for some in batches(z)])

    @cached_property
    def vae(self) -> "VAE":
        """The network as a PyTorch module, in eval mode; PyTorch is loaded when this is first used."""
        from latentcli.model.device import choose_device
        from latentcli.model.network import TorchEngine, build

        if isinstance(self.engine, TorchEngine):
            return self.engine.vae
        return build(self.config, self.weights, choose_device(self.device))

    @cached_property
    def geometry(self) -> Geometry:
        """Where its latents lie."""
        return Geometry.of(self.prior, self.config.latent_dim)

    @property
    def training(self) -> TrainingSummary | None:
        """How it was trained; None where its file does not say."""
        return self.header.training

    @property
    def parts(self) -> Parts:
        """The parts of the training images that its prior knows."""
        return Parts(self.header.parts)

    @property
    def name(self) -> str:
        """The folder's name, which is what `load` takes."""
        return self.path.parent.name


def batches(values: _Rows) -> list[_Rows]:
    """Parts of BATCH rows that a network takes at once: at least one, which may be empty."""
    return [values[start : start + BATCH] for start in range(0, max(1, len(values)), BATCH)]


def save_model(
    path: Path, vae: "VAE", prior: Prior, summary: dict[str, Any], half: bool = False, model_id: str | None = None
) -> str:
    """Write weights, config and prior with a summary of the training; returns the model_id.

    `half` stores matrices and kernels in 16 bits. `model_id` is that of a model with the same encoder, whose latents
    and vectors this one takes. Raises LatentCLIError when the file cannot be written.
    """
    from latentcli.model.device import to_numpy

    network = _stored(_NETWORK, to_numpy(vae.state_dict()), half)
    stored = {} if isinstance(prior, StandardPrior) else _stored(_PRIOR, prior.arrays(), half)
    network_id = tensorfile.digest(network)[:12]
    ids = {"model_id": model_id or network_id, "network_id": network_id}
    tensorfile.write(path, KIND, {**summary, **ids, "config": vae.config.to_json()}, network | stored)
    return ids["model_id"]


def _stored(prefix: str, arrays: Mapping[str, np.ndarray], half: bool) -> tensorfile.Arrays:
    """Under their names in the file; batch statistics, which need their range, are never narrowed.

    The linear path's basis always is: its values were rounded when it was fitted. So are the matrices of a flow.
    """
    narrow = {name for name, array in arrays.items() if half and array.dtype == np.float32 and array.ndim > 1}
    narrow |= {name for name, array in arrays.items() if name == "linear.basis" or _is_of_flow(name, array)}
    return {prefix + name: array.astype(np.float16) if name in narrow else array for name, array in arrays.items()}


def _is_of_flow(name: str, array: np.ndarray) -> bool:
    return name.startswith("flow.") and array.ndim == 2


def open_model(entry: ModelEntry) -> LoadedModel:
    """The model of an entry, which may have been loaded when it was chosen. Raises what `load_model` does."""
    return entry.loaded or load_model(entry.path, entry.engine)


def load_model(path: str | Path, engine: EngineName = "auto", device: Device = "auto") -> LoadedModel:
    """Load a model from its file, or from the folder that holds it.

    Raises FileFormatError when the file is missing, damaged, or does not fit its own config, ConfigError when the
    machine has no such device.
    """
    path = Path(path)
    if os.path.isdir(path):
        path = path / MODEL_FILE
    config, header = read_config(path), read_model_header(path)
    expected = {_NETWORK + name: shape for name, shape in graphs.shapes(config).items()}
    layout = tensorfile.read_layout(path, KIND)
    of_network = {name: shape for name, (_, shape) in layout.items() if not name.startswith(_PRIOR)}
    if of_network != expected or not tensorfile.are_floats(layout, besides=_COUNT):
        raise FileFormatError(f"{path} does not hold the network its config describes; make the model again")
    if not _may_be_prior(config, layout):
        raise _misfit(path)
    arrays = tensorfile.read(path, KIND)[1]
    stored = {name: array for name, array in arrays.items() if name.startswith(_NETWORK)}
    network_id = tensorfile.digest(stored)[:12]
    model_id = header.model_id if header.network_id == network_id else network_id
    weights = {name.removeprefix(_NETWORK): _as_float32(array) for name, array in stored.items()}
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise FileFormatError(f"{path} holds weights that are not numbers; train the model again")
    prior = _prior(path, config, arrays)
    values = prior.values if isinstance(prior, FlowPrior) else 0
    if len(Parts(header.parts)) != values:
        raise _misfit(path)
    chosen = choose_engine(config, weights, engine, device)
    return LoadedModel(path, config, weights, prior, model_id, header, chosen, device)


def read_config(path: Path) -> ModelConfig:
    """The ModelConfig in a model file's header. Raises FileFormatError when it is missing or makes no sense."""
    try:
        return ModelConfig.from_json(read_model_header(path).config)
    except ConfigError as error:
        raise FileFormatError(f"{path} has no usable config ({error}); make the model again") from error


def _may_be_prior(config: ModelConfig, layout: tensorfile.Layout) -> bool:
    """Whether the tensors of the prior are no more than any prior has; only then they are read."""
    numbers = sum(math.prod(shape) for name, (_, shape) in layout.items() if name.startswith(_PRIOR))
    return numbers <= _MOST_PRIOR + _MOST_COMPONENTS * config.latent_dim**2


def _prior(path: Path, config: ModelConfig, arrays: tensorfile.Arrays) -> Prior:
    parts = {name.removeprefix(_PRIOR): _as_float32(array) for name, array in arrays.items() if name.startswith(_PRIOR)}
    if not parts:
        return StandardPrior(config.latent_dim)
    if not all(np.isfinite(array).all() for array in parts.values()):
        raise FileFormatError(f"{path} holds a prior that is not made of numbers; make the model again")
    if "basis" in parts:
        return _flow(path, config, parts)
    shapes = {name: array.shape for name, array in parts.items()}
    components = len(parts["weights"]) if parts.get("weights") is not None and parts["weights"].ndim == 1 else 0
    d = config.latent_dim
    if shapes != {"weights": (components,), "means": (components, d), "factors": (components, d, d)} or not components:
        raise _misfit(path)
    return MixturePrior(parts["weights"], parts["means"], parts["factors"])


def _flow(path: Path, config: ModelConfig, parts: tensorfile.Arrays) -> FlowPrior:
    weights = {name.removeprefix("flow."): array for name, array in parts.items() if name.startswith("flow.")}
    paths = {name.removeprefix("paths."): array for name, array in parts.items() if name.startswith("paths.")}
    refusal = _misfit(path)
    combinations = parts.get("combinations")
    own = 2 + (combinations is not None)
    if len(weights) + len(paths) + own != len(parts) or parts.get("mean", np.empty(0)).shape != (config.latent_dim,):
        raise refusal
    try:
        prior = FlowPrior(parts["mean"], parts["basis"], MixturePaths(**paths), weights, combinations=combinations)
    except TypeError as error:
        raise refusal from error
    if not prior.fits:
        raise refusal
    return prior


def _misfit(path: Path) -> FileFormatError:
    return FileFormatError(f"{path} holds a prior that does not fit its config; make the model again")


def _as_float32(array: np.ndarray) -> np.ndarray:
    """float32 from any stored float; whole numbers stay whole."""
    return array.astype(np.float32) if np.issubdtype(array.dtype, np.floating) else array
