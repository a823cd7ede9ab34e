"""The resume file: all it takes to go on training exactly where a run stopped, and who may.

It is replaced whole at each save. A run's options are stored with it, so that the same command goes on and another is
refused by the name of what differs.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentcli import tensorfile
from latentcli.errors import ConfigError, FileFormatError
from latentcli.model.device import to_numpy_ready
from latentcli.training.loop import Learner

try:
    import fcntl
except ImportError:  # Windows: no lock there
    fcntl = None  # type: ignore[assignment]

KIND = "resume"
_TOLD = 3  # differing options that are named


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands."""

    step: int
    steps: int
    precision: str  # what the run trains in
    seconds: float  # of training so far
    skipped_steps: int
    epoch_sums: tuple[float, float]  # reconstruction and KL over the epoch's steps so far, nats per image
    summed: int  # steps in those sums


def save(path: Path, options: dict[str, Any], position: Position, learner: Learner) -> None:
    """Write the state of a run; `options` are what `check_same` compares."""
    tensors: dict[str, Tensor] = {}
    tensors |= {f"network.{name}": tensor for name, tensor in learner.vae.state_dict().items()}
    tensors |= {f"averaged.{name}": tensor for name, tensor in learner.averaged.state_dict().items()}
    for index, state in learner.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    header = {
        "options": options,
        "step": position.step,
        "steps": position.steps,
        "precision": position.precision,
        "seconds": position.seconds,
        "skipped_steps": position.skipped_steps,
        "epoch_sums": list(position.epoch_sums),
        "summed": position.summed,
    }
    arrays = {name: tensor.numpy() for name, tensor in to_numpy_ready(tensors).items()}
    tensorfile.write(path, KIND, header, arrays)


def read_position(path: Path) -> tuple[dict[str, Any], Position]:
    """Options and position of the run a resume file belongs to. Raises FileFormatError when it is damaged."""
    header = tensorfile.read_header(path, KIND)
    try:
        sums = header["epoch_sums"]
        position = Position(
            step=int(header["step"]),
            steps=int(header["steps"]),
            precision=str(header["precision"]),
            seconds=float(header["seconds"]),
            skipped_steps=int(header["skipped_steps"]),
            epoch_sums=(float(sums[0]), float(sums[1])),
            summed=int(header["summed"]),
        )
        return dict(header["options"]), position
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FileFormatError(f"{path} is damaged; remove its folder to train anew") from error


def restore(path: Path, learner: Learner) -> None:
    """Put a run's state into a new learner, bit for bit, in the memory layout it had."""
    _, arrays = tensorfile.read(path, KIND)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    try:
        learner.vae.load_state_dict(_part(tensors, "network."))
        learner.averaged.load_state_dict(_part(tensors, "averaged."))
    except RuntimeError as error:
        raise FileFormatError(f"{path} does not fit its run; remove its folder to train anew") from error
    group = learner.optimizer.param_groups[0]
    parameters = group["params"]
    step_device = parameters[0].device if group.get("fused") else torch.device("cpu")
    for index, parameter in enumerate(parameters):
        state = _part(tensors, f"optimizer.{index}.")
        for name, value in state.items():
            # The fused optimizer walks memory, so a state must lie as its parameter does.
            learner.optimizer.state[parameter][name] = (
                torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value.to(step_device)
            )


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def check_same(folder: Path, stored: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raises ConfigError naming every option in which the run in `folder` differs from what is asked."""
    if stored.get("data") != asked["data"]:
        raise ConfigError(f"the images have changed since {folder} was started; choose another --name to train on them")
    differing = [
        f"{name.replace('_', ' ')} is {stored.get(name)} there, {asked[name]} asked"
        for name in asked
        if stored.get(name) != asked[name]
    ]
    if differing:
        told = differing[:1] if stored.get("preset") != asked["preset"] else differing[:_TOLD]  # the rest follows
        raise ConfigError(
            f"{folder} holds a run with other options ({'; '.join(told)}); repeat its options, or choose another --name"
        )


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep a second program out of a run's folder; a crash leaves no lock behind.

    Raises ConfigError when another program trains there.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"another latentcli trains in {folder}; wait for it, or choose another --name") from error
        yield
    finally:
        os.close(handle)
