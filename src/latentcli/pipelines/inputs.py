"""Images, latents and samples that commands are given, and their latents.

Files given by name must exist; folders are searched.
"""

import math
import os
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from latentcli.concepts.perturb import Change, changed
from latentcli.data.sources import find_images
from latentcli.defaults import MOST_ON_SHEET, MOST_SEEDS
from latentcli.errors import ImageError, UsageError
from latentcli.events import Event, Progress, Skipped
from latentcli.imaging.images import MOST_PIPED, open_picture, read_all, read_image
from latentcli.model.modelfile import BATCH, LoadedModel, batches
from latentcli.storage.files import PIPE, read_stream
from latentcli.storage.latents import SUFFIX, Latents

_START = "seed:0"  # the keyframe that is moved where none is named
_LONGEST_RANGE = 50  # characters of seeds
_LONGEST_NAME = 60  # characters
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp", "TIFF": ".tiff", "BMP": ".bmp", "AVIF": ".avif"}


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a job, and the file its result goes to."""

    path: Path
    name: str  # relative POSIX path with suffix: below its folder, or the file's own name
    folder: Path | None  # the argument it was found in
    z: np.ndarray | None = None  # (latent_dim,): where it is no image but a latent
    content: bytes | None = None  # of the file: where it came through the standard input
    target: Path = PIPE
    is_done: bool = False  # a folder job finds its result there already


def gather(arguments: Sequence[Path], pipes: bool = False) -> list[Item]:
    """The images behind the arguments, in order; with `pipes`, `-` is the standard input.

    A missing file is an error at once, not after the slow part; one of several that is damaged is skipped later.
    Raises ImageError for a missing file or a folder without images.
    """
    items: list[Item] = []
    for argument in arguments:
        if argument == PIPE and pipes:
            items.append(_piped())
        elif os.path.isdir(argument):
            found = find_images(argument)
            items += [Item(path, path.relative_to(argument).as_posix(), argument) for path in found]
        else:
            if len(arguments) == 1 or not os.path.isfile(argument):
                with open_picture(argument, megapixels=math.inf):
                    pass
            items.append(Item(argument, argument.name, None))
    return items


def _piped() -> Item:
    """An image from the standard input."""
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
    """A name for each image: its own, or where two are the same, its path below the folder they share."""
    counts = Counter(item.name for item in items)
    if max(counts.values()) == 1:
        return tuple(item.name for item in items)
    paths = [item.path.resolve() for item in items]
    shared = Path(os.path.commonpath([path.parent for path in paths]))
    return tuple(
        item.name if counts[item.name] == 1 else path.relative_to(shared).as_posix()
        for item, path in zip(items, paths, strict=True)
    )


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


def start(model: LoadedModel, of: str | None, option: str = "`of`") -> np.ndarray:
    """The latent (latent_dim,) of one keyframe. Without one it is that of a sample, or the mean of a 2-D model.

    The mean of many dimensions is far from every latent, and decodes to all images at once. Raises UsageError for
    several keyframes.
    """
    if of is None and model.config.latent_dim <= 2:
        return model.geometry.mean
    z = keyframes(model, of or _START)[0]
    if len(z) != 1:
        raise UsageError(f"{option} takes one image or latent, got {len(z)}; name one, like FILE#name")
    return np.asarray(z[0])


def short_name(keyframe: str) -> str:
    """A keyframe as a part of a file's name."""
    if keyframe.startswith("seed:"):
        return keyframe.replace(":", "")
    path, _, name = keyframe.partition("#")
    return Path(name or path.removesuffix(SUFFIX)).stem


def parse_seeds(text: str, what: str = "`seeds`", most: int = MOST_SEEDS) -> tuple[int, ...]:
    """Seeds and ranges, separated by commas. Raises UsageError, which names `what` they were given for.

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
    """Seeds as they stand in a file's name.

    >>> seeds_text((0, 1, 2, 7))
    '0-2,7'
    """
    parts: list[str] = []
    start = 0
    for index in range(1, len(seeds) + 1):
        if index == len(seeds) or seeds[index] != seeds[index - 1] + 1:
            run = seeds[start:index]
            parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
            start = index
    text = ",".join(parts)
    return text if len(text) <= _LONGEST_NAME else f"{parts[0]},etc,{parts[-1]}"


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
    found = enumerate(read_all(paths, partial(read_image, config=model.config)))
    while some := list(islice(found, BATCH)):
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


def latents_of(model: LoadedModel, items: Sequence[Item]) -> Iterator[Encoded | Skipped]:
    """Latents of items in batches, with positions in `items`: of those that are latents already, then of the images."""
    latents = [(number, item.z) for number, item in enumerate(items) if item.z is not None]
    for some in batches(latents) if latents else ():
        numbers, z = zip(*some, strict=True)
        yield Encoded(list(numbers), np.stack(z))
    images = [number for number, item in enumerate(items) if item.z is None]
    for result in encode_paths(model, [items[number].path for number in images]):
        if isinstance(result, Skipped):
            yield result
        else:
            yield replace(result, positions=[images[position] for position in result.positions])
