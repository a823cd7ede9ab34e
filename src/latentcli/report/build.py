"""The report of a model, from what lies in its folder."""

import contextlib
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from latentcli import history
from latentcli.concepts.vector import ConceptVector
from latentcli.config import MOMENTS_FOLDER
from latentcli.errors import ImageError
from latentcli.evaluation.record import Record
from latentcli.images import open_picture
from latentcli.model.modelfile import LoadedModel
from latentcli.report.page import page
from latentcli.report.sections import Story, sections

REPORT_FILE = "report.html"


def build(model: LoadedModel, record: Record | None, vectors: Sequence[ConceptVector]) -> str:
    """The page as HTML. What the folder does not hold is left out."""
    folder = model.path.parent
    training = dict(model.header.get("training") or {})
    story = Story(
        vae=model.vae,
        prior=model.prior,
        training=training,
        history=history.read(folder),
        record=record,
        moments=_moments(folder),
        vectors=vectors,
    )
    return page(f"{model.name}: a latentcli model", _introduction(model, training), sections(story))


def _moments(folder: Path) -> list[tuple[int, Image.Image]]:
    found = []
    for path in sorted((folder / MOMENTS_FOLDER).glob("*.png")):
        with contextlib.suppress(ImageError, ValueError), open_picture(path) as sheet:
            found.append((int(path.stem), sheet.convert("RGB")))
    return found


def _introduction(model: LoadedModel, training: dict[str, Any]) -> str:
    config = model.config
    colour = "colour" if config.channels == 3 else "gray"
    parts = [
        f"A variational autoencoder of {config.width}x{config.height} {colour} images, preset {config.preset}, latent "
        f"dimension {config.latent_dim}, model {model.model_id}."
    ]
    if training:
        held_out = f", {training['held_out_images']} held out" if training.get("held_out_images") else ""
        parts.append(
            f"Trained on {training.get('images', 'some')} images of {training.get('data', 'a folder')}{held_out}, "
            f"{training.get('seconds', 0) / 60:.1f} minutes. What it draws is synthetic."
        )
    return f"<p>{escape(' '.join(parts))}</p>"
