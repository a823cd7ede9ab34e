"""What the page shows of a model, part by part. A part that nothing is known for is empty and left out."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from latentcli import history
from latentcli.concepts.vector import ConceptVector
from latentcli.config import MOMENTS_FOLDER
from latentcli.errors import ImageError
from latentcli.evaluation.diagnosis import measured as measured_lines
from latentcli.evaluation.record import Record
from latentcli.history import EpochReport, Metrics, TrainingSummary
from latentcli.images import grid, open_picture, to_pictures
from latentcli.model.device import device_of
from latentcli.model.modelfile import LoadedModel
from latentcli.model.prior import Prior, moments
from latentcli.model.vae import VAE
from latentcli.report.page import Line, Section, bars, curves, page, paragraph, picture, table

_SAMPLES = 64  # seeds 0 to 63
_TRAVERSED = 8  # leading dimensions
_STEPS = 9  # pictures per traversal, from
_REACH = 2.5  # standard deviations below to as many above
_GRADES = {"problem": "Problem", "note": "Worth knowing", "good": "Good"}


@dataclass(frozen=True, slots=True)
class ReportData:
    """All that a report is made from."""

    vae: VAE
    prior: Prior
    training: TrainingSummary | None
    history: Sequence[EpochReport]
    record: Record | None
    moments: Sequence[tuple[int, Image.Image]]  # step, and the sheet drawn then
    vectors: Sequence[ConceptVector]


def sections(story: ReportData) -> list[Section]:
    """In the order a reader asks: did it work, how well, how did it come about, what can it do, what was it made of."""
    return [
        Section("verdict", "Verdict", _verdict(story)),
        Section("figures", "Metrics", _figures(story)),
        Section("curves", "Curves", _curves(story)),
        Section("moments", "Over time", _moments(story)),
        Section("dimensions", "KL per dimension", _dimensions(story)),
        Section("traversals", "Traversals", _traversals(story)),
        Section("samples", "Samples", _samples(story)),
        Section("neighbours", "Nearest training images", _neighbours(story)),
        Section("vectors", "Concept vectors", _vectors(story)),
        Section("settings", "Settings", _settings(story)),
    ]


def _verdict(story: ReportData) -> str:
    if story.record is None:
        return paragraph("No evaluation is kept beside this model; latentcli evaluate measures it.")
    lines = []
    for finding in story.record.findings:
        advice = f" <span class='faint'>What to do: {escape(finding.advice)}.</span>" if finding.advice else ""
        grade = f"<span class='grade'>{_GRADES[finding.grade]}:</span>"
        lines.append(f"<li class='{finding.grade}'>{grade} {escape(finding.text)}.{advice}</li>")
    return f"<ul class='findings'>{''.join(lines)}</ul>"


def _figures(story: ReportData) -> str:
    if story.record is None:
        return ""
    found = story.record.evaluation
    measured = "training" if found.on_training else "held-out"
    rows = [_figures_row("this model", found.held_out, found.ssim)]
    if found.training:
        rows.append(_figures_row("this model on training images", found.training, None))
    for beaten in found.baselines:
        numbers = (beaten.psnr, beaten.ssim, beaten.negative_log_likelihood, None, beaten.bits_per_dimension)
        rows.append((beaten.name, *map(_cell, numbers)))
    head = ("", "PSNR, dB", "SSIM", "-ELBO, nats", "KL, nats", "bits/dim")
    caption = f"{found.held_out.images} {measured} images. Baselines have an exact -log likelihood, not an -ELBO."
    samples = [
        (
            row.name,
            *map(_cell, (row.frechet, row.kernel, row.precision, row.recall, row.diversity, row.nearest)),
        )
        for row in found.samples
    ]
    sample_head = ("pictures", "Fréchet", "kernel", "precision", "recall", "diversity", "nearest")
    sample_caption = f"Each against as many {measured} images, in the space of {found.feature_space}. " + (
        "Diversity is a share of theirs."
        if found.on_training
        else "Training images show what a perfect model would get. Diversity and the distance to the nearest training "
        "image are shares of those of held-out images."
    )
    return table(caption, head, rows) + table(sample_caption, sample_head, samples)


def _figures_row(name: str, figures: Metrics, similarity: float | None) -> tuple[str, ...]:
    numbers = (figures.psnr, similarity, figures.negative_elbo, figures.kl, figures.bits_per_dimension)
    return name, *map(_cell, numbers)


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"


def _curves(story: ReportData) -> str:
    lines = story.history
    seen = measured_lines(lines)
    epochs, measured = [line.epoch for line in lines], [line.epoch for line, _ in seen]
    psnr = Line("held out", measured, [held_out.psnr for _, held_out in seen])
    drawn = curves([psnr], "PSNR of reconstructions, higher is better", "epoch", "dB")
    if story.training and not story.training.beta:  # an autoencoder has neither ELBO nor KL
        return drawn
    elbo = [
        Line("training", epochs, [line.loss for line in lines]),
        Line("held out", measured, [held_out.negative_elbo or 0.0 for _, held_out in seen]),
    ]
    kl = [
        Line("training", epochs, [line.kl for line in lines]),
        Line("held out", measured, [held_out.kl or 0.0 for _, held_out in seen]),
    ]
    return (
        curves(elbo, "-ELBO per image, lower is better", "epoch", "nats")
        + drawn
        + curves(kl, "KL per image", "epoch", "nats")
    )


def _moments(story: ReportData) -> str:
    steps, epochs = (story.training.steps, story.training.epochs) if story.training else (0, 1)
    per_epoch = steps / max(epochs or 1, 1e-9)
    words = "originals in the first row, their reconstructions in the second, samples from N(0, I) in the third"
    return "".join(
        picture(sheet, f"After step {step}: {words}", f"Step {step:,} (epoch {step / per_epoch:.1f}): {words}")
        for step, sheet in story.moments
    )


def _dimensions(story: ReportData) -> str:
    if story.record is None or not story.record.evaluation.kl_per_dimension:
        return ""
    values = sorted(story.record.evaluation.kl_per_dimension, reverse=True)
    return bars(values, "Mean KL of each latent dimension, largest first", "rank", "nats")


@torch.inference_mode()
def _traversals(story: ReportData) -> str:
    middle, covariance = moments(story.prior, story.vae.config.latent_dim)
    deviation = covariance.diagonal().sqrt()
    if story.record is not None and story.record.evaluation.kl_per_dimension:
        weight = torch.tensor(story.record.evaluation.kl_per_dimension)
    else:
        weight = deviation
    leading = weight.argsort(descending=True)[:_TRAVERSED].tolist()
    directions = []
    for dimension in leading:
        direction = torch.zeros_like(middle)
        direction[dimension] = deviation[dimension]
        directions.append(direction)
    random = torch.randn(len(middle), generator=torch.Generator().manual_seed(0)) * deviation
    length = torch.stack(directions).norm(dim=1).mean()
    directions.append(random / random.norm() * length)
    t = torch.linspace(-_REACH, _REACH, _STEPS)
    z = torch.cat([middle + t[:, None] * direction for direction in directions])
    sheet = grid(_decoded(story.vae, z), columns=_STEPS)
    rows = ", ".join(str(dimension) for dimension in leading)
    words = (
        f"Each row moves one latent dimension from {_REACH} standard deviations below the mean to as many above. "
        f"Dimensions {rows}, those with the largest KL; the last row moves as far in a random direction"
    )
    return picture(sheet, words, words + ".")


@torch.inference_mode()
def _samples(story: ReportData) -> str:
    z = story.prior.sample(range(_SAMPLES), story.prior.temperature)
    words = f"{_SAMPLES} samples, seeds 0 to {_SAMPLES - 1}, temperature {story.prior.temperature:g}"
    return picture(grid(_decoded(story.vae, z), columns=8), words, words + ".")


def _neighbours(story: ReportData) -> str:
    if story.record is None or story.record.neighbours is None:
        return ""
    neighbours = story.record.neighbours
    shown = to_pictures(torch.cat([neighbours.samples, neighbours.training]))
    words = "Samples in the first row, below each the training image nearest to it, by pixels"
    return picture(grid(shown, columns=len(neighbours.samples)), words, words + ": equal pairs would be copies.")


def _vectors(story: ReportData) -> str:
    rows = [
        (
            vector.name,
            str(vector.positives),
            str(vector.negatives),
            _cell(vector.gap_in_sigma),
            _cell(vector.auc),
            _cell(vector.auc_lda),
        )
        for vector in story.vectors
    ]
    caption = "AUC on held-out images: of the projection onto the vector, and of a linear discriminant."
    return table(caption, ("vector", "with", "without", "gap, sd", "AUC", "AUC of LDA"), rows)


def _settings(story: ReportData) -> str:
    config = story.vae.config.to_json()
    training = story.training.to_json() if story.training else {}
    training.pop("held_out", None)
    rows = [(name.replace("_", " "), str(value)) for name, value in (config | training).items()]
    parameters = sum(parameter.numel() for parameter in story.vae.parameters())
    return table("", ("setting", "value"), [("parameters", f"{parameters:,}"), *rows])


def _decoded(vae: VAE, z: Tensor) -> list[Image.Image]:
    return to_pictures(torch.cat([vae.decode(some.to(device_of(vae))).cpu() for some in torch.split(z, 64)]))


REPORT_FILE = "report.html"


def build(model: LoadedModel, record: Record | None, vectors: Sequence[ConceptVector]) -> str:
    """The page as HTML. What the folder does not hold is left out."""
    folder = model.path.parent
    story = ReportData(
        vae=model.vae,
        prior=model.prior,
        training=model.training,
        history=history.read(folder),
        record=record,
        moments=_read_moments(folder),
        vectors=vectors,
    )
    return page(f"{model.name}: a latentcli model", _introduction(model), sections(story))


def _read_moments(folder: Path) -> list[tuple[int, Image.Image]]:
    found = []
    for path in sorted((folder / MOMENTS_FOLDER).glob("*.png")):
        with contextlib.suppress(ImageError, ValueError), open_picture(path) as sheet:
            found.append((int(path.stem), sheet.convert("RGB")))
    return found


def _introduction(model: LoadedModel) -> str:
    config, training = model.config, model.training
    colour = "colour" if config.channels == 3 else "gray"
    parts = [
        f"A variational autoencoder of {config.width}x{config.height} {colour} images, preset {config.preset}, latent "
        f"dimension {config.latent_dim}, model {model.model_id}."
    ]
    if training:
        held_out = f", {training.held_out_images} held out" if training.held_out_images else ""
        parts.append(
            f"Trained on {training.images} images of {training.data}{held_out}, "
            f"{training.seconds / 60:.1f} minutes. What it draws is synthetic."
        )
    return f"<p>{escape(' '.join(parts))}</p>"
