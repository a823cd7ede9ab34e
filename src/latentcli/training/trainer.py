"""Trainer of one session of a run: from its start or last interruption to its end or the next interruption."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import torch

from latentcli.config import Precision, TrainConfig
from latentcli.data.dataset import Dataset
from latentcli.errors import ConfigError, LatentCLIError
from latentcli.events import Note
from latentcli.model.metrics import measure
from latentcli.model.objective import Elbo
from latentcli.model.prior import StandardPrior
from latentcli.model.vae import VAE
from latentcli.storage import history
from latentcli.storage.history import EpochReport, Metrics, TrainingSummary
from latentcli.storage.names import RESUME_FILE
from latentcli.training import checkpoint, early_stop, events, hardware, results
from latentcli.training.early_stop import Course
from latentcli.training.plan import Plan
from latentcli.training.results import Trained, finish
from latentcli.training.schedule import Stage, order
from latentcli.training.start import Start
from latentcli.training.step import SETTLING_IMAGES, TrainState, untrained
from latentcli.training.threads import watch_threads

_REPORT_EVERY = 0.5  # seconds between step reports
_SAVE_EVERY = 180.0  # seconds between saves, however long an epoch is
_SAVING = 0.1  # share of the time that saving and pictures at the ends of epochs may take
_HELD_OUT_SOME = 2000  # held-out images that are measured on before the end
_MEASURING = 0.1  # share of the time that measuring at the ends of epochs may take
_READING = 1 / 3  # of an image, in the time of training on it
_MEASUREMENTS = 20  # of a stage at least, where it has as many epochs
_MOST_SKIPPED = 50  # steps in a row without finite gradients: training has diverged


@dataclass(frozen=True, slots=True)
class Images:
    """The images of a run, and notes on them."""

    train: Dataset
    held_out: Dataset | None
    unreadable: tuple[str, ...]  # messages
    passed_over: tuple[str, ...]  # files that may have been meant to be among them
    notes: tuple[str, ...]  # other notes on the images


class Trainer:
    """Trains, measures, saves, and yields events."""

    def __init__(self, plan: Plan, images: Images, start: Start | None) -> None:
        """`start` is what a new run begins with; a resumed one has it in its checkpoint."""
        self.plan = plan
        self.images = images
        self.train = images.train
        self.batch_size = min(plan.choice.config.batch_size, len(self.train))
        self.steps_per_epoch = len(self.train) // self.batch_size
        self.resume_file = plan.folder / RESUME_FILE
        self.speed: hardware.Speed | None = None  # None where it was not measured again
        self.readable = self.train.digest()
        asked = plan.choice.config
        known = plan.resumed.position if plan.resumed else start
        assert known, "a new run begins with a start"
        self.flip = known.flip if asked.flip is None else asked.flip
        self.augment = known.augment if asked.augment is None else asked.augment
        position = plan.resumed.position if plan.resumed else self._first_position()
        if position.images != self.readable:
            raise ConfigError(
                f"other images can be read than when {plan.folder} was started ({len(self.train)} now); "
                f"see latentcli check, or choose another `name`"
            )
        self.stage = self._next_stage(plan.resumed) if plan.resumed and plan.grows else position.stage
        self.precision, self.seconds = cast(Precision, position.precision), position.seconds
        config = replace(self._settled(), precision=self.precision)
        self.stopped = position.stopped and not plan.grows
        self.last_step = position.step if self.stopped else self.stage.end
        self.course = position.course
        self.measure_every = max(1, min(self._measuring_steps(), (self.stage.end - self.stage.start) // _MEASUREMENTS))
        vae = untrained(plan.choice.model, config.seed)
        if start:
            start.apply(vae, config.beta)
        self.learner = TrainState(vae, config, self.stage, plan.device)
        fixed = plan.choice.threads is not None or position.step >= self.stage.end
        self.watch = None if fixed else watch_threads(self._seconds_of_one, plan.device)
        self.first_step = position.step
        # Reconstruction and KL over the steps since the last measurement, and how many those are.
        self.sums = torch.tensor([*position.epoch_sums, position.summed], device=plan.device)
        self.saved = time.monotonic()
        self.saving = 0.0  # seconds that the last save and its pictures took
        self.order = torch.empty(0, dtype=torch.int64)  # of the images in this epoch
        self.history = history.until(plan.folder, position.step)
        if plan.resumed:
            plan.resumed.restore(self.learner)
            self.learner.resume(position.skipped_steps)
        if plan.grows and self.learner.best:
            self.learner.return_to_best()

    def _seconds_of_one(self, steps: int) -> float:
        config = replace(self._settled(), precision=self.precision)
        return hardware.time_steps(self.plan.choice.model, config, self.train, self.plan.device, steps)[0]

    def _settled(self) -> TrainConfig:
        """The options, with what was found out."""
        config = replace(self.plan.choice.config, batch_size=self.batch_size, flip=self.flip, augment=self.augment)
        return config if self.augment else replace(config, shift=0.0, jitter=0.0)

    def _first_position(self) -> checkpoint.Position:
        """Test the speed once; where minutes were asked for it fixes the number of steps for good."""
        choice, device = self.plan.choice, self.plan.device
        config = self._settled()
        speed = hardware.choose(choice.model, config, self.train, device)
        steps = config.epochs * self.steps_per_epoch
        if (minutes := config.minutes) is not None:
            if config.precision == "auto":  # compared in a hurry, or long ago
                timed = hardware.measure(choice.model, replace(config, precision=speed.precision), self.train, device)
                speed = replace(speed, seconds_per_image=timed.seconds_per_image)
            steps = max(1, int(minutes * 60 / self._seconds_per_step(speed)))
        self.speed = speed
        return checkpoint.Position(
            step=0,
            stage=Stage(0, steps),
            precision=speed.precision,
            seconds=0.0,
            skipped_steps=0,
            epoch_sums=(0.0, 0.0),
            summed=0,
            images=self.readable,
            flip=self.flip,
            augment=self.augment,
        )

    def _seconds_per_step(self, speed: hardware.Speed) -> float:
        """With the share of measuring."""
        apart = max(self.steps_per_epoch, self._measuring_steps())
        return speed.seconds_per_image * (self.batch_size + _READING * self._images_read() / apart)

    def _images_read(self) -> int:
        """By a measurement: training images for batch statistics and for sigma, and held-out ones."""
        held_out = len(self.images.held_out) if self.images.held_out else 0
        return 2 * min(SETTLING_IMAGES, len(self.train)) + min(_HELD_OUT_SOME, held_out)

    def _measuring_steps(self) -> int:
        """Steps between two measurements that take their share of the time."""
        return math.ceil(_READING * self._images_read() / (_MEASURING * self.batch_size))

    def _next_stage(self, ended: checkpoint.Checkpoint) -> Stage:
        position, stored, asked = ended.position, ended.options, self.plan.options
        if "minutes" in asked:
            end = round(position.stage.end * asked["minutes"] / stored["minutes"])
        else:
            end = asked["epochs"] * self.steps_per_epoch
        return Stage(position.step, max(end, position.step + 1), position.stage.number + 1)

    def run(self, stop: Callable[[], bool]) -> Iterator[events.Report]:
        yield self._started()
        if not self.first_step and self.images.held_out and self.learner.config.patience:
            yield events.Measuring(0, self.stage.end)
            yield self._measure_start(self.images.held_out)
        started, before = time.monotonic(), self.seconds
        reported, reported_at = started, self.first_step
        for step in range(self.first_step, self.last_step):
            elbo = self._timed_step(step)
            done = step + 1
            now = time.monotonic()
            self.seconds = before + now - started
            if now - reported > _REPORT_EVERY:
                self._check_course(done)
                reconstruction, kl = float(elbo.reconstruction.detach().mean()), float(elbo.kl.detach().mean())
                rate = (done - reported_at) * self.batch_size / (now - reported)
                yield events.StepReport(done, self.stage.end, rate, reconstruction, kl)
                reported, reported_at = now, done
            if self._is_measured(done):
                yield from self._end_epoch(done)
                if self.stopped:
                    break
            elif step == self.first_step or now - self.saved > _SAVE_EVERY:
                yield from self._save_in_passing(done, None)
            if stop() and done < self.stage.end:
                self._save(done)
                yield events.Interrupted(done, self.stage.end)
                return
        if self.watch:
            self.watch.stop()
        vae = self.learner.to_store()  # as the last epoch's end, or the checkpoint, left it
        held_out = self.images.held_out
        labelled = self.plan.choice.labelled
        yield from finish(Trained(self.plan.folder, vae, self.train, held_out, self._summary(), self.history, labelled))

    def _started(self) -> events.Started:
        speed = self.speed
        steps = self.stage.end - self.first_step
        return events.Started(
            images=len(self.train),
            held_out=len(self.images.held_out) if self.images.held_out else 0,
            unreadable=self.images.unreadable,
            notes=(*self.images.passed_over, *self.images.notes),
            parameters=sum(parameter.numel() for parameter in self.learner.vae.parameters()),
            precision=self.precision,
            device=str(self.plan.device),
            step=self.first_step,
            stage=self.stage.number,
            steps=self.stage.end,
            steps_per_epoch=self.steps_per_epoch,
            estimated_seconds=steps * self._seconds_per_step(speed) if speed else None,
        )

    def _timed_step(self, step: int) -> Elbo:
        """A step, after which the threads of the next are chosen."""
        if not self.watch:
            return self._step(step)
        started = time.monotonic()
        elbo = self._step(step)
        self.watch.stepped(time.monotonic() - started)
        return elbo

    def _step(self, step: int) -> Elbo:
        """The step's images are those at its place in the epoch's permutation."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if place == 0 or step == self.first_step:
            self.order = order(self.plan.choice.config.seed, epoch, len(self.train))
        rows = self.order[place * self.batch_size :][: self.batch_size]
        elbo = self.learner.step(self.train.take(rows), step)
        mean = torch.stack([elbo.reconstruction.detach().mean(), elbo.kl.detach().mean()])
        summands = torch.cat([mean, torch.ones_like(mean[:1])])
        self.sums += torch.where(mean.isfinite().all(), summands, 0.0)
        return elbo

    def _is_measured(self, step: int) -> bool:
        """Whether it is the last step, or an epoch ends here, the first since a multiple of `measure_every` steps."""
        done, every = step - self.stage.start, self.measure_every
        is_due = done // every > (done - self.steps_per_epoch) // every
        return step == self.stage.end or (step % self.steps_per_epoch == 0 and is_due)

    def _end_epoch(self, step: int) -> Iterator[events.Report]:
        """Measure, draw, save, report, in this order: history beyond the checkpoint is dropped on resuming."""
        self._check_course(step)
        yield events.Measuring(step, self.stage.end)
        is_last = step == self.stage.end
        vae = self.learner.evaluated(self.train, self.images.held_out)
        held_out = None
        if shown := self.images.held_out:
            some = shown if is_last and not self.learner.config.patience else shown.spread(_HELD_OUT_SOME)
            held_out = measure(vae, some.floats(), self.learner.noise_scale)
        reconstruction, kl, summed = (float(number) for number in self.sums)
        report = self._report(step, reconstruction / max(1, summed), kl / max(1, summed), held_out)
        if held_out is not None and not math.isfinite(held_out.reconstruction + (held_out.kl or 0.0)):
            raise _diverged(step, "held-out metrics are not finite")
        self.history.append(report)
        self.sums.zero_()
        if held_out is not None and self.learner.config.patience:
            self._follow(step, held_out)
        if is_last or self.stopped:
            self._save(step)
        elif time.monotonic() - self.saved > self.saving / _SAVING:
            yield from self._save_in_passing(step, vae)
        yield report
        if self.stopped and self.course:
            best, planned = self._epoch(self.course.best_step), self._epoch(self.stage.end)
            yield Note(
                f"stopped early at epoch {report.epoch} of {planned}: held-out images came out best "
                f"at epoch {best}, whose weights are kept"
            )

    def _measure_start(self, held_out: Dataset) -> EpochReport:
        """Measure the weights of the start, which few images may not better: of another model they know many others."""
        vae, noise_scale = self.learner.evaluated(self.train, held_out), self.learner.noise_scale
        seen = measure(vae, self.train.spread(SETTLING_IMAGES).floats(), noise_scale)
        found = measure(vae, held_out.spread(_HELD_OUT_SOME).floats(), noise_scale)
        report = self._report(0, seen.reconstruction, seen.kl or 0.0, found)
        self.history.append(report)
        self._follow(0, found)
        return report

    def _report(self, step: int, reconstruction: float, kl: float, held_out: Metrics | None) -> EpochReport:
        return EpochReport(
            epoch=self._epoch(step),
            step=step,
            stage=self.stage.number,
            seconds=round(self.seconds, 1),
            reconstruction=reconstruction,
            kl=kl,
            skipped_steps=self.learner.skipped_steps,
            held_out=held_out,
        )

    def _epoch(self, step: int) -> int:
        return -(-step // self.steps_per_epoch)

    def _follow(self, step: int, held_out: Metrics) -> None:
        """Keep the best weights, and stop where the held-out loss has risen for long."""
        config = self.learner.config
        self.course = Course.after(self.course, step, early_stop.loss(held_out, config.beta))
        if self.course.best_step == step:
            self.learner.keep()
        self.stopped = step < self.stage.end and self.course.is_over(step, self.stage, config.patience)
        self.last_step = step if self.stopped else self.stage.end

    def _check_course(self, step: int) -> None:
        if self.learner.skipped_in_a_row > _MOST_SKIPPED:
            raise _diverged(step, f"{_MOST_SKIPPED} steps without finite gradients")

    def _save_in_passing(self, step: int, evaluated: VAE | None) -> Iterator[Note | events.Drawn]:
        """Draw and save; where a file cannot be written, a note says so, and the last checkpoint stays."""
        started = time.monotonic()
        try:
            if step > self.first_step + 1:
                vae = evaluated or self.learner.evaluated(self.train, self.images.held_out)
                shown = self.images.held_out or self.train
                prior = StandardPrior(vae.config.latent_dim)
                pictures = results.write_pictures(self.plan.folder, vae, prior, shown)
                yield events.Drawn(step, self.stage.end, *pictures)
                results.keep_snapshot(self.plan.folder, step, vae, shown)
            self._save(step)
        except LatentCLIError as error:
            self.saved = time.monotonic()
            yield Note(f"{error}; training continues and saves again in a few minutes")
        self.saving = time.monotonic() - started

    def _save(self, step: int) -> None:
        history.write(self.plan.folder, self.history)
        reconstruction, kl, summed = (float(number) for number in self.sums)
        position = checkpoint.Position(
            step=step,
            stage=self.stage,
            precision=self.precision,
            seconds=self.seconds,
            skipped_steps=self.learner.skipped_steps,
            epoch_sums=(reconstruction, kl),
            summed=int(summed),
            images=self.readable,
            course=self.course,
            stopped=self.stopped,
            flip=self.flip,
            augment=self.augment,
        )
        checkpoint.save(self.resume_file, self.plan.options, self.plan.fingerprints.digest, position, self.learner)
        self.saved = time.monotonic()

    def _summary(self) -> TrainingSummary:
        config = self.learner.config
        best_step = self.course.best_step if self.course else None
        kept = next((line for line in self.history if line.step == best_step), None)
        first = self.plan.choice.start_from
        return TrainingSummary(
            preset=self.plan.choice.model.preset,
            data=self.plan.choice.train.listing.source.path.resolve().name,
            images=len(self.train),
            held_out_images=len(self.images.held_out) if self.images.held_out else 0,
            unreadable=len(self.images.unreadable),
            steps=self.last_step,
            stages=self.stage.number,
            batch_size=self.batch_size,
            minutes=config.minutes,
            epochs=round(self.last_step / self.steps_per_epoch, 2),
            planned_epochs=round(self.stage.end / self.steps_per_epoch, 2) if self.stopped else None,
            kept_epoch=kept.epoch if kept else None,
            seconds=round(self.seconds, 1),
            precision=self.precision,
            optimizer=config.optimizer,
            learning_rate=config.learning_rate,
            beta=config.beta,
            flip=self.flip,
            seed=config.seed,
            held_out_share=_share(config.held_out),
            start_from=first.parent.name if first else None,
            shift=config.shift,
            jitter=config.jitter,
            held_out=(kept or self.history[-1]).held_out if self.history else None,
        )


def _diverged(step: int, why: str) -> LatentCLIError:
    return LatentCLIError(
        f"training diverged at step {step}: {why}; try a lower `learning_rate` or `precision` fp32 under another `name`"
    )


def _share(held_out: str) -> float | None:
    """The held-out share of the images; None where a folder was held out."""
    try:
        return float(held_out)
    except ValueError:
        return None
