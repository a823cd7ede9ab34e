"""What a job does to latents: vectors and strengths as they were asked for, then loaded for one model."""

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
from latentcli.concepts.fit import FitSettings
from latentcli.concepts.labels import Labels
from latentcli.concepts.strength import Amount, Move, describe, move
from latentcli.concepts.vector import ConceptVector
from latentcli.config import MOST_STRENGTH
from latentcli.errors import UsageError
from latentcli.events import Event, Kept, Note, Progress, Skipped, Wrote
from latentcli.images import grid, to_pictures, write_picture
from latentcli.latents import SUFFIX
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.model.prior import Geometry
from latentcli.pipelines import fit_vectors
from latentcli.pipelines.encode import encode_paths, keyframes
from latentcli.pipelines.jobs import Naming, Source, Target, gather, targets

_MOST_STEPS = 100  # of a strip


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
        in_reach = all(abs(end) <= MOST_STRENGTH for end in (found.first, found.last))
        if not (in_reach and 2 <= found.count <= _MOST_STEPS):
            limits = f"strengths up to {MOST_STRENGTH:g}, a count of 2 to {_MOST_STEPS}"
            raise UsageError(f"{option} takes FROM:TO:COUNT, like -1:2:7 ({limits}), got {text!r}")
        return found

    def text(self) -> str:
        """As `parse` takes it."""
        return f"{self.first:.15g}:{self.last:.15g}:{self.count}"

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
    rows: tuple[Range, ...] = ()  # of the first vectors: one makes a strip of each image, two a sheet

    def __post_init__(self) -> None:
        if len(self.rows) > len(self.vectors):
            raise UsageError("each row of strengths is one of a vector")
        if self.amount != Amount() and all(vector.strength is not None for vector in self.vectors):
            raise UsageError("every vector has a strength of its own after =; leave out --strength, --sigma and --to")

    def amounts(self) -> list[Amount]:
        return [self.amount if vector.strength is None else Amount(vector.strength) for vector in self.vectors]

    def tag(self) -> str:
        """What the edit adds to a file's name."""
        names = [Path(vector.reference).name.removesuffix(catalog.VECTOR_SUFFIX) for vector in self.vectors]
        tags = [*(row.tag() for row in self.rows), *(amount.tag() for amount in self.amounts()[len(self.rows) :])]
        told = "".join(f"-{name}{tag}" for name, tag in zip(names, tags, strict=True))
        return f"{told}-typical" if self.stay_typical else told


@dataclass(frozen=True, slots=True)
class Moves:
    """An edit with its vectors loaded."""

    moves: list[Move]
    typical: Geometry | None
    rows: tuple[Range, ...] = ()

    @property
    def columns(self) -> int:
        """Of the sheet that an image's versions make."""
        return self.rows[-1].count if self.rows else 1

    def of(self, z: Tensor) -> Tensor:
        """Latents (n, latent_dim) moved, without rows of strengths."""
        return move(z, self.moves, self.typical)

    def versions(self, one: Tensor) -> Tensor:
        """What becomes of one latent (latent_dim,): a row for it, or for each strength of its strip or sheet."""
        moved = []
        for amounts in product(*(row.amounts() for row in self.rows)):
            ahead = [(vector, amount) for (vector, _), amount in zip(self.moves, amounts, strict=False)]
            moved.append(move(one[None], [*ahead, *self.moves[len(amounts) :]], self.typical))
        return torch.cat(moved)


def moves_with(edit: Edit, model: LoadedModel, vectors: Sequence[ConceptVector]) -> Moves:
    """The edit with these vectors."""
    typical = fit_vectors.geometry(model) if edit.stay_typical else None
    return Moves(list(zip(vectors, edit.amounts(), strict=True)), typical, edit.rows)


def load_moves(entry: ModelEntry, model: LoadedModel, edit: Edit) -> Moves:
    """The edit with its saved vectors. Raises ModelMismatch for one that another model made."""
    return moves_with(edit, model, [fit_vectors.load_vector(entry, model, request) for request in edit.vectors])


def tell_way(before: list[Tensor], moves: Moves) -> Iterator[Event]:
    """How far latents were moved, in each unit; nothing for strips, whose strengths were given."""
    if before and not moves.rows:
        yield from map(Note, describe(torch.cat(before), moves.moves, moves.typical))


def tell_existing(work: list[Target]) -> Iterator[Event]:
    """The results of a folder job that are there already."""
    for target in work:
        if target.is_done:
            yield Kept(target.path)


_AT_ONCE = 64  # latents


@dataclass(frozen=True, slots=True)
class NewVector:
    """A vector to be computed from labels first, and kept when `save` is given."""

    labels: Labels
    settings: FitSettings
    edit: Edit  # its vector is the new one
    save: str | None


def apply_saved(
    entry: ModelEntry, arguments: Sequence[Path], edit: Edit, output: Path | None, force: bool
) -> Iterator[Event]:
    """Move images, latents or samples along saved vectors and decode them at model size, as PNG."""
    model = load_model(entry.path)
    work = targets(_subjects(model, arguments), Naming(edit.tag(), _png, output, force))
    return _apply(model, work, load_moves(entry, model, edit))


def apply_new(
    entry: ModelEntry, arguments: Sequence[Path], new: NewVector, output: Path | None, force: bool
) -> Iterator[Event | ConceptVector]:
    """The same with a vector computed on the spot from labelled folders."""
    for concept in new.labels.concepts:
        concept.check()
    model = load_model(entry.path)
    work = targets(_subjects(model, arguments), Naming(new.edit.tag(), _png, output, force))
    kept = fit_vectors.check_new(entry, new.save, force) if new.save else None
    return _compute_and_apply(model, entry, work, new, kept)


def _compute_and_apply(
    model: LoadedModel, entry: ModelEntry, work: list[Target], new: NewVector, kept: Path | None
) -> Iterator[Event | ConceptVector]:
    for event in fit_vectors.compute(model, entry, new.labels, new.settings):
        yield event
        if isinstance(event, ConceptVector):
            if kept:
                event.save(kept)
                yield Wrote(kept)
            yield from _apply(model, work, moves_with(new.edit, model, [event]))


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


def _apply(model: LoadedModel, work: list[Target], moves: Moves) -> Iterator[Event]:
    yield from tell_existing(work)
    open_work = [target for target in work if not target.is_done]
    before: list[Tensor] = []
    for z, some in _encoded(model, open_work):
        if isinstance(some, Skipped):
            yield some
            continue
        for target, picture in zip(some, _pictures(model, moves, z), strict=True):
            write_picture(picture, target.path)
            yield Wrote(target.path)
        before.append(z)
        yield Progress("decoding", sum(map(len, before)), len(open_work))
    yield from tell_way(before, moves)


def _pictures(model: LoadedModel, moves: Moves, z: Tensor) -> list[Image.Image]:
    """One for each latent (n, latent_dim): the edited image, or its strip or sheet of strengths."""
    if not moves.rows:
        return to_pictures(model.decode(moves.of(z)))
    return [grid(to_pictures(model.decode(moves.versions(one))), moves.columns) for one in z]


def _encoded(model: LoadedModel, work: list[Target]) -> Iterator[tuple[Tensor, list[Target] | Skipped]]:
    """Latents and where they belong: those that are latents already, then the images."""
    latents = [(target.source.z, target) for target in work if target.source.z is not None]
    for start in range(0, len(latents), _AT_ONCE):
        z, some = zip(*latents[start : start + _AT_ONCE], strict=True)
        yield torch.stack(z), list(some)
    images = [target for target in work if target.source.z is None]
    for result in encode_paths(model, [target.source.path for target in images]):
        if isinstance(result, Skipped):
            yield torch.empty(0), result
        else:
            yield result.mean, [images[position] for position in result.positions]
