"""Training loop: makes steps, reports, measures, saves checkpoints, sets threads, and stops on request.

A `Task` defines the step and the measurement; there is one for the VAE, one for the flow of its prior, and one for
sharpening, which trains the decoder further.
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
_SAVE_EVERY = 180.0  # seconds after which a checkpoint is saved even without a measurement
_SAVING = 0.1  # share of the training time that saving at measurements may take


class Task(ABC):
    """Definition of one kind of training. A step depends on its number and the state alone, so a run can be resumed."""

    what: str  # for messages: "training", "fitting the prior" or "sharpening"
    checkpoint_file: Path
    options: Options  # a checkpoint is resumed only with equal options
    position: Position
    learner: Learner
    device: torch.device
    images_per_step: int = 0  # for the reported speed; 0 if steps are not counted in images
    has_fixed_threads: bool = False  # True: the loop does not change the number of threads

    @abstractmethod
    def step(self, step: int) -> Mapping[str, Tensor]:
        """Make the training step with number `step`. Returns the losses of its batch by name, scalars on the device."""

    @abstractmethod
    def is_measured(self) -> bool:
        """Whether the loop must call `measure` at the current position; always True after the last step."""

    @abstractmethod
    def measure(self) -> Generator[Report, None, Sequence[Report]]:
        """Measure the network, and keep its weights if the best so far. Returns reports to yield after a save."""

    def time_steps(self, steps: int) -> float:
        """Median seconds of a step over `steps` steps, measured on a throw-away copy of the network."""
        raise NotImplementedError

    def begin(self) -> Iterator[Report]:
        """Yield events before the first step of a session, such as `Started`."""
        yield from ()

    def check(self) -> None:  # noqa: B027
        """Raise LatentCLIError if training has diverged; the loop calls this about every half second."""

    def draw(self) -> Iterator[Report]:
        """Draw pictures with the current network; the loop calls this before it saves a checkpoint."""
        yield from ()

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that steps change, by their names in the checkpoint."""
        return self.learner.tensors()

    def save(self) -> None:
        """Write the checkpoint to `checkpoint_file`. Raises LatentCLIError if the file cannot be written."""
        checkpoint.save(self.checkpoint_file, self.options, self.position, self.tensors(), self.learner.best)

    def restore(self) -> None:
        """Copy the tensors of `checkpoint_file` into the state. Raises FileFormatError for those of another network."""
        self.learner.best = checkpoint.restore(self.checkpoint_file, self.tensors())


def run(task: Task, stop: Callable[[], bool] = lambda: False) -> Generator[Report, None, bool]:
    """Make the remaining steps of `task`. Returns True when all are made, False if `stop` returned True before.

    `stop` is called after each step. Raises LatentCLIError if training diverges or the last save fails.
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
    """Save a checkpoint, after drawing pictures if `draws`; if a file cannot be written, yield a note and no error."""
    try:
        if draws:
            yield from task.draw()
        task.save()
    except LatentCLIError as error:
        yield Note(f"{error}; {task.what} continues and saves again in a few minutes")
