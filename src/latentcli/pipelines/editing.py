"""Concept vectors put to use: `apply-vector` decodes at model size, `edit` merges the change into the photo."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from latentcli import catalog
from latentcli.catalog import ModelEntry, VectorRequest
from latentcli.concepts.geometry import Geometry
from latentcli.concepts.moves import Amount, Move, move, told
from latentcli.concepts.vector import ConceptVector
from latentcli.errors import ConfigError, ImageError, UsageError
from latentcli.images import grid, to_pictures, walk, write_picture
from latentcli.labels import Labels
from latentcli.latents import SUFFIX
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.photo import Box, Photo
from latentcli.pipelines import vectors as vector_pipeline
from latentcli.pipelines.encoding import decode_latents, encode_images, encode_paths
from latentcli.pipelines.events import AlreadyThere, Event, Note, Progress, Unreadable, Wrote
from latentcli.pipelines.keyframes import keyframes
from latentcli.pipelines.outputs import Naming, Source, Target, gather, targets

_KEPT_FORMATS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".avif")
_PHOTOS_AHEAD = 4  # full-size photos in memory
_MOST_STEPS = 100  # of a strip
_AT_ONCE = 64  # latents


@dataclass(frozen=True, slots=True)
class Range:
    """Strengths from one to another."""

    first: float
    last: float
    count: int

    @classmethod
    def parse(cls, text: str, option: str) -> "Range":
        """From `-1:2:7`. Raises UsageError.

        >>> Range.parse("-1:2:7", "--strip").tag()
        '-1..2x7'
        """
        try:
            first, last, count = text.split(":")
            found = cls(float(first), float(last), int(count))
        except ValueError:
            found = cls(math.nan, 0, 0)
        if not (math.isfinite(found.first) and math.isfinite(found.last) and 2 <= found.count <= _MOST_STEPS):
            raise UsageError(f"{option} takes FROM:TO:COUNT, like -1:2:7, got {text!r}")
        return found

    def tag(self) -> str:
        """As it stands in a file's name."""
        return f"{self.first:+g}..{self.last:g}x{self.count}"

    def amounts(self) -> list[Amount]:
        return [Amount(strength) for strength in torch.linspace(self.first, self.last, self.count).tolist()]


def amount(strength: float | None, sigma: float | None, to: str | None) -> Amount:
    """From the options; strength 1 without any. Raises UsageError for two of them."""
    asked = strength, sigma, to
    return Amount(*asked) if any(value is not None for value in asked) else Amount()


@dataclass(frozen=True, slots=True)
class Edit:
    """What to do to each image."""

    vectors: tuple[VectorRequest, ...]
    amount: Amount = field(default_factory=Amount)  # for vectors without a strength of their own
    stay_typical: bool = False
    box: Box | None = None
    rows: tuple[Range, ...] = ()  # of the first vectors: one makes a strip of each image, two a sheet

    def amounts(self) -> list[Amount]:
        return [self.amount if vector.strength is None else Amount(vector.strength) for vector in self.vectors]

    def tag(self) -> str:
        """What the edit adds to a file's name."""
        names = [Path(vector.reference).name.removesuffix(catalog.VECTOR_SUFFIX) for vector in self.vectors]
        tags = [*(row.tag() for row in self.rows), *(amount.tag() for amount in self.amounts()[len(self.rows) :])]
        told = "".join(f"-{name}{tag}" for name, tag in zip(names, tags, strict=True))
        return f"{told}-typical" if self.stay_typical else told


@dataclass(frozen=True, slots=True)
class NewVector:
    """A vector to be computed from labels first, and kept when `save` is given."""

    labels: Labels
    how: vector_pipeline.How
    edit: Edit  # its vector is the new one
    save: str | None


@dataclass(frozen=True, slots=True)
class _Moves:
    """An edit with its vectors loaded."""

    moves: list[Move]
    typical: Geometry | None
    rows: tuple[Range, ...] = ()

    def of(self, z: Tensor) -> Tensor:
        return move(z, self.moves, self.typical)

    def pictures(self, model: LoadedModel, z: Tensor) -> list[Image.Image]:
        """One for each latent (n, latent_dim): the edited image, or its strip or sheet of strengths."""
        if not self.rows:
            return to_pictures(decode_latents(model, self.of(z)))
        sheets = []
        for one in z:
            moved = []
            for amounts in product(*(row.amounts() for row in self.rows)):
                ahead = [(vector, amount) for (vector, _), amount in zip(self.moves, amounts, strict=False)]
                moved.append(move(one[None], [*ahead, *self.moves[len(amounts) :]], self.typical))
            sheets.append(grid(to_pictures(decode_latents(model, torch.cat(moved))), columns=self.rows[-1].count))
        return sheets


def _moves(edit: Edit, model: LoadedModel, vectors: Sequence[ConceptVector]) -> _Moves:
    typical = vector_pipeline.geometry(model) if edit.stay_typical else None
    return _Moves(list(zip(vectors, edit.amounts(), strict=True)), typical, edit.rows)


def load_moves(entry: ModelEntry, model: LoadedModel, edit: Edit) -> _Moves:
    """The edit with its vectors. Raises ModelMismatch for one that another model made."""
    return _moves(edit, model, [vector_pipeline.load_vector(entry, model, request) for request in edit.vectors])


def apply_saved(
    entry: ModelEntry, arguments: Sequence[Path], edit: Edit, output: Path | None, force: bool
) -> Iterator[Event]:
    """Move images, latents or samples along saved vectors and decode them at model size, as PNG."""
    model = load_model(entry.path)
    work = targets(_subjects(model, arguments), Naming(edit.tag(), _png, output, force))
    return _apply(model, work, load_moves(entry, model, edit))


def apply_new(
    entry: ModelEntry, arguments: Sequence[Path], new: NewVector, output: Path | None, force: bool
) -> Iterator[Event | vector_pipeline.Fitted]:
    """The same with a vector computed on the spot from labelled folders."""
    for concept in new.labels.concepts:
        concept.check()
    model = load_model(entry.path)
    work = targets(_subjects(model, arguments), Naming(new.edit.tag(), _png, output, force))
    kept = vector_pipeline.check_new(entry, new.save, force) if new.save else None
    return _compute_and_apply(model, entry, work, new, kept)


def _compute_and_apply(
    model: LoadedModel, entry: ModelEntry, work: list[Target], new: NewVector, kept: Path | None
) -> Iterator[Event | vector_pipeline.Fitted]:
    for event in vector_pipeline.compute(model, entry, new.labels, new.how):
        yield event
        if isinstance(event, vector_pipeline.Fitted):
            if kept:
                event.vector.save(kept)
                yield Wrote(kept)
            yield from _apply(model, work, _moves(new.edit, model, [event.vector]))


def _png(source: Source) -> str:
    return ".png"


def _subjects(model: LoadedModel, arguments: Sequence[Path]) -> list[Source]:
    """Images, folders of them, latents files, one latent of a file, or samples."""
    found: list[Source] = []
    for argument in arguments:
        text = str(argument)
        if not text.startswith("seed:") and not text.partition("#")[0].endswith(".safetensors"):
            found += gather([argument])
            continue
        z, names = keyframes(model, text)
        path = Path(text.partition("#")[0])
        several = path.suffix == ".safetensors" and "#" not in text
        folder = Path(path.name.removesuffix(SUFFIX)) if several else None
        found += [Source(path, name, folder, one) for name, one in zip(names, z, strict=True)]
    return found


def _apply(model: LoadedModel, work: list[Target], moves: _Moves) -> Iterator[Event]:
    yield from _already_there(work)
    open_work = [target for target in work if not target.is_done]
    before: list[Tensor] = []
    for z, some in _encoded(model, open_work):
        if isinstance(some, Unreadable):
            yield some
            continue
        for target, picture in zip(some, moves.pictures(model, z), strict=True):
            write_picture(picture, target.path)
            yield Wrote(target.path)
        before.append(z)
        yield Progress(sum(map(len, before)), len(open_work))
    if not moves.rows:
        yield from _tell_way(before, moves)


def _encoded(model: LoadedModel, work: list[Target]) -> Iterator[tuple[Tensor, list[Target] | Unreadable]]:
    """Latents and where they belong: those that are latents already, then the images."""
    latents = [(target.source.z, target) for target in work if target.source.z is not None]
    for start in range(0, len(latents), _AT_ONCE):
        z, some = zip(*latents[start : start + _AT_ONCE], strict=True)
        yield torch.stack(z), list(some)
    images = [target for target in work if target.source.z is None]
    for result in encode_paths(model, [target.source.path for target in images]):
        if isinstance(result, Unreadable):
            yield torch.empty(0), result
        else:
            yield result.mean, [images[position] for position in result.positions]


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
    moves = load_moves(entry, model, edit)
    if edit.box is not None:
        Photo.read(work[0].source.path).box(model.config, edit.box)
    return _edit(model, work, moves, edit.box)


def _same_format(source: Source) -> str:
    suffix = source.path.suffix
    return suffix if suffix.lower() in _KEPT_FORMATS else ".png"


def _edit(model: LoadedModel, work: list[Target], moves: _Moves, box: Box | None) -> Iterator[Event]:
    open_work = [target for target in work if not target.is_done]
    yield from _already_there(work)
    before: list[Tensor] = []
    photos = walk([target.source.path for target in open_work], Photo.read, at_once=_PHOTOS_AHEAD)
    for done, (target, (_, photo)) in enumerate(zip(open_work, photos, strict=True), start=1):
        if isinstance(photo, ImageError):
            yield Unreadable(str(photo))
            continue
        for lost in photo.traits.lost:
            yield Note(f"{target.source.path}: {lost} cannot be kept")
        if len(work) == 1 and box is None:
            yield from _tell_crop(photo, model)
        edited, z = edit_photo(model, photo, moves, box)
        write_picture(edited, target.path, **photo.traits.options(target.path.suffix))
        before.append(z)
        yield Wrote(target.path)
        yield Progress(done, len(open_work))
    yield from _tell_way(before, moves)


def _tell_way(before: list[Tensor], moves: _Moves) -> Iterator[Event]:
    """How far the latents were moved, in each unit."""
    if before:
        yield from map(Note, told(torch.cat(before), moves.moves, moves.typical))


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


def edit_photo(model: LoadedModel, photo: Photo, moves: _Moves, box: Box | None = None) -> tuple[Image.Image, Tensor]:
    """The photo with the difference that the vectors make between two decodings merged in; and its latent as it was."""
    place = photo.box(model.config, box)
    z = encode_images(model, photo.crop(model.config, place)[None])
    before, after = decode_latents(model, torch.cat([z, moves.of(z)]))
    return photo.merge(after - before, place), z
