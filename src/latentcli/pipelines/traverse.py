"""Traversals: one row of images for each axis of the latent space."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from latentcli.concepts import axes
from latentcli.concepts.axes import Axis
from latentcli.defaults import MOST_ON_SHEET, TRAVERSAL_RANGE, TRAVERSAL_ROWS, TRAVERSAL_STEPS
from latentcli.errors import UsageError
from latentcli.evaluation.record import Record
from latentcli.events import Event, Note
from latentcli.figures.sheet import Look
from latentcli.imaging.images import check_writable
from latentcli.model.modelfile import LoadedModel, open_model
from latentcli.pipelines.inputs import keyframe, short_name
from latentcli.pipelines.outputs import check_range, draw_rows
from latentcli.pipelines.vectors import named_axis, no_vectors, vectors_of
from latentcli.storage import catalog
from latentcli.storage.files import output_file

DIMENSIONS, COMPONENTS, VECTORS = "dims", "pcs", "vectors"  # values of `axes` that name a kind of axes
_MOST_STEPS = 101  # images in a row, at most
_MOST_AXES = 100  # axes given by name, at most
_MEASURED = 256  # samples on which the KL is measured if no evaluation on held-out images is stored


@dataclass(frozen=True, slots=True)
class TraverseRequest:
    """Settings of a traversal: the axes of its rows, their range and their look."""

    axes: str = DIMENSIONS  # dims, pcs, vectors, or names of axes like pc1,smile
    of: str | None = None  # the keyframe in the middle of each row; by default a sample, or a 2-D model's mean latent
    rows: int = TRAVERSAL_ROWS  # number of rows for dims or pcs
    steps: int = TRAVERSAL_STEPS  # images in a row
    reach: float = TRAVERSAL_RANGE  # from the middle to each side, in standard deviations
    look: Look = field(default_factory=lambda: Look(labels=True))

    def __post_init__(self) -> None:
        if not 2 <= self.steps <= _MOST_STEPS:
            raise UsageError(f"`steps` takes 2 to {_MOST_STEPS}, got {self.steps}")
        if not 1 <= self.rows <= MOST_ON_SHEET:
            raise UsageError(f"`rows` takes 1 to {MOST_ON_SHEET:,}, got {self.rows}")
        check_range(self.reach)


def traverse(entry: catalog.ModelEntry, request: TraverseRequest, output: Path | None, force: bool) -> Iterator[Event]:
    """Draw a row of decoded images for each axis, and one for a random direction as a comparison.

    Raises UsageError for axes that the model does not have, OutputExists for an output file that exists.
    """
    model = open_model(entry)
    middle = keyframe(model, request.of)
    of = "" if request.of is None else f"-{short_name(request.of)}"
    target = output_file(output, Path(f"{entry.name}-{request.axes.replace(',', '-')}{of}.png"), force)
    check_writable(target)
    rows, note = _axes(entry, model, request)
    rows.append(axes.at_random(model.geometry))
    request.look.check(len(rows) * request.steps, request.steps, (model.config.width, model.config.height))
    if note:
        yield Note(note)
    yield from draw_rows(model, rows, middle, request.look, target, request.steps, request.reach)


def _axes(entry: catalog.ModelEntry, model: LoadedModel, request: TraverseRequest) -> tuple[list[Axis], str]:
    """Axes that `request` asks for, and a note (on how the KL was measured, or on unreadable vectors) or ""."""
    geometry = model.geometry
    if request.axes == DIMENSIONS:
        nats, note = kl_per_dimension(model)
        largest = np.argsort(-np.asarray(nats), kind="stable")[: request.rows]
        return [axes.dimension(int(index), geometry, f"{nats[index]:.2f} nats") for index in largest], note
    if request.axes == COMPONENTS:
        return axes.components(geometry, request.rows), ""
    if request.axes == VECTORS:
        vectors, unreadable = vectors_of(entry, model)
        if not vectors:
            raise no_vectors(entry.name)
        return [axes.of_vector(vector, geometry) for vector in vectors], "; ".join(unreadable)
    return [named_axis(entry, model, name) for name in axes.names_of(request.axes, _MOST_AXES)], ""


def kl_per_dimension(model: LoadedModel) -> tuple[Sequence[float], str]:
    """Mean KL of each latent dimension in nats; and a note if the KL is of samples for lack of an evaluation, or ""."""
    record = Record.of(model.path.parent, model.header.network_id)
    if record is not None and len(record.evaluation.kl_per_dimension) == model.config.latent_dim:
        return record.evaluation.kl_per_dimension, ""
    from latentcli.model.metrics import kl_of_images

    z = model.prior.sample(range(_MEASURED))
    return kl_of_images(model.vae, model.decode(z)), "KL: of samples encoded again, as no evaluation is at hand"
