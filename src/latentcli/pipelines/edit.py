"""Photos edited with concept vectors, at their own resolution and in their own format."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Thread

import numpy as np

from latentcli.concepts.edit import EditRequest, direction_digest
from latentcli.concepts.vector import ConceptVector
from latentcli.config import EngineName
from latentcli.defaults import MEGAPIXELS, PHOTO_MEGAPIXELS
from latentcli.errors import ConfigError, ImageError, ModelMismatch
from latentcli.events import Event, Note, Piped, Progress, Skipped, Wrote
from latentcli.figures.sheet import PLAIN, Captions, Look
from latentcli.imaging.animation import check_animation, encode_animation
from latentcli.imaging.box import Box
from latentcli.imaging.images import as_float, open_picture, read_all, to_model_size, upright_size
from latentcli.model.modelfile import LoadedModel, open_model
from latentcli.photo.locate import check_boxes, find_boxes
from latentcli.photo.metadata import holds_metadata, read_request
from latentcli.photo.photo import Photo, side_by_side
from latentcli.pipelines.inputs import Item, gather
from latentcli.pipelines.outputs import check_originals, not_done, targets
from latentcli.pipelines.vectors import captions, distances, load_vectors
from latentcli.storage import catalog
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.files import PIPE, chosen_name, open_regular, output_file, write_whole

_MOST_HASHED = 1 << 30  # bytes, at most, of a file that is hashed in the search for an original photo
_KEPT_FORMATS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".avif")
_AHEAD = 2  # edited photos, for each worker, that may wait in memory
_ROUNDING = 1e-6  # difference of equal latents, over their largest number: some units in the last place of float32
_SAME_TYPE = {".jpeg": ".jpg", ".tiff": ".tif"}
_COMPARED = Captions(columns=("original", "reconstruction", "edited"))


@dataclass(frozen=True, slots=True)
class Job:
    """Settings of `edit_photos` for files and resources; the edit itself is in an EditRequest."""

    output: Path | None = None  # the file of an animation; a file or folder for photos
    force: bool = False
    workers: int = 1  # photos at the same time
    megapixels: float = PHOTO_MEGAPIXELS
    metadata: bool = True  # write the request into the edited photo
    look: Look = PLAIN  # how a sheet of versions is drawn


def edit_photos(
    entry: ModelEntry, arguments: Sequence[Path], request: EditRequest, job: Job, notes: Sequence[str] = ()
) -> Iterator[Event]:
    """Edit photos and folders of photos and write the results; `notes` are yielded once all inputs are checked.

    Raises ConfigError for a crop box outside its photo, OutputExists for an output file that exists.
    """
    items = gather(arguments, pipes=True)
    if request.fps is None:
        items = targets(items, request.tag(), same_format, job.output, job.force)
    elif len(items) != 1:
        raise ConfigError(f"`animate` takes one photo, but there are {len(items)}")
    elif job.output is not None:
        check_animation(job.output)
        items = [replace(items[0], target=output_file(job.output, job.output, job.force))]
        check_originals(items)
    if request.boxes and len(items) > 1:
        raise ConfigError(f"`box` belongs to one photo, but there are {len(items)}; edit them one by one")
    model = open_model(entry)
    if request.refine:
        _ = model.vae  # before any photo is read: it takes PyTorch, which may be missing
    vectors = load_vectors(entry, model, request.vectors)
    if request.boxes:
        with open_picture(items[0].path, items[0].content, job.megapixels) as picture:
            check_boxes(request.boxes, upright_size(picture), model.config)
    request = request.made_with(model.name, model.model_id, vectors)
    yield from map(Note, notes)
    open_items = yield from not_done(items)
    if open_items:
        Thread(target=model.engine.prepare).start()  # while the first photo is read and its faces are found
    before: list[np.ndarray] = []
    edit_one = partial(_edit_one, model, request, vectors, job)
    results = read_all(open_items, edit_one, at_once=_AHEAD * job.workers, workers=job.workers)
    for done, (item, result) in enumerate(results, start=1):
        if isinstance(result, ImageError):
            yield Skipped(str(result))
            continue
        content, z, file_notes, box_notes = result
        yield from map(Note, file_notes + box_notes if len(items) == 1 else file_notes)
        yield Piped(content) if item.target == PIPE else Wrote(item.target)
        before.append(z)
        yield Progress("editing", done, len(open_items))
    yield from distances(model, before, request, vectors)
    if len(items) != 1:
        yield Note(f"edited {len(before)} of {len(items)} photos")


def edited_bytes(model: LoadedModel, request: EditRequest, vectors: list[ConceptVector], item: Item) -> bytes:
    """Bytes of the file that `edit_photos` writes for one photo. Raises ImageError if the photo has no face to edit."""
    made = request.made_with(model.name, model.model_id, vectors)
    return _edit_one(model, made, vectors, Job(), replace(item, target=PIPE))[0]


def same_format(item: Item) -> str:
    """Suffix of an edited photo: the original's if latentcli writes that format, else `.png`."""
    suffix = item.path.suffix
    return suffix if suffix.lower() in _KEPT_FORMATS else ".png"


def _edit_one(
    model: LoadedModel, request: EditRequest, vectors: list[ConceptVector], job: Job, item: Item
) -> tuple[bytes, np.ndarray, list[str], list[str]]:
    """Read, edit and write one photo. Raises ImageError if the photo is unreadable or has no face to edit.

    Returns the result's bytes if the target is the standard output, else b""; the unedited latents (boxes, latent_dim);
    notes on data that the file cannot store; notes on how the crop boxes were found.
    """
    photo = Photo.read(item.path, item.content, job.megapixels)
    suffix = same_format(item) if item.target == PIPE else item.target.suffix
    notes = [
        f"{item.path}: {lost} cannot be kept" for lost in photo.lost(suffix, request.compare or request.rows != ())
    ]
    count = 3 if request.compare else request.count
    megapixels = count * photo.size[0] * photo.size[1] / 1e6
    if count > 1 and megapixels > MEGAPIXELS:
        size = f"{megapixels:.0f} megapixels"
        raise ImageError(f"{item.path}: {count} versions are {size}, above {MEGAPIXELS:g}; scale it down")
    boxes, box_notes = find_boxes(photo, item.path, model.config, request)
    versions, z = edit_photo(model, photo, request, boxes, vectors)
    before, after = (_SAME_TYPE.get(name.lower(), name.lower()) for name in (item.path.suffix, suffix))
    if len(versions) == 1 and versions[0] is photo and before == after:
        content = photo.content  # the edit changes nothing
    else:
        made = replace(
            request,
            boxes=tuple(boxes),
            original=item.path.name,
            original_sha256=hashlib.sha256(photo.content).hexdigest(),
            earlier=photo.traits.earlier,
        )
        content = _encoded(versions, request, job.look, suffix, made.text() if job.metadata else None)
        if job.metadata and not holds_metadata(suffix):
            notes.append(f"{item.path}: {suffix} files cannot store edit metadata")
    if item.target != PIPE:
        write_whole(item.target, content)
        content = b""
    return content, z, notes, box_notes


def _encoded(versions: list[Photo], request: EditRequest, look: Look, suffix: str, record: str | None) -> bytes:
    """Bytes of an output file: a photo, a sheet of versions, or an animation back and forth; `record` is metadata."""
    if request.fps is not None:
        frames = [version.visible() for version in versions]
        options = versions[0].traits.options(suffix, record)
        return encode_animation(frames + frames[-2:0:-1], suffix, request.fps, **options)
    if len(versions) == 1:
        return versions[0].bytes(suffix, record)
    columns, words = (len(versions), _COMPARED) if request.compare else (request.columns, captions(request))
    return side_by_side(versions, columns, look, words).bytes(suffix, record)


def edit_photo(
    model: LoadedModel, photo: Photo, request: EditRequest, boxes: Sequence[Box], vectors: Sequence[ConceptVector]
) -> tuple[list[Photo], np.ndarray]:
    """Versions of a photo, and the unedited latents (boxes, latent_dim) of its crop boxes.

    The versions are an edited photo for each strength in `request` or, with `request.compare`, the photo, its
    reconstruction and the edited photo. A version in which nothing changes is the object `photo` itself.
    """
    versions: list[Photo] = []
    reconstructed, latents = photo, []
    typical = model.geometry if request.stay_typical else None
    rounded = model.config.crop == "face"
    for box in boxes:
        seen = photo.visible() if model.config.has_alpha else photo.picture
        x = as_float(to_model_size(seen, model.config, box)[None])
        z = model.encode_float(x)
        if request.refine:
            import torch

            from latentcli.model.objective import refine

            z = refine(model.vae, torch.from_numpy(x), torch.from_numpy(z)).numpy()
        latents.append(z)
        moved = request.versions(vectors, typical, z)[:, 0]
        before, *after = model.decode(np.concatenate([z, moved]))
        versions = versions or [photo] * len(moved)
        versions = [
            # Vectors that cancel each other, but for rounding, do not change the photo.
            version
            if np.allclose(latent, z[0], rtol=0.0, atol=_ROUNDING * float(np.abs(z).max()))
            else version.merged(before, image, box, request, rounded)
            for version, latent, image in zip(versions, moved, after, strict=True)
        ]
        if request.compare:
            decoding = replace(request, merge="decode")
            reconstructed = reconstructed.merged(before, before, box, decoding, rounded)
    if request.compare:
        versions = [photo, reconstructed, *versions]
    return versions, np.concatenate(latents)


def rerun(
    edited: Path, photo: Path | None, model: str | None, job: Job, engine: EngineName = "auto"
) -> tuple[ModelEntry, Iterator[Event]]:
    """Repeat the edit stored in the file `edited`, on its original or on `photo`; returns the model and the events.

    Raises FileFormatError for a file without an edit, ImageError for an original that is not found, ModelMismatch for
    a model that did not make the edit, and the errors of `edit_photos`.
    """
    request = read_request(edited)
    is_same = photo is None or _digest(photo) == request.original_sha256
    photo = photo or _original(edited, Path(request.original).name, request.original_sha256)
    entry = replace(
        catalog.find_model(model or request.model, [vector.wanted for vector in request.vectors]), engine=engine
    )
    if entry.model_id != request.model_id:
        raise ModelMismatch(
            f"{edited} was made with model {request.model} ({request.model_id}), but {entry.name} is "
            f"{entry.model_id}; name the model it was made with: `model` PATH"
        )
    notes = [
        f"{vector.name} has been fitted again since: the result will differ"
        for vector in request.vectors
        if (vector.wanted.is_file or vector.name in catalog.vectors_of(entry))
        and direction_digest(ConceptVector.load(catalog.vector_file(entry, vector.wanted)).direction) != vector.digest
    ]
    if not is_same and not request.given:
        notes.append(f"{photo} is not the photo that was edited: the part to edit is chosen again")
        request = replace(request, boxes=())
    if request.fps is not None and job.output is None:
        job = replace(job, output=chosen_name(edited, job.force and is_same))
    return entry, edit_photos(entry, [photo], request, job, notes)


def _original(edited: Path, name: str, digest: str) -> Path:
    """Path of the original photo, by name and SHA-256: near the file `edited`, or in the current folder or one below.

    Raises ImageError if the photo is in none of the folders.
    """
    below = sorted(folder for folder in Path().iterdir() if folder.is_dir())
    for folder in (edited.parent, edited.parent.parent, Path(), *below):
        if _digest(folder / name) == digest:
            return folder / name
    raise ImageError(f"{name}, the original of {edited}, is not near it; name it with `photo` FILE")


def _digest(photo: Path) -> str:
    """SHA-256 of a file, in hex; "" for an unreadable file."""
    try:
        with open_regular(photo, _MOST_HASHED) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
