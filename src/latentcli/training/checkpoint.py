"""Checkpoint of a training: everything it takes to go on exactly where it stopped.

The VAE, the flow of its prior and sharpening have one file each, of one layout: all tensors that training changes, the
best weights so far, the position, and the options. The file is replaced whole at each save. The options tell whether a
command resumes the training or asks for another one, which is refused by the name of what differs.
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
Options = dict[str, Any]  # as JSON has them; "files" is a digest of the images


@dataclass(kw_only=True, slots=True)
class Position:
    """Progress of a training, which changes with each step."""

    step: int = 0  # steps made
    steps: int  # steps planned
    seconds: float = 0.0  # spent on steps so far, over all sessions
    stopped: bool = False  # early: more steps would not help

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
    """A checkpoint without its tensors, which `restore` reads."""

    options: Options
    position: P

    def differences(self, asked: Options, besides: Collection[str]) -> list[str]:
        """In words, each asked option whose value differs from that of the training, those in `besides` left out."""
        return [
            f"{name.replace('_', ' ')} is {self.options.get(name)} there, {value} asked"
            for name, value in asked.items()
            if self.options.get(name) != value and name not in besides
        ]


def read(path: Path, position: type[P]) -> Checkpoint[P]:
    """The checkpoint in a file, without its tensors. Raises FileFormatError when the file is damaged."""
    header = tensorfile.parse(_Header, tensorfile.read_header(path, KIND), path)
    return Checkpoint(header.options, tensorfile.parse(position, header.position, path))


def save(
    path: Path, options: Options, position: Position, tensors: Mapping[str, Tensor], best: Mapping[str, Tensor]
) -> None:
    """Write the state of a training. Raises LatentCLIError when that fails; the file before it then stays."""
    arrays = to_numpy({**tensors, **{f"best.{name}": tensor for name, tensor in best.items()}})
    tensorfile.write(path, KIND, {"options": options, "position": asdict(position)}, arrays)


@torch.no_grad()
def restore(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy what was saved into the tensors of the same names, bit for bit, and return the best weights.

    In place, because fused AdamW walks memory: a state must lie in it as its weight does. Raises FileFormatError where
    the file is damaged or of another network.
    """
    _, arrays = tensorfile.read(path, KIND)
    saved = {name: torch.from_numpy(array) for name, array in arrays.items()}
    best = part(saved, "best.")
    averaged = part(tensors, "averaged.") if best else {}
    expected = {**tensors, **{f"best.{name}": tensor for name, tensor in averaged.items()}}
    if {name: tensor.shape for name, tensor in saved.items()} != {name: x.shape for name, x in expected.items()}:
        raise FileFormatError(f"{path} does not fit its training; remove it to train anew")
    for name, tensor in tensors.items():
        tensor.copy_(saved[name])
    return best


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
