"""Images to latents and back."""

import os
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from latentcli.catalog import ModelEntry
from latentcli.concepts.perturb import Change, changed
from latentcli.errors import ConfigError, ImageError, UsageError
from latentcli.events import Event, Kept, Progress, Skipped, Wrote
from latentcli.files import free_name, output_file
from latentcli.images import check_writable, read_image, to_pictures, walk, write_picture
from latentcli.latents import SUFFIX, Latents
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.pipelines.jobs import check_folder, gather, names_of

_SEED_DIGITS = 19
_BATCH = 64  # images


@dataclass(frozen=True, slots=True)
class Encoded:
    """A few images and their posterior means."""

    positions: list[int]  # in the list that was given
    mean: np.ndarray  # (n, latent_dim)


def encode_paths(
    model: LoadedModel, paths: Sequence[Path], change: Change | None = None
) -> Iterator[Encoded | Skipped]:
    """Read, crop and encode in batches; an unreadable image is told and left out. Never a draw: posterior means.

    `change` is made to each image before it is encoded.
    """
    found = enumerate(walk(paths, partial(read_image, config=model.config)))
    while some := list(islice(found, _BATCH)):
        good = [(position, image) for position, (_, image) in some if isinstance(image, np.ndarray)]
        for _, (_, image) in some:
            if isinstance(image, ImageError):
                yield Skipped(str(image))
        if good:
            positions, images = zip(*good, strict=True)
            if change is not None:
                images = tuple(changed(image, change) for image in images)
            yield Encoded(list(positions), model.encode(np.stack(images)))


def encode_all(
    model: LoadedModel, paths: Sequence[Path], change: Change | None = None
) -> Generator[Event, None, Encoded | None]:
    """Encode into one piece, telling the progress; returns None when no image can be read."""
    positions: list[int] = []
    parts: list[np.ndarray] = []
    for result in encode_paths(model, paths, change):
        if isinstance(result, Skipped):
            yield result
            continue
        positions += result.positions
        parts.append(result.mean)
        yield Progress("encoding", len(positions), len(paths))
    return Encoded(positions, np.concatenate(parts)) if parts else None


def encode(entry: ModelEntry, arguments: Sequence[Path], output: Path | None, force: bool) -> Iterator[Event]:
    """Encode images and folders of images into one latents file.

    Raises ImageError when an argument is missing or no image can be read, OutputExists when the file is taken.
    """
    sources = gather(arguments)
    stem = arguments[0].resolve().stem if len(arguments) == 1 else "images"
    target = output_file(output, Path(f"{stem}{SUFFIX}"), force)
    if target.suffix != Path(SUFFIX).suffix:
        raise ConfigError(f"{target} would hold latents; give a name that ends in {SUFFIX}")
    return _encode(load_model(entry.path, entry.engine), [source.path for source in sources], names_of(sources), target)


def _encode(model: LoadedModel, paths: list[Path], names: tuple[str, ...], target: Path) -> Iterator[Event]:
    encoded = yield from encode_all(model, paths)
    if encoded is None:
        return  # every image was told; there is nothing to write
    kept = tuple(names[position] for position in encoded.positions)
    Latents(encoded.mean, kept, model.model_id).save(target)
    yield Wrote(target)


def decode(entry: ModelEntry, source: Path, output: Path | None, force: bool) -> Iterator[Event]:
    """Decode a latents file into one PNG per latent: in a new folder, or in the named one, where pictures are kept.

    Raises FileFormatError for a bad file, ModelMismatch when another model made it.
    """
    latents = Latents.load(source)
    model = load_model(entry.path, entry.engine)
    latents.require_model(model.model_id, str(source), model.name, model.config.latent_dim)
    if output is not None and len(latents) == 1 and output.suffix:
        target = check_writable(output_file(output, output, force))
        return write_decoded(model, latents.z, [target], keep=False)
    check_folder(output, len(latents))
    folder = output or free_name(Path(source.name.removesuffix(".safetensors").removesuffix(".latents")))
    return write_decoded(model, latents.z, [folder / name for name in _png_names(latents.names)], keep=not force)


def _png_names(names: Sequence[str]) -> list[str]:
    """`.png` for the images' own suffix, behind it where two would meet."""
    short = [PurePosixPath(name).with_suffix(".png").as_posix() for name in names]
    counts = Counter(name.casefold() for name in short)
    return [new if counts[new.casefold()] == 1 else f"{name}.png" for name, new in zip(names, short, strict=True)]


def write_decoded(model: LoadedModel, z: np.ndarray, paths: Sequence[Path], keep: bool) -> Iterator[Event]:
    """Decode each latent into a file of its own; `keep` leaves files that exist as they are."""
    for start in range(0, len(paths), _BATCH):
        pictures = to_pictures(model.decode(z[start : start + _BATCH]))
        for path, picture in zip(paths[start:], pictures, strict=False):
            if keep and os.path.lexists(path):
                yield Kept(path)
                continue
            write_picture(picture, path)
            yield Wrote(path)
        yield Progress("decoding", min(start + _BATCH, len(paths)), len(paths))


def keyframes(model: LoadedModel, text: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """One or more latents (n, latent_dim), and a name for each.

    Raises UsageError for a bad seed, ImageError, FileFormatError or ModelMismatch for what cannot be read.
    """
    if text.startswith("seed:"):
        number = text.removeprefix("seed:")
        if not number.isdecimal() or len(number) > _SEED_DIGITS or int(number) >= 2**63:
            raise UsageError(f"{text[: 2 * _SEED_DIGITS]!r} is no seed; write seed:7")
        return model.prior.sample([int(number)], model.prior.temperature), (f"seed-{number}",)
    path, _, name = text.partition("#")
    if path.endswith(".safetensors"):
        latents = Latents.load(Path(path))
        latents.require_model(model.model_id, path, model.name, model.config.latent_dim)
        return (latents.row(name)[None], (name,)) if name else (latents.z, latents.names)
    return model.encode(read_image(Path(text), model.config)[None]), (Path(text).name,)
