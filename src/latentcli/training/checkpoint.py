"""Checkpoint of a run, `resume.safetensors`: what it takes to resume training exactly where it stopped.

It is replaced whole at each save. It holds the options of the run and a digest of its files, so that the same command
resumes it and another is refused by the name of what differs.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from latentcli.data.fingerprint import Fingerprints
from latentcli.errors import ConfigError, FileFormatError
from latentcli.model.device import to_numpy
from latentcli.storage import tensorfile
from latentcli.training.early_stop import Course
from latentcli.training.schedule import Stage
from latentcli.training.step import FIXED, TrainState, changing

KIND = "resume"
_NAMED = 3  # differing options
_ADDED = {
    "shift": 0.0,
    "jitter": 0.0,
    "patience": 0.0,
    "augment": False,
    "linear": False,
    "pooling": 1,
    "start_from": None,
}  # options that runs of earlier versions did not have
LENGTH = ("epochs", "minutes")  # options that may grow when a run has ended


@dataclass(frozen=True, slots=True)
class Position:
    """Progress of a run."""

    step: int
    stage: Stage
    precision: str  # what the run trains in
    seconds: float  # of training so far
    skipped_steps: int
    epoch_sums: tuple[float, float]  # reconstruction and KL over the steps since the last measurement, nats per image
    summed: int  # steps in those sums
    images: str  # a digest of which images can be read
    course: Course | None = None  # held-out loss so far, of runs that keep the best weights
    stopped: bool = False  # early
    flip: bool = False  # half of the images are mirrored
    augment: bool = False  # they are moved, and their colours changed

    @property
    def has_ended(self) -> bool:
        return self.stopped or self.step >= self.stage.end


@dataclass(frozen=True, slots=True)
class _Header:
    options: dict[str, Any]
    files: str
    position: Position


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint without its tensors, which `restore` reads."""

    path: Path
    stamp: int | None  # time of change in nanoseconds
    options: dict[str, Any]
    files: str  # a digest
    position: Position

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises FileFormatError when the file is damaged."""
        stamp = changed_at(path)
        found = tensorfile.parse(_Header, tensorfile.read_header(path, KIND), path)
        return cls(path, stamp, found.options, found.files, found.position)

    def restore(self, learner: TrainState) -> None:
        """Put the state of the run into a new learner, bit for bit, in the memory layout it had."""
        _, arrays = tensorfile.read(self.path, KIND)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        try:
            learner.vae.load_state_dict(part(tensors, "network."))
            fixed = {name: tensor for name, tensor in part(tensors, "network.").items() if name.startswith(FIXED)}
            learner.averaged.load_state_dict(part(tensors, "averaged.") | fixed)
            learner.optimizer.restore(part(tensors, "optimizer."))
            learner.best = part(tensors, "best.")
        except (KeyError, RuntimeError) as error:
            raise FileFormatError(f"{self.path} does not fit its run; remove its folder to train anew") from error

    def check_same(self, asked: dict[str, Any], files: Fingerprints) -> None:
        """Raises ConfigError naming every option, the length aside, and the images in which the run differs."""
        if self.files != files.digest:
            raise ConfigError(
                f"the images have changed since {self.path.parent} was started: "
                f"{files.changes_since(self.path.parent)}; "
                "put them back, or choose another `name` to train on them"
            )
        stored = _ADDED | {"labels": asked["labels"]} | self.options  # runs of earlier versions noted no labels
        differing = [
            f"{name.replace('_', ' ')} is {stored.get(name)} there, {asked[name]} asked"
            for name in asked
            if stored.get(name) != asked[name] and name not in LENGTH
        ]
        if differing:
            same_preset = self.options.get("preset") == asked["preset"]
            raise self.other_options("; ".join(differing[: _NAMED if same_preset else 1]))  # the rest follows

    def other_options(self, differing: str) -> ConfigError:
        """The error where a run is asked to resume with other options than its own."""
        return ConfigError(
            f"{self.path.parent} holds a run with other options ({differing}); "
            "repeat its options, or choose another `name`"
        )


def changed_at(path: Path) -> int | None:
    """Time of change in nanoseconds; None where there is no such file."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def save(path: Path, options: dict[str, Any], files: str, position: Position, learner: TrainState) -> None:
    """Write the state of a run; `Checkpoint.check_same` compares its options and the digest of its files."""
    tensors: dict[str, Tensor] = {}
    tensors |= {f"network.{name}": tensor for name, tensor in learner.vae.state_dict().items()}
    tensors |= {f"averaged.{name}": tensor for name, tensor in changing(learner.averaged.state_dict()).items()}
    tensors |= {f"best.{name}": tensor for name, tensor in learner.best.items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in learner.optimizer.tensors().items()}
    arrays = to_numpy(tensors)
    header = {"options": options, "files": files, "position": asdict(position)}
    tensorfile.write(path, KIND, header, arrays)


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
