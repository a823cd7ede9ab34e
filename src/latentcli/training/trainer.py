"""Training of the VAE, as the `Task` that the training loop runs."""

import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from latentcli.config import Precision, TrainConfig
from latentcli.data.dataset import Dataset
from latentcli.data.sources import moved
from latentcli.errors import ConfigError, LatentCLIError
from latentcli.events import Note
from latentcli.model.metrics import measure
from latentcli.model.prior import StandardPrior
from latentcli.model.vae import VAE
from latentcli.storage import history
from latentcli.storage.history import EpochReport, Metrics, TrainingSummary
from latentcli.storage.names import RESUME_FILE
from latentcli.training import early_stop, events, machine, results
from latentcli.training.early_stop import LossCurve
from latentcli.training.images import Images
from latentcli.training.loop import Task
from latentcli.training.plan import Plan, TrainingPosition
from latentcli.training.results import Trained
from latentcli.training.schedule import Order
from latentcli.training.start import Start
from latentcli.training.step import SETTLING_IMAGES, TrainState, untrained

_HELD_OUT_MEASURED = 2000  # held-out images that a measurement takes at most, except the last one
_MEASURING = 0.1  # share of the training time that measurements at ends of epochs may take
_READING = 1 / 3  # time of measuring an image over that of training on it
_MEASUREMENTS = 20  # measurements per stage at least, if the stage has as many epochs
_MOST_SKIPPED = 50  # steps in a row without finite gradients, above which training counts as diverged


class Trainer(Task):
    """Training of a VAE as planned, from the first step or a checkpoint to the last step or an interruption."""

    what = "training"
    learner: TrainState
    position: TrainingPosition

    def __init__(self, plan: Plan, images: Images, start: Start | None) -> None:
        """Begin a new run with the weights in `start`, or with `start` None resume from the checkpoint in `plan`."""
        self.plan, self.images, self.train = plan, images, images.train
        self.checkpoint_file, self.options, self.device = plan.folder / RESUME_FILE, plan.options, plan.device
        self.has_fixed_threads = plan.choice.threads is not None
        self.batch_size = self.images_per_step = min(plan.choice.config.batch_size, len(self.train))
        self.steps_per_epoch = len(self.train) // self.batch_size
        self.speed: machine.Speed | None = None  # None for a resumed run
        self._undisturbed: machine.Undisturbed | None = None  # until the first minute has confirmed the speed
        known = plan.resumed.position if plan.resumed else start
        assert known, "a new run begins with a start"
        self.config = _settled(plan.choice.config, self.batch_size, known.flip, known.augment)
        self.position = replace(plan.resumed.position) if plan.resumed else self._first_position()
        if self.position.images != self.train.digest():
            raise ConfigError(
                f"other images can be read than when {plan.folder} was started ({len(self.train)} now); "
                f"see latentcli check, or choose another `name`"
            )
        if plan.grows:
            self._add_stage()
        stage = self.position.stage
        self.measure_every = max(1, min(self._measuring_steps(), (stage.end - stage.start) // _MEASUREMENTS))
        self.config = replace(self.config, precision=cast(Precision, self.position.precision))
        self.order = Order(self.config.seed, len(self.train), self.batch_size)
        vae = untrained(plan.choice.model, self.config.seed)
        if start:
            start.apply(vae, self.config.beta)
        self.learner = TrainState(vae, self.config, stage, plan.device)
        # Sums of reconstruction and KL over the steps since the last measurement, and the number of these steps.
        self.sums = torch.zeros(3, device=plan.device)
        self.evaluated_at = -1  # step for which `_evaluated` last prepared the averaged network
        # Lines of the history beyond the checkpoint are from before a crash.
        self.history = [line for line in history.read(plan.folder) if line.step <= self.position.step]
        if plan.resumed:
            self.restore()
        if plan.grows and self.learner.best:
            self.learner.return_to_best()

    def time_steps(self, steps: int) -> float:
        return machine.time_steps(self.plan.choice.model, self.config, self.train, self.device, steps)[0]

    def _first_position(self) -> TrainingPosition:
        """Position before the first step of a new run; `minutes` become a number of steps by the measured speed."""
        model, config = self.plan.choice.model, self.config
        speed = machine.choose(model, config, self.train, self.device)
        steps = config.epochs * self.steps_per_epoch
        if (minutes := config.minutes) is not None:
            if config.precision == "auto":  # timed on few steps, or long ago
                timed = machine.measure(model, replace(config, precision=speed.precision), self.train, self.device)
                speed = replace(speed, seconds_per_image=timed.seconds_per_image)
            steps = max(1, int(minutes * 60 / self._seconds_per_step(speed)))
        self.speed = speed
        digest, flip, augment = self.train.digest(), bool(config.flip), bool(config.augment)
        return TrainingPosition(steps=steps, precision=speed.precision, images=digest, flip=flip, augment=augment)

    def _seconds_per_step(self, speed: machine.Speed) -> float:
        """Expected seconds per step, with the time of measurements spread over all steps."""
        apart = max(self.steps_per_epoch, self._measuring_steps())
        return speed.seconds_per_image * (self.batch_size + _READING * self._images_read() / apart)

    def _images_read(self) -> int:
        """Number of images that one measurement reads: for batch statistics, sigma and held-out metrics."""
        held_out = len(self.images.held_out) if self.images.held_out else 0
        return 2 * min(SETTLING_IMAGES, len(self.train)) + min(_HELD_OUT_MEASURED, held_out)

    def _measuring_steps(self) -> int:
        """Number of steps between measurements such that measuring takes the share _MEASURING of the time."""
        return math.ceil(_READING * self._images_read() / (_MEASURING * self.batch_size))

    def _add_stage(self) -> None:
        """Continue a finished run by another stage, up to the total `epochs` or `minutes` in the plan's options."""
        position, asked = self.position, self.options
        if "minutes" in asked:
            assert self.plan.resumed, "only a run that has ended grows"
            end = round(position.steps * asked["minutes"] / self.plan.resumed.options["minutes"])
        else:
            end = asked["epochs"] * self.steps_per_epoch
        position.begin_stage(max(end, position.step + 1))

    def begin(self) -> Iterator[events.Report]:
        position, speed = self.position, self.speed
        yield events.Started(
            what=self.what,
            images=len(self.train),
            held_out=len(self.images.held_out) if self.images.held_out else 0,
            unreadable=self.images.unreadable,
            notes=(*self.images.passed_over, *self.images.notes),
            parameters=sum(parameter.numel() for parameter in self.learner.vae.parameters()),
            precision=position.precision,
            device=str(self.device),
            step=position.step,
            stage=position.stage.number,
            steps=position.steps,
            steps_per_epoch=self.steps_per_epoch,
            estimated_seconds=(position.steps - position.step) * self._seconds_per_step(speed) if speed else None,
        )
        self._undisturbed, self._began = machine.Undisturbed(self.device), (position.step, position.seconds)
        if not position.step and self.images.held_out and self.config.patience:
            yield events.Measuring(0, position.steps)
            yield self._measure_start(self.images.held_out)

    def _measure_start(self, held_out: Dataset) -> EpochReport:
        """Measure and keep the initial weights, which may be best when starting from a model with few images."""
        vae, noise_scale = self._evaluated(), self.learner.noise_scale
        trained = measure(vae, self.train.spread(SETTLING_IMAGES).floats(), noise_scale)
        metrics = measure(vae, held_out.spread(_HELD_OUT_MEASURED).floats(), noise_scale)
        report = self._epoch_report(trained.reconstruction, trained.kl or 0.0, metrics)
        self._keep_best(metrics)
        return report

    def step(self, step: int) -> Mapping[str, Tensor]:
        elbo = self.learner.step(self.train.take(self.order.rows(step)), step)
        reconstruction, kl = elbo.reconstruction.detach().mean(), elbo.kl.detach().mean()
        summands = torch.stack([reconstruction, kl, torch.ones_like(kl)])
        self.sums += torch.where(summands.isfinite().all(), summands, 0.0)
        return {"reconstruction": reconstruction, "kl": kl}

    def check(self) -> None:
        if self.learner.skipped_in_a_row > _MOST_SKIPPED:
            raise self._diverged(f"{_MOST_SKIPPED} steps without finite gradients")
        steps, seconds = self.position.step - self._began[0], self.position.seconds - self._began[1]
        if self._undisturbed and seconds > machine.CONFIRMED_AFTER:
            if self._undisturbed():
                seconds_per_image = seconds / (steps * self.batch_size)
                machine.confirm(self.plan.choice.model, self.config, self.device, seconds_per_image)
            self._undisturbed = None

    def _diverged(self, why: str) -> LatentCLIError:
        return LatentCLIError(
            f"training diverged at step {self.position.step}: {why}; "
            "try a lower `learning_rate` or `precision` fp32 under another `name`"
        )

    def is_measured(self) -> bool:
        """Whether to measure after this step: the last, or the end of an epoch long after the last measurement."""
        stage, step = self.position.stage, self.position.step
        done, every = step - stage.start, self.measure_every
        is_due = done // every > (done - self.steps_per_epoch) // every
        return step == stage.end or (step % self.steps_per_epoch == 0 and is_due)

    def measure(self) -> Generator[events.Report, None, list[events.Report]]:
        position, config = self.position, self.config
        self.check()
        yield events.Measuring(position.step, position.steps)
        vae, metrics = self._evaluated(), None
        if held_out := self.images.held_out:
            is_last = position.step == position.steps
            measured = held_out if is_last and not config.patience else held_out.spread(_HELD_OUT_MEASURED)
            metrics = measure(vae, measured.floats(), self.learner.noise_scale)
        reconstruction, kl, steps = self.sums.tolist()
        report = self._epoch_report(reconstruction / max(1, steps), kl / max(1, steps), metrics)
        self.sums.zero_()
        if metrics is not None and config.patience:
            self._keep_best(metrics)
        if not (position.stopped and position.curve):
            return [report]
        best, planned = self._epoch(position.curve.best_step), self._epoch(position.steps)
        return [
            report,
            Note(
                f"stopped early at epoch {report.epoch} of {planned}: held-out images came out best "
                f"at epoch {best}, whose weights are kept"
            ),
        ]

    def _evaluated(self) -> VAE:
        """The network with averaged weights, in eval mode; batch statistics and sigma are computed once per step."""
        if self.evaluated_at != self.position.step:
            self.learner.evaluated(self.train, self.images.held_out)
            self.evaluated_at = self.position.step
        return self.learner.averaged

    def _epoch_report(self, reconstruction: float, kl: float, held_out: Metrics | None) -> EpochReport:
        """Add training means and held-out metrics to the history as one report, and return the report.

        Raises LatentCLIError if the held-out metrics are not finite.
        """
        if held_out is not None and not math.isfinite(held_out.reconstruction + (held_out.kl or 0.0)):
            raise self._diverged("held-out metrics are not finite")
        report = EpochReport(
            epoch=self._epoch(self.position.step),
            step=self.position.step,
            stage=self.position.stage.number,
            seconds=round(self.position.seconds, 1),
            reconstruction=reconstruction,
            kl=kl,
            skipped_steps=self.learner.skipped_steps,
            held_out=held_out,
        )
        self.history.append(report)
        return report

    def _epoch(self, step: int) -> int:
        return -(-step // self.steps_per_epoch)

    def _keep_best(self, held_out: Metrics) -> None:
        """Keep the weights if their held-out loss is the lowest so far; stop training if it has risen for long."""
        position = self.position
        position.curve = LossCurve.after(position.curve, position.step, early_stop.loss(held_out, self.config.beta))
        if position.curve.best_step == position.step:
            self.learner.keep()
        is_over = position.curve.is_over(position.step, position.stage, self.config.patience)
        position.stopped = position.step < position.steps and is_over

    def draw(self) -> Iterator[events.Report]:
        vae, step, shown = self._evaluated(), self.position.step, self.images.held_out or self.train
        pictures = results.write_pictures(self.plan.folder, vae, StandardPrior(vae.config.latent_dim), shown)
        yield events.Drawn(step, self.position.steps, *pictures)
        results.keep_snapshot(self.plan.folder, step, vae, shown)

    def tensors(self) -> dict[str, Tensor]:
        return {**self.learner.tensors(), "sums": self.sums}

    def save(self) -> None:
        """Write the history, then the checkpoint; resuming drops lines of the history beyond the checkpoint."""
        history.write(self.plan.folder, self.history)
        super().save()

    def trained(self) -> Trained:
        """The trained VAE with the best or the last measured weights, to call after the last step."""
        labelled = self.plan.choice.labelled
        vae, summary = self.learner.to_store(), self._summary()
        return Trained(self.plan.folder, vae, self.train, self.images.held_out, summary, self.history, labelled)

    def _summary(self) -> TrainingSummary:
        config, position, choice = self.config, self.position, self.plan.choice
        best_step = position.curve.best_step if position.curve else None
        best = next((line for line in self.history if line.step == best_step), None)
        share, paths = _share(config.held_out), choice.train.listing.names
        return TrainingSummary(
            preset=choice.model.preset,
            data=choice.train.listing.source.path.resolve().name,
            images=len(self.train),
            held_out_images=len(self.images.held_out) if self.images.held_out else 0,
            unreadable=len(self.images.unreadable),
            steps=position.step,
            stages=position.stage.number,
            batch_size=self.batch_size,
            minutes=config.minutes,
            epochs=round(position.step / self.steps_per_epoch, 2),
            planned_epochs=round(position.steps / self.steps_per_epoch, 2) if position.stopped else None,
            kept_epoch=best.epoch if best else None,
            seconds=round(position.seconds, 1),
            precision=position.precision,
            optimizer=config.optimizer,
            learning_rate=config.learning_rate,
            beta=config.beta,
            flip=position.flip,
            seed=config.seed,
            held_out_share=share,
            moved=moved(paths, choice.train.rows, share) if choice.held_out and share is not None else (),
            start_from=choice.start_from.parent.name if choice.start_from else None,
            shift=config.shift,
            jitter=config.jitter,
            held_out=(best or self.history[-1]).held_out if self.history else None,
        )


def _settled(asked: TrainConfig, batch_size: int, flip: bool, augment: bool) -> TrainConfig:
    """Options `asked` with `batch_size`, and `flip` and `augment` where None; shift and jitter 0 if not augmented."""
    flip = flip if asked.flip is None else asked.flip
    augment = augment if asked.augment is None else asked.augment
    config = replace(asked, batch_size=batch_size, flip=flip, augment=augment)
    return config if augment else replace(config, shift=0.0, jitter=0.0)


def _share(held_out: str) -> float | None:
    """The share of held-out images that the option `held_out` gives; None if the option names a folder."""
    try:
        return float(held_out)
    except ValueError:
        return None
