"""`train --log tensorboard`: the same reports and pictures for people who live in TensorBoard."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latentcli.config import RECONSTRUCTIONS_FILE, SAMPLES_FILE
from latentcli.errors import ConfigError
from latentcli.training import reports

LOG_FOLDER = "tensorboard"
_HELD_OUT = ("negative_elbo", "reconstruction", "kl", "psnr", "active_dimensions", "bits_per_dimension")


class Board:
    """Writes what a run reports into `tensorboard/` beside its model. Raises ConfigError without the package."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "--log tensorboard takes the tensorboard package; install it: pip install 'latentcli[tensorboard]'"
            ) from error
        self._folder = folder
        self._writer: Any = None
        self._make: Callable[[], Any] = lambda: SummaryWriter(str(folder / LOG_FOLDER))
        self._drawn = 0.0  # when the pictures that were logged last had been drawn

    def show(self, report: reports.Report) -> None:
        match report:
            case reports.Started(step=step):
                self._writer = self._make()  # the folder is the run's alone now
                self._writer.add_text("images", f"{report.images}, {report.held_out} held out", step)
            case reports.StepReport():
                values = {"reconstruction": report.reconstruction, "kl": report.kl, "speed": report.images_per_second}
                for name, value in values.items():
                    self._writer.add_scalar(f"training/{name}", value, report.step)
            case reports.EpochReport():
                figures = asdict(report.held_out) if report.held_out else {}
                for name in _HELD_OUT:
                    if figures.get(name) is not None:
                        self._writer.add_scalar(f"held-out/{name}", figures[name], report.step)
                self._pictures(report.step)
            case reports.Finished():
                for finding in report.findings:
                    self._writer.add_text(f"verdict/{finding.about}", finding.told())
                self._writer.close()

    def _pictures(self, step: int) -> None:
        path = self._folder / SAMPLES_FILE
        if not path.exists() or path.stat().st_mtime <= self._drawn:
            return
        self._drawn = path.stat().st_mtime
        for name in (RECONSTRUCTIONS_FILE, SAMPLES_FILE):
            with Image.open(self._folder / name) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            self._writer.add_image(Path(name).stem, pixels, step, dataformats="HWC")
