"""A run from the first image read to the model file, reported as it goes."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any, cast

import torch

from latentcli import data
from latentcli.config import RESUME_FILE, Precision
from latentcli.errors import LatentCLIError
from latentcli.files import write_whole
from latentcli.model.figures import Figures, measure
from latentcli.model.objective import Elbo
from latentcli.model.prior import StandardPrior
from latentcli.training import finish, reports, resume, selftest
from latentcli.training.loop import Learner, batches
from latentcli.training.plan import Plan
from latentcli.training.schedule import order

HISTORY_FILE = "history.jsonl"
_LOOK_EVERY = 0.5  # seconds between step reports
_SAVING = 0.1  # share of the time that saving and pictures at the ends of epochs may take
_MOST_SKIPPED = 50  # steps in a row without finite gradients: training has gone astray


def run(plan: Plan, stop: Callable[[], bool] = lambda: False) -> Iterator[reports.Report]:
    """Train as planned. `stop` is asked after each step; when it says yes the run is saved and ends, to be resumed.

    Raises ConfigError when another program trains in the same folder.
    """
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LatentCLIError(f"cannot make {plan.folder}: {error.strerror}; train where you may write") from error
    with resume.exclusive(plan.folder):
        file = plan.folder / RESUME_FILE
        if file.exists():  # another program may have started the run, or gone on with it, since the plan was made
            stored, position = resume.read_position(file)
            resume.check_same(plan.folder, stored, plan.options)
            plan = replace(plan, resumed=position)
        yield from _run(plan, stop)


def _run(plan: Plan, stop: Callable[[], bool]) -> Iterator[reports.Report]:
    train = data.Loading(plan.train, plan.model)
    held = data.Loading(plan.held_out, plan.model) if plan.held_out else None
    total = len(plan.train) + (len(plan.held_out) if plan.held_out else 0)
    for done in train:
        yield reports.Reading(done, total)
    for done in held or ():
        yield reports.Reading(len(plan.train) + done, total)
    unreadable = tuple(train.unreadable + (held.unreadable if held else []))
    held_out = held.dataset() if held and held.readable else None
    if train.readable == 1:
        raise LatentCLIError(f"only one image of {plan.train.root} can be read; training takes two or more")
    yield from Session(plan, train.dataset(), held_out, unreadable).events(stop)


class Session:
    """One sitting of a run: from its start, or where it was interrupted, to its end or the next interruption."""

    def __init__(
        self, plan: Plan, train: data.Dataset, held_out: data.Dataset | None, unreadable: tuple[str, ...]
    ) -> None:
        self.plan = plan
        self.train = train
        self.held_out = held_out
        self.unreadable = unreadable
        self.batch_size = min(plan.config.batch_size, len(train))
        self.steps_per_epoch = len(train) // self.batch_size
        self.resume_file = plan.folder / RESUME_FILE
        self.estimated_seconds: float | None = None
        position = plan.resumed or self._first_position()
        self.steps, self.precision, self.seconds = position.steps, position.precision, position.seconds
        config = replace(plan.config, precision=cast(Precision, self.precision))
        self.learner = Learner(plan.model, config, self.steps)
        self.first_step = position.step
        self.sums = torch.tensor(position.epoch_sums, dtype=torch.float64)  # reconstruction and KL of this epoch
        self.summed = position.summed  # steps in those sums
        self.saved = -math.inf  # when, on the monotonic clock
        self.saving = 0.0  # seconds that it took
        self.order = torch.empty(0, dtype=torch.int64)  # of the images in this epoch
        self.history = _history_until(plan, position.step)
        if plan.resumed:
            resume.restore(self.resume_file, self.learner)
            self.learner.skipped_steps = position.skipped_steps

    def _first_position(self) -> resume.Position:
        """Measure the speed once; with --minutes it fixes the number of steps for good."""
        config = self.plan.config
        precision, seconds_per_step = selftest.measure(self.plan.model, config, self.train.images)
        # Evaluating an image, in fp32, takes about as long as training on it in bf16 does.
        evaluated = len(self.held_out) if self.held_out else 0
        seconds_per_step *= 1 + evaluated / self.batch_size / self.steps_per_epoch
        steps = config.epochs * self.steps_per_epoch
        if config.minutes is not None:
            steps = max(1, int(config.minutes * 60 / seconds_per_step))
        self.estimated_seconds = steps * seconds_per_step
        return resume.Position(0, steps, precision, 0.0, 0, (0.0, 0.0), 0)

    def events(self, stop: Callable[[], bool]) -> Iterator[reports.Report]:
        yield self._started()
        if self.first_step == 0:
            self._save(0)
        started, before = time.monotonic(), self.seconds
        looked, looked_at = started, self.first_step
        for step in range(self.first_step, self.steps):
            elbo = self._step(step)
            done = step + 1
            now = time.monotonic()
            self.seconds = before + now - started
            if now - looked > _LOOK_EVERY:
                rate = (done - looked_at) * self.batch_size / (now - looked)
                yield self._look(done, elbo, rate)
                looked, looked_at = now, done
            if done % self.steps_per_epoch == 0 or done == self.steps:
                yield self._end_epoch(done)
            if stop() and done < self.steps:
                self._save(done)
                yield reports.Interrupted(done, self.steps)
                return
        yield from self._finish()

    def _started(self) -> reports.Started:
        return reports.Started(
            images=len(self.train),
            held_out=len(self.held_out) if self.held_out else 0,
            unreadable=self.unreadable,
            parameters=sum(parameter.numel() for parameter in self.learner.vae.parameters()),
            precision=cast(Precision, self.precision),
            step=self.first_step,
            steps=self.steps,
            steps_per_epoch=self.steps_per_epoch,
            estimated_seconds=self.estimated_seconds,
        )

    def _step(self, step: int) -> Elbo:
        """The step's images are those at its place in the epoch's permutation."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if place == 0 or step == self.first_step:
            self.order = order(self.plan.config.seed, epoch, len(self.train))
        rows = self.order[place * self.batch_size :][: self.batch_size]
        elbo = self.learner.step(self.train.images[rows], step)
        means = torch.stack([elbo.reconstruction.detach().mean(), elbo.kl.detach().mean()]).cpu().double()
        if bool(means.isfinite().all()):
            self.sums += means
            self.summed += 1
        if self.learner.skipped_in_a_row > _MOST_SKIPPED:
            raise _gone_astray(step, f"{_MOST_SKIPPED} steps without finite gradients")
        return elbo

    def _look(self, step: int, elbo: Elbo, rate: float) -> reports.StepReport:
        reconstruction, kl = float(elbo.reconstruction.detach().mean()), float(elbo.kl.detach().mean())
        return reports.StepReport(step, self.steps, rate, reconstruction, kl)

    def _end_epoch(self, step: int) -> reports.EpochReport:
        """Measure, tell, draw, save, in this order: history beyond the resume file is dropped on resuming."""
        vae = self.learner.evaluated(self.train.images)
        held_out = measure(vae, batches(self.held_out.images), self.learner.noise_scale) if self.held_out else None
        epoch = -(-step // self.steps_per_epoch)
        means = self.sums / max(1, self.summed)
        self._check_finite(held_out, step)
        report = reports.EpochReport(
            epoch=epoch,
            step=step,
            seconds=round(self.seconds, 1),
            reconstruction=float(means[0]),
            kl=float(means[1]),
            skipped_steps=self.learner.skipped_steps,
            held_out=held_out,
        )
        self.history.append(asdict(report))
        lines = "".join(json.dumps(line) + "\n" for line in self.history)
        write_whole(self.plan.folder / HISTORY_FILE, lines.encode())
        self.sums.zero_()
        self.summed = 0
        started = time.monotonic()
        if step == self.steps or started - self.saved > self.saving / _SAVING:
            finish.write_pictures(self.plan.folder, vae, StandardPrior(vae.config.latent_dim), self._shown())
            self._save(step)
            self.saving = self.saved - started
        return report

    def _shown(self) -> torch.Tensor:
        """The images that reconstructions are shown of: held-out ones where there are any."""
        return (self.held_out or self.train).images

    def _check_finite(self, held_out: Figures | None, step: int) -> None:
        if held_out is not None and not math.isfinite(held_out.reconstruction):
            raise _gone_astray(step, "held-out figures are not finite")

    def _save(self, step: int) -> None:
        position = resume.Position(
            step=step,
            steps=self.steps,
            precision=self.precision,
            seconds=self.seconds,
            skipped_steps=self.learner.skipped_steps,
            epoch_sums=(float(self.sums[0]), float(self.sums[1])),
            summed=self.summed,
        )
        resume.save(self.resume_file, self.plan.options, position, self.learner)
        self.saved = time.monotonic()

    def _finish(self) -> Iterator[reports.Report]:
        yield reports.FittingPrior(len(self.train))
        held_out = self.history[-1]["held_out"] if self.history else None
        summary = {
            "preset": self.plan.model.preset,
            "data": self.plan.train.root.resolve().name,
            "images": len(self.train),
            "held_out_images": len(self.held_out) if self.held_out else 0,
            "unreadable": len(self.unreadable),
            "steps": self.steps,
            "batch_size": self.batch_size,
            "epochs": round(self.steps / self.steps_per_epoch, 2),
            "seconds": round(self.seconds, 1),
            "precision": self.precision,
            "beta": self.plan.config.beta,
            "flip": self.plan.config.flip,
            "seed": self.plan.config.seed,
            "held_out_share": _share(self.plan.config.held_out),
            "held_out": held_out,
        }
        vae = self.learner.averaged  # as the last epoch's end, or the resume file, left it
        yield finish.finish(self.plan, vae, self.train.images, self._shown(), summary)


def _gone_astray(step: int, why: str) -> LatentCLIError:
    return LatentCLIError(
        f"training went astray at step {step}: {why}; "
        "try a lower --learning-rate or --precision fp32 under another --name"
    )


def _share(held_out: str) -> float | None:
    """The held-out share of the images; None where a folder was held out."""
    try:
        return float(held_out)
    except ValueError:
        return None


def _history_until(plan: Plan, step: int) -> list[dict[str, Any]]:
    """The lines of history.jsonl up to a step; what a crash left after it is dropped."""
    path = plan.folder / HISTORY_FILE
    if step == 0 or not path.exists():
        return []
    lines = []
    for text in path.read_text().splitlines():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(text))
    return [line for line in lines if line.get("step", step + 1) <= step]
