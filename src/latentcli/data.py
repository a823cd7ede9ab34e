"""A folder of images as one uint8 tensor, and its stable split into training and held-out images.

Which side an image falls on depends on its relative path alone, so adding photos never reshuffles the old ones.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentcli.config import HELD_OUT_NEEDS, ModelConfig
from latentcli.errors import ConfigError, ImageError
from latentcli.images import find_images, has_colour, open_picture, read_image, walk

_LOOKED_AT = 400  # pictures from which size and colour are chosen


@dataclass(frozen=True, slots=True)
class Index:
    """The image files of a folder: names relative to `root`, POSIX, sorted."""

    root: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def fingerprint(self) -> str:
        """SHA-256 over names and file sizes: 64 hex digits."""
        result = hashlib.sha256()
        for name in self.names:
            path = self.root / name
            size = path.stat().st_size if path.exists() else -1
            result.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
        return result.hexdigest()

    def only(self, keep: Callable[[str], bool]) -> "Index":
        return Index(self.root, tuple(name for name in self.names if keep(name)))


@dataclass(frozen=True, slots=True)
class Dataset:
    """Decoded images in memory."""

    images: Tensor  # uint8 (n, height, width, channels)
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Look:
    """What a folder's pictures are like, judged from at most 400 of them spread over the folder."""

    shorter_side: int  # pixels, median
    colour_share: float  # of the pictures, 0 to 1


def index(root: Path) -> Index:
    """Find the images below `root`. Raises ImageError when there are none."""
    return Index(root, tuple(path.relative_to(root).as_posix() for path in find_images(root)))


def look(files: Index) -> Look:
    """Sizes and colours of a sample of the pictures. Raises ImageError when none of the sample can be read."""
    step = -(-len(files) // _LOOKED_AT)
    sample = [files.root / name for name in files.names[::step]]
    seen = [found for _, found in walk(sample, _side_and_colour) if not isinstance(found, ImageError)]
    if not seen:
        raise ImageError(f"none of the {len(sample)} images looked at in {files.root} can be read; check the files")
    sides, colours = zip(*seen, strict=True)
    return Look(int(np.median(sides)), sum(colours) / len(colours))


def _side_and_colour(path: Path) -> tuple[int, bool]:
    with open_picture(path) as picture:
        return min(picture.size), has_colour(picture)


def is_held_out(name: str, share: float) -> bool:
    """Whether the image of this relative path is held out, from a hash of the path alone.

    >>> sum(is_held_out(f"{number}.png", 0.05) for number in range(10_000))
    493
    """
    first = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8]
    return int.from_bytes(first, "big") < share * 2**64


def split(files: Index, held_out: str) -> tuple[Index, Index | None]:
    """Training and held-out images. `held_out` is a share from 0 to 0.9 or a folder; below 10 images none are held out.

    Raises ConfigError when `held_out` is neither.
    """
    try:
        share = float(held_out)
    except ValueError:
        if not os.path.isdir(held_out):
            raise ConfigError(f"--held-out takes a share like 0.05 or a folder, got {held_out!r}") from None
        held = index(Path(held_out))
        inside = held.root.resolve()
        return files.only(lambda name: inside not in (files.root / name).resolve().parents), held
    if not 0 <= share <= 0.9:
        raise ConfigError(f"--held-out takes a share from 0 to 0.9, got {held_out}")
    if len(files) < HELD_OUT_NEEDS or share == 0:
        return files, None
    held = files.only(lambda name: is_held_out(name, share))
    return files.only(lambda name: not is_held_out(name, share)), held if len(held) else None


def load(files: Index, config: ModelConfig) -> Iterator[tuple[int, np.ndarray | ImageError]]:
    """Decode every image once, on all cores: its position in `files` and uint8 pixels, or why it cannot be read."""
    paths = [files.root / name for name in files.names]
    for position, (_, found) in enumerate(walk(paths, partial(read_image, config=config))):
        yield position, found


class Loading:
    """Collects what `load` yields into one tensor, so that a progress bar can stand between."""

    def __init__(self, files: Index, config: ModelConfig) -> None:
        self.files = files
        self.config = config
        self.unreadable: list[str] = []  # messages
        self._kept: list[int] = []
        self._pixels = np.empty((len(files), config.height, config.width, config.channels), np.uint8)

    def __iter__(self) -> Iterator[int]:
        """Read on; yields how many files are done."""
        for position, found in load(self.files, self.config):
            if isinstance(found, ImageError):
                self.unreadable.append(str(found))
            else:
                self._pixels[len(self._kept)] = found
                self._kept.append(position)
            yield position + 1

    @property
    def readable(self) -> int:
        """Images read so far."""
        return len(self._kept)

    def dataset(self) -> Dataset:
        """The readable images. Raises ImageError when there are none."""
        if not self._kept:
            raise ImageError(f"none of the {len(self.files)} images in {self.files.root} can be read; check the files")
        names = tuple(self.files.names[position] for position in self._kept)
        return Dataset(torch.from_numpy(self._pixels[: len(names)]), names)
