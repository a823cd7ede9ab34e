"""`train --log tensorboard`: the same reports and pictures for people who live in TensorBoard."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from latentcli.config import RECONSTRUCTIONS_FILE, SAMPLES_FILE
from latentcli.errors import ConfigError
from latentcli.images import open_picture
from latentcli.training import reports

LOG_FOLDER = "tensorboard"
_TRAINING = ("reconstruction", "kl", "images_per_second")
_HELD_OUT = ("negative_elbo", "reconstruction", "kl", "psnr", "active_dimensions", "bits_per_dimension")


class Board:
    """Writes what a run reports into `tensorboard/` beside its model; a context manager.

    Raises ConfigError without the package.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "--log tensorboard takes the tensorboard package; install it: pip install 'latentcli[tensorboard]'"
            ) from error
        self._folder = folder
        self._writer: Any = None
        self._make: Callable[[int], Any] = lambda step: SummaryWriter(
            str(folder / LOG_FOLDER), purge_step=step and step + 1
        )
        self._drawn = 0  # when the pictures that were logged last had been drawn

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer:
            self._writer.close()

    def show(self, report: reports.Report) -> None:
        match report:
            case reports.Started(step=step):
                self._step = step
                self._writer = self._make(step)  # the folder is the run's alone now
                self._writer.add_text("images", f"{report.images}, {report.held_out} held out", step)
            case reports.StepReport():
                self._scalars("training", report.step, report, _TRAINING)
            case reports.EpochReport():
                self._step = report.step
                if report.held_out:
                    self._scalars("held-out", report.step, report.held_out, _HELD_OUT)
                self._pictures()
            case reports.Finished():
                self._pictures()
                told = "\n\n".join(finding.told() for finding in report.findings)
                self._writer.add_text("verdict", told, self._step)

    def _scalars(self, group: str, step: int, values: object, names: Sequence[str]) -> None:
        for name in names:
            value = getattr(values, name)
            if value is not None:
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def _pictures(self) -> None:
        """Those that were drawn since the last look."""
        path = self._folder / SAMPLES_FILE
        drawn = path.stat().st_mtime_ns if path.exists() else 0
        if drawn <= self._drawn:
            return
        self._drawn = drawn
        for name in (RECONSTRUCTIONS_FILE, SAMPLES_FILE):
            with open_picture(self._folder / name) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            self._writer.add_image(Path(name).stem, pixels, self._step, dataformats="HWC")
