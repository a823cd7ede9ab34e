"""Concept vectors put to use: `apply-vector` decodes at model size, `edit` merges the change into the photo."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from latentcli import catalog
from latentcli.catalog import ModelEntry, VectorRequest
from latentcli.concepts import ConceptVector, add
from latentcli.errors import ConfigError, ImageError, ModelMismatch
from latentcli.images import to_pictures, walk, write_picture
from latentcli.labels import Labels
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.photo import Box, Photo
from latentcli.pipelines import vectors as vector_pipeline
from latentcli.pipelines.encoding import decode_latents, encode_images, encode_paths
from latentcli.pipelines.events import AlreadyThere, Event, Note, Progress, Unreadable, Wrote
from latentcli.pipelines.outputs import Naming, Source, Target, gather, strength_text, targets

_KEPT_FORMATS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".avif")
_PHOTOS_AHEAD = 4  # full-size photos in memory


@dataclass(frozen=True, slots=True)
class Edit:
    """What to do to each image."""

    vectors: tuple[VectorRequest, ...]
    strength: float  # for vectors without one of their own
    box: Box | None = None

    def strengths(self) -> list[float]:
        return [self.strength if vector.strength is None else vector.strength for vector in self.vectors]

    def tag(self) -> str:
        """What the edit adds to a file's name."""
        names = [Path(vector.reference).name.removesuffix(catalog.VECTOR_SUFFIX) for vector in self.vectors]
        return "".join(
            f"-{name}{strength_text(strength)}" for name, strength in zip(names, self.strengths(), strict=True)
        )


@dataclass(frozen=True, slots=True)
class NewVector:
    """A vector to be computed from labels first, and kept when `save` is given."""

    name: str
    labels: Labels
    strength: float
    save: str | None


Weighted = Sequence[tuple[ConceptVector, float]]


def load_vectors(entry: ModelEntry, model: LoadedModel, edit: Edit) -> list[tuple[ConceptVector, float]]:
    """The edit's vectors with their strengths. Raises ModelMismatch for one that another model made."""
    loaded = []
    for request, strength in zip(edit.vectors, edit.strengths(), strict=True):
        vector = ConceptVector.load(catalog.vector_file(entry, request))
        if vector.model_id != model.model_id or len(vector.direction) != model.config.latent_dim:
            raise ModelMismatch(
                f"{request.reference} was made with model {vector.model_id}, but {model.name} is {model.model_id}; "
                "fit it again"
            )
        loaded.append((vector, strength))
    return loaded


def apply_saved(
    entry: ModelEntry, arguments: Sequence[Path], edit: Edit, output: Path | None, force: bool
) -> Iterator[Event]:
    """Move images along saved vectors and decode them at model size, as PNG."""
    work = targets(gather(arguments), Naming(edit.tag(), _png, output, force))
    model = load_model(entry.path)
    return _apply(model, work, load_vectors(entry, model, edit))


def apply_new(
    entry: ModelEntry, arguments: Sequence[Path], new: NewVector, output: Path | None, force: bool
) -> Iterator[Event | vector_pipeline.Fitted]:
    """The same with a vector computed on the spot from labelled folders."""
    new.labels.check()
    tag = f"-{new.name}{strength_text(new.strength)}"
    work = targets(gather(arguments), Naming(tag, _png, output, force))
    kept = vector_pipeline.check_new(entry, new.save, force) if new.save else None
    return _compute_and_apply(load_model(entry.path), work, new, kept)


def _compute_and_apply(
    model: LoadedModel, work: list[Target], new: NewVector, kept: Path | None
) -> Iterator[Event | vector_pipeline.Fitted]:
    for event in vector_pipeline.compute(model, new.name, new.labels):
        yield event
        if isinstance(event, vector_pipeline.Fitted):
            if kept:
                event.vector.save(kept)
                yield Wrote(kept)
            yield from _apply(model, work, [(event.vector, new.strength)])


def _png(source: Source) -> str:
    return ".png"


def _apply(model: LoadedModel, work: list[Target], weighted: Weighted) -> Iterator[Event]:
    yield from _already_there(work)
    open_work = [target for target in work if not target.is_done]
    done = 0
    for result in encode_paths(model, [target.source.path for target in open_work]):
        if isinstance(result, Unreadable):
            yield result
            continue
        pictures = to_pictures(decode_latents(model, add(result.mean, weighted)))
        for position, picture in zip(result.positions, pictures, strict=True):
            write_picture(picture, open_work[position].path)
            yield Wrote(open_work[position].path)
        done += len(pictures)
        yield Progress(done, len(open_work))


def edit_photos(
    entry: ModelEntry, arguments: Sequence[Path], edit: Edit, output: Path | None, force: bool
) -> Iterator[Event]:
    """Edit photos at their own resolution, in their own format.

    Raises ConfigError for a box outside a photo, OutputExists when a named output is taken.
    """
    work = targets(gather(arguments), Naming(edit.tag(), _same_format, output, force))
    if edit.box is not None and len(work) > 1:
        raise ConfigError(f"--box belongs to one photo, but there are {len(work)}; edit them one by one")
    model = load_model(entry.path)
    weighted = load_vectors(entry, model, edit)
    if edit.box is not None:
        Photo.read(work[0].source.path).box(model.config, edit.box)
    return _edit(model, work, weighted, edit.box)


def _same_format(source: Source) -> str:
    suffix = source.path.suffix
    return suffix if suffix.lower() in _KEPT_FORMATS else ".png"


def _edit(model: LoadedModel, work: list[Target], weighted: Weighted, box: Box | None) -> Iterator[Event]:
    open_work = [target for target in work if not target.is_done]
    yield from _already_there(work)
    photos = walk([target.source.path for target in open_work], Photo.read, at_once=_PHOTOS_AHEAD)
    for done, (target, (_, photo)) in enumerate(zip(open_work, photos, strict=True), start=1):
        if isinstance(photo, ImageError):
            yield Unreadable(str(photo))
            continue
        for lost in photo.traits.lost:
            yield Note(f"{target.source.path}: {lost} cannot be kept")
        if len(work) == 1 and box is None:
            yield from _tell_crop(photo, model)
        edited = edit_photo(model, photo, weighted, box)
        write_picture(edited, target.path, **photo.traits.options(target.path.suffix))
        yield Wrote(target.path)
        yield Progress(done, len(open_work))


def _tell_crop(photo: Photo, model: LoadedModel) -> Iterator[Event]:
    """The model sees only a part of a photo of another shape: say which, since a face may lie elsewhere."""
    size, seen = photo.picture.size, photo.box(model.config, None)[2:]
    if size != seen and model.config.crop == "centre":
        parts = f"{seen[0]}x{seen[1]} of {size[0]}x{size[1]} pixels"
        yield Note(f"edited the centred {parts}; for a face elsewhere give --box x,y,width,height")


def _already_there(work: list[Target]) -> Iterator[Event]:
    for target in work:
        if target.is_done:
            yield AlreadyThere(target.path)


def edit_photo(model: LoadedModel, photo: Photo, weighted: Weighted, box: Box | None = None) -> Image.Image:
    """The photo with the difference that the vectors make between two decodings merged in."""
    place = photo.box(model.config, box)
    z = encode_images(model, photo.crop(model.config, place)[None])
    before, after = decode_latents(model, torch.cat([z, add(z, weighted)]))
    return photo.merge(after - before, place)
