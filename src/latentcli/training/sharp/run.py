"""Sharpening of a trained model: its decoder learns on against a discriminator; encoder and prior stay as they are."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import torch

from latentcli.config import Device, Precision
from latentcli.defaults import SHARP_LEAST_STEPS, SHARP_SHARE
from latentcli.errors import LatentCLIError
from latentcli.evaluation.sample_metrics import open_features
from latentcli.events import Note, Progress, Wrote
from latentcli.model.metrics import draw_error, measure
from latentcli.model.modelfile import load_model
from latentcli.storage import history
from latentcli.storage.catalog import find_model
from latentcli.storage.files import check_writable_folder, exclusive, remove_parts, write_whole
from latentcli.storage.history import Sharpening, SharpMetrics
from latentcli.storage.names import MODEL_FILE, PLAIN_FILE, SHARP_RESUME_FILE
from latentcli.training import events, hardware, results
from latentcli.training.plan import Plan
from latentcli.training.results import Trained
from latentcli.training.run import advice_on_memory, computing_with, images_of, read, run
from latentcli.training.schedule import order
from latentcli.training.sharp.meter import SharpMeter
from latentcli.training.sharp.plan import SharpenRequest, SharpPlan, SharpPosition, plan_for
from latentcli.training.sharp.step import SharpLosses, SharpState
from latentcli.training.step import SETTLING_IMAGES
from latentcli.training.threads import watch_threads
from latentcli.training.trainer import Images

MOST_LOST = 1.5  # dB of held-out PSNR
_AIM = 1.3  # dB lost that is aimed at: half of what a decoder is off by is corrected until the next measurement
_LIGHTEST, _HEAVIEST = 0.1, 6.0  # weights of all but the error of pixels, which are changed to that end
_WORSE = 1.05  # times the Fréchet distance before, above which the decoder has gone astray
_LATENTS, _FIRST_SEED = 2048, 1 << 20  # samples of the prior to learn from, and the seed of the first
_MEASURED = 500  # other samples
_SHARPER = 1.05  # times the sharpness before that is worth another decoder
_MEASUREMENTS = 12
_ON_MEMORY = "close other programs, or sharpen a model of a smaller `size`"
_REPORT_EVERY = 0.5  # seconds between step reports
_SAVE_EVERY = 180.0  # seconds between saves
_TIMED = 10  # steps, whose speed turns minutes into a number of steps


def sharpen(plan: SharpPlan, stop: Callable[[], bool] = lambda: False) -> Iterator[events.Report]:
    """Sharpen as planned. `stop` is called after each step; when it is true all is saved and ends, to be resumed.

    The model before is kept as `plain.safetensors`. Raises ConfigError when another program works in the same folder,
    LatentCLIError when the folder cannot be written to or memory runs out.
    """
    check_writable_folder(plan.folder)
    with exclusive(plan.folder):
        remove_parts(plan.folder)
        size = plan.config.batch_size
        with advice_on_memory(plan.choice.model, size, _ON_MEMORY), computing_with(plan.choice.threads):
            images = images_of(plan.choice, (yield from read(plan.choice)))
            yield Progress("measuring", 0, 1)
            yield from _Sharpener(plan, images).run(stop)


class _Sharpener:
    def __init__(self, plan: SharpPlan, images: Images) -> None:
        self.plan, self.images = plan, images
        self.model = load_model(plan.model, "torch", plan.device.type)  # type: ignore[arg-type]
        assert self.model.training, "the plan was made of it"
        self.training = self.model.training  # before sharpening
        prior = self.model.prior
        held_out = images.held_out
        self.measured_on = held_out if held_out and len(held_out) > 1 else images.train  # one alone has no spread
        shown = prior.sample(range(_MEASURED), prior.temperature)
        self.meter = SharpMeter(self.measured_on, shown, open_features(None))
        self.latents = torch.from_numpy(prior.sample(range(_FIRST_SEED, _FIRST_SEED + _LATENTS), prior.temperature))
        self.speed: float | None = None  # seconds a step
        precision = cast(Precision, plan.resumed.precision) if plan.resumed else self._choose_precision()
        size = min(plan.config.batch_size, len(images.train))
        self.config = replace(plan.config, precision=precision, batch_size=size)
        self.position = plan.resumed or self._first_position()
        self.learner = self._learner(self.position.steps)
        if plan.resumed:
            plan.restore(self.learner)
        fixed = plan.choice.threads is not None or self.position.has_ended
        self.watch = None if fixed else watch_threads(self._time_steps, plan.device)
        self.saved = time.monotonic()

    def _learner(self, steps: int) -> SharpState:
        return SharpState(self.model.vae, self.config, self.latents, steps)

    def _choose_precision(self) -> Precision:
        plan = self.plan
        settled = replace(plan.choice.config, precision=plan.config.precision)
        return hardware.choose(plan.choice.model, settled, self.images.train, plan.device).precision

    def _first_position(self) -> SharpPosition:
        """Choose the number of steps for good."""
        seen = self.training.steps * self.training.batch_size
        steps = max(SHARP_LEAST_STEPS, round(SHARP_SHARE * seen / self.config.batch_size))
        if self.config.minutes is not None:
            self.speed = self._time_steps(_TIMED)
            steps = max(1, int(self.config.minutes * 60 / self.speed))
        return SharpPosition(
            step=0,
            steps=steps,
            precision=self.config.precision,
            seconds=0.0,
            weight=1.0,
            before=self.meter(self.model.vae),
        )

    def _time_steps(self, steps: int) -> float:
        """Seconds of a step, the median of some of a learner that is thrown away."""
        learner = self._learner(100)

        def make(step: int) -> float:
            return float(learner.step(self._rows(step), step, 1.0).reconstruction)  # waits for the device

        return hardware.time_each(make, steps)[0]

    def _rows(self, step: int) -> torch.Tensor:
        """The images of a step, at its place in an epoch's permutation."""
        train, size = self.images.train, self.config.batch_size
        epoch, place = divmod(step, len(train) // size)
        return train.take(order(self.config.seed, epoch, len(train))[place * size :][:size])

    def run(self, stop: Callable[[], bool]) -> Iterator[events.Report]:
        start, steps = self.position.step, self.position.steps
        yield self._started()
        began, before = time.monotonic(), self.position.seconds
        reported, reported_at = began, start
        every = max(1, steps // _MEASUREMENTS)
        for step in range(start, steps):
            losses = self._timed_step(step)
            done, now = step + 1, time.monotonic()
            self.position = replace(self.position, step=done, seconds=round(before + now - began, 1))
            if now - reported > _REPORT_EVERY:
                yield self._reported(done, (done - reported_at) / (now - reported), losses)
                reported, reported_at = now, done
            if done % every == 0 or done == steps:
                yield events.Measuring(done, steps)
                report = self._measured()
                if done == steps:
                    self._save()
                else:
                    yield from self._save_in_passing()
                yield report
            elif now - self.saved > _SAVE_EVERY:
                yield from self._save_in_passing()
            if stop() and done < steps:
                self._save()
                yield events.Interrupted(done, steps)
                return
        if self.watch:
            self.watch.stop()
        yield from self._finish()

    def _started(self) -> events.SharpStarted:
        left = self.position.steps - self.position.step
        return events.SharpStarted(
            images=len(self.images.train),
            held_out=len(self.images.held_out) if self.images.held_out else 0,
            unreadable=self.images.unreadable,
            parameters=sum(parameter.numel() for parameter in self.learner.vae.decoder.parameters()),
            precision=self.position.precision,
            device=str(self.plan.device),
            trained_steps=self.training.steps,
            step=self.position.step,
            steps=self.position.steps,
            estimated_seconds=left * self.speed if self.speed else None,
            before=self.position.before,
        )

    def _timed_step(self, step: int) -> SharpLosses:
        """A step, after which the threads of the next are chosen."""
        started = time.monotonic()
        losses = self.learner.step(self._rows(step), step, self.position.weight)
        if self.watch:
            self.watch.stepped(time.monotonic() - started)
        return losses

    def _reported(self, step: int, steps_per_second: float, losses: SharpLosses) -> events.SharpStep:
        rate = steps_per_second * self.config.batch_size
        error, discriminator = float(losses.reconstruction), float(losses.discriminator)
        return events.SharpStep(step, self.position.steps, rate, error, discriminator)

    def _measured(self) -> events.SharpReport:
        """Measure, keep the decoder where it is good, and give the error of pixels the weight that it needs."""
        found, before = self.meter(self.learner.averaged), self.position.before
        if is_better(found, before):
            self.learner.keep()
            self.position = replace(self.position, kept=found)
        # Measured with weights of 0.2 to 3: e times the weight loses 0.5 dB more.
        weight = self.position.weight * math.exp(_AIM - (before.psnr - found.psnr))
        self.position = replace(self.position, weight=max(_LIGHTEST, min(_HEAVIEST, weight)))
        return events.SharpReport(self.position.step, self.position.steps, self.position.seconds, before, found)

    def _save(self) -> None:
        self.plan.save(self.position, self.learner)
        self.saved = time.monotonic()

    def _save_in_passing(self) -> Iterator[Note]:
        try:
            self._save()
        except LatentCLIError as error:
            self.saved = time.monotonic()
            yield Note(f"{error}; sharpening continues and saves again in a few minutes")

    def _finish(self) -> Iterator[events.Report]:
        """Store the sharp model beside the plain one, or leave that as it is."""
        folder, after, before = self.plan.folder, self.position.kept, self.position.before
        if after is None:
            yield Note(
                f"the decoder stays as it was: no other came out sharper with at most {MOST_LOST:g} dB less and "
                "samples as near to the images; more images, or a longer training first, may help"
            )
            yield Wrote(folder / MODEL_FILE)
            return
        write_whole(folder / PLAIN_FILE, self.plan.model.read_bytes())
        vae = self.learner.to_store()
        noise_scale = self.config.noise_scale
        if vae.likelihood.has_sigma:
            vae.set_sigma(draw_error(vae, self.measured_on.spread(SETTLING_IMAGES).floats(), noise_scale))
        summary = replace(
            self.training,
            held_out=measure(vae, self.images.held_out.floats(), noise_scale) if self.images.held_out else None,
            sharpening=Sharpening(
                steps=self.position.steps,
                batch_size=self.config.batch_size,
                seconds=self.position.seconds,
                precision=self.position.precision,
                seed=self.config.seed,
                before=before,
                after=after,
            ),
        )
        result = Trained(folder, vae, self.images.train, self.images.held_out, summary, history.read(folder))
        yield Note(f"{compare(before, after)}; {folder / PLAIN_FILE} is the model before")
        yield from results.publish(result, self.model.prior, self.model.parts, self.model.model_id)
        with contextlib.suppress(OSError):
            (folder / SHARP_RESUME_FILE).unlink(missing_ok=True)


def train_in_stages(plan: Plan, sharp: bool, stop: Callable[[], bool] = lambda: False) -> Iterator[events.Report]:
    """Train as planned, and where wanted sharpen what came out; each if it is not done."""
    trained: events.Finished | None = None
    if not plan.finished:
        for report in run(plan, stop):
            if sharp and isinstance(report, events.Finished):
                trained = report  # of use where the decoder stays as it is
            else:
                yield report
    if sharp and (plan.finished or trained):
        following = plan_after(plan)
        for report in () if following.finished else sharpen(following, stop):
            if isinstance(report, events.Finished | events.Interrupted):
                trained = None
            if not (trained and isinstance(report, Wrote)):
                yield report
        if trained:
            yield trained


def plan_after(plan: Plan) -> SharpPlan:
    """The sharpening that follows a training, on the same images."""
    config, device = plan.choice.config, cast(Device, plan.device.type)
    request = SharpenRequest(None, config.precision, config.seed, device, plan.choice.threads)
    return plan_for(find_model(str(plan.folder)), plan.choice, request)


def is_better(found: SharpMetrics, before: SharpMetrics) -> bool:
    """Whether a decoder is sharper without having gone astray."""
    lost = before.psnr - found.psnr
    is_sharper = found.sharpness >= _SHARPER * before.sharpness
    return is_sharper and lost <= MOST_LOST and found.frechet <= _WORSE * before.frechet


def compare(before: SharpMetrics, after: SharpMetrics) -> str:
    """Both in words."""
    return (
        f"sharpness {before.sharpness:.2f} -> {after.sharpness:.2f} of the images', "
        f"PSNR {before.psnr:.2f} -> {after.psnr:.2f} dB, "
        f"Fréchet distance of samples {before.frechet:.3g} -> {after.frechet:.3g}"
    )
