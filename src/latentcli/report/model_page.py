"""Report of a model on one page: diagnosis and pictures first, then metrics, curves and settings, folded."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from latentcli.concepts import axes
from latentcli.concepts.vector import ConceptVector
from latentcli.errors import ImageError
from latentcli.evaluation import diagnosis
from latentcli.evaluation.record import Record
from latentcli.evaluation.result import MIN_COMPARED, Evaluation, metrics_table, samples_table
from latentcli.figures.sheet import Captions, sheet
from latentcli.figures.table import Table
from latentcli.imaging.images import open_picture, to_pictures
from latentcli.model.modelfile import LoadedModel
from latentcli.report.page import Chart, Line, Part, Picture, Remark, Remarks, Section, bars, curves, page
from latentcli.report.vectors_page import verdicts
from latentcli.storage import history
from latentcli.storage.history import EpochReport, Sharpening
from latentcli.storage.names import RECONSTRUCTIONS_FILE, SNAPSHOT_FOLDER

REPORT_FILE = "report.html"
_SAMPLES = 64  # seeds 0 to 63
_TRAVERSED = 8  # leading dimensions
_STEPS = 9  # pictures per traversal, from
_REACH = 2.5  # standard deviations below to as many above
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
_MAY_BE_ZERO = ("beta", "kept_epoch", "seed")  # of others, 0 is none
_UNSAID = {"pooling": 1, "stages": 1}  # none either


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything a report is made from."""

    model: LoadedModel
    history: Sequence[EpochReport]
    record: Record | None  # of the evaluation after training
    reconstructions: Image.Image | None  # the sheet drawn at the end
    snapshots: Sequence[tuple[int, Image.Image]]  # step, and the sheet drawn then
    vectors: Sequence[ConceptVector]


def build(model: LoadedModel, record: Record | None, vectors: Sequence[ConceptVector]) -> str:
    """The page as HTML. Sections for which the model's folder holds nothing are left out."""
    folder = model.path.parent
    reconstructions = _read_picture(folder / RECONSTRUCTIONS_FILE)
    data = ReportData(model, history.read(folder), record, reconstructions, _read_snapshots(folder), vectors)
    return page(f"Report on the model {model.name}", _introduction(model), sections(data))


def sections(data: ReportData) -> list[Section]:
    """In the order of a reader's questions: success, what it looks like, abilities, figures and ingredients."""
    more = [
        Section("traversals", "Latent dimensions, one at a time", [_traversals(data)]),
        Section("neighbours", "Samples and the training images nearest to them", _neighbours(data)),
        Section("over-time", "Over time", _over_time(data)),
    ]
    figures = [
        Section("metrics", "Metrics", _metrics(data)),
        Section("curves", "Curves of the training", _curves(data)),
        Section("dimensions", "KL per dimension", _dimensions(data)),
        Section("settings", "Settings", [_settings(data.model)]),
    ]
    return [
        Section("verdict", "Verdict", _findings(data)),
        Section("samples", "Samples", [_samples(data)]),
        Section("reconstructions", "Reconstructions", _reconstructions(data)),
        Section("vectors", "Concept vectors", [verdicts(data.vectors)] if data.vectors else []),
        Section("pictures", "More pictures", more),
        Section("figures", "Figures and settings", figures),
    ]


def _introduction(model: LoadedModel) -> str:
    config, training = model.config, model.training
    text = (
        f"It draws pictures of {config.width}x{config.height} pixels in {config.colours}, each from "
        f"{config.latent_dim} numbers. Its pictures are synthetic."
    )
    if not training:
        return text
    held_out = f"; {training.held_out_images:,} more were held out to measure it" if training.held_out_images else ""
    return f"Trained on {training.images:,} images of {training.data}{held_out}. {text}"


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
        *([_sharpening(training.sharpening, evaluation)] if training and training.sharpening else []),
    ]


def _sharpening(found: Sharpening, evaluation: Evaluation) -> Table:
    columns = ["sharpening the decoder", "PSNR, dB", "sharpness", "Fréchet distance of samples"]
    columns = columns if evaluation.held_out.images >= MIN_COMPARED else columns[:-1]
    rows = [
        (name, f"{metrics.psnr:.2f}", f"{metrics.sharpness:.2f}", f"{metrics.frechet:.3g}")[: len(columns)]
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


def _read_picture(path: Path) -> Image.Image | None:
    with contextlib.suppress(ImageError, ValueError), open_picture(path) as picture:
        return picture.convert("RGB")
    return None


def _read_snapshots(folder: Path) -> list[tuple[int, Image.Image]]:
    paths = [path for path in (folder / SNAPSHOT_FOLDER).glob("*.png") if path.stem.isdecimal()]
    found = [(int(path.stem), _read_picture(path)) for path in sorted(paths)]
    return sorted(((step, picture) for step, picture in found if picture), key=lambda snapshot: snapshot[0])


def _reconstructions(data: ReportData) -> list[Picture]:
    if data.reconstructions is None:
        return []
    kind = "held-out" if data.model.training and data.model.training.held_out_images else "training"
    words = f"Images of the {kind} set, below each what the model makes of it"
    return [Picture(data.reconstructions, words, f"{words}.")]


def _over_time(data: ReportData) -> list[Part]:
    training = data.model.training
    per_epoch = training.steps / max(training.epochs or 1, 1e-9) if training else 0.0
    rows = "Originals in the first row, their reconstructions in the second, samples from N(0, I) in the third."
    pictures = [
        Picture(snapshot, f"After step {step}", f"Step {step:,}{_epoch(step, per_epoch)}", beside=True)
        for step, snapshot in data.snapshots
    ]
    return [rows, *pictures] if pictures else []


def _epoch(step: int, per_epoch: float) -> str:
    return f" (epoch {step / per_epoch:.1f})" if per_epoch else ""


def _kl_per_dimension(data: ReportData) -> tuple[float, ...]:
    return data.record.evaluation.kl_per_dimension if data.record else ()


def _dimensions(data: ReportData) -> list[Chart]:
    values = sorted(_kl_per_dimension(data), reverse=True)
    return bars(values, "Mean KL of each latent dimension, largest first", "rank", "nats")


def _traversals(data: ReportData) -> Picture:
    model = data.model
    where = model.geometry
    kl, deviation = _kl_per_dimension(data), np.sqrt(np.diag(where.covariance))
    leading = np.argsort(-np.asarray(kl if kl else deviation), kind="stable")[:_TRAVERSED].tolist()
    rows = [axes.dimension(index, where, f"{kl[index]:.2f} nats" if kl else "") for index in leading]
    rows.append(axes.at_random(where))
    t = np.linspace(-_REACH, _REACH, _STEPS, dtype=np.float32)[:, None]
    z = np.concatenate([model.prior.sample([0], model.prior.temperature) + t * axis.step for axis in rows])
    captions = Captions(rows=[f"{axis.name}  {axis.note}".strip() for axis in rows])
    traversals = sheet(to_pictures(model.decode(z)), _STEPS, captions)
    words = (
        f"Each row moves a sample along one latent dimension, {_REACH} standard deviations down and as many up: "
        f"those with the largest {'KL' if kl else 'deviation'}; the last row moves it as far in a random direction"
    )
    return Picture(traversals, words, f"{words}.")


def _samples(data: ReportData) -> Picture:
    prior = data.model.prior
    z = prior.sample(range(_SAMPLES), prior.temperature)
    words = f"What the model draws by itself: seeds 0 to {_SAMPLES - 1}, temperature {prior.temperature:g}"
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
    parameters = sum(array.size for name, array in model.weights.items() if name.endswith(("weight", "bias")))
    settings = {"model": model.model_id, "parameters": parameters} | model.config.to_json() | training
    rows = [
        (_WORDS.get(name, name.replace("_", " ")), _in_words(value))
        for name, value in settings.items()
        if not isinstance(value, dict)
        and (value or (value == 0 and name in _MAY_BE_ZERO))
        and value != _UNSAID.get(name)
    ]
    return Table("", ("setting", "value"), rows)


def _in_words(value: object) -> str:
    """A setting as a reader would write it.

    >>> _in_words([16, 32]), _in_words(True), _in_words(0.0012), _in_words(12345)
    ('16, 32', 'yes', '0.0012', '12,345')
    """
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value))
    if isinstance(value, bool):
        return "yes"
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
