"""Images to latents and back."""

import os
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from latentcli.catalog import ModelEntry
from latentcli.concepts.perturb import Change, changed
from latentcli.config import MOST_ON_SHEET
from latentcli.errors import ConfigError, ImageError
from latentcli.events import Event, Kept, Progress, Skipped, Wrote
from latentcli.figures.sheet import enlarged
from latentcli.files import chosen_name, output_file
from latentcli.images import check_writable, read_image, to_pictures, walk, write_picture
from latentcli.latents import SUFFIX, Latents
from latentcli.model.modelfile import LoadedModel, open_model
from latentcli.pipelines.jobs import Item, check_folder, gather, names_of
from latentcli.pipelines.seeds import parse_seeds

_BATCH = 64  # images


@dataclass(frozen=True, slots=True)
class Encoded:
    """A few images and their posterior means."""

    positions: list[int]  # in the list that was given
    mean: np.ndarray  # (n, latent_dim)
    images: np.ndarray | None = None  # uint8 (n, height, width, channels), of a batch


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
            pixels = np.stack(images)
            yield Encoded(list(positions), model.encode(pixels), pixels)


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
    return _encode(open_model(entry), [source.path for source in sources], names_of(sources), target)


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
    model = open_model(entry)
    latents.require_model(model.model_id, str(source), model.name, model.config.latent_dim)
    if output is not None and len(latents) == 1 and output.suffix:
        target = check_writable(output_file(output, output, force))
        return write_decoded(model, [(latents.z, [target])], 1, keep=False)
    check_folder(output, len(latents))
    stem = source.name.removesuffix(".safetensors").removesuffix(".latents")
    folder = output or chosen_name(Path(f"{stem}-decoded"), force, is_folder=True)  # never that of the originals
    paths = [folder / name for name in _png_names(latents.names)]
    return write_decoded(model, in_batches(latents.z, paths), len(paths), keep=not force)


def _png_names(names: Sequence[str]) -> list[str]:
    """`.png` for the images' own suffix, behind it where two would meet."""
    short = [PurePosixPath(name).with_suffix(".png").as_posix() for name in names]
    counts = Counter(name.casefold() for name in short)
    return [new if counts[new.casefold()] == 1 else f"{name}.png" for name, new in zip(names, short, strict=True)]


def decoded_pictures(model: LoadedModel, z: np.ndarray) -> Generator[Event, None, list[Image.Image]]:
    """Pictures of latents (n, latent_dim), telling the progress."""
    pictures: list[Image.Image] = []
    for start in range(0, len(z), _BATCH):
        pictures += to_pictures(model.decode(z[start : start + _BATCH]))
        yield Progress("decoding", len(pictures), len(z))
    return pictures


def in_batches(z: np.ndarray, paths: Sequence[Path]) -> Iterator[tuple[np.ndarray, Sequence[Path]]]:
    """Latents (n, latent_dim) and their files, a few at a time."""
    for start in range(0, len(paths), _BATCH):
        yield z[start : start + _BATCH], paths[start : start + _BATCH]


def write_decoded(
    model: LoadedModel, batches: Iterable[tuple[np.ndarray, Sequence[Path]]], count: int, keep: bool, scale: int = 1
) -> Iterator[Event]:
    """Decode `count` latents, each into a file of its own; `keep` leaves files that exist as they are.

    Files are written while the next latents are decoded.
    """
    writing: list[tuple[Path, Future[None] | None]] = []
    done = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for z, paths in batches:
            pictures = [enlarged(picture, scale) for picture in to_pictures(model.decode(z))]
            yield from _written(writing)
            writing = [
                (path, None if keep and os.path.lexists(path) else pool.submit(write_picture, picture, path))
                for path, picture in zip(paths, pictures, strict=True)
            ]
            done += len(paths)
            yield Progress("decoding", done, count)
        yield from _written(writing)


def _written(writing: Sequence[tuple[Path, Future[None] | None]]) -> Iterator[Event]:
    """Waits for each file."""
    for path, future in writing:
        if future is None:
            yield Kept(path)
        else:
            future.result()
            yield Wrote(path)


def keyframes(model: LoadedModel, text: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """One or more latents (n, latent_dim), and a name for each.

    Raises UsageError for a bad seed, ImageError, FileFormatError or ModelMismatch for what cannot be read.
    """
    if text.startswith("seed:"):
        seeds = parse_seeds(text.removeprefix("seed:"), "seed:", MOST_ON_SHEET)
        return model.prior.sample(seeds, model.prior.temperature), tuple(f"seed-{seed}" for seed in seeds)
    path, _, name = text.partition("#")
    if path.endswith(".safetensors"):
        latents = Latents.load(Path(path))
        latents.require_model(model.model_id, path, model.name, model.config.latent_dim)
        return (latents.row(name)[None], (name,)) if name else (latents.z, latents.names)
    return model.encode(read_image(Path(text), model.config)[None]), (Path(text).name,)


def subjects(model: LoadedModel, arguments: Sequence[Path]) -> list[Item]:
    """Images, folders of them, latents files, one latent of a file, or samples."""
    found: list[Item] = []
    for argument in arguments:
        text = str(argument)
        if not text.startswith("seed:") and not text.partition("#")[0].endswith(".safetensors"):
            found += gather([argument])
            continue
        z, names = keyframes(model, text)
        path = Path(text.partition("#")[0])
        several = path.suffix == ".safetensors" and "#" not in text
        folder = Path(path.name.removesuffix(SUFFIX)) if several else None
        found += [Item(path, name, folder, one) for name, one in zip(names, z, strict=True)]
    return found
