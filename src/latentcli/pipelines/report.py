"""Reports of a model and of its concept vectors."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from latentcli.concepts.vector import ConceptVector
from latentcli.data.sources import find_images, held_out_then
from latentcli.errors import ConfigError
from latentcli.evaluation.record import Record
from latentcli.events import Event, Wrote
from latentcli.model.modelfile import open_model
from latentcli.pipelines.inputs import encode_all
from latentcli.pipelines.vectors import no_vectors, noted_vectors
from latentcli.report import vectors_page
from latentcli.report.model_page import REPORT_FILE, build
from latentcli.storage import catalog
from latentcli.storage.files import output_file, write_whole
from latentcli.text import stored

_SHOWN = 4  # images, or samples, in strips


def report(entry: catalog.ModelEntry, output: Path | None, force: bool) -> Iterator[Event]:
    """Write `report.html` beside the user's own model, or to `output`; of a bundled model into the current folder.

    Raises OutputExists when the file is taken.
    """
    wanted = entry.path.parent / REPORT_FILE if output is None and not entry.bundled else output
    return _report(entry, _page_name(output_file(wanted, Path(f"{entry.name}-{REPORT_FILE}"), force)))


def _page_name(target: Path) -> Path:
    if target.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{target} would be an HTML page; give a name that ends in .html")
    return target


def _report(entry: catalog.ModelEntry, target: Path) -> Iterator[Event]:
    model = open_model(entry)
    vectors = yield from noted_vectors(entry, model)
    write_whole(target, stored(build(model, Record.of(model.path.parent, model.header.weights_id), vectors)))
    yield Wrote(target)


def report_vectors(
    entry: catalog.ModelEntry, images: Path | None, output: Path | None, force: bool
) -> Iterator[Event | ConceptVector]:
    """Write a report of a model's vectors, and yield them.

    Raises ImageError when `images` holds none, OutputExists when `output` is taken.
    """
    target = _page_name(output_file(output, Path(f"{entry.name}-vectors.html"), force))
    shown, kind = _held_out(entry, images) if images is not None else ([], "samples")
    return _report_vectors(entry, shown, kind, target)


def _held_out(entry: catalog.ModelEntry, folder: Path) -> tuple[list[Path], str]:
    """Some images that the vectors were not fitted on, by the same hash; any images where those are too few."""
    found = find_images(folder)
    held = held_out_then((os.fsencode(path.relative_to(folder)) for path in found), entry.training)
    chosen = [path for path, is_held in zip(found, held, strict=True) if is_held]
    kind = "held-out images" if len(chosen) >= _SHOWN else "images"
    chosen = chosen if len(chosen) >= _SHOWN else found
    return [chosen[row] for row in np.linspace(0, len(chosen) - 1, min(_SHOWN, len(chosen))).astype(int)], kind


def _report_vectors(
    entry: catalog.ModelEntry, shown: list[Path], kind: str, target: Path
) -> Iterator[Event | ConceptVector]:
    model = open_model(entry)
    vectors = yield from noted_vectors(entry, model)
    if not vectors:
        raise no_vectors(entry.name)
    encoded = (yield from encode_all(model, shown)) if shown else None
    z = model.prior.sample(range(_SHOWN), model.prior.temperature) if encoded is None else encoded.mean
    kind = kind if encoded is not None else "samples"
    data = vectors_page.VectorReportData(model, model.geometry, vectors, z, kind)
    write_whole(target, stored(vectors_page.build(data)))
    yield Wrote(target)
    yield from vectors
