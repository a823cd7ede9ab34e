"""Concept vectors put to use at the model's size: move images, latents or samples, and decode them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from latentcli.catalog import ModelEntry
from latentcli.images import grid, to_pictures, write_picture
from latentcli.labels import Labels
from latentcli.latents import SUFFIX
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.pipelines import vectors as vector_pipeline
from latentcli.pipelines.encoding import decode_latents, encode_paths
from latentcli.pipelines.events import Event, Progress, Unreadable, Wrote
from latentcli.pipelines.keyframes import keyframes
from latentcli.pipelines.moving import Edit, Moves, load_moves, moves_with, tell_existing, tell_way
from latentcli.pipelines.outputs import Naming, Source, Target, gather, targets

_AT_ONCE = 64  # latents


@dataclass(frozen=True, slots=True)
class NewVector:
    """A vector to be computed from labels first, and kept when `save` is given."""

    labels: Labels
    how: vector_pipeline.How
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
            yield from _apply(model, work, moves_with(new.edit, model, [event.vector]))


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
        if isinstance(some, Unreadable):
            yield some
            continue
        for target, picture in zip(some, _pictures(model, moves, z), strict=True):
            write_picture(picture, target.path)
            yield Wrote(target.path)
        before.append(z)
        yield Progress(sum(map(len, before)), len(open_work))
    yield from tell_way(before, moves)


def _pictures(model: LoadedModel, moves: Moves, z: Tensor) -> list[Image.Image]:
    """One for each latent (n, latent_dim): the edited image, or its strip or sheet of strengths."""
    if not moves.rows:
        return to_pictures(decode_latents(model, moves.of(z)))
    return [grid(to_pictures(decode_latents(model, moves.versions(one))), moves.columns) for one in z]


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
