"""The spaces that sets of images are compared in.

An encoder trained on the same images would flatter its own samples, and Inception has to be downloaded. So the space
that is always there is a network of fixed random filters, whose statistics see colour, texture, sharpness and layout
(random networks rank generators much as trained ones do: Naeem et al. 2020, section 5). Distances in it compare models
of one image size; they are no FID. Whoever has Inception, or any other network, names its file.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from latentcli.errors import ConfigError, FileFormatError

_FILTERS = 16  # per level
_SMALLEST = 8  # pixels: no further halving below
_SEED = 2020
_AT_ONCE = 64  # images: what stays in the processor's cache
_SUFFIXES = (".pt", ".onnx")


@dataclass(frozen=True)
class FeatureSpace:
    """Turns images into features."""

    name: str  # what the space is, for tables
    network: Callable[[Tensor], Tensor]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (n, d) of images (n, channels, height, width) in [0, 1]; gray images are shown as colour."""
        colour = images.expand(-1, 3, -1, -1)
        return torch.cat([self.network(some).float().cpu() for some in torch.split(colour, _AT_ONCE)])


def open_features(path: Path | None) -> FeatureSpace:
    """The network in a TorchScript (.pt) or ONNX file, or without one the random filters.

    It must take float32 (n, 3, height, width) in [0, 1] and give (n, d). Raises ConfigError or FileFormatError.
    """
    if path is None:
        return FeatureSpace("random filters", random_filters)
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f"{path} is no network; give TorchScript (.pt) or ONNX (.onnx)")
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; check the name")
    network = _torchscript(path) if path.suffix == ".pt" else _onnx(path)

    def checked(images: Tensor) -> Tensor:
        try:
            found = network(images)
        except Exception as error:  # whatever a foreign network raises
            shape = "x".join(map(str, images.shape))
            raise FileFormatError(f"{path} cannot take images of {shape} ({_first_line(error)})") from error
        if not isinstance(found, Tensor) or found.dim() != 2 or len(found) != len(images):
            raise FileFormatError(f"{path} must give one row of features per image, (n, d)")
        return found

    return FeatureSpace(path.name, checked)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _torchscript(path: Path) -> Callable[[Tensor], Tensor]:
    try:
        return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-any-return, no-untyped-call]
    except RuntimeError as error:
        raise FileFormatError(f"{path} is no TorchScript file; save it with torch.jit.save") from error


def _onnx(path: Path) -> Callable[[Tensor], Tensor]:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError("reading .onnx takes onnxruntime; install it: pip install 'latentcli[onnx]'") from error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
    except Exception as error:  # onnxruntime has exceptions of its own
        raise FileFormatError(f"{path} is no ONNX network that can be run") from error
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def random_filters(images: Tensor) -> Tensor:
    """Features of colour images: means and deviations of random 3x3 filters at each scale, and the coarsest's layout.

    The filters come from a frozen generator, so they are the same everywhere and for ever.
    """
    generator = np.random.RandomState(_SEED)
    h = images * 2 - 1
    found = []
    while True:
        fan_in = h.shape[1] * 9
        weights = generator.standard_normal((_FILTERS, h.shape[1], 3, 3)) * math.sqrt(2 / fan_in)
        h = F.relu_(F.conv2d(F.pad(h, (1, 1, 1, 1), mode="replicate"), torch.from_numpy(weights).float()))
        means = h.mean(dim=(2, 3), keepdim=True)
        deviations = (h - means).square_().mean(dim=(2, 3)).sqrt()  # several times as fast as torch.std
        found += [means.flatten(1), deviations]
        if min(h.shape[2:]) < 2 * _SMALLEST:
            break
        h = F.avg_pool2d(h, 2)
    return torch.cat([*found, F.adaptive_avg_pool2d(h, 2).flatten(1)], dim=1)
