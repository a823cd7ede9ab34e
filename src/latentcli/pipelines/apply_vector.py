"""Command `apply-vector`: images, latents and samples moved along concept vectors and decoded at the model's size."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from latentcli.concepts.edit import EditRequest
from latentcli.concepts.vector import ConceptVector
from latentcli.events import Event, Progress, Skipped, Wrote
from latentcli.figures.sheet import PLAIN, Look, enlarged
from latentcli.imaging.images import to_pictures, write_picture
from latentcli.model.modelfile import open_model
from latentcli.pipelines.inputs import latents_of, subjects
from latentcli.pipelines.outputs import not_done, targets
from latentcli.pipelines.vectors import captions, distances, load_vectors
from latentcli.storage.catalog import ModelEntry


def apply(
    entry: ModelEntry,
    arguments: Sequence[Path],
    request: EditRequest,
    output: Path | None,
    force: bool,
    fit: Callable[[ModelEntry], Iterable[Event | ConceptVector]] | None = None,
    look: Look = PLAIN,
) -> Iterator[Event | ConceptVector]:
    """Move the latents of images, latents files or samples along concept vectors, and write the decodings as PNG files.

    The vectors come from `fit`, which gets `entry` with the loaded model, and whose events are yielded too; by default
    they are the saved vectors that `request` names.
    """
    model = open_model(entry)
    items = targets(subjects(model, arguments), request.tag(), lambda item: ".png", output, force)
    vectors = [] if fit else load_vectors(entry, model, request.vectors)
    for event in fit(replace(entry, loaded=model)) if fit else ():
        yield event
        if isinstance(event, ConceptVector):
            vectors.append(event)
    typical = model.geometry if request.stay_typical else None
    items = yield from not_done(items)
    before: list[np.ndarray] = []
    for result in latents_of(model, items):
        if isinstance(result, Skipped):
            yield result
            continue
        z = result.mean
        if request.rows:  # a strip or sheet for each latent
            rows = [to_pictures(model.decode(request.versions(vectors, typical, one)[:, 0])) for one in z[:, None]]
            pictures = [look.draw(row, request.columns, captions(request)) for row in rows]
        else:
            moved = to_pictures(model.decode(request.versions(vectors, typical, z)[0]))
            pictures = [enlarged(picture, look.scale) for picture in moved]
        for position, picture in zip(result.positions, pictures, strict=True):
            write_picture(picture, items[position].target)
            yield Wrote(items[position].target)
        before.append(z)
        yield Progress("decoding", sum(map(len, before)), len(items))
    yield from distances(model, before, request, vectors)
