"""Report of a model: diagnosis, metrics, curves, pictures, vectors and settings on one page."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from latentcli import history
from latentcli.concepts import axes
from latentcli.concepts.vector import ConceptVector, vector_table
from latentcli.config import SNAPSHOT_FOLDERS
from latentcli.errors import ImageError
from latentcli.evaluation import diagnosis
from latentcli.evaluation.record import Record
from latentcli.evaluation.result import metrics_table, samples_table
from latentcli.figures.sheet import Captions, sheet
from latentcli.history import EpochReport, Sharpening
from latentcli.images import open_picture, to_pictures
from latentcli.model.modelfile import LoadedModel
from latentcli.model.prior import Geometry
from latentcli.report.page import Chart, Line, Part, Picture, Remark, Remarks, Section, bars, curves, page
from latentcli.table import Table

REPORT_FILE = "report.html"
_TITLE = ": a latentcli model"  # after the name
_SAMPLES = 64  # seeds 0 to 63
_TRAVERSED = 8  # leading dimensions
_STEPS = 9  # pictures per traversal, from
_REACH = 2.5  # standard deviations below to as many above
_GRADES = {"problem": "Problem", "note": "Worth knowing", "good": "Good"}


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything a report is made from."""

    model: LoadedModel
    history: Sequence[EpochReport]
    record: Record | None  # of the evaluation after training
    snapshots: Sequence[tuple[int, Image.Image]]  # step, and the sheet drawn then
    vectors: Sequence[ConceptVector]


def build(model: LoadedModel, record: Record | None, vectors: Sequence[ConceptVector]) -> str:
    """The page as HTML. Sections for which the model's folder holds nothing are left out."""
    folder = model.path.parent
    data = ReportData(model, history.read(folder), record, _read_snapshots(folder), vectors)
    title = f"{model.name}{_TITLE}"
    return page(title, _introduction(model), sections(data))


def sections(data: ReportData) -> list[Section]:
    """In the order of a reader's questions: success, quality, course of training, abilities, ingredients."""
    return [
        Section("verdict", "Verdict", _findings(data)),
        Section("metrics", "Metrics", _metrics(data)),
        Section("curves", "Curves", _curves(data)),
        Section("over-time", "Over time", _over_time(data)),
        Section("dimensions", "KL per dimension", _dimensions(data)),
        Section("traversals", "Traversals", [_traversals(data)]),
        Section("samples", "Samples", [_samples(data)]),
        Section("neighbours", "Nearest training images", _neighbours(data)),
        Section("vectors", "Concept vectors", [vector_table(data.vectors)] if data.vectors else []),
        Section("settings", "Settings", [_settings(data.model)]),
    ]


def _introduction(model: LoadedModel) -> str:
    config, training = model.config, model.training
    text = (
        f"A variational autoencoder of {config.width}x{config.height} images, {config.colours}; "
        f"preset {config.preset}, latent dimension {config.latent_dim}, model {model.model_id}."
    )
    if not training:
        return text
    held_out = f", {training.held_out_images} held out" if training.held_out_images else ""
    return (
        f"{text} Trained on {training.images} images of {training.data}{held_out}, "
        f"{training.seconds / 60:.1f} minutes. Its samples are synthetic."
    )


def _findings(data: ReportData) -> list[Part]:
    if data.record is None:
        return ["No evaluation is stored with this model; run latentcli evaluate to measure it."]
    return [
        Remarks([Remark(found.grade, found.text, _GRADES[found.grade], found.advice) for found in data.record.findings])
    ]


def _metrics(data: ReportData) -> list[Part]:
    if data.record is None:
        return []
    evaluation, training = data.record.evaluation, data.model.training
    return [
        metrics_table(evaluation),
        *([samples_table(evaluation)] if evaluation.samples else []),
        *([_sharpening(training.sharpening)] if training and training.sharpening else []),
    ]


def _sharpening(found: Sharpening) -> Table:
    columns = ("sharpening the decoder", "PSNR, dB", "sharpness", "Fréchet distance of samples")
    rows = [
        (name, f"{metrics.psnr:.2f}", f"{metrics.sharpness:.2f}", f"{metrics.frechet:.3g}")
        for name, metrics in (("before", found.before), ("after", found.after))
    ]
    caption = (
        "Sharpness is the variance of the Laplacian of reconstructions over that of the images, in the median. Detail "
        "that the latent does not hold is invented."
    )
    return Table(caption, columns, rows)


def _curves(data: ReportData) -> list[Chart]:
    lines, measured = data.history, diagnosis.measured(data.history)
    training = partial(Line, "training", [line.epoch for line in lines])
    held_out = partial(Line, "held out", [line.epoch for line, _ in measured])
    psnr = held_out([found.psnr for _, found in measured])
    drawn = curves([psnr], "PSNR of reconstructions, higher is better", "epoch", "dB")
    if data.model.training and not data.model.training.beta:  # an autoencoder has neither ELBO nor KL
        return drawn
    elbo = training([line.loss for line in lines]), held_out([found.negative_elbo or 0.0 for _, found in measured])
    kl = training([line.kl for line in lines]), held_out([found.kl or 0.0 for _, found in measured])
    return [
        *curves(elbo, "-ELBO per image, lower is better", "epoch", "nats"),
        *drawn,
        *curves(kl, "KL per image", "epoch", "nats"),
    ]


def _read_snapshots(folder: Path) -> list[tuple[int, Image.Image]]:
    found = []
    for path in sorted(path for name in SNAPSHOT_FOLDERS for path in (folder / name).glob("*.png")):
        with contextlib.suppress(ImageError, ValueError), open_picture(path) as snapshot:
            found.append((int(path.stem), snapshot.convert("RGB")))
    return sorted(found, key=lambda snapshot: snapshot[0])


def _over_time(data: ReportData) -> list[Picture]:
    training = data.model.training
    per_epoch = training.steps / max(training.epochs or 1, 1e-9) if training else 0.0
    rows = "originals in the first row, their reconstructions in the second, samples from N(0, I) in the third"
    return [
        Picture(snapshot, f"After step {step}: {rows}", f"Step {step:,}{_epoch(step, per_epoch)}: {rows}")
        for step, snapshot in data.snapshots
    ]


def _epoch(step: int, per_epoch: float) -> str:
    return f" (epoch {step / per_epoch:.1f})" if per_epoch else ""


def _kl_per_dimension(data: ReportData) -> tuple[float, ...]:
    return data.record.evaluation.kl_per_dimension if data.record else ()


def _dimensions(data: ReportData) -> list[Chart]:
    values = sorted(_kl_per_dimension(data), reverse=True)
    return bars(values, "Mean KL of each latent dimension, largest first", "rank", "nats")


def _traversals(data: ReportData) -> Picture:
    model = data.model
    where = Geometry.of(model.prior, model.config.latent_dim)
    kl, deviation = _kl_per_dimension(data), np.sqrt(np.diag(where.covariance))
    leading = np.argsort(-np.asarray(kl if kl else deviation), kind="stable")[:_TRAVERSED].tolist()
    rows = [axes.dimension(index, where, f"{kl[index]:.2f} nats" if kl else "") for index in leading]
    rows.append(axes.at_random(where))
    t = np.linspace(-_REACH, _REACH, _STEPS, dtype=np.float32)[:, None]
    z = np.concatenate([where.mean + t * axis.step for axis in rows])
    captions = Captions(rows=[f"{axis.name}  {axis.note}".strip() for axis in rows])
    traversals = sheet(to_pictures(model.decode(z)), _STEPS, captions)
    words = (
        f"Each row moves along one latent dimension from {_REACH} standard deviations below the mean to as many above: "
        f"those with the largest {'KL' if kl else 'deviation'}; the last row moves as far in a random direction"
    )
    return Picture(traversals, words, f"{words}.")


def _samples(data: ReportData) -> Picture:
    prior = data.model.prior
    z = prior.sample(range(_SAMPLES), prior.temperature)
    words = f"{_SAMPLES} samples, seeds 0 to {_SAMPLES - 1}, temperature {prior.temperature:g}"
    return Picture(sheet(to_pictures(data.model.decode(z)), columns=8), words, f"{words}.")


def _neighbours(data: ReportData) -> list[Picture]:
    neighbours = data.record.neighbours if data.record else None
    if neighbours is None:
        return []
    shown = to_pictures(np.concatenate([neighbours.samples, neighbours.training]))
    words = "Samples in the first row, below each the training image nearest to it, by pixels"
    pairs = sheet(shown, columns=len(neighbours.samples))
    return [Picture(pairs, words, f"{words}: equal pairs would be copies.")]


def _settings(model: LoadedModel) -> Table:
    training = model.training.to_json() if model.training else {}
    training.pop("held_out", None)
    parameters = sum(array.size for name, array in model.weights.items() if name.endswith(("weight", "bias")))
    settings = {"parameters": f"{parameters:,}"} | model.config.to_json() | training
    return Table("", ("setting", "value"), [(name.replace("_", " "), str(value)) for name, value in settings.items()])
