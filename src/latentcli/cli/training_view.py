"""Progress of a training: a live line and pictures on a terminal, a line per epoch anywhere; and TensorBoard's log."""

import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import numpy as np
import typer

from latentcli import events as job
from latentcli.cli import preview
from latentcli.cli.console import Console
from latentcli.cli.options import as_typed
from latentcli.cli.tables import findings_as_typed
from latentcli.cli.terminal import Waiting, columns, duration, joined
from latentcli.errors import missing_extra
from latentcli.events import Note
from latentcli.imaging.images import open_picture
from latentcli.storage.history import EpochReport, Metrics
from latentcli.storage.names import RECONSTRUCTIONS_FILE, SAMPLES_FILE
from latentcli.training import events, hardware

_PARTS = 4  # of a training, each of which shows pictures
_WHOLE = 1000  # nats: losses from here on are written without decimals


def follow_training(
    console: Console, reports: Iterable[events.Report], stop: "StopRequest", log_folder: Path | None = None
) -> None:
    """Show the events of a run, and in `log_folder` for TensorBoard. Exits with 130 or so when it was stopped."""
    was_stopped = False
    with TrainingView(console) as view, TensorBoardLog(log_folder) if log_folder else nullcontext() as board:
        for report in reports:
            view.show(report)
            if board:
                board.show(report)
            was_stopped |= isinstance(report, events.Interrupted)
            if isinstance(report, job.Progress):
                if report.what == "reading" and report.done == report.total:
                    hardware.keep_freed_memory()
                if stop():  # there is nothing to save
                    when = "everything was measured; the same command does the rest"
                    console.say(
                        f"stopped before {when if view.steps else 'training began; the same command starts it'}"
                    )
                    was_stopped = True
                    break
    console.facts["interrupted"] = was_stopped
    console.print_json()
    if was_stopped:
        raise typer.Exit(128 + (stop.signal or signal.SIGINT))


class StopRequest:
    """First Ctrl-C or SIGTERM: stop after the step. The second one stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._asked)

    def __call__(self) -> bool:
        return self.signal is not None

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        print("latentcli: stopping after this step (press Ctrl-C again to quit immediately)", file=sys.stderr)
        for again in (signal.SIGINT, signal.SIGTERM):
            signal.signal(again, signal.SIG_DFL)


class TrainingView:
    """Shows the events of a run."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps = 0  # of the training, once it has begun
        self._epochs = 0
        self._speed: tuple[str, ...] = ()
        self._measured: tuple[str, ...] = ()  # the last held-out metrics, for the live line
        self._part = 0  # of the training: the last one that has shown pictures
        self._waiting = Waiting("reading")

    def __enter__(self) -> Self:
        self._waiting.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.__exit__(kind, error, trace)

    def show(self, report: events.Report) -> None:
        match report:
            case events.Started():
                self._started(report)
            case events.StepReport(step, steps, rate):
                self._step("training", step, steps, rate)
            case events.Measuring(step, steps):
                self._step("measuring", step, steps)
            case EpochReport():
                self._epoch(report)
            case events.Drawn():
                self._drawn(report)
            case Note(text):
                self.console.say(text)
            case events.SharpStarted():
                self._sharp_started(report)
            case events.SharpStep(step, steps, rate):
                self._step("sharpening", step, steps, rate)
            case events.SharpReport():
                self._sharp_measured(report)
            case events.Interrupted(step, steps):
                self.console.say(f"stopped at step {step} of {steps}, saved; the same command resumes it")
            case job.Progress(what, done, total):
                self._waiting.update(what, done, total)
            case job.Wrote(path):
                self.console.wrote(path)
            case events.Finished():
                self._finished(report)

    def _step(self, what: str, step: int, steps: int, images_per_second: float | None = None) -> None:
        if images_per_second is not None:
            self._speed = (f"{images_per_second:.0f} images/s",)
        self._waiting.update(what, step, steps, (*self._speed, *self._measured))

    def _left_out(self, unreadable: tuple[str, ...]) -> None:
        self.console.left_out(unreadable)
        self.console.facts["skipped"] = list(map(as_typed, unreadable))

    def _started(self, report: events.Started) -> None:
        self._left_out(report.unreadable)
        self.steps, self._epochs = report.steps, -(-report.steps // report.steps_per_epoch)
        for note in report.notes:
            self.console.say(note)
        if report.step:
            self.console.say(f"resuming at step {report.step} of {report.steps}")
        if report.stage > 1:
            self.console.say(f"stage {report.stage}: latents and vectors of the earlier model will not fit the new one")
        held_out = f"{report.held_out} held out" if report.held_out else "none held out (too few, or turned off)"
        self.console.say(f"{report.images:,} images to train on, {held_out}")
        length = f"{report.steps / report.steps_per_epoch:.3g} epochs, {report.steps:,} steps"
        self._begun("training", length, report)

    def _begun(self, what: str, length: str, report: events.Started | events.SharpStarted) -> None:
        """Say what follows."""
        left = report.estimated_seconds
        about = f", about {duration(left)}" if left else ""
        self.console.say(
            f"{what} {report.parameters:,} parameters on {report.device} in {report.precision}: {length}{about}; "
            "Ctrl-C stops and saves"
        )
        self._part = _PARTS * report.step // report.steps
        self._waiting.update(what, report.step, report.steps, left=left)

    def _epoch(self, report: EpochReport) -> None:
        """One line; the rest is in the history."""
        found = report.held_out
        loss = f"loss {_nats(_loss(found))}" if found else f"training loss {_nats(report.loss)}"
        self._measured = (f"PSNR {found.psnr:.1f} dB", loss) if found else (loss,)
        number = f"epoch {report.epoch}/{self._epochs}".ljust(len(f"epoch {self._epochs}/{self._epochs}"))
        skipped = (f"{report.skipped_steps} steps skipped",) if report.skipped_steps else ()
        self._line(number, duration(report.seconds), *self._measured, *skipped)
        self._step("training", report.step, self.steps)

    def _line(self, *parts: str) -> None:
        self.console.say(joined(parts, columns()))

    def _drawn(self, report: events.Drawn) -> None:
        """Show reconstructions in each part of the training, below the images at first, and samples at its end."""
        part, width = _PARTS * report.step // report.steps, columns()
        if part <= self._part or width is None or self.console.as_json or not preview.is_seen(sys.stderr):
            return
        shares = f"after {100 * report.step // report.steps} %"
        if part == _PARTS:
            rows = [("samples", report.samples)]
        elif self._part:
            rows = [(f"reconstructions {shares}", report.reconstructions)]
        else:
            rows = [("images", report.originals), (f"reconstructions {shares}", report.reconstructions)]
        self._part = part
        for caption, pictures in rows:
            self.console.say(f"{caption}:")
            self._waiting.show(preview.row(pictures, width))

    def _sharp_started(self, report: events.SharpStarted) -> None:
        if "skipped" not in self.console.facts:  # else the training before has said it
            self._left_out(report.unreadable)
        self.steps, self._measured = report.steps, ()
        if report.step:
            self.console.say(f"resuming at step {report.step} of {report.steps}")
        held_out = f"{report.held_out} held out" if report.held_out else "none held out"
        before = report.before
        self.console.say(
            f"{report.images:,} images to sharpen with, {held_out}; before: sharpness {before.sharpness:.2f} of the "
            f"images', PSNR {before.psnr:.1f} dB, Fréchet distance of samples {before.frechet:.3g}"
        )
        self._begun("sharpening", f"{report.steps:,} steps", report)

    def _sharp_measured(self, report: events.SharpReport) -> None:
        found = report.found
        self._measured = (f"sharpness {found.sharpness:.2f}", f"PSNR {found.psnr:.1f} dB")
        number = f"step {report.step}/{report.steps}".ljust(len(f"step {report.steps}/{report.steps}"))
        distance = f"Fréchet {found.frechet:.3g}"
        self._line(number, duration(report.seconds), *self._measured, distance)
        self._step("sharpening", report.step, report.steps)

    def _finished(self, report: events.Finished) -> None:
        self.console.facts |= {"model_id": report.model_id, "training_seconds": report.seconds}
        if report.held_out:
            self.console.facts["held_out"] = asdict(report.held_out)
        self.console.facts["verdict"] = findings_as_typed(report.findings)
        for finding in report.findings:
            self.console.say(finding.describe())
        for path in report.outputs:
            self.console.wrote(path)
        self.console.say(f"next: latentcli sample --model {report.folder.name}")


def _loss(metrics: Metrics) -> float:
    """-ELBO in nats per image; the reconstruction alone where there is no KL."""
    return metrics.reconstruction if metrics.negative_elbo is None else metrics.negative_elbo


def _nats(nats: float) -> str:
    return f"{nats:.{0 if abs(nats) >= _WHOLE else 1}f}"


LOG_FOLDER = "tensorboard"
_TRAINING = ("reconstruction", "kl", "images_per_second")
_SHARP = ("psnr", "sharpness", "frechet")
_HELD_OUT = ("negative_elbo", "reconstruction", "kl", "psnr", "active_dimensions", "bits_per_dimension")


class TensorBoardLog:
    """Writes the events of a run into `tensorboard/` beside its model; a context manager.

    Raises ConfigError without the package.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing_extra("--log tensorboard", "tensorboard") from error
        self._folder = folder
        self._writer: Any = None
        self._make: Callable[[int | None], Any] = lambda purged: SummaryWriter(
            str(folder / LOG_FOLDER), purge_step=purged
        )
        self._trained = 0  # steps before sharpening

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer:
            self._writer.close()

    def show(self, report: events.Report) -> None:
        match report:
            case events.Started(step=step):
                self._step = step
                self._writer = self._make(step and step + 1)  # the folder is the run's alone now
                self._writer.add_text("images", f"{report.images}, {report.held_out} held out", step)
            case events.StepReport():
                self._scalars("training", report.step, report, _TRAINING)
            case EpochReport():
                self._step = report.step
                if report.held_out:
                    self._scalars("held-out", report.step, report.held_out, _HELD_OUT)
            case events.Drawn(step=step):
                self._pictures(max(step, self._step))
            case events.SharpStarted():
                self._writer = self._writer or self._make(report.trained_steps + report.step + 1)
                self._trained = self._step = report.trained_steps
            case events.SharpReport():
                self._step = self._trained + report.step
                self._scalars("sharpening", self._step, report.found, _SHARP)
            case events.Finished():
                findings = "\n\n".join(as_typed(finding.describe()) for finding in report.findings)
                self._writer.add_text("verdict", findings, self._step)

    def _scalars(self, group: str, step: int, values: object, names: Sequence[str]) -> None:
        for name in names:
            value = getattr(values, name)
            if value is not None:
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def _pictures(self, step: int) -> None:
        for name in (RECONSTRUCTIONS_FILE, SAMPLES_FILE):
            with open_picture(self._folder / name) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            self._writer.add_image(Path(name).stem, pixels, step, dataformats="HWC")
