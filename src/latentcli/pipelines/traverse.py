"""Traversals: one row of images for each axis of the latent space."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from latentcli import catalog
from latentcli.concepts import axes
from latentcli.concepts.axes import Axis
from latentcli.concepts.vector import load_all
from latentcli.config import MOST_ON_SHEET, TRAVERSAL_RANGE, TRAVERSAL_ROWS, TRAVERSAL_STEPS
from latentcli.errors import ConfigError, UsageError
from latentcli.evaluation.record import Record
from latentcli.events import Event, Note, Progress, Wrote
from latentcli.figures.sheet import Captions, Look
from latentcli.files import output_file
from latentcli.images import check_writable, to_pictures, write_picture
from latentcli.model.modelfile import LoadedModel, open_model
from latentcli.model.prior import Geometry
from latentcli.pipelines.encode import keyframes
from latentcli.pipelines.fit_vectors import geometry, load_vector
from latentcli.pipelines.walk import short_name

DIMENSIONS, COMPONENTS, VECTORS = "dims", "pcs", "vectors"  # kinds of axes
START = "seed:0"  # the keyframe that is moved where none is named
_MOST_STEPS, _MOST_RANGE = 101, 100.0
_MOST_AXES = 100
_MEASURED = 256  # samples whose KL stands for that of held-out images


@dataclass(frozen=True, slots=True)
class TraverseRequest:
    """Which axes, and how far along them."""

    axes: str = DIMENSIONS  # or pcs, vectors, or names like pc1,smile
    of: str | None = None  # a keyframe that the middle of each row shows; a sample by default
    rows: int = TRAVERSAL_ROWS  # of dims and pcs
    steps: int = TRAVERSAL_STEPS
    reach: float = TRAVERSAL_RANGE  # standard deviations to both sides
    look: Look = field(default_factory=lambda: Look(labels=True))

    def __post_init__(self) -> None:
        if not 2 <= self.steps <= _MOST_STEPS:
            raise UsageError(f"--steps takes 2 to {_MOST_STEPS}, got {self.steps}")
        if not 1 <= self.rows <= MOST_ON_SHEET:
            raise UsageError(f"--rows takes 1 to {MOST_ON_SHEET:,}, got {self.rows}")
        check_range(self.reach)


def check_range(reach: float) -> None:
    """Raises UsageError for no range of standard deviations."""
    if not 0 < reach <= _MOST_RANGE:
        raise UsageError(f"--range takes more than 0 to {_MOST_RANGE:g} standard deviations, got {reach:g}")


def traverse(entry: catalog.ModelEntry, request: TraverseRequest, output: Path | None, force: bool) -> Iterator[Event]:
    """Draw a row for each axis, the last for a direction by chance.

    Raises UsageError for axes that the model does not have, OutputExists when the output is taken.
    """
    model = open_model(entry)
    where = geometry(model)
    middle = start(model, where, request.of)
    chosen, note = _axes(entry, model, where, request)
    rows = [*chosen, axes.at_random(where)]
    stem = f"{entry.name}-{request.axes.replace(',', '-')}" + (
        "" if request.of is None else f"-{short_name(request.of)}"
    )
    target = check_writable(output_file(output, Path(f"{stem}.png"), force))
    request.look.check(len(rows) * request.steps, request.steps, (model.config.width, model.config.height))
    return _traverse(model, rows, middle, request, target, note)


def _traverse(
    model: LoadedModel, rows: list[Axis], middle: np.ndarray, request: TraverseRequest, target: Path, note: str
) -> Iterator[Event]:
    if note:
        yield Note(note)
    yield from draw_rows(model, rows, middle, request, target)


def start(model: LoadedModel, where: Geometry, of: str | None, option: str = "--of") -> np.ndarray:
    """The latent (latent_dim,) of one keyframe. Without one it is that of a sample, or the mean of a 2-D model.

    The mean of many dimensions is far from every latent, and decodes to all images at once. Raises UsageError for
    several keyframes.
    """
    if of is None and model.config.latent_dim <= 2:
        return where.mean
    z = keyframes(model, of or START)[0]
    if len(z) != 1:
        raise UsageError(f"{option} takes one image or latent, got {len(z)}; name one, like FILE#name")
    return np.asarray(z[0])


def named_axis(entry: catalog.ModelEntry, model: LoadedModel, where: Geometry, name: str) -> Axis:
    """The axis of a name: `z0`, `pc1`, or a saved vector or its file. Raises UsageError for none of these."""
    if name == axes.RANDOM:
        return axes.at_random(where)
    known, request = catalog.vectors_of(entry), catalog.VectorRequest(name, None)
    if request.is_axis and name not in known:
        return axes.numbered(name, where)
    if name not in known and not request.is_file:
        raise UsageError(
            f"{entry.name} has no axis {name!r}; it has z0, pc1 and so on"
            + (f", and the vectors {', '.join(known)}" if known else "")
        )
    return axes.of_vector(load_vector(entry, model, request), where)


def _axes(
    entry: catalog.ModelEntry, model: LoadedModel, where: Geometry, request: TraverseRequest
) -> tuple[list[Axis], str]:
    """The axes of a request, and what is to be said about them."""
    if request.axes == DIMENSIONS:
        nats, note = kl_per_dimension(model)
        largest = np.argsort(-np.asarray(nats), kind="stable")[: request.rows]
        return [axes.dimension(int(index), where, f"{nats[index]:.2f} nats") for index in largest], note
    if request.axes == COMPONENTS:
        return axes.components(where, request.rows), ""
    if request.axes == VECTORS:
        saved, unreadable = load_all(entry)
        vectors = [vector for vector in saved if vector.model_id == model.model_id]
        if not vectors:
            raise ConfigError(f"{entry.name} has no vectors; make one with: latentcli vectors fit, or vectors discover")
        return [axes.of_vector(vector, where) for vector in vectors], "; ".join(unreadable)
    return [named_axis(entry, model, where, name) for name in axes.names_of(request.axes, _MOST_AXES)], ""


def kl_per_dimension(model: LoadedModel) -> tuple[Sequence[float], str]:
    """Mean KL of each latent dimension in nats, and a note where it is not that of held-out images."""
    record = Record.of(model.path.parent, model.header.weights_id)
    if record is not None and len(record.evaluation.kl_per_dimension) == model.config.latent_dim:
        return record.evaluation.kl_per_dimension, ""
    from latentcli.model.metrics import kl_of_images

    z = model.prior.sample(range(_MEASURED), model.prior.temperature)
    return kl_of_images(model.vae, model.decode(z)), "KL: of samples encoded again, as no evaluation is at hand"


def draw_rows(
    model: LoadedModel, rows: list[Axis], middle: np.ndarray, request: TraverseRequest, target: Path
) -> Iterator[Event]:
    """Draw a row of images for each axis through the middle (latent_dim,)."""
    t = np.linspace(-request.reach, request.reach, request.steps, dtype=np.float32)
    pictures: list[Image.Image] = []
    for done, axis in enumerate(rows, start=1):
        pictures += to_pictures(model.decode(middle + t[:, None] * axis.step))
        yield Progress("decoding", done, len(rows))
    words = [f"{axis.name}  {axis.note}".strip() for axis in rows]
    heads = [f"{t:+g} sd" if t else "0" for t in np.linspace(-request.reach, request.reach, request.steps).round(2)]
    write_picture(request.look.draw(pictures, request.steps, Captions(rows=words, columns=heads)), target)
    yield Wrote(target)
