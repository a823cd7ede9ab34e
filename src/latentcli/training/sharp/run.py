"""Sharpening of a model: trains its decoder further against a discriminator; encoder and prior do not change."""

import contextlib
import math
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from latentcli.config import Device, Precision
from latentcli.defaults import SHARP_LEAST_STEPS, SHARP_SHARE, TEMPERATURE
from latentcli.evaluation.sample_metrics import WHITENED_BY, open_features
from latentcli.events import Note, Progress, Wrote
from latentcli.model.metrics import measure
from latentcli.model.modelfile import load_model
from latentcli.model.objective import draw_errors
from latentcli.model.prior import Prior
from latentcli.storage import history
from latentcli.storage.catalog import find_model
from latentcli.storage.files import check_writable_folder, exclusive, remove_parts, write_whole
from latentcli.storage.history import TEMPERATURES, Sharpening, SharpMetrics
from latentcli.storage.names import MODEL_FILE, PLAIN_FILE, SHARP_RESUME_FILE
from latentcli.training import events, loop, machine, results
from latentcli.training.images import Images, images_of, read
from latentcli.training.plan import Plan
from latentcli.training.results import Trained
from latentcli.training.run import run
from latentcli.training.schedule import Order
from latentcli.training.sharp.meter import SharpMeter
from latentcli.training.sharp.plan import SharpenRequest, SharpPlan, SharpPosition, plan_for
from latentcli.training.sharp.step import SharpState
from latentcli.training.step import SETTLING_IMAGES

MOST_LOST = 1.5  # dB of held-out PSNR that a sharper decoder may lose
_AIM = 1.3  # dB of PSNR to lose: measurements adjust the weight of the loss terms to this
_LIGHTEST, _HEAVIEST = 0.1, 6.0  # limits of the weight of all loss terms except the pixel loss
_WORSE = 0.05  # rise of a kernel distance, as a share of that before sharpening, above which a decoder is rejected
_LATENTS, _FIRST_SEED = 2048, 1 << 20  # samples of the prior to train on, and the seed of the first
# Temperatures from 0 to 1 of half of these samples. A decoder trained at one temperature draws a mesh near the mean:
# after 160 steps on emoji its `lattice` was 3.7 gray levels at the mean, and 3.1 with these temperatures.
_LEVELS = 16
_MEASURED = 250  # samples of the prior to measure on at each temperature
_SHARPER = 1.05  # sharpness over that before sharpening, from which a decoder is accepted
_MEASUREMENTS = 12  # of the decoder during a sharpening
_ON_MEMORY = "close other programs, or sharpen a model of a smaller `size`"
_TIMED = 10  # steps that are timed to turn `minutes` into a number of steps


def sharpen(plan: SharpPlan, stop: Callable[[], bool] = lambda: False) -> Iterator[events.Report]:
    """Sharpen a model as planned, yielding events. When `stop`, called after each step, returns True, save and return.

    The unsharpened model is kept as `plain.safetensors`. Raises ConfigError when another program works in the same
    folder, LatentCLIError when the folder cannot be written to or memory runs out.
    """
    check_writable_folder(plan.folder)
    with exclusive(plan.folder):
        remove_parts(plan.folder)
        with machine.computing(plan.choice.threads, plan.choice.model, plan.config.batch_size, _ON_MEMORY):
            images = images_of(plan.choice, (yield from read(plan.choice)), plan.choice.train.rows)
            yield Progress("measuring", 0, 1)
            sharpener = _Sharpener(plan, images)
            if (yield from loop.run(sharpener, stop)):
                yield from sharpener.finish()


class _Sharpener(loop.Task):
    """Sharpening of a decoder, as the `Task` that the training loop runs."""

    what = "sharpening"
    learner: SharpState
    position: SharpPosition

    def __init__(self, plan: SharpPlan, images: Images) -> None:
        self.plan, self.images, self.device = plan, images, plan.device
        self.checkpoint_file, self.options = plan.folder / SHARP_RESUME_FILE, plan.options
        self.has_fixed_threads = plan.choice.threads is not None
        self.model = load_model(plan.model, "torch", plan.device.type)  # type: ignore[arg-type]
        assert self.model.header.training, "the plan was made of it"
        self.training = self.model.header.training  # before sharpening
        prior, held_out = self.model.prior, images.held_out
        self.measured_on = held_out if held_out and len(held_out) > 1 else images.train  # a distance needs two
        latents = [prior.sample(range(_MEASURED), temperature) for temperature in TEMPERATURES]
        space = open_features(None).whitened(images.train.spread(WHITENED_BY).floats())
        self.meter = SharpMeter(self.measured_on, latents, space)
        self.latents = torch.from_numpy(latents_to_train_on(prior))
        self.speed: float | None = None  # seconds per step; None if not measured
        self.images_per_step = min(plan.config.batch_size, len(images.train))
        if plan.resumed:
            precision = cast(Precision, plan.resumed.position.precision)
        else:
            settled = replace(plan.choice.config, precision=plan.config.precision)
            precision = machine.choose(plan.choice.model, settled, images.train, plan.device).precision
        self.config = replace(plan.config, precision=precision, batch_size=self.images_per_step)
        self.order = Order(self.config.seed, len(images.train), self.images_per_step)
        self.position = replace(plan.resumed.position) if plan.resumed else self._first_position()
        self.learner = self._learner(self.position.steps)
        if plan.resumed:
            self.restore()

    def _learner(self, steps: int) -> SharpState:
        return SharpState(self.model.vae, self.config, self.latents, steps)

    def _first_position(self) -> SharpPosition:
        """Position before the first step, with the planned steps and the metrics of the unsharpened decoder."""
        images = self.training.steps * self.training.batch_size
        steps = max(SHARP_LEAST_STEPS, round(SHARP_SHARE * images / self.config.batch_size))
        if self.config.minutes is not None:
            self.speed = self.time_steps(_TIMED)
            steps = max(1, int(self.config.minutes * 60 / self.speed))
        return SharpPosition(steps=steps, precision=self.config.precision, before=self.meter(self.model.vae))

    def time_steps(self, steps: int) -> float:
        learner = self._learner(100)

        def make(step: int) -> float:
            losses = learner.step(self.images.train.take(self.order.rows(step)), step, 1.0)
            return float(losses["reconstruction"])  # waits for the device

        return machine.time_in_turn([make], steps)[0][0]

    def begin(self) -> Iterator[events.Report]:
        position, train = self.position, self.images.train
        yield events.Started(
            what=self.what,
            images=len(train),
            held_out=len(self.images.held_out) if self.images.held_out else 0,
            unreadable=self.images.unreadable,
            parameters=sum(parameter.numel() for parameter in self.learner.network.parameters()),
            precision=position.precision,
            device=str(self.device),
            step=position.step,
            steps=position.steps,
            steps_per_epoch=len(train) // self.config.batch_size,
            estimated_seconds=(position.steps - position.step) * self.speed if self.speed else None,
            trained_steps=self.training.steps,
            before=position.before,
        )

    def step(self, step: int) -> Mapping[str, Tensor]:
        return self.learner.step(self.images.train.take(self.order.rows(step)), step, self.position.weight)

    def is_measured(self) -> bool:
        step, steps = self.position.step, self.position.steps
        return step == steps or step % max(1, steps // _MEASUREMENTS) == 0

    def measure(self) -> Generator[events.Report, None, list[events.Report]]:
        """Measure the decoder, keep it if the best so far, and adjust the loss weight to lose about _AIM dB of PSNR."""
        position = self.position
        yield events.Measuring(position.step, position.steps)
        metrics, before = self.meter(self.learner.evaluated), position.before
        if is_better(metrics, before) and (not position.best or metrics.distance < position.best.distance):
            self.learner.keep()
            position.best = metrics
        # Multiplying the weight by e loses 0.5 dB more, as measured with weights of 0.2 to 3.
        weight = position.weight * math.exp(_AIM - (before.psnr - metrics.psnr))
        position.weight = max(_LIGHTEST, min(_HEAVIEST, weight))
        return [events.SharpReport(position.step, position.steps, position.seconds, before, metrics)]

    def finish(self) -> Iterator[events.Report]:
        """Write the sharpened model and a copy of the unsharpened one; write nothing if no decoder was better."""
        folder, position = self.plan.folder, self.position
        before, after = position.before, position.best
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
            some = self.measured_on.spread(SETTLING_IMAGES)
            vae.set_sigma(draw_errors(vae, some.floats(), noise_scale).mean())
        summary = replace(
            self.training,
            held_out=measure(vae, self.images.held_out.floats(), noise_scale) if self.images.held_out else None,
            sharpening=Sharpening(
                steps=position.steps,
                batch_size=self.config.batch_size,
                seconds=round(position.seconds, 1),
                precision=position.precision,
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


def train_and_sharpen(plan: Plan, stop: Callable[[], bool] = lambda: False) -> Iterator[events.Report]:
    """Train a model as planned, then sharpen it, yielding events; a finished training or sharpening is not repeated."""
    trained: events.Finished | None = None
    for report in run(plan, stop):
        if isinstance(report, events.Finished):
            trained = report  # yielded below if no sharpened decoder is better
        else:
            yield report
    if not (plan.finished or trained):
        return
    following = plan_after(plan)
    for report in () if following.finished else sharpen(following, stop):
        if isinstance(report, events.Finished | events.Interrupted):
            trained = None
        if not (trained and isinstance(report, Wrote)):
            yield report
    if trained:
        yield trained


def plan_after(plan: Plan) -> SharpPlan:
    """Plan of the sharpening after the finished training `plan`, on the same images."""
    config, device = plan.choice.config, cast(Device, plan.device.type)
    request = SharpenRequest(None, config.precision, config.seed, device, plan.choice.threads)
    return plan_for(find_model(str(plan.folder)), plan.choice, request)


def latents_to_train_on(prior: Prior) -> np.ndarray:
    """Samples of the prior (n, latent_dim): half at the default temperature, then half at those from 0 to 1."""
    temperatures = [TEMPERATURE] * _LEVELS + np.linspace(0, 1, _LEVELS).tolist()
    seeds = np.arange(_FIRST_SEED, _FIRST_SEED + _LATENTS).reshape(len(temperatures), -1)
    return np.concatenate([prior.sample(own.tolist(), at) for own, at in zip(seeds, temperatures, strict=True)])


def is_better(metrics: SharpMetrics, before: SharpMetrics) -> bool:
    """Whether a decoder is sharper than `before`, with little loss of PSNR and kernel distances about as low."""
    lost = before.psnr - metrics.psnr
    is_sharper = metrics.sharpness >= _SHARPER * before.sharpness
    is_near = all(own - old <= _WORSE * abs(old) for own, old in zip(metrics.kernel, before.kernel, strict=False))
    return is_sharper and lost <= MOST_LOST and is_near


def compare(before: SharpMetrics, after: SharpMetrics) -> str:
    """Sharpness, PSNR and distances of samples before and after sharpening, as a phrase for messages."""
    return (
        f"sharpness {before.sharpness:.2f} -> {after.sharpness:.2f} of the images', "
        f"PSNR {before.psnr:.2f} -> {after.psnr:.2f} dB, "
        f"{after.distance_name} {before.distance:.3g} -> {after.distance:.3g}"
    )
