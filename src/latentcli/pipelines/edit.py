"""Photos edited with concept vectors, at their own resolution and in their own format."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentcli import catalog
from latentcli.box import Box
from latentcli.catalog import ModelEntry, VectorRequest
from latentcli.concepts.strength import Amount
from latentcli.concepts.vector import ConceptVector
from latentcli.config import MEGAPIXELS, PHOTO_MEGAPIXELS, WALK_FPS
from latentcli.errors import ConfigError, FileFormatError, ImageError, LatentCLIError, ModelMismatch, UsageError
from latentcli.events import Event, Note, Piped, Progress, Skipped, Wrote
from latentcli.files import PIPE, free_name, output_file, write_whole
from latentcli.images import as_float, encode_animation, walk
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.model.objective import refine
from latentcli.photo.locate import Aim, check_aim, find_boxes
from latentcli.photo.merge import MergeOptions
from latentcli.photo.metadata import Provenance, can_tell, earlier, read_provenance
from latentcli.photo.photo import Photo, side_by_side
from latentcli.pipelines.apply_vector import Edit, Moves, Range, load_moves, tell_existing, tell_way
from latentcli.pipelines.jobs import Naming, Source, Target, check_originals, gather, targets

_KEPT_FORMATS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".avif")
_AHEAD = 2  # photos for each job that wait to be told
_ROUNDING = 1e-6  # of the largest number of a latent: some units in the last place of float32
_FRAMES = 13  # of an animation, from the photo to the edited photo
_ANIMATED = (".webp", ".gif", ".png")


@dataclass(frozen=True, slots=True)
class PhotoEdit:
    """What to do to each photo."""

    edit: Edit
    aim: Aim = field(default_factory=Aim)
    merging: MergeOptions = field(default_factory=MergeOptions)
    refine: bool = False
    compare: bool = False  # before, reconstruction and after instead of the edited photo

    def tag(self) -> str:
        """What it adds to a file's name."""
        return f"{self.edit.tag()}-compared" if self.compare else self.edit.tag()


@dataclass(frozen=True, slots=True)
class Job:
    """How to go about it."""

    output: Path | None = None
    force: bool = False
    workers: int = 1  # photos at the same time
    megapixels: float = PHOTO_MEGAPIXELS
    tells: bool = True  # in the result's file, what was done
    animation: Path | None = None  # instead of the edited photo
    fps: float = WALK_FPS  # of the animation


@dataclass(frozen=True, slots=True)
class _Editor:
    """All it takes to edit one photo after the other."""

    model: LoadedModel
    moves: Moves
    how: PhotoEdit
    job: Job
    alone: bool  # one photo: more is said


@dataclass(frozen=True, slots=True)
class _Edited:
    content: bytes
    z: Tensor  # (places, latent_dim), as they were
    notes: list[str]


def edit_photos(entry: ModelEntry, arguments: Sequence[Path], how: PhotoEdit, job: Job) -> Iterator[Event]:
    """Edit photos and folders of photos.

    Raises ConfigError for a box outside a photo or without dlib where faces are to be found, OutputExists when a named
    output is taken.
    """
    sources = gather(arguments, pipes=True)
    if job.animation is not None:
        work = [_animated(sources, job, job.animation)]
    else:
        work = targets(sources, Naming(how.tag(), _same_format, job.output, job.force))
    if how.aim.places and len(work) > 1:
        raise ConfigError(f"--box belongs to one photo, but there are {len(work)}; edit them one by one")
    model = load_model(entry.path)
    moves = load_moves(entry, model, how.edit)
    check_aim(how.aim, [(target.source.path, target.source.content) for target in work], model.config, job.megapixels)
    return _edit(_Editor(model, moves, how, job, len(work) == 1), work)


def _animated(sources: Sequence[Source], job: Job, animation: Path) -> Target:
    if len(sources) != 1:
        raise ConfigError(f"--animate takes one photo, but there are {len(sources)}")
    if animation.suffix.lower() not in _ANIMATED:
        raise UsageError(f"--animate writes {', '.join(_ANIMATED)}, got {animation}")
    target = Target(sources[0], output_file(animation, animation, job.force))
    check_originals([target])
    return target


def _same_format(source: Source) -> str:
    suffix = source.path.suffix
    return suffix if suffix.lower() in _KEPT_FORMATS else ".png"


def _edit(editor: _Editor, work: list[Target]) -> Iterator[Event]:
    yield from tell_existing(work)
    open_work = [target for target in work if not target.is_done]
    before: list[Tensor] = []
    workers = editor.job.workers
    results = walk(open_work, partial(_edit_one, editor), at_once=_AHEAD * workers, workers=workers)
    for done, (target, result) in enumerate(results, start=1):
        if isinstance(result, ImageError):
            yield Skipped(str(result))
            continue
        yield from map(Note, result.notes)
        yield Piped(result.content) if target.path == PIPE else Wrote(target.path)
        before.append(result.z)
        yield Progress("editing", done, len(open_work))
    yield from tell_way(before, editor.moves)
    if not editor.alone:
        yield Note(f"edited {len(before)} of {len(work)} photos")


def _edit_one(editor: _Editor, target: Target) -> _Edited:
    """Read, edit and write one photo. Raises ImageError for one that cannot be read or has no such face."""
    source, how = target.source, editor.how
    photo = Photo.read(source.path, source.content, editor.job.megapixels)
    suffix = _same_format(source) if target.path == PIPE else target.path.suffix
    is_sheet = how.compare or bool(how.edit.rows)
    notes = [f"{source.path}: {lost} cannot be kept" for lost in photo.lost(suffix, is_sheet)]
    _check_sheet(editor, photo, source)
    places, found = find_boxes(photo, source.path, editor.model.config, how.aim)
    versions, z = edit_photo(editor.model, photo, editor.moves, how, places)
    done = _provenance(editor, source, photo, places) if editor.job.tells else None
    if len(versions) == 1 and versions[0] is photo and _same_type(source.path, suffix):
        content = photo.content  # nothing was changed
    else:
        content = _encoded(editor, versions, suffix, done)
        if done and not can_tell(suffix):
            notes.append(f"{source.path}: {suffix} files cannot tell what was done")
    if target.path != PIPE:
        write_whole(target.path, content)
    return _Edited(content if target.path == PIPE else b"", z, notes + (found if editor.alone else []))


def _check_sheet(editor: _Editor, photo: Photo, source: Source) -> None:
    """Raises ImageError where all versions of a photo together are more than a picture may have."""
    count = 3 if editor.how.compare else math.prod(row.count for row in editor.how.edit.rows)
    megapixels = count * photo.size[0] * photo.size[1] / 1e6
    if count > 1 and megapixels > MEGAPIXELS:
        size = f"{megapixels:.0f} megapixels"
        raise ImageError(f"{source.path}: {count} versions are {size}, above {MEGAPIXELS:g}; scale it down")


def _encoded(editor: _Editor, versions: list[Photo], suffix: str, done: str | None) -> bytes:
    """The file of an edited photo, of a sheet of its versions, or of an animation that goes there and back."""
    if editor.job.animation is not None:
        frames = [version.picture for version in versions]
        options = versions[0].traits.options(suffix, done)
        return encode_animation(frames + frames[-2:0:-1], suffix, editor.job.fps, **options)
    if len(versions) == 1:
        return versions[0].bytes(suffix, done)
    columns = len(versions) if editor.how.compare else editor.moves.columns
    return side_by_side(versions, columns).bytes(suffix, done)


def _same_type(path: Path, suffix: str) -> bool:
    kinds = {".jpeg": ".jpg", ".tiff": ".tif"}
    return kinds.get(path.suffix.lower(), path.suffix.lower()) == kinds.get(suffix.lower(), suffix.lower())


def edit_photo(
    model: LoadedModel, photo: Photo, moves: Moves, how: PhotoEdit, places: Sequence[Box]
) -> tuple[list[Photo], Tensor]:
    """The edited photo, or its strip of strengths, or what `compare` asks for; and the latents (places, latent_dim).

    Where nothing changes it is the very photo that was given.
    """
    versions: list[Photo] = []
    reconstructed, latents = photo, []
    merging = replace(how.merging, rounded=model.config.crop == "face")
    for place in places:
        x = photo.crop(model.config, place)[None]
        z = model.encode(x)
        if how.refine:
            z = refine(model.vae, as_float(torch.from_numpy(x)), z)
        latents.append(z)
        moved = moves.versions(z[0])
        before, *after = model.decode(torch.cat([z, moved]))
        versions = versions or [photo] * len(moved)
        versions = [
            version if _is_unmoved(one, z[0]) else version.merged(before, drawn, place, merging)
            for version, one, drawn in zip(versions, moved, after, strict=True)
        ]
        if how.compare:
            reconstructed = reconstructed.merged(before, before, place, replace(merging, way="decode"))
    if how.compare:
        versions = [photo, reconstructed, *versions]
    return versions, torch.cat(latents)


def _is_unmoved(moved: Tensor, z: Tensor) -> bool:
    """Whether a latent is where it was, but for the rounding of vectors that cancel each other."""
    return torch.allclose(moved, z, rtol=0.0, atol=_ROUNDING * float(z.abs().max()))


def _provenance(editor: _Editor, source: Source, photo: Photo, places: Sequence[Box]) -> str:
    how, model = editor.how, editor.model
    return Provenance(
        model=model.name,
        model_id=model.model_id,
        vectors=tuple(_vector_told(editor, position) for position in range(len(how.edit.vectors))),
        places=tuple(place.text() for place in places),
        face=how.aim.face,
        every_face=how.aim.every_face,
        align=how.aim.align,
        given=bool(how.aim.places) and not how.aim.found,
        fps=editor.job.fps if editor.job.animation is not None else None,
        original=source.path.name,
        original_sha256=photo.digest,
        rows=tuple(row.text() for row in how.edit.rows),
        merge=how.merging.way,
        detail=how.merging.detail,
        refine=how.refine,
        compare=how.compare,
        stay_typical=how.edit.stay_typical,
        earlier=earlier(photo.traits.done_before),
    ).text()


def _vector_told(editor: _Editor, position: int) -> dict[str, Any]:
    vector, _ = editor.moves.moves[position]
    amount = editor.how.edit.amounts()[position]
    parts = {"strength": amount.strength, "sigma": amount.sigma, "to": amount.to}
    return {"name": vector.name, "digest": direction_digest(vector.direction)} | {
        name: value for name, value in parts.items() if value is not None
    }


def direction_digest(direction: Tensor) -> str:
    """Twelve hex digits that tell whether two vectors are one."""
    return hashlib.sha256(direction.float().numpy().tobytes()).hexdigest()[:12]


def animated(how: PhotoEdit) -> PhotoEdit:
    """The same as a row of strengths from none to the edit's own, unless it has one.

    Raises UsageError where the strength is not a plain number.
    """
    if how.edit.rows:
        return how
    strength = how.edit.amounts()[0].strength
    if strength is None:
        raise UsageError("--animate goes by strengths; give --strength or --strip, not --sigma or --to")
    return replace(how, edit=replace(how.edit, rows=(Range(0.0, strength, _FRAMES),)))


@dataclass(frozen=True, slots=True)
class RerunPlan:
    """An edit, and what it takes to do it again."""

    entry: ModelEntry
    edited: Path
    photo: Path
    how: PhotoEdit
    fps: float | None  # of an animation
    notes: tuple[str, ...]


def plan_rerun(edited: Path, photo: Path | None, model: str | None) -> RerunPlan:
    """Find the photo, the model and the vectors of an edit.

    Raises FileFormatError where nothing is told of an edit, ImageError when the original is not there, ModelMismatch
    when the model is another one.
    """
    told = read_provenance(edited)
    try:
        if told.face < 1 or not (told.fps is None or 0 < told.fps <= 1000):
            raise ValueError("no such face or speed")
        edit = _edit_of(told)
        places = tuple(Box.parse(text) for text in told.places)
        merging = MergeOptions(told.merge, told.detail)  # type: ignore[arg-type]  # MergeOptions checks it
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
    return RerunPlan(entry, edited, photo, how, told.fps, tuple(note for note in notes if note))


def rerun(plan_rerun: RerunPlan, output: Path | None, force: bool, megapixels: float) -> Iterator[Event]:
    """Raises as `edit_photos` does."""
    job = Job(output, force, megapixels=megapixels)
    if plan_rerun.fps is not None:
        job = replace(job, output=None, animation=output or free_name(plan_rerun.edited), fps=plan_rerun.fps)
    events = edit_photos(plan_rerun.entry, [plan_rerun.photo], plan_rerun.how, job)
    return _with_notes(plan_rerun.notes, events)


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
