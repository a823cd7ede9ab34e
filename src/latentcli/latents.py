"""Latent codes, and the file they travel in.

A latent means something only to the model that made it, so every file names its model.
"""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from latentcli import tensorfile
from latentcli.config import InterpolationMethod
from latentcli.errors import FileFormatError, ModelMismatch

KIND = "latents"
SUFFIX = ".latents.safetensors"


@dataclass(frozen=True, slots=True)
class _Header:
    names: tuple[str, ...]
    model_id: str


@dataclass(frozen=True, slots=True)
class Latents:
    """Codes z (n, latent_dim) float32, one name each, and the model they belong to."""

    z: np.ndarray
    names: tuple[str, ...]  # relative POSIX paths with suffix
    model_id: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "z", np.asarray(self.z, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.names)

    def with_z(self, z: np.ndarray) -> "Latents":
        """The same names with other codes."""
        return replace(self, z=z)

    def row(self, name: str) -> np.ndarray:
        """The code of one name: (latent_dim,). Raises FileFormatError when there is none."""
        if name not in self.names:
            raise FileFormatError(f"there are no latents named {name!r}; the first is {self.names[0]!r}")
        return np.asarray(self.z[self.names.index(name)])

    def save(self, path: Path) -> None:
        """Write them whole. Raises LatentCLIError when that fails."""
        header = {"names": list(self.names), "model_id": self.model_id}
        tensorfile.write(path, KIND, header, {"z": np.ascontiguousarray(self.z)})

    @classmethod
    def load(cls, path: Path) -> "Latents":
        """Raises FileFormatError when the file is no latents file, damaged, or names places outside its folder."""

        def check(header: tensorfile.Header, layout: tensorfile.Layout) -> None:
            shape = layout["z"][1] if list(layout) == ["z"] else ()
            if not tensorfile.are_floats(layout) or len(shape) != 2:
                raise FileFormatError(f"{path} does not hold named latents; encode the images again")
            names = header.get("names")
            if not isinstance(names, list) or len(names) != shape[0] or not names:
                raise FileFormatError(f"{path} does not hold one name per latent; encode the images again")

        header, arrays = tensorfile.read(path, KIND, check)
        found, z = tensorfile.parse(_Header, header, path), arrays["z"]
        if not np.isfinite(z).all():
            raise FileFormatError(f"{path} holds latents that are not numbers; encode the images again")
        for name in found.names:
            if not _stays_inside(name):
                raise FileFormatError(f"{path} holds the name {name!r}, which points outside a folder; do not trust it")
        return cls(z, found.names, found.model_id)

    def require_model(self, model_id: str, source: str, model: str, latent_dim: int) -> None:
        """Raises ModelMismatch unless the model `model` made these latents, which came from `source`."""
        if self.model_id != model_id:
            raise ModelMismatch(
                f"{source} was made with model {self.model_id}, but {model} is {model_id}; "
                "choose that model with --model, or encode the images again"
            )
        if self.z.shape[1] != latent_dim:
            raise ModelMismatch(f"{source} has {self.z.shape[1]} latent dimensions, {model} has {latent_dim}")


def _stays_inside(name: str) -> bool:
    """Whether a stored name, joined to a folder, stays below it on any system."""
    kinds = (PurePosixPath(name), PureWindowsPath(name)) if os.name == "nt" else (PurePosixPath(name),)
    return bool(name) and "\0" not in name and not any(path.anchor or ".." in path.parts for path in kinds)


_PARALLEL = 1e-4  # sine of the angle below which slerp has no plane to turn in


def lerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The straight line from a (d,) to b (d,) at each t in [0, 1]: (len(t), d).

    >>> lerp(np.zeros(2), np.ones(2), np.array([0.0, 0.25]))
    array([[0.  , 0.  ],
           [0.25, 0.25]])
    """
    t = t[:, None]
    return np.asarray(np.where(t < 0.5, a + t * (b - a), b - (1 - t) * (b - a)))  # exact at both ends


def slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The great circle from a (d,) to b (d,) at each t: (len(t), d). White 2016, "Sampling generative networks".

    The ends keep their lengths; where they are parallel, opposite or zero there is no circle, and the line is taken.
    """
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    angle = np.arccos(np.clip(a @ b / lengths, -1, 1)) if lengths else np.float32(0)
    sine = np.sin(angle)
    if sine < _PARALLEL:
        return lerp(a, b, t)
    t = t[:, None]
    return np.asarray((np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / sine)


METHODS: dict[InterpolationMethod, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "lerp": lerp,
    "slerp": slerp,
}


def walk(keyframes: np.ndarray, steps: int, method: InterpolationMethod, loop: bool = False) -> np.ndarray:
    """From keyframe to keyframe (k, d), `steps` latents per leg with both its ends, shared ends once.

    Without `loop` the walk has (k - 1) * (steps - 1) + 1 latents; with it one more leg leads back to the first
    keyframe, whose second visit is left out.
    """
    stops = np.concatenate([keyframes, keyframes[:1]]) if loop else keyframes
    t = np.linspace(0, 1, steps, dtype=np.float32)[:-1]
    legs = [METHODS[method](a, b, t) for a, b in itertools.pairwise(stops)]
    return np.concatenate(legs if loop else [*legs, stops[-1:]])
