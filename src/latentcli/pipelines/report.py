"""HTML reports of a model and of its concept vectors."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from latentcli.concepts.vector import ConceptVector
from latentcli.data.sources import find_images, held_out_then
from latentcli.evaluation.record import Record
from latentcli.events import Event, Wrote
from latentcli.model.modelfile import open_model
from latentcli.pipelines.inputs import encode_all
from latentcli.pipelines.outputs import check_page
from latentcli.pipelines.vectors import no_vectors, noted_vectors
from latentcli.report import vectors_page
from latentcli.report.model_page import REPORT_FILE, build
from latentcli.storage import catalog
from latentcli.storage.files import output_file, write_whole
from latentcli.text import stored

_SHOWN = 4  # images, or samples, on which a report shows the vectors


def report(entry: catalog.ModelEntry, output: Path | None, force: bool) -> Iterator[Event]:
    """Write a model's report to `output`, by default beside the model, or for a bundled one in the current folder.

    Raises OutputExists for an output file that exists.
    """
    wanted = entry.path.parent / REPORT_FILE if output is None and not entry.header.bundled else output
    target = check_page(output_file(wanted, Path(f"{entry.name}-{REPORT_FILE}"), force))
    model = open_model(entry)
    vectors = yield from noted_vectors(entry, model)
    write_whole(target, stored(build(model, Record.of(model.path.parent, model.header.network_id), vectors)))
    yield Wrote(target)


def report_vectors(
    entry: catalog.ModelEntry, images: Path | None, output: Path | None, force: bool
) -> Iterator[Event | ConceptVector]:
    """Write a report of a model's concept vectors, shown on images of a folder or on samples, and yield the vectors.

    Raises ImageError for a folder without images, OutputExists for an output file that exists.
    """
    target = check_page(output_file(output, Path(f"{entry.name}-vectors.html"), force))
    shown, kind = _held_out(entry, images) if images is not None else ([], "samples")
    model = open_model(entry)
    vectors = yield from noted_vectors(entry, model)
    if not vectors:
        raise no_vectors(entry.name)
    encoded = yield from encode_all(model, shown)
    if encoded is None:
        z, kind = model.prior.sample(range(_SHOWN)), "samples"
    else:
        z = encoded.mean
    write_whole(target, stored(vectors_page.build(model, vectors, z, kind)))
    yield Wrote(target)
    yield from vectors


def _held_out(entry: catalog.ModelEntry, folder: Path) -> tuple[list[Path], str]:
    """Paths of up to 4 images, held-out ones if 4 exist, and a word for the images: "held-out images" or "images".

    Which are held out is known of a model that a share was held out for, and not of one with a folder held out.
    """
    paths, training, held_out = find_images(folder), entry.header.training, []
    if training and training.held_out_images and training.held_out_share is not None:
        held = held_out_then((os.fsencode(path.relative_to(folder)) for path in paths), training)
        held_out = [path for path, is_held in zip(paths, held, strict=True) if is_held]
    chosen, kind = (held_out, "held-out images") if len(held_out) >= _SHOWN else (paths, "images")
    return [chosen[row] for row in np.linspace(0, len(chosen) - 1, min(_SHOWN, len(chosen))).astype(int)], kind
