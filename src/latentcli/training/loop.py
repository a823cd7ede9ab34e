"""Loop of every training: steps, reports, measurements, saves, threads and stop.

A `Task` says what a step is, what is measured and what is kept: that of the VAE, that of the flow of its prior, and
sharpening.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from latentcli.errors import LatentCLIError
from latentcli.events import Note
from latentcli.training import checkpoint
from latentcli.training.checkpoint import Options, Position
from latentcli.training.events import Interrupted, Report, StepReport
from latentcli.training.learner import Learner
from latentcli.training.machine import watch_threads

_REPORT_EVERY = 0.5  # seconds between step reports
_SAVE_EVERY = 180.0  # seconds between saves, however far measurements are apart
_SAVING = 0.1  # share of the time that saves after measurements may take


class Task(ABC):
    """A training. A step depends on its number and the state alone, so an interruption does not change the result."""

    what: str  # "training", "sharpening"
    checkpoint_file: Path
    options: Options  # must be the same to resume it
    position: Position
    learner: Learner
    device: torch.device
    images_per_step: int = 0  # 0 where steps are not counted in images
    has_fixed_threads: bool = False

    @abstractmethod
    def step(self, step: int) -> Mapping[str, Tensor]:
        """Make one training step. Returns losses of the batch by name, scalars on the device."""

    @abstractmethod
    def is_measured(self) -> bool:
        """Whether a measurement is due at this position; always at the last step."""

    @abstractmethod
    def measure(self) -> Generator[Report, None, Sequence[Report]]:
        """Measure, and keep the weights if they are the best. Returns the reports to yield after the save."""

    def time_steps(self, steps: int) -> float:
        """Median seconds of a step, measured on a learner that is thrown away."""
        raise NotImplementedError

    def begin(self) -> Iterator[Report]:
        """Yield the events that precede the first step."""
        yield from ()

    def check(self) -> None:  # noqa: B027
        """Raises LatentCLIError where training has diverged."""

    def draw(self) -> Iterator[Report]:
        """Draw the pictures that go with a checkpoint."""
        yield from ()

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that steps change, by name."""
        return self.learner.tensors()

    def save(self) -> None:
        """Write the checkpoint. Raises LatentCLIError when that fails."""
        checkpoint.save(self.checkpoint_file, self.options, self.position, self.tensors(), self.learner.best)

    def restore(self) -> None:
        """Take over the tensors of the checkpoint. Raises FileFormatError where they are of another network."""
        self.learner.best = checkpoint.restore(self.checkpoint_file, self.tensors())


def run(task: Task, stop: Callable[[], bool] = lambda: False) -> Generator[Report, None, bool]:
    """Make the steps that are left. Returns whether all are made: False after a stop, which `stop` asks for.

    Raises LatentCLIError where training diverges or the last checkpoint cannot be written.
    """
    position = task.position
    keeps_threads = task.has_fixed_threads or position.has_ended
    watch = None if keeps_threads else watch_threads(task.time_steps, task.device)
    yield from task.begin()
    before, first, reported_step = position.seconds, position.step, position.step
    began = reported = saved = time.monotonic()
    saving = 0.0  # seconds that the last save took
    while not position.has_ended:
        started = time.monotonic()
        losses = task.step(position.step)
        now = time.monotonic()
        if watch:
            watch.stepped(now - started)
        position.step += 1
        position.seconds = before + now - began
        if now - reported > _REPORT_EVERY:
            task.check()
            rate = (position.step - reported_step) / (now - reported) * task.images_per_step
            values = {name: float(loss) for name, loss in losses.items()}  # waits for the device
            yield StepReport(task.what, position.step, position.steps, rate or None, values)
            reported, reported_step = now, position.step
        reports: Sequence[Report] = ()
        if is_measured := task.is_measured():
            reports = yield from task.measure()
        due_after = saving / _SAVING if is_measured else _SAVE_EVERY
        if position.has_ended:
            task.save()
        elif position.step == first + 1 or time.monotonic() - saved > due_after:
            started = time.monotonic()
            yield from _save_in_passing(task, draws=position.step > first + 1)
            saved = time.monotonic()
            saving = saved - started
        yield from reports
        if not position.has_ended and stop():
            task.save()
            yield Interrupted(task.what, position.step, position.steps)
            return False
    if watch:
        watch.stop()
    return True


def _save_in_passing(task: Task, draws: bool) -> Iterator[Report]:
    """Draw and save; where a file cannot be written, a note says so, and the last checkpoint stays."""
    try:
        if draws:
            yield from task.draw()
        task.save()
    except LatentCLIError as error:
        yield Note(f"{error}; {task.what} continues and saves again in a few minutes")
