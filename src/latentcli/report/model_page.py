"""HTML report of a model: diagnosis and pictures first, then metrics, curves and settings in folded sections."""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from latentcli.concepts import axes
from latentcli.concepts.vector import ConceptVector
from latentcli.defaults import TEMPERATURE
from latentcli.errors import ImageError
from latentcli.evaluation import diagnosis
from latentcli.evaluation.record import Record
from latentcli.evaluation.result import MIN_COMPARED, Evaluation, metrics_table, samples_table
from latentcli.figures.sheet import Captions, sheet
from latentcli.figures.table import Table
from latentcli.imaging.images import open_picture, to_pictures
from latentcli.model.modelfile import LoadedModel
from latentcli.report.page import Chart, Line, Part, Picture, Remark, Section, bars, curves, page
from latentcli.report.vectors_page import verdicts
from latentcli.storage import history
from latentcli.storage.history import Sharpening
from latentcli.storage.names import RECONSTRUCTIONS_FILE, SNAPSHOT_FOLDER

REPORT_FILE = "report.html"
_SAMPLES = 64  # number of samples shown, of seeds 0 to 63
_TRAVERSED = 8  # number of latent dimensions with a traversal
_STEPS = 9  # pictures per traversal
_REACH = 2.5  # standard deviations that a traversal goes down and up
_GRADES = {"problem": "Problem", "note": "Worth knowing", "good": "Good"}
_WORDS = {
    "latent_dim": "latent dimensions",
    "widths": "feature maps of the levels",
    "hidden": "numbers in the hidden layer",
    "linear": "principal components beside the convolutions",
    "pooling": "pixels each way that these average",
    "aligned": "trained on crops of faces",
    "background": "behind transparent pixels",
    "data": "trained on",
    "minutes": "minutes asked for",
    "kept_epoch": "best epoch, whose weights are kept",
    "seconds": "seconds of training",
    "flip": "half of the images mirrored",
    "shift": "images moved by up to, share of a side",
    "jitter": "brightness and contrast changed by up to",
}
_MAY_BE_ZERO = ("beta", "kept_epoch", "seed")  # settings whose 0 is shown
_DEFAULTS = {"pooling": 1, "stages": 1}  # settings that are left out at these values


def build(model: LoadedModel, record: Record | None, vectors: Sequence[ConceptVector]) -> str:
    """HTML of a model's report, without sections for which neither the arguments nor the model's folder have data."""
    kl = sorted(record.evaluation.kl_per_dimension, reverse=True) if record else ()
    kl_bars = bars(kl, "Mean KL of each latent dimension, largest first", "rank", "nats")
    more = [
        Section("traversals", "Latent dimensions, one at a time", [_traversals(model, record)]),
        Section("neighbours", "Samples and the training images nearest to them", _neighbours(record)),
        Section("over-time", "Over time", _over_time(model)),
    ]
    figures = [
        Section("metrics", "Metrics", _metrics(model, record)),
        Section("curves", "Curves of the training", _curves(model)),
        Section("dimensions", "KL per dimension", kl_bars),
        Section("settings", "Settings", [_settings(model)]),
    ]
    sections = [
        Section("verdict", "Verdict", _findings(record)),
        Section("samples", "Samples", [_samples(model)]),
        Section("reconstructions", "Reconstructions", _reconstructions(model)),
        Section("vectors", "Concept vectors", [verdicts(vectors)] if vectors else []),
        Section("pictures", "More pictures", more),
        Section("figures", "Figures and settings", figures),
    ]
    return page(f"Report on the model {model.name}", _introduction(model), sections)


def _introduction(model: LoadedModel) -> str:
    config, training = model.config, model.header.training
    text = (
        f"It draws pictures of {config.width}x{config.height} pixels in {config.colours}, each from "
        f"{config.latent_dim} numbers. Its pictures are synthetic."
    )
    if not training:
        return text
    held_out = f"; {training.held_out_images:,} more were held out to measure it" if training.held_out_images else ""
    return f"Trained on {training.images:,} images of {training.data}{held_out}. {text}"


def _findings(record: Record | None) -> list[Part]:
    if record is None:
        return ["No evaluation is stored with this model; run latentcli evaluate to measure it."]
    return [[Remark(each.grade, each.text, _GRADES[each.grade], each.advice) for each in record.findings]]


def _metrics(model: LoadedModel, record: Record | None) -> list[Part]:
    if record is None:
        return []
    evaluation, training = record.evaluation, model.header.training
    tables: list[Part] = [metrics_table(evaluation)]
    if evaluation.samples:
        tables.append(samples_table(evaluation))
    if training and training.sharpening:
        tables.append(_sharpening(training.sharpening, evaluation))
    return tables


def _sharpening(sharpening: Sharpening, evaluation: Evaluation) -> Table:
    """Table of metrics before and after sharpening the decoder, and of samples if there are enough images."""
    columns = ["sharpening the decoder", "PSNR, dB", "sharpness", sharpening.after.distance_name]
    columns = columns if evaluation.held_out.images >= MIN_COMPARED else columns[:-1]
    rows = [
        (name, f"{metrics.psnr:.2f}", f"{metrics.sharpness:.2f}", f"{metrics.distance:.3g}")[: len(columns)]
        for name, metrics in (("before", sharpening.before), ("after", sharpening.after))
    ]
    caption = (
        "Sharpness is the variance of the Laplacian of reconstructions over that of the images, in the median. Detail "
        "that the latent does not hold is invented."
    )
    return Table(caption, columns, rows)


def _curves(model: LoadedModel) -> list[Chart]:
    lines = history.read(model.path.parent)
    measured = diagnosis.measured(lines)
    training = partial(Line, "training", [line.epoch for line in lines])
    held_out = partial(Line, "held out", [line.epoch for line, _ in measured])
    psnr = held_out([metrics.psnr for _, metrics in measured])
    charts = curves([psnr], "PSNR of reconstructions, higher is better", "epoch", "dB")
    if model.header.training and not model.header.training.beta:  # an autoencoder has neither ELBO nor KL
        return charts
    elbo = training([line.loss for line in lines]), held_out([metrics.negative_elbo or 0.0 for _, metrics in measured])
    kl = training([line.kl for line in lines]), held_out([metrics.kl or 0.0 for _, metrics in measured])
    return [
        *curves(elbo, "-ELBO per image, lower is better", "epoch", "nats"),
        *charts,
        *curves(kl, "KL per image", "epoch", "nats"),
    ]


def _read_picture(path: Path) -> Image.Image | None:
    with contextlib.suppress(ImageError, ValueError), open_picture(path) as picture:
        return picture.convert("RGB")
    return None


def _reconstructions(model: LoadedModel) -> list[Picture]:
    reconstructions = _read_picture(model.path.parent / RECONSTRUCTIONS_FILE)
    if reconstructions is None:
        return []
    kind = "held-out" if model.header.training and model.header.training.held_out_images else "training"
    words = f"Images of the {kind} set, below each what the model makes of it"
    return [Picture(reconstructions, words, f"{words}.")]


def _over_time(model: LoadedModel) -> list[Part]:
    training = model.header.training
    per_epoch = training.steps / max(training.epochs or 1, 1e-9) if training else 0.0
    rows = "Originals in the first row, their reconstructions in the second, samples from N(0, I) in the third."
    files = (model.path.parent / SNAPSHOT_FOLDER).glob("*.png")
    pictures = []
    for step, path in sorted((int(path.stem), path) for path in files if path.stem.isdecimal()):
        if snapshot := _read_picture(path):
            epoch = f" (epoch {step / per_epoch:.1f})" if per_epoch else ""
            pictures.append(Picture(snapshot, f"After step {step}", f"Step {step:,}{epoch}", beside=True))
    return [rows, *pictures] if pictures else []


def _traversals(model: LoadedModel, record: Record | None) -> Picture:
    """Sheet with a row of images per latent dimension of largest KL, or deviation, and one for a random direction."""
    geometry = model.geometry
    kl = record.evaluation.kl_per_dimension if record else ()
    importance = np.asarray(kl) if kl else np.sqrt(np.diag(geometry.covariance))
    leading = np.argsort(-importance, kind="stable")[:_TRAVERSED].tolist()
    rows = [axes.dimension(index, geometry, f"{kl[index]:.2f} nats" if kl else "") for index in leading]
    rows.append(axes.at_random(geometry))
    t = np.linspace(-_REACH, _REACH, _STEPS, dtype=np.float32)[:, None]
    z = np.concatenate([model.prior.sample([0]) + t * axis.step for axis in rows])
    captions = Captions(rows=[f"{axis.name}  {axis.note}".strip() for axis in rows])
    words = (
        f"Each row moves a sample along one latent dimension, {_REACH} standard deviations down and as many up: "
        f"those with the largest {'KL' if kl else 'deviation'}; the last row moves it as far in a random direction"
    )
    return Picture(sheet(to_pictures(model.decode(z)), _STEPS, captions), words, f"{words}.")


def _samples(model: LoadedModel) -> Picture:
    prior = model.prior
    z = prior.sample(range(_SAMPLES))
    words = f"What the model draws by itself: seeds 0 to {_SAMPLES - 1}, temperature {TEMPERATURE:g}"
    return Picture(sheet(to_pictures(model.decode(z)), columns=8), words, f"{words}.")


def _neighbours(record: Record | None) -> list[Picture]:
    neighbours = record.neighbours if record else None
    if neighbours is None:
        return []
    shown = to_pictures(np.concatenate([neighbours.samples, neighbours.training]))
    words = "Samples in the first row, below each the training image nearest to it, by pixels"
    pairs = sheet(shown, columns=len(neighbours.samples))
    return [Picture(pairs, words, f"{words}: equal pairs would be copies.")]


def _settings(model: LoadedModel) -> Table:
    training = asdict(model.header.training) if model.header.training else {}
    parameters = sum(array.size for name, array in model.weights.items() if name.endswith(("weight", "bias")))
    settings = {"model": model.model_id, "parameters": parameters} | model.config.to_json() | training
    rows = [
        (_WORDS.get(name, name.replace("_", " ")), _in_words(value))
        for name, value in settings.items()
        if not isinstance(value, dict)
        and name != "moved"  # hashes of names, for programs
        and (value or (value == 0 and name in _MAY_BE_ZERO))
        and value != _DEFAULTS.get(name)
    ]
    return Table("", ("setting", "value"), rows)


def _in_words(value: object) -> str:
    """Text of a setting's value for the settings table.

    >>> _in_words([16, 32]), _in_words(True), _in_words(0.0012), _in_words(12345)
    ('16, 32', 'yes', '0.0012', '12,345')
    """
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value))
    if isinstance(value, bool):
        return "yes"
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
