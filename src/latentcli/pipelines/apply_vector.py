"""Images, latents and samples moved along concept vectors and decoded at the model's size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentcli.catalog import VECTOR_SUFFIX, ModelEntry
from latentcli.concepts.edit import EditRequest, describe
from latentcli.concepts.fit import FitSettings
from latentcli.concepts.labels import Labels
from latentcli.concepts.vector import ConceptVector
from latentcli.events import Event, Note, Progress, Skipped, Wrote
from latentcli.figures.sheet import PLAIN, Captions, Look, enlarged
from latentcli.images import to_pictures, write_picture
from latentcli.model.modelfile import LoadedModel, open_model
from latentcli.model.prior import Geometry
from latentcli.pipelines import fit_vectors
from latentcli.pipelines.encode import encode_paths, subjects
from latentcli.pipelines.jobs import Item, kept, targets

_BATCH = 64  # latents


@dataclass(frozen=True, slots=True)
class NewVector:
    """A vector to be computed from labels first, and kept when `save` is given."""

    labels: Labels
    settings: FitSettings
    save: str | None


def apply(
    entry: ModelEntry,
    arguments: Sequence[Path],
    request: EditRequest,
    output: Path | None,
    force: bool,
    new: NewVector | None = None,
    look: Look = PLAIN,
) -> Iterator[Event | ConceptVector]:
    """Move images, latents or samples along saved vectors, or along a new one, and decode them as PNG."""
    if new:
        for concept in new.labels.concepts:
            concept.check()
    model = open_model(entry)
    items = targets(subjects(model, arguments), request.tag(), lambda item: ".png", output, force)
    if new is None:
        return _apply(model, items, request, look, *load_vectors(entry, model, request))
    target = fit_vectors.check_new(entry, new.save, force) if new.save else None
    return _compute_and_apply(model, entry, items, request, look, new, target)


def load_vectors(
    entry: ModelEntry, model: LoadedModel, request: EditRequest
) -> tuple[list[ConceptVector], Geometry | None]:
    """The saved vectors of a request, and where latents may go when they have to stay typical.

    Raises ModelMismatch for a vector of another model.
    """
    vectors = [fit_vectors.load_vector(entry, model, vector) for vector in request.wanted()]
    return vectors, _typical(model, request)


def _typical(model: LoadedModel, request: EditRequest) -> Geometry | None:
    return fit_vectors.geometry(model) if request.stay_typical else None


def _compute_and_apply(
    model: LoadedModel,
    entry: ModelEntry,
    items: list[Item],
    request: EditRequest,
    look: Look,
    new: NewVector,
    target: Path | None,
) -> Iterator[Event | ConceptVector]:
    for event in fit_vectors.compute(model, entry, new.labels, new.settings):
        yield event
        if isinstance(event, ConceptVector):
            if target:
                event.save(target)
                yield Wrote(target)
            yield from _apply(model, items, request, look, [event], _typical(model, request))


def _apply(
    model: LoadedModel,
    items: list[Item],
    request: EditRequest,
    look: Look,
    vectors: list[ConceptVector],
    typical: Geometry | None,
) -> Iterator[Event]:
    yield from kept(items)
    open_items = [item for item in items if not item.is_done]
    before: list[np.ndarray] = []
    for z, some in _encoded(model, open_items):
        if isinstance(some, Skipped):
            yield some
            continue
        if request.rows:  # a strip or sheet for each latent
            rows = [to_pictures(model.decode(request.versions(vectors, typical, one)[:, 0])) for one in z[:, None]]
            pictures = [look.draw(row, request.columns, captions(request)) for row in rows]
        else:
            moved = to_pictures(model.decode(request.versions(vectors, typical, z)[0]))
            pictures = [enlarged(picture, look.scale) for picture in moved]
        for item, picture in zip(some, pictures, strict=True):
            write_picture(picture, item.target)
            yield Wrote(item.target)
        before.append(z)
        yield Progress("decoding", sum(map(len, before)), len(open_items))
    yield from distances(before, request, vectors, typical)


def captions(request: EditRequest) -> Captions:
    """Strengths of the versions of an image: of a strip above its columns, of a sheet beside its rows, too."""
    names = [Path(vector.name).name.removesuffix(VECTOR_SUFFIX) for vector in request.vectors]
    words = [
        [f"{name} {strength:+.3g}" for strength in np.linspace(*row).tolist()]
        for name, row in zip(names, request.rows, strict=False)
    ]
    return Captions(rows=words[0] if len(words) > 1 else (), columns=words[-1] if words else ())


def distances(
    before: list[np.ndarray], request: EditRequest, vectors: Sequence[ConceptVector], typical: Geometry | None
) -> Iterator[Note]:
    """Notes on how far latents were moved, in each unit; none for strips, whose strengths were given."""
    if before and not request.rows:
        yield from map(Note, describe(np.concatenate(before), vectors, request.vectors, typical))


def _encoded(model: LoadedModel, items: list[Item]) -> Iterator[tuple[np.ndarray, list[Item] | Skipped]]:
    """Latents and their items: those that are latents already, then the images."""
    latents = [(item.z, item) for item in items if item.z is not None]
    for start in range(0, len(latents), _BATCH):
        z, some = zip(*latents[start : start + _BATCH], strict=True)
        yield np.stack(z), list(some)
    images = [item for item in items if item.z is None]
    for result in encode_paths(model, [item.path for item in images]):
        if isinstance(result, Skipped):
            yield np.empty(0), result
        else:
            yield result.mean, [images[position] for position in result.positions]
