"""Run of a training: reads images, trains the VAE, fits its prior, and writes the model and its report."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from latentcli.data.fingerprint import Fingerprints
from latentcli.errors import FileFormatError
from latentcli.events import Progress
from latentcli.storage.files import LOCK_FILE, check_writable_folder, exclusive, remove_parts
from latentcli.storage.names import FILES_FILE, RESUME_FILE
from latentcli.training import events, loop, results, start
from latentcli.training.images import images_of, read
from latentcli.training.machine import computing
from latentcli.training.plan import Plan, up_to_date
from latentcli.training.trainer import Trainer


def run(plan: Plan, stop: Callable[[], bool] = lambda: False) -> Iterator[events.Report]:
    """Train a VAE as planned, yielding events. When `stop`, called after each step, returns True, save and return.

    Raises ConfigError when another program trains in the same folder, LatentCLIError when the folder cannot be written
    to, training diverges or memory runs out.
    """
    if plan.finished:
        return
    check_writable_folder(plan.folder)
    with exclusive(plan.folder):
        try:
            remove_parts(plan.folder)
            plan = up_to_date(plan)  # another program may have trained since the plan was made
            size = plan.choice.config.batch_size
            advice = f"try `batch_size` {max(2, size // 2)} or a smaller `size` under another `name`"
            with computing(plan.choice.threads, plan.choice.model, size, advice):
                images = images_of(plan.choice, (yield from read(plan.choice)), _trained(plan))
                plan = replace(plan, choice=images.choice)
                if plan.resumed is None:
                    plan.fingerprints.write(plan.folder, plan.choice.train.rows)
                begun = None if plan.resumed else (yield from start.find(plan, images.train))
                if begun:
                    yield Progress("testing the speed", 0, 1)
                trainer = Trainer(plan, images, begun)
                if (yield from loop.run(trainer, stop)):
                    yield from results.finish(trainer.trained(), stop)
        finally:
            if not (plan.folder / RESUME_FILE).exists():  # not a single step was saved
                (plan.folder / FILES_FILE).unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # a folder with files in it stays
                    (plan.folder / LOCK_FILE).unlink(missing_ok=True)
                    plan.folder.rmdir()


def _trained(plan: Plan) -> np.ndarray | None:
    """Rows of the images that an interrupted run trains on, (n,) int32; None for a new run or if they are lost."""
    if plan.resumed:
        with contextlib.suppress(FileFormatError):
            return Fingerprints.load(plan.folder).trained
    return None
