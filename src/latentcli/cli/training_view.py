"""Progress of training or sharpening: a line per epoch, on a terminal a progress line and pictures; TensorBoard log."""

import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import typer

from latentcli import events as job
from latentcli.cli import preview
from latentcli.cli.console import Console
from latentcli.cli.options import as_typed
from latentcli.cli.tables import findings_as_typed
from latentcli.cli.terminal import Waiting, duration, joined, width_of
from latentcli.errors import missing_extra
from latentcli.events import Note
from latentcli.imaging.images import open_picture
from latentcli.storage.history import EpochReport
from latentcli.storage.names import RECONSTRUCTIONS_FILE, SAMPLES_FILE
from latentcli.training import events, machine

_PARTS = 4  # parts of a training; pictures are shown once in each
_WHOLE = 1000  # nats; larger losses are printed without decimals


def follow_training(
    console: Console, reports: Iterable[events.Report], stop: "StopRequest", log_folder: Path | None = None
) -> None:
    """Show the events of a training or a sharpening, and log them for TensorBoard into `log_folder` unless it is None.

    Exits with code 130 or 143 if Ctrl-C or SIGTERM stopped the run.
    """
    was_stopped = False
    with Waiting("reading") as line, closing(TensorBoardLog(log_folder)) if log_folder else nullcontext() as board:
        view = TrainingView(console, line)
        for report in reports:
            view.show(report)
            if board:
                board.show(report)
            was_stopped |= isinstance(report, events.Interrupted)
            if isinstance(report, job.Progress):
                if report.what == "reading" and report.done == report.total:
                    machine.keep_freed_memory()
                if stop():  # outside of training steps there is nothing to save
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
    """Handler of Ctrl-C and SIGTERM: the first signal asks to stop after the current step, the second ends the process.

    Calling the object returns whether a signal was received.
    """

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
    """View that prints the events of a training or a sharpening on the console and updates the progress line."""

    def __init__(self, console: Console, line: Waiting) -> None:
        self.console = console
        self.steps = 0  # steps of the whole run; 0 before the run begins
        self._epochs = 0
        self._speed: tuple[str, ...] = ()  # images per second, for the progress line
        self._measured: tuple[str, ...] = ()  # latest held-out metrics, for the progress line
        self._part = 0  # latest quarter in which pictures were shown; 0 for none
        self._waiting = line

    def show(self, report: events.Report) -> None:
        match report:
            case events.Started():
                self._started(report)
            case events.StepReport(what, step, steps, None):
                self._waiting.update(what, step, steps)
            case events.StepReport(what, step, steps, rate):
                self._step(what, step, steps, rate)
            case events.Measuring(step, steps):
                self._step("measuring", step, steps)
            case EpochReport():
                self._epoch(report)
            case events.Drawn():
                self._drawn(report)
            case Note(text):
                self.console.say(text)
            case events.SharpReport():
                self._sharp_measured(report)
            case events.Interrupted(what, step, steps):
                self.console.say(f"stopped {what} at step {step} of {steps}, saved; the same command resumes it")
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

    def _started(self, report: events.Started) -> None:
        if "skipped" not in self.console.facts:  # a training before sharpening has named the images already
            self.console.left_out(report.unreadable)
            self.console.facts["skipped"] = list(map(as_typed, report.unreadable))
        self.steps, self._epochs = report.steps, -(-report.steps // report.steps_per_epoch)
        self._measured = ()
        for note in report.notes:
            self.console.say(note)
        if report.step:
            self.console.say(f"resuming at step {report.step} of {report.steps}")
        if report.stage > 1:
            self.console.say(f"stage {report.stage}: latents and vectors of the earlier model will not fit the new one")
        held_out = f"{report.held_out} held out" if report.held_out else "none held out"
        length = f"{report.steps:,} steps"
        if before := report.before:
            self.console.say(
                f"{report.images:,} images to sharpen with, {held_out}; before: sharpness {before.sharpness:.2f} of "
                f"the images', PSNR {before.psnr:.1f} dB, {before.distance_name} {before.distance:.3g}"
            )
        else:
            why = "" if report.held_out else " (too few, or turned off)"
            self.console.say(f"{report.images:,} images to train on, {held_out}{why}")
            length = f"{report.steps / report.steps_per_epoch:.3g} epochs, {length}"
        left = report.estimated_seconds
        about = f", about {duration(left)}" if left else ""
        self.console.say(
            f"{report.what} {report.parameters:,} parameters on {report.device} in {report.precision}: "
            f"{length}{about}; Ctrl-C stops and saves"
        )
        self._part = _PARTS * report.step // report.steps
        self._waiting.update(report.what, report.step, report.steps, left=left)

    def _epoch(self, report: EpochReport) -> None:
        """Print a line with the held-out metrics of an epoch, or the training loss if nothing was held out."""
        if metrics := report.held_out:  # negative ELBO, or reconstruction loss if there is no KL
            nats = metrics.reconstruction if metrics.negative_elbo is None else metrics.negative_elbo
            self._measured = (f"PSNR {metrics.psnr:.1f} dB", f"loss {_shown(nats)}")
        else:
            self._measured = (f"training loss {_shown(report.loss)}",)
        number = f"epoch {report.epoch}/{self._epochs}".ljust(len(f"epoch {self._epochs}/{self._epochs}"))
        skipped = (f"{report.skipped_steps} steps skipped",) if report.skipped_steps else ()
        self.console.say(joined([number, duration(report.seconds), *self._measured, *skipped], width_of(sys.stderr)))
        self._step("training", report.step, self.steps)

    def _drawn(self, report: events.Drawn) -> None:
        """Draw reconstructions after each quarter of the run, the first time with originals; at the end, samples."""
        part, width = _PARTS * report.step // report.steps, width_of(sys.stderr)
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

    def _sharp_measured(self, report: events.SharpReport) -> None:
        metrics = report.metrics
        self._measured = (f"sharpness {metrics.sharpness:.2f}", f"PSNR {metrics.psnr:.1f} dB")
        number = f"step {report.step}/{report.steps}".ljust(len(f"step {report.steps}/{report.steps}"))
        line = [number, duration(report.seconds), *self._measured, f"{metrics.distance_name} {metrics.distance:.3g}"]
        self.console.say(joined(line, width_of(sys.stderr)))
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


def _shown(nats: float) -> str:
    return f"{nats:.{0 if abs(nats) >= _WHOLE else 1}f}"


LOG_FOLDER = "tensorboard"
# Metrics that are logged, of sharpening and of the held-out images of a training.
_SHARP = ("psnr", "sharpness", "distance")
_HELD_OUT = ("negative_elbo", "reconstruction", "kl", "psnr", "active_dimensions", "bits_per_dimension")


class TensorBoardLog:
    """TensorBoard log of a training or a sharpening, in `tensorboard/` inside `folder`, the folder of the model.

    Raises ConfigError if the package tensorboard is missing.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing_extra("--log tensorboard", "tensorboard") from error
        self._folder = folder
        self._writer: Any = None
        self._make = partial(SummaryWriter, str(folder / LOG_FOLDER))
        self._trained = 0  # steps of the training before sharpening

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    def show(self, report: events.Report) -> None:
        match report:
            case events.Started(before=None, step=step):
                self._step = step
                self._writer = self._make(purge_step=step and step + 1)  # earlier the folder may be another's
                self._writer.add_text("images", f"{report.images}, {report.held_out} held out", step)
            case events.Started():
                self._writer = self._writer or self._make(purge_step=report.trained_steps + report.step + 1)
                self._trained = self._step = report.trained_steps
            case events.StepReport("training", step, _, rate, losses):
                for name, value in {**losses, "images_per_second": rate}.items():
                    self._writer.add_scalar(f"training/{name}", value, step)
            case EpochReport():
                self._step = report.step
                if report.held_out:
                    self._scalars("held-out", report.step, report.held_out, _HELD_OUT)
            case events.Drawn(step=step):
                self._pictures(max(step, self._step))
            case events.SharpReport():
                self._step = self._trained + report.step
                self._scalars("sharpening", self._step, report.metrics, _SHARP)
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
