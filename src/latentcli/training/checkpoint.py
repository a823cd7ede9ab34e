"""Checkpoint of a training: the file from which an interrupted training continues with the same result.

The VAE, the flow of its prior and sharpening have one checkpoint each, with all tensors that training changes, the
best weights so far, the position, and the options. Each save replaces the whole file. A command whose options equal
those in the checkpoint resumes the training; other options are refused, and the message names the differences.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from latentcli.errors import FileFormatError
from latentcli.model.device import to_numpy
from latentcli.storage import tensorfile

KIND = "checkpoint"
Options = dict[str, Any]  # option name -> JSON value; "files" is a digest of the image files


@dataclass(kw_only=True, slots=True)
class Position:
    """Progress of a training: steps made, steps planned, and seconds spent on the steps made."""

    step: int = 0  # number of steps made
    steps: int  # number of steps planned
    seconds: float = 0.0  # spent on steps so far, over all sessions
    stopped: bool = False  # whether training stopped early, before all planned steps

    @property
    def has_ended(self) -> bool:
        return self.stopped or self.step >= self.steps


P = TypeVar("P", bound=Position)


@dataclass(frozen=True, slots=True)
class _Header:
    options: Options
    position: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint(Generic[P]):
    """Options and position (steps and seconds so far) read from a checkpoint file, without its tensors."""

    options: Options
    position: P

    def differences(self, asked: Options, besides: Collection[str]) -> list[str]:
        """A phrase for each option, except those named in `besides`, whose value in `asked` is not the checkpoint's."""
        return [
            f"{name.replace('_', ' ')} is {self.options.get(name)} there, {value} asked"
            for name, value in asked.items()
            if self.options.get(name) != value and name not in besides
        ]


def read(path: Path, position: type[P]) -> Checkpoint[P]:
    """Options and position in a checkpoint, the position as type `position`. Raises FileFormatError if damaged."""
    header = tensorfile.parse(_Header, tensorfile.read_header(path, KIND), path)
    return Checkpoint(header.options, tensorfile.parse(position, header.position, path))


def save(
    path: Path, options: Options, position: Position, tensors: Mapping[str, Tensor], best: Mapping[str, Tensor]
) -> None:
    """Write a checkpoint. Raises LatentCLIError if the file cannot be written; an earlier file is then kept."""
    arrays = to_numpy({**tensors, **prefixed("best.", best)})
    tensorfile.write(path, KIND, {"options": options, "position": asdict(position)}, arrays)


@torch.no_grad()
def restore(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy the tensors of a checkpoint into `tensors`, by name and in place. Returns the best weights (empty if none).

    In place, because fused AdamW needs its momenta in the memory layout of the weights. Raises FileFormatError if the
    file is damaged or of another network.
    """
    _, arrays = tensorfile.read(path, KIND)
    saved = {name: torch.from_numpy(array) for name, array in arrays.items()}
    best = part(saved, "best.")
    averaged = part(tensors, "averaged.") if best else {}
    expected = {**tensors, **prefixed("best.", averaged)}
    if {name: tensor.shape for name, tensor in saved.items()} != {name: x.shape for name, x in expected.items()}:
        raise FileFormatError(f"{path} does not fit its training; remove it to train anew")
    for name, tensor in tensors.items():
        tensor.copy_(saved[name])
    return best


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` under their names with `prefix` in front; `part` is the inverse."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, under their names without the prefix."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
