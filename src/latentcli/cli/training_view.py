"""Progress of a training: a live line on a terminal, a plain line per epoch anywhere; and TensorBoard's log."""

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
from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from latentcli import events as job
from latentcli.cli.console import Console
from latentcli.config import RECONSTRUCTIONS_FILE, SAMPLES_FILE
from latentcli.errors import missing_extra
from latentcli.events import Note
from latentcli.history import EpochReport, Metrics
from latentcli.images import open_picture
from latentcli.text import message
from latentcli.training import events, hardware


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
                    if report.what != "reading":
                        console.say("stopped before everything was measured; the same command does the rest")
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
        self.measured = ""  # the last held-out metrics, for the live line
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=RichConsole(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self.task = self.progress.add_task("surveying", total=None, note="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def show(self, report: events.Report) -> None:
        match report:
            case events.Started():
                self._started(report)
            case events.StepReport():
                note = (
                    f"{report.images_per_second:.0f} images/s  reconstruction {report.reconstruction:.1f}  "
                    f"KL {report.kl:.1f}{self.measured}"
                )
                self._bar("training", report.step, report.steps, note)
            case EpochReport():
                self._measured(report.held_out)
                self._say(f"epoch {report.epoch}, {_duration(report.seconds)}: {self._epoch(report)}")
            case Note(text):
                self._say(text)
            case events.SharpStarted():
                self._sharp_started(report)
            case events.SharpStep():
                note = (
                    f"{report.images_per_second:.0f} images/s  error {report.error:.4f}  "
                    f"discriminator {report.discriminator:.2f}{self.measured}"
                )
                self._bar("sharpening", report.step, report.steps, note)
            case events.SharpReport():
                self._sharp_measured(report)
            case events.Interrupted(step, steps):
                self._say(f"stopped at step {step} of {steps}, saved; the same command resumes it")
            case job.Progress(what, done, total):
                self._bar(what, done, total)
            case job.Wrote(path):
                self.progress.stop()
                self.console.wrote(path)
            case events.Finished():
                self._finished(report)

    def _bar(self, what: str, done: int, total: int | None, note: str = "") -> None:
        self.progress.update(self.task, description=what, completed=done, total=total, note=note)

    def _say(self, text: str) -> None:
        if self.progress.disable:
            self.console.say(text)
        else:
            self.progress.console.print(message(text), highlight=False, markup=False, soft_wrap=True)

    def _left_out(self, unreadable: tuple[str, ...]) -> None:
        self.console.left_out(unreadable)
        self.console.facts["skipped"] = list(unreadable)

    def _started(self, report: events.Started) -> None:
        self._left_out(report.unreadable)
        held = f"{report.held_out} held out" if report.held_out else "none held out (too few, or turned off)"
        seconds = report.estimated_seconds
        about = f", about {_duration(seconds)}" if seconds else ""
        for note in report.notes:
            self._say(note)
        if report.step:
            self._say(f"resuming at step {report.step} of {report.steps}")
        if report.stage > 1:
            self._say(f"stage {report.stage}: latents and vectors of the earlier model will not fit the new one")
        self._say(
            f"{report.images} images, {held}; {report.parameters:,} trained parameters on {report.device}, "
            f"{report.precision}; {report.steps} steps ({report.steps / report.steps_per_epoch:.1f} epochs){about}; "
            "Ctrl-C stops and saves"
        )

    def _sharp_started(self, report: events.SharpStarted) -> None:
        self.measured = ""
        if "skipped" not in self.console.facts:  # else the training before has said it
            self._left_out(report.unreadable)
        held = f"{report.held_out} held out" if report.held_out else "none held out"
        about = f", about {_duration(report.estimated_seconds)}" if report.estimated_seconds else ""
        if report.step:
            self._say(f"resuming at step {report.step} of {report.steps}")
        self._say(
            f"sharpening the decoder with {report.images} images, {held}; {report.parameters:,} trained parameters on "
            f"{report.device}, {report.precision}; {report.steps} steps{about}; Ctrl-C stops and saves"
        )

    def _sharp_measured(self, report: events.SharpReport) -> None:
        before, found = report.before, report.found
        self.measured = f"  sharpness {found.sharpness:.2f}, held-out PSNR {found.psnr:.2f} dB"
        self._say(
            f"step {report.step} of {report.steps}, {_duration(report.seconds)}: held-out sharpness "
            f"{found.sharpness:.2f} of the images' (before {before.sharpness:.2f}), PSNR {found.psnr:.2f} dB "
            f"({before.psnr:.2f}), Fréchet distance of samples {found.frechet:.3g} ({before.frechet:.3g})"
        )

    def _measured(self, metrics: Metrics | None) -> None:
        if metrics is not None and metrics.negative_elbo is not None:
            self.measured = (
                f"  held-out ELBO {-metrics.negative_elbo:.1f}, {metrics.active_dimensions} active dimensions"
            )

    def _epoch(self, report: EpochReport) -> str:
        training = f"training reconstruction {report.reconstruction:.1f} + KL {report.kl:.1f} nats"
        skipped = f"; {report.skipped_steps} steps skipped" if report.skipped_steps else ""
        held_out = f"; held-out {metrics_text(report.held_out)}" if report.held_out else ""
        return training + held_out + skipped

    def _finished(self, report: events.Finished) -> None:
        self.console.facts |= {"model_id": report.model_id, "training_seconds": report.seconds}
        self.progress.stop()
        if report.held_out:
            self.console.facts["held_out"] = asdict(report.held_out)
        self.console.facts["verdict"] = [finding.to_json() for finding in report.findings]
        for finding in report.findings:
            self._say(finding.describe())
        for path in report.outputs:
            self.console.wrote(path)
        self._say(f"next: latentcli sample --model {report.folder.name}")


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def metrics_text(metrics: Metrics) -> str:
    """The held-out metrics in one line."""
    if metrics.negative_elbo is None:
        return f"reconstruction {metrics.reconstruction:.2f} nats (no ELBO: beta 0), PSNR {metrics.psnr:.2f} dB"
    bits = f", {metrics.bits_per_dimension:.3f} bits/dim" if metrics.bits_per_dimension is not None else ""
    return (
        f"-ELBO {metrics.negative_elbo:.2f} nats (KL {metrics.kl:.1f}, {metrics.active_dimensions} active dimensions), "
        f"PSNR {metrics.psnr:.2f} dB{bits}"
    )


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
        self._drawn = 0  # time of the last logged pictures

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
                self._pictures()
            case events.SharpStarted():
                self._writer = self._writer or self._make(report.trained_steps + report.step + 1)
                self._trained = self._step = report.trained_steps
            case events.SharpReport():
                self._step = self._trained + report.step
                self._scalars("sharpening", self._step, report.found, _SHARP)
            case events.Finished():
                self._pictures()
                findings = "\n\n".join(finding.describe() for finding in report.findings)
                self._writer.add_text("verdict", findings, self._step)

    def _scalars(self, group: str, step: int, values: object, names: Sequence[str]) -> None:
        for name in names:
            value = getattr(values, name)
            if value is not None:
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def _pictures(self) -> None:
        """Those drawn since the last call."""
        path = self._folder / SAMPLES_FILE
        drawn = path.stat().st_mtime_ns if path.exists() else 0
        if drawn <= self._drawn:
            return
        self._drawn = drawn
        for name in (RECONSTRUCTIONS_FILE, SAMPLES_FILE):
            with open_picture(self._folder / name) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            self._writer.add_image(Path(name).stem, pixels, self._step, dataformats="HWC")
