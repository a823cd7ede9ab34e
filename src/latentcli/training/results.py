"""Results of training: fits the prior, and writes model file, model card, pictures, evaluation and report."""

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import torch
from PIL import Image
from threadpoolctl import threadpool_limits

from latentcli.config import ModelConfig
from latentcli.data.dataset import Dataset, as_float_tensor
from latentcli.evaluation.diagnosis import Evidence, diagnose
from latentcli.evaluation.evaluate import Subject, evaluate
from latentcli.evaluation.record import Record
from latentcli.evaluation.result import METRICS, MIN_COMPARED, Neighbours, metrics_row
from latentcli.evaluation.sample_metrics import open_features
from latentcli.events import Note, Progress
from latentcli.figures.sheet import sheet
from latentcli.figures.table import Table, markdown
from latentcli.imaging.images import to_pictures, write_picture
from latentcli.model.flow import FlowPrior
from latentcli.model.metrics import encode_all
from latentcli.model.modelfile import load_model, save_model
from latentcli.model.parts import Parts
from latentcli.model.prior import Prior, StandardPrior
from latentcli.model.vae import VAE, Posterior
from latentcli.report.model_page import REPORT_FILE, build
from latentcli.storage.files import write_whole
from latentcli.storage.history import EpochReport, PriorFit, Sharpening, TrainingSummary
from latentcli.storage.names import (
    CARD_FILE,
    MODEL_FILE,
    PRIOR_RESUME_FILE,
    RECONSTRUCTIONS_FILE,
    SAMPLES_FILE,
    SNAPSHOT_FOLDER,
)
from latentcli.text import stored
from latentcli.training import events, loop
from latentcli.training.prior.flow import Encoded, FlowTraining, steps_after
from latentcli.training.prior.labels import Labelled
from latentcli.training.prior.mixture import MOST_LATENTS, active_dimensions, fit
from latentcli.training.schedule import order

_COMPARED = 20  # held-out images at least, below which no flow is fitted, because its gain could not be measured
_SHOWN = 16  # images in the picture of reconstructions, originals above
_SAMPLES = 64  # images in the picture of samples, from seeds 0 to 63
_IN_SNAPSHOT = 8  # columns of a snapshot, with a row each of originals, reconstructions and samples
_APART = 1.6  # factor between the steps of one snapshot and the next: about a dozen snapshots in any run


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained VAE, its training and held-out images, and the record of its training."""

    folder: Path
    vae: VAE
    train: Dataset
    held_out: Dataset | None
    summary: TrainingSummary
    history: list[EpochReport]
    labelled: Labelled | None = None  # labels that the prior is conditioned on; None for images without labels


def finish(run: Trained, stop: Callable[[], bool] = lambda: False) -> Iterator[events.Report]:
    """Fit the prior to the trained VAE, and write all result files; nothing is written if `stop` ends the fit."""
    fitted = yield from fit_prior(run, stop)
    if fitted:
        prior, record = fitted
        labels = run.labelled.parts if run.labelled and isinstance(prior, FlowPrior) else Parts({})
        yield from publish(replace(run, summary=replace(run.summary, prior=record)), prior, labels)


def publish(run: Trained, prior: Prior, parts: Parts, model_id: str | None = None) -> Iterator[events.Report]:
    """Write model file, card, pictures, report and evaluation record into the run's folder, the record last.

    `parts` are the label columns that the prior is conditioned on. `model_id` is that of an earlier model
    with the same encoder, whose latents stay valid; None makes a new one.
    """
    folder, vae, summary = run.folder, run.vae, run.summary
    path, card, report = folder / MODEL_FILE, folder / CARD_FILE, folder / REPORT_FILE
    header = {
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "name": folder.name,
        "training": asdict(summary),
    }
    if len(parts):
        header["parts"] = parts.columns
    model_id = save_model(path, vae, prior, header, model_id=model_id)
    model = load_model(path)
    write_whole(card, stored(model_card(folder.name, vae.config, summary)))
    shown = run.held_out or run.train
    yield Progress("drawing samples", 0, 1)
    yield events.Drawn(summary.steps, summary.steps, *write_pictures(folder, vae, prior, shown))
    keep_snapshot(folder, summary.steps, vae, shown, is_last=True)
    record = yield from _evaluated(run, prior, model.header.network_id)
    yield Progress("writing the report", 0, 1)
    write_whole(report, stored(build(model, record, vectors=[])))
    kept = record.save(folder)
    with contextlib.suppress(OSError):
        (folder / PRIOR_RESUME_FILE).unlink(missing_ok=True)
    pictures = (folder / RECONSTRUCTIONS_FILE, folder / SAMPLES_FILE)
    yield events.Finished(
        folder, model_id, summary.seconds, summary.held_out, record.findings, (path, *pictures, card, kept, report)
    )


def _evaluated(run: Trained, prior: Prior, network_id: str) -> Generator[events.Report, None, Record]:
    noise_scale = float(run.summary.beta > 0)
    measured = run.held_out or run.train
    subject = Subject(run.vae, prior, measured, run.train, noise_scale, open_features(None), not run.held_out)
    neighbours = None
    for event in evaluate(subject):
        if isinstance(event, Progress):
            yield event
        elif isinstance(event, Neighbours):
            neighbours = event
        else:
            evaluation = event
    findings = diagnose(Evidence(run.vae.config, evaluation, run.summary, run.history))
    return Record(network_id, evaluation, tuple(findings), neighbours)


Fitted = tuple[Prior, PriorFit | None]  # with the measurements of the flow's fit, if one was fitted


def fit_prior(run: Trained, stop: Callable[[], bool]) -> Generator[events.Report, None, Fitted | None]:
    """The prior fitted to the latents of training images; None if `stop` ended the fit.

    A Gaussian mixture is fitted first, then a flow that corrects the mixture, and is used if it is better on held-out
    images. Where training mirrored images, the latents of mirrored images count as well.
    With one or two latent dimensions the prior stays N(0, I), since the map of the latent space relies on that.
    """
    vae, train, seed = run.vae, run.train, run.summary.seed
    if vae.config.latent_dim <= 2:
        return StandardPrior(vae.config.latent_dim), None
    rows = order(seed, 0, len(train))[: MOST_LATENTS // (1 + run.summary.flip)]
    mirrored = ", each also mirrored" if run.summary.flip else ""
    yield Note(f"fitting the prior to {len(rows)} encoded images{mirrored}")
    if run.labelled:
        yield from map(Note, run.labelled.notes)
    yield Progress("encoding", 0, 1)
    encoded = _encoded(run, Dataset(train.pixels, train.rows[rows]), of_held_out=False)
    yield Progress("fitting a mixture", 0, 1)
    mixture = fit(encoded.posterior, seed)
    seen, pixels = run.summary.steps * run.summary.batch_size, vae.config.width * vae.config.height
    steps = steps_after(seen, pixels, run.summary.minutes)
    has_collapsed = not len(active_dimensions(encoded.posterior))
    if run.held_out is None or len(run.held_out) < _COMPARED or not steps or has_collapsed:
        return mixture, None
    held_out = _encoded(run, run.held_out.spread(MOST_LATENTS), of_held_out=True)
    training = FlowTraining(encoded, held_out, mixture, seed, steps, run.folder / PRIOR_RESUME_FILE)
    # NumPy computes the mixture's velocity, PyTorch the network; idle threads of one would keep the other's waiting:
    # on two cores a step takes 44 ms instead of 117.
    with threadpool_limits(1, user_api="blas"):
        if not (yield from loop.run(training, stop)):
            return None
    yield Progress("drawing from the flow", 0, 1)
    return training.chosen()


def _encoded(run: Trained, images: Dataset, of_held_out: bool) -> Encoded:
    sides = [images.floats(), (x.flip(3) for x in images.floats())][: 1 + run.summary.flip]
    posterior = encode_all(run.vae, chain(*sides))
    if run.summary.beta == 0:
        posterior = Posterior(posterior.mean, torch.full_like(posterior.logvar, -12.0))  # beta 0 trains no variances
    if run.labelled is None:
        return Encoded.without_labels(posterior)
    labels = run.labelled.known(of_held_out, images.rows.numpy())
    return Encoded(posterior, labels.repeat(len(sides), 1))


@torch.inference_mode()
def write_pictures(
    folder: Path, vae: VAE, prior: Prior, shown: Dataset
) -> tuple[list[Image.Image], list[Image.Image], list[Image.Image]]:
    """Write a picture of reconstructions and one of samples. Returns the originals, reconstructions and samples."""
    both, samples = _reconstructed(vae, shown, _SHOWN), _sampled(vae, prior, _SAMPLES)
    half = len(both) // 2
    write_picture(sheet(both, columns=half), folder / RECONSTRUCTIONS_FILE)
    write_picture(sheet(samples, columns=8), folder / SAMPLES_FILE)
    return both[:half], both[half:], samples


@torch.inference_mode()
def keep_snapshot(folder: Path, step: int, vae: VAE, shown: Dataset, is_last: bool = False) -> None:
    """Write a picture of images, reconstructions and samples if `is_last` or `step` >= _APART x the last such step."""
    snapshots = folder / SNAPSHOT_FOLDER
    steps = [int(path.stem) for path in snapshots.glob("*.png") if path.stem.isdecimal()]
    for later in (known for known in steps if known > step):  # snapshots beyond this step are from before a crash
        (snapshots / f"{later:08d}.png").unlink(missing_ok=True)
    last = max((known for known in steps if known <= step), default=0)
    if step < _APART * last and not is_last:
        return
    both = _reconstructed(vae, shown, _IN_SNAPSHOT)
    samples = _sampled(vae, StandardPrior(vae.config.latent_dim), len(both) // 2)
    write_picture(sheet([*both, *samples], columns=len(samples)), snapshots / f"{step:08d}.png")


def _reconstructed(vae: VAE, shown: Dataset, count: int) -> list[Image.Image]:
    """At most `count` images of `shown`, followed by as many reconstructions in the same order."""
    x = as_float_tensor(next(shown.spread(count).batches()))
    both = torch.cat([x, vae.decode(vae.encode(x.to(vae.device)).mean).cpu()])
    return to_pictures(both.numpy())


def _sampled(vae: VAE, prior: Prior, count: int) -> list[Image.Image]:
    z = torch.from_numpy(prior.sample(range(count)))
    return to_pictures(vae.decode(z.to(vae.device)).cpu().numpy())


def model_card(name: str, config: ModelConfig, training: TrainingSummary) -> str:
    """Text of the model card in Markdown: network, training, metrics on held-out images, use and limits."""
    shape = f"{config.width}x{config.height} {config.colours}"
    rows = {
        "network": f"`{config.preset}`, {shape}, latent dimension {config.latent_dim}",
        "likelihood": config.likelihood,
        "images": f"{training.images} from `{training.data}`, {training.held_out_images} held out",
        **({"started from": f"the weights of `{training.start_from}`"} if training.start_from else {}),
        "training": (
            f"{training.steps} steps of {training.batch_size} images ({training.epochs:g} epochs) "
            f"in {training.seconds / 60:.1f} minutes, {training.precision}, "
            f"beta {training.beta:g}, seed {training.seed}"
        ),
    }
    if training.prior:
        rows["prior"] = _fit_in_words(training.prior)
    if training.sharpening:
        rows["sharpening"] = _sharpening_in_words(training.sharpening, training.held_out_images >= MIN_COMPARED)
    known = "its training images" + (f" and those of `{training.start_from}`" if training.start_from else "")
    held_out = "No images were held out, so nothing was measured."
    if found := training.held_out:
        held_out = markdown(Table("", (f"on {found.images} images", *METRICS), [metrics_row("this model", found)]))
    chosen = [
        *(["the epoch whose weights are kept"] if training.kept_epoch is not None else []),
        *(["the sharpened decoder"] if training.sharpening else []),
    ]
    selected = f"Selected on these images: {' and '.join(chosen)}; so they flatter it a little.\n\n" if chosen else ""
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"""# {name}

A variational autoencoder made with latentcli.

| | |
|---|---|
{table}

## On held-out images

{held_out}

{selected}Metrics are as latentcli defines them: nats per image with one posterior draw and the sigma of other
images; bits of the 8-bit values; PSNR of the 8-bit reconstruction from the posterior mean against the image resized
with Lanczos.

## Use

```
latentcli sample --model {name} --n 64
latentcli encode photo.png --model {name}
```

Its images are synthetic: say so where you show them. It knows {known} and nothing else; edits of people
reproduce any bias of those images and their labels. Name the images' licence before you share the model.
"""


def _fit_in_words(fit: PriorFit) -> str:
    kept = "a flow" if fit.is_flow else "a mixture, no worse than a flow"
    return (
        f"{kept}. Error of the flow's velocity {fit.train_loss:.3f} on training latents, {fit.held_out_loss:.3f} on "
        f"held-out ones (mixture {fit.mixture_loss:.3f}), {fit.own_loss:.3f} on its own samples; energy distance of "
        f"samples to held-out latents {fit.flow_distance:.4f} (mixture {fit.mixture_distance:.4f})"
    )


def _sharpening_in_words(sharp: Sharpening, has_distances: bool) -> str:
    before, after = sharp.before, sharp.after
    distances = f", {after.distance_name} {before.distance:.3g} and {after.distance:.3g}" if has_distances else ""
    return (
        f"{sharp.steps} steps of {sharp.batch_size} images in {sharp.seconds / 60:.1f} minutes, the decoder alone; "
        f"PSNR {before.psnr:.2f} dB before and {after.psnr:.2f} dB after, sharpness {before.sharpness:.2f} and "
        f"{after.sharpness:.2f}{distances}"
    )
