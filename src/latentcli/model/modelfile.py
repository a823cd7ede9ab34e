"""The model file: weights, config and fitted prior in one `.safetensors`, and the loaded model.

Weights may be stored in half precision; the computation is in float32. `model_id` is a digest of the network's tensors
as stored; latents and vectors name their model by it. Sharpening trains the decoder alone: a sharpened model keeps its
`model_id`, since latents and vectors stay valid, and gets another `network_id`.
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
from latentcli.model.engine import Engine, TorchEngine, choose_engine
from latentcli.model.flow import FlowPrior
from latentcli.model.graphs import Weights
from latentcli.model.parts import Parts
from latentcli.model.prior import Geometry, MixturePrior, Prior, StandardPrior
from latentcli.storage import tensorfile
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.history import ModelHeader, read_model_header
from latentcli.storage.names import MODEL_FILE

if TYPE_CHECKING:
    from latentcli.model.vae import VAE

_Rows = TypeVar("_Rows", np.ndarray, list[Any], tuple[Any, ...])
KIND = "model"
BATCH = 64  # images or latents that a network takes at once
_NETWORK, _PRIOR = "network.", "prior."  # prefixes of the tensors' names
_COUNT = ".num_batches_tracked"  # suffix of batch norm's counters, the only integers in a network
_MOST_PRIOR, _MOST_COMPONENTS = 1 << 25, 20  # limits of a prior: numbers, plus matrices of latent_dim^2 numbers


@dataclass(frozen=True)
class LoadedModel:
    """A model loaded for use, which encodes images and decodes latents; both are NumPy arrays with any engine."""

    path: Path
    config: ModelConfig
    weights: Weights  # of the network, by their names in PyTorch
    prior: Prior
    model_id: str
    header: ModelHeader
    engine: Engine
    device: Device = "auto"  # of the PyTorch module `vae`

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Posterior means, not random draws, of uint8 images (n, height, width, channels): (n, latent_dim)."""
        return self.encode_float(as_float(images))

    def encode_float(self, x: np.ndarray) -> np.ndarray:
        """Posterior means (n, latent_dim) of float32 images (n, channels, height, width) in [0, 1]."""
        return np.concatenate([self.engine.encode(batch) for batch in batches(x)])

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Images (n, channels, height, width) in [0, 1] decoded from latents (n, latent_dim), both float32."""
        return np.concatenate([self.engine.decode(batch) for batch in batches(z)])

    @cached_property
    def vae(self) -> "VAE":
        """The network as a PyTorch module in eval mode; the first access loads PyTorch."""
        if isinstance(self.engine, TorchEngine):
            return self.engine.vae
        return TorchEngine(self.config, self.weights, self.device).vae

    @cached_property
    def geometry(self) -> Geometry:
        """Mean, covariance and typical region of the prior over latents."""
        basis = self.weights["linear.basis"] if self.config.linear else None
        return Geometry.of(self.prior, None if basis is None else np.square(basis.astype(np.float32)).sum(axis=1))

    @property
    def parts(self) -> Parts:
        """Labels that samples can be conditioned on, by column (property of images); empty if there are none."""
        return Parts(self.header.parts)

    @property
    def name(self) -> str:
        """Name of the model's folder, by which `latentcli.load` finds the model."""
        return self.path.parent.name


def batches(values: _Rows) -> list[_Rows]:
    """Slices of `values` with up to BATCH rows each; a single empty slice if `values` is empty."""
    return [values[start : start + BATCH] for start in range(0, max(1, len(values)), BATCH)]


def save_model(
    path: Path, vae: "VAE", prior: Prior, summary: dict[str, Any], half: bool = False, model_id: str | None = None
) -> str:
    """Write a model file of weights, config, prior and the `summary` of the training; returns the model_id.

    `half` stores matrices and kernels in 16 bits. Give the `model_id` of a model with the same encoder to keep latents
    and vectors of that model valid. Raises LatentCLIError if the file cannot be written.
    """
    from latentcli.model.device import to_numpy

    network = _stored(_NETWORK, to_numpy(vae.state_dict()), half)
    stored = {} if isinstance(prior, StandardPrior) else _stored(_PRIOR, prior.arrays(), half)
    network_id = tensorfile.digest(network)[:12]
    ids = {"model_id": model_id or network_id, "network_id": network_id}
    tensorfile.write(path, KIND, {**summary, **ids, "config": vae.config.to_json()}, network | stored)
    return ids["model_id"]


def _stored(prefix: str, arrays: Mapping[str, np.ndarray], half: bool) -> tensorfile.Arrays:
    """Arrays for a model file, with `prefix` before each name; `half` stores matrices and kernels in 16 bits.

    The basis of the linear path (PCA), rounded when fitted, and the flow's matrices always take 16 bits. Vectors never
    do, since batch statistics, which are vectors, need the range.
    """
    stored = {}
    for name, array in arrays.items():
        narrow = half and array.dtype == np.float32 and array.ndim > 1
        narrow |= name == "linear.basis" or (name.startswith("flow.") and array.ndim == 2)
        stored[prefix + name] = array.astype(np.float16) if narrow else array
    return stored


def open_model(entry: ModelEntry) -> LoadedModel:
    """The model of a catalog entry, loaded from its file unless `entry` holds it. Raises the errors of `load_model`."""
    return entry.loaded or load_model(entry.path, entry.engine)


def load_model(path: str | Path, engine: EngineName = "auto", device: Device = "auto") -> LoadedModel:
    """Load a model from its file, or from the folder that holds it.

    Raises FileFormatError if the file is missing, damaged, or does not fit its own config, and ConfigError if the
    machine lacks `device`.
    """
    path = Path(path)
    if os.path.isdir(path):
        path = path / MODEL_FILE
    config, header = read_config(path), read_model_header(path)

    def check(_: tensorfile.Header, layout: tensorfile.Layout) -> None:
        """Raise FileFormatError if names and shapes of the tensors do not fit the config, before any is read."""
        shapes = {name: shape for name, (_, shape) in layout.items() if not name.startswith(_PRIOR)}
        expected = {_NETWORK + name: shape for name, shape in graphs.shapes(config).items()}
        if shapes != expected or not tensorfile.are_floats(layout, besides=_COUNT):
            raise FileFormatError(f"{path} does not hold the network its config describes; make the model again")
        numbers = sum(math.prod(shape) for name, (_, shape) in layout.items() if name not in shapes)
        if numbers > _MOST_PRIOR + _MOST_COMPONENTS * config.latent_dim**2:
            raise _misfit(path)

    arrays = tensorfile.read(path, KIND, check)[1]
    network = {name: array for name, array in arrays.items() if name.startswith(_NETWORK)}
    network_id = tensorfile.digest(network)[:12]
    model_id = header.model_id if header.network_id == network_id else network_id
    weights = _computed(network, _NETWORK)
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise FileFormatError(f"{path} holds weights that are not numbers; train the model again")
    prior = _prior(path, config, _computed(arrays, _PRIOR))
    if len(Parts(header.parts)) != (prior.labels if isinstance(prior, FlowPrior) else 0):
        raise _misfit(path)
    chosen = choose_engine(config, weights, engine, device)
    return LoadedModel(path, config, weights, prior, model_id, header, chosen, device)


def read_config(path: Path) -> ModelConfig:
    """The config in the header of a model file. Raises FileFormatError if the config is missing or invalid."""
    try:
        return ModelConfig.from_json(read_model_header(path).config)
    except ConfigError as error:
        raise FileFormatError(f"{path} has no usable config ({error}); make the model again") from error


def _computed(arrays: tensorfile.Arrays, prefix: str) -> tensorfile.Arrays:
    """Arrays whose names start with `prefix`, by the rest of the name; floats become float32."""
    return {
        name.removeprefix(prefix): array.astype(np.float32) if np.issubdtype(array.dtype, np.floating) else array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _prior(path: Path, config: ModelConfig, arrays: tensorfile.Arrays) -> Prior:
    """Prior built from the `arrays` of a model file, N(0, I) if empty. Raises FileFormatError if no prior fits."""
    if not arrays:
        return StandardPrior(config.latent_dim)
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise FileFormatError(f"{path} holds a prior that is not made of numbers; make the model again")
    try:
        prior: FlowPrior | MixturePrior
        if "basis" in arrays:
            prior = FlowPrior.from_arrays(arrays)
        else:
            prior = MixturePrior(arrays["weights"], arrays["means"], arrays["factors"])
        if prior.arrays().keys() == arrays.keys() and prior.fits(config.latent_dim):
            return prior
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _misfit(path) from error
    raise _misfit(path)


def _misfit(path: Path) -> FileFormatError:
    return FileFormatError(f"{path} holds a prior that does not fit its config; make the model again")
