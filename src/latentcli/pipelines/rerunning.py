"""An edit done again, from what the edited photo tells of it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latentcli import catalog
from latentcli.catalog import ModelEntry, VectorRequest
from latentcli.concepts.moves import Amount
from latentcli.concepts.vector import ConceptVector
from latentcli.errors import FileFormatError, ImageError, LatentCLIError, ModelMismatch
from latentcli.files import free_name
from latentcli.photo.merging import Merging
from latentcli.photo.provenance import Provenance, read_provenance
from latentcli.pipelines.aiming import Aim
from latentcli.pipelines.editing import Job, PhotoEdit, direction_digest, edit_photos
from latentcli.pipelines.events import Event, Note
from latentcli.pipelines.moving import Edit, Range
from latentcli.place import Place


@dataclass(frozen=True, slots=True)
class Plan:
    """An edit, and what it takes to do it again."""

    entry: ModelEntry
    edited: Path
    photo: Path
    how: PhotoEdit
    fps: float | None  # of an animation
    notes: tuple[str, ...]


def plan(edited: Path, photo: Path | None, model: str | None) -> Plan:
    """Find the photo, the model and the vectors of an edit.

    Raises FileFormatError where nothing is told of an edit, ImageError when the original is not there, ModelMismatch
    when the model is another one.
    """
    told = read_provenance(edited)
    try:
        if told.face < 1 or not (told.fps is None or 0 < told.fps <= 1000):
            raise ValueError("no such face or speed")
        edit = _edit_of(told)
        places = tuple(Place.parse(text) for text in told.places)
        merging = Merging(told.merge, told.detail)  # type: ignore[arg-type]  # Merging checks it
        original = Path(told.original).name
    except (LatentCLIError, TypeError, ValueError, AttributeError, LookupError) as error:
        raise FileFormatError(
            f"{edited} tells of an edit that cannot be read ({error}); edit the photo again"
        ) from error
    is_same = photo is None or _digest(photo) == told.original_sha256
    photo = photo or _original(edited, original, told.original_sha256)
    entry = catalog.find_model(model or told.model, edit.vectors)
    if entry.model_id != told.model_id:
        raise ModelMismatch(
            f"{edited} was made with model {told.model} ({told.model_id}), but {entry.name} is {entry.model_id}; "
            "name the model it was made with: --model PATH"
        )
    notes = [_changed(entry, request, vector) for request, vector in zip(edit.vectors, told.vectors, strict=True)]
    if not is_same and not told.given:
        notes.append(f"{photo} is not the photo that was edited: the part to edit is chosen anew")
    known = places if is_same or told.given else ()
    aim = Aim(known, told.face, told.every_face, told.align, found=not told.given)
    how = PhotoEdit(edit, aim, merging, told.refine, told.compare)
    return Plan(entry, edited, photo, how, told.fps, tuple(note for note in notes if note))


def rerun(plan: Plan, output: Path | None, force: bool, megapixels: float) -> Iterator[Event]:
    """Raises as `edit_photos` does."""
    job = Job(output, force, megapixels=megapixels)
    if plan.fps is not None:
        job = replace(job, output=None, animation=output or free_name(plan.edited), fps=plan.fps)
    events = edit_photos(plan.entry, [plan.photo], plan.how, job)
    return _with_notes(plan.notes, events)


def _with_notes(notes: tuple[str, ...], events: Iterator[Event]) -> Iterator[Event]:
    yield from map(Note, notes)
    yield from events


def _edit_of(told: Provenance) -> Edit:
    """Vectors with strengths of their own; those by another measure share it, as on the command line."""
    amounts = [_amount(vector) for vector in told.vectors]
    shared = next((amount for amount in amounts if amount.strength is None), Amount())
    vectors = tuple(
        VectorRequest(str(vector["name"]), amount.strength)
        for vector, amount in zip(told.vectors, amounts, strict=True)
    )
    rows = tuple(Range.parse(text, "its strip") for text in told.rows)
    return Edit(vectors, shared, told.stay_typical, rows)


def _amount(vector: dict[str, Any]) -> Amount:
    if "to" in vector:
        return Amount(None, None, str(vector["to"]))
    return Amount(None, float(vector["sigma"])) if "sigma" in vector else Amount(float(vector["strength"]))


def _original(edited: Path, name: str, digest: str) -> Path:
    """The photo by its name: beside the edited one or its folder, in the current folder or a folder in that."""
    below = sorted(folder for folder in Path().iterdir() if folder.is_dir())
    for folder in (edited.parent, edited.parent.parent, Path(), *below):
        if _digest(folder / name) == digest:
            return folder / name
    raise ImageError(f"{name}, which {edited} was made from, is not near it; name it with --photo FILE")


def _digest(photo: Path) -> str:
    """SHA-256 of a file, "" where there is none."""
    try:
        return hashlib.sha256(photo.read_bytes()).hexdigest()
    except OSError:
        return ""


def _changed(entry: ModelEntry, request: VectorRequest, told: dict[str, Any]) -> str:
    vector = ConceptVector.load(catalog.vector_file(entry, request))
    same = direction_digest(vector.direction) == told.get("digest")
    return "" if same else f"{request.reference} has been fitted anew since: the result will differ"
