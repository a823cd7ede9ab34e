"""Inputs of commands: images, latents and samples, and their encoding.

A file that is named must exist; a folder is searched for images.
"""

import math
import os
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path

import numpy as np

from latentcli.concepts.perturb import Change
from latentcli.data.sources import find_images
from latentcli.defaults import MOST_ON_SHEET, MOST_SEEDS
from latentcli.errors import ImageError, UsageError
from latentcli.events import Event, Progress, Skipped
from latentcli.imaging.images import MOST_PIPED, open_picture, read_all, read_image
from latentcli.model.modelfile import BATCH, LoadedModel, batches
from latentcli.storage.files import PIPE, read_stream
from latentcli.storage.latents import SUFFIX, Latents

_SAMPLE = "seed:0"  # the default keyframe
_LONGEST_RANGE = 50  # characters, at most, of a range of seeds
_LONGEST_NAME = 60  # characters, at most, of seeds in a file's name
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp", "TIFF": ".tiff", "BMP": ".bmp", "AVIF": ".avif"}


@dataclass(frozen=True, slots=True)
class Item:
    """One input of a command, an image or a latent, with the output file of its result."""

    path: Path
    name: str  # POSIX path below `folder`, with suffix, or the file's own name
    folder: Path | None  # the argument that holds the item: a folder, or a latents file without its suffix
    z: np.ndarray | None = None  # (latent_dim,); None for an image
    content: bytes | None = None  # bytes of an image from the standard input
    target: Path = PIPE  # the output file
    is_done: bool = False  # the output file of an item in a folder exists already


def gather(arguments: Sequence[Path], pipes: bool = False) -> list[Item]:
    """Items of the images and folders of images in `arguments`, in order; with `pipes`, `-` is the standard input.

    Raises ImageError for a missing file, a folder without images, or a damaged file that is the only argument.
    """
    items: list[Item] = []
    for argument in arguments:
        if argument == PIPE and pipes:
            items.append(_piped())
        elif os.path.isdir(argument):
            items += [Item(path, path.relative_to(argument).as_posix(), argument) for path in find_images(argument)]
        else:
            if len(arguments) == 1 or not os.path.isfile(argument):
                with open_picture(argument, megapixels=math.inf):
                    pass
            items.append(Item(argument, argument.name, None))
    return items


def _piped() -> Item:
    """Read one image from the standard input. Raises ImageError without a readable image."""
    if sys.stdin is None:
        raise ImageError("the standard input is closed; name a photo, or pipe one in")
    try:
        content = read_stream(sys.stdin.buffer, MOST_PIPED)
    except OSError as error:
        raise ImageError(f"the standard input cannot be read ({error.strerror or error}); name a photo") from error
    with open_picture(Path("standard input"), content, math.inf) as picture:
        suffix = _SUFFIXES.get(str(picture.format), ".png")
    return Item(Path(f"stdin{suffix}"), f"stdin{suffix}", None, content=content)


def names_of(items: Sequence[Item]) -> tuple[str, ...]:
    """A unique name for each item: its own, or for items of one name the path below the folder common to all items."""
    counts = Counter(item.name for item in items)
    if len(counts) == len(items):
        return tuple(counts)
    paths = [item.path.resolve() for item in items]
    shared = os.path.commonpath([path.parent for path in paths])
    return tuple(
        item.name if counts[item.name] == 1 else path.relative_to(shared).as_posix()
        for item, path in zip(items, paths, strict=True)
    )


def keyframes(model: LoadedModel, text: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Latents (n, latent_dim), and a name for each, from `text`: a picture, a latents file, FILE#name or seed:0-3.

    Raises UsageError for a bad seed; ImageError, FileFormatError or ModelMismatch for a file that cannot be used.
    """
    if text.startswith("seed:"):
        seeds = parse_seeds(text.removeprefix("seed:"), "seed:", MOST_ON_SHEET)
        return model.prior.sample(seeds), tuple(f"seed-{seed}" for seed in seeds)
    path, _, name = text.partition("#")
    if path.endswith(".safetensors"):
        latents = Latents.load(Path(path))
        latents.require_model(model.model_id, path, model.name, model.config.latent_dim)
        return (latents.row(name)[None], (name,)) if name else (latents.z, latents.names)
    return model.encode(read_image(Path(text), model.config)[None]), (Path(text).name,)


def subjects(model: LoadedModel, arguments: Sequence[Path]) -> list[Item]:
    """Items of the arguments: images, folders of images, latents files, single latents (FILE#name) or samples."""
    items: list[Item] = []
    for argument in arguments:
        text = str(argument)
        if not is_latent(text):
            items += gather([argument])
            continue
        path, _, row = text.partition("#")
        folder = Path(Path(path).name.removesuffix(SUFFIX)) if path.endswith(".safetensors") and not row else None
        z, names = keyframes(model, text)
        items += [Item(Path(path), name, folder, latent) for name, latent in zip(names, z, strict=True)]
    return items


def is_latent(text: str) -> bool:
    """Whether the text of an argument names samples (seed:7) or latents (a .safetensors file), not images."""
    return text.startswith("seed:") or text.partition("#")[0].endswith(".safetensors")


def keyframe(model: LoadedModel, of: str | None, option: str = "`of`") -> np.ndarray:
    """Latent (latent_dim,) of a keyframe (image, latent or sample); by default seed:0, or the mean of a 2-D model.

    In many dimensions the mean is far from every latent and decodes to a blur. Raises UsageError for several latents;
    its message calls the parameter `option`.
    """
    if of is None and model.config.latent_dim <= 2:
        return model.geometry.mean
    z = keyframes(model, of or _SAMPLE)[0]
    if len(z) != 1:
        raise UsageError(f"{option} takes one image or latent, got {len(z)}; name one, like FILE#name")
    return np.asarray(z[0])


def short_name(keyframe: str) -> str:
    """Short form of a keyframe for a file's name: `seed7`, or the stem of an image or a latent."""
    if keyframe.startswith("seed:"):
        return keyframe.replace(":", "")
    path, _, name = keyframe.partition("#")
    return Path(name or path.removesuffix(SUFFIX)).stem


def parse_seeds(text: str, what: str = "`seeds`", most: int = MOST_SEEDS) -> tuple[int, ...]:
    """Seeds from numbers and ranges separated by commas, at most `most`. Raises UsageError, whose text names `what`.

    >>> parse_seeds("0,3-6")
    (0, 3, 4, 5, 6)
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip()[:_LONGEST_RANGE].partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"{what} takes numbers and ranges like 0,3-9, got {text[:_LONGEST_RANGE]!r}")
        low, high = int(first), int(last or first)
        if not low <= high < 2**63 or high - low >= most - len(seeds):
            raise UsageError(f"{what} takes up to {most:,} rising numbers below 2^63, got {part.strip()!r}")
        seeds += range(low, high + 1)
    return tuple(seeds)


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds as ranges for a file's name; of many ranges the first and the last alone.

    >>> seeds_text((0, 1, 2, 7))
    '0-2,7'
    """
    runs = [[seed for _, seed in run] for _, run in groupby(enumerate(seeds), lambda pair: pair[1] - pair[0])]
    ranges = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    text = ",".join(ranges)
    return text if len(text) <= _LONGEST_NAME else f"{ranges[0]},etc,{ranges[-1]}"


@dataclass(frozen=True, slots=True)
class Encoded:
    """Latents of inputs: posterior means of images, or latents that need no encoding."""

    positions: list[int]  # of the n encoded items in the list of all items or paths
    mean: np.ndarray  # (n, latent_dim)
    images: np.ndarray | None = None  # the encoded images of one batch, uint8 (n, height, width, channels)


def latents_of(model: LoadedModel, items: Sequence[Item], change: Change | None = None) -> Iterator[Encoded | Skipped]:
    """Yield the latents of items in batches: first items that are latents already, then posterior means of images.

    `change` is applied to each image before encoding. An unreadable image is yielded as Skipped.
    """
    latents = [(position, item.z) for position, item in enumerate(items) if item.z is not None]
    for batch in batches(latents) if latents else ():
        positions, z = zip(*batch, strict=True)
        yield Encoded(list(positions), np.stack(z))
    image_positions = [position for position, item in enumerate(items) if item.z is None]
    paths = [items[position].path for position in image_positions]
    results = zip(image_positions, read_all(paths, partial(read_image, config=model.config)), strict=True)
    while read := list(islice(results, BATCH)):
        yield from (Skipped(str(image)) for _, (_, image) in read if isinstance(image, ImageError))
        images = {position: image for position, (_, image) in read if isinstance(image, np.ndarray)}
        if images:
            pixels = np.stack([image if change is None else change(image) for image in images.values()])
            yield Encoded(list(images), model.encode(pixels), pixels)


def encode_all(
    model: LoadedModel, paths: Sequence[Path], change: Change | None = None
) -> Generator[Event, None, Encoded | None]:
    """Posterior means of all readable images, None if no image is readable; yields progress and skipped images."""
    positions: list[int] = []
    means: list[np.ndarray] = []
    for result in latents_of(model, [Item(path, path.name, None) for path in paths], change):
        if isinstance(result, Skipped):
            yield result
            continue
        positions += result.positions
        means.append(result.mean)
        yield Progress("encoding", len(positions), len(paths))
    return Encoded(positions, np.concatenate(means)) if means else None
