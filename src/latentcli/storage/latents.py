"""Latents and their file. Latents mean something only to the model that made them, so every file names its model."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from latentcli.errors import FileFormatError, ModelMismatch
from latentcli.storage import tensorfile

KIND = "latents"
SUFFIX = ".latents.safetensors"


@dataclass(frozen=True, slots=True)
class Latents:
    """Latents of n images, codes in a model's latent space, with the images' names and the model's id."""

    z: np.ndarray  # (n, latent_dim) float32
    names: tuple[str, ...]  # relative POSIX paths with suffix
    model_id: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "z", np.asarray(self.z, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.names)

    def row(self, name: str) -> np.ndarray:
        """Latent of the image called `name`: (latent_dim,). Raises FileFormatError when no image has the name."""
        if name not in self.names:
            raise FileFormatError(f"there are no latents named {name!r}; the first is {self.names[0]!r}")
        return np.asarray(self.z[self.names.index(name)])

    def save(self, path: Path) -> None:
        """Write the latents to `path`, whole or not at all. Raises LatentCLIError when writing fails."""
        header = {"names": list(self.names), "model_id": self.model_id}
        tensorfile.write(path, KIND, header, {"z": np.ascontiguousarray(self.z)})

    @classmethod
    def load(cls, path: Path) -> "Latents":
        """Read latents from `path`. Raises FileFormatError for a damaged or other file, and for names like `../x`."""

        def check(header: tensorfile.Header, layout: tensorfile.Layout) -> None:
            shape = layout["z"][1] if list(layout) == ["z"] else ()
            if not tensorfile.are_floats(layout) or len(shape) != 2:
                raise FileFormatError(f"{path} does not hold named latents; encode the images again")
            names = header.get("names")
            if not isinstance(names, list) or len(names) != shape[0] or not names:
                raise FileFormatError(f"{path} does not hold one name per latent; encode the images again")

        header, arrays = tensorfile.read(path, KIND, check)
        latents = tensorfile.parse(cls, header | arrays, path)
        if not np.isfinite(latents.z).all():
            raise FileFormatError(f"{path} holds latents that are not numbers; encode the images again")
        for name in latents.names:
            if not _stays_inside(name):
                raise FileFormatError(f"{path} holds the name {name!r}, which points outside a folder; do not trust it")
        return latents

    def require_model(self, model_id: str, source: str, model: str, latent_dim: int) -> None:
        """Raise ModelMismatch unless the latents, from the file `source`, fit the model `model` by id and dimension."""
        if self.model_id != model_id:
            raise ModelMismatch(
                f"{source} was made with model {self.model_id}, but {model} is {model_id}; "
                "choose that model with `model`, or encode the images again"
            )
        if self.z.shape[1] != latent_dim:
            raise ModelMismatch(f"{source} has {self.z.shape[1]} latent dimensions, {model} has {latent_dim}")


def _stays_inside(name: str) -> bool:
    """Whether the path `name`, joined to a folder, stays below the folder: it is relative and has no `..`."""
    kinds = (PurePosixPath(name), PureWindowsPath(name)) if os.name == "nt" else (PurePosixPath(name),)
    return bool(name) and "\0" not in name and not any(path.anchor or ".." in path.parts for path in kinds)
