"""The resume file: all it takes to go on training exactly where a run stopped.

It is replaced whole at each save. A run's options are stored with it, so that the same command goes on and another is
refused by the name of what differs; so is a digest of its files.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentcli import tensorfile
from latentcli.data.fingerprint import Fingerprints
from latentcli.errors import ConfigError, FileFormatError
from latentcli.model.device import to_numpy_ready
from latentcli.training.schedule import Stage
from latentcli.training.step import TrainState

KIND = "resume"
_TOLD = 3  # differing options that are named
LENGTH = ("epochs", "minutes")  # options that may grow when a run has ended


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands."""

    step: int
    stage: Stage
    precision: str  # what the run trains in
    seconds: float  # of training so far
    skipped_steps: int
    epoch_sums: tuple[float, float]  # reconstruction and KL over the epoch's steps so far, nats per image
    summed: int  # steps in those sums
    images: str  # a digest of which images can be read

    @property
    def has_ended(self) -> bool:
        return self.step >= self.stage.end


def save(path: Path, options: dict[str, Any], files: str, position: Position, learner: TrainState) -> None:
    """Write the state of a run; its options and the digest of its files are what `check_same` compares."""
    tensors: dict[str, Tensor] = {}
    tensors |= {f"network.{name}": tensor for name, tensor in learner.vae.state_dict().items()}
    tensors |= {f"averaged.{name}": tensor for name, tensor in learner.averaged.state_dict().items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in learner.optimizer.tensors().items()}
    arrays = {name: tensor.numpy() for name, tensor in to_numpy_ready(tensors).items()}
    header = {"options": options, "files": files, "position": asdict(position)}
    tensorfile.write(path, KIND, header, arrays)


def read_position(path: Path) -> tuple[dict[str, Any], Position]:
    """Options and position of the run a resume file belongs to. Raises FileFormatError when it is damaged."""
    header = tensorfile.read_header(path, KIND)
    try:
        found = dict(header["position"])
        found["stage"] = Stage(**found["stage"])
        found["epoch_sums"] = (float(found["epoch_sums"][0]), float(found["epoch_sums"][1]))
        return dict(header["options"]), Position(**found)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FileFormatError(f"{path} is damaged; remove its folder to train anew") from error


def restore(path: Path, learner: TrainState) -> None:
    """Put a run's state into a new learner, bit for bit, in the memory layout it had."""
    _, arrays = tensorfile.read(path, KIND)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    try:
        learner.vae.load_state_dict(_part(tensors, "network."))
        learner.averaged.load_state_dict(_part(tensors, "averaged."))
        learner.optimizer.restore(_part(tensors, "optimizer."))
    except (KeyError, RuntimeError) as error:
        raise FileFormatError(f"{path} does not fit its run; remove its folder to train anew") from error


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def check_same(path: Path, asked: dict[str, Any], prints: Fingerprints) -> None:
    """Raises ConfigError naming every option, the length aside, and the images in which the run at `path` differs."""
    header = tensorfile.read_header(path, KIND)
    stored = header["options"]
    if header.get("files") != prints.digest:
        raise ConfigError(
            f"the images have changed since {path.parent} was started: {prints.changes_since(path.parent)}; "
            "put them back, or choose another --name to train on them"
        )
    differing = [
        f"{name.replace('_', ' ')} is {stored.get(name)} there, {asked[name]} asked"
        for name in asked
        if stored.get(name) != asked[name] and name not in LENGTH
    ]
    if differing:
        told = differing[:1] if stored.get("preset") != asked["preset"] else differing[:_TOLD]  # the rest follows
        raise other_options(path.parent, "; ".join(told))


def other_options(folder: Path, differing: str) -> ConfigError:
    """What to say when a run is asked to go on with other options than its own."""
    return ConfigError(
        f"{folder} holds a run with other options ({differing}); repeat its options, or choose another --name"
    )
