"""Training and held-out images of a listing, their decoded pixels, and a survey of the pictures.

Whether an image is held out depends on its relative path alone, so adding photos never reshuffles the old ones.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentcli.data.decode import Decoded
from latentcli.data.sources import HELD_OUT_NEEDS, Listing, is_held_out, open_source, scan
from latentcli.errors import ConfigError, ImageError
from latentcli.imaging.images import has_colour, has_transparency, open_picture, read_all

_BATCH = 256  # images that are gathered at once when they are taken in order
_SURVEYED = 400  # pictures, at most


def as_float_tensor(images: Tensor) -> Tensor:
    """uint8 (n, height, width, channels) to float32 (n, channels, height, width) in [0, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).float().div_(255)


@dataclass(frozen=True, slots=True)
class Selection:
    """Images of a listing, by their rows."""

    listing: Listing
    rows: np.ndarray  # (n,) int32, ascending

    def __len__(self) -> int:
        return len(self.rows)

    def names(self) -> list[str]:
        return [self.listing.name(row) for row in self.rows]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Decoded images, read from the cache's file batch by batch."""

    pixels: Tensor  # uint8 (all, height, width, channels), mapped from a file
    rows: Tensor  # (n,) int32: the images of the dataset among all

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: Tensor) -> Tensor:
        """The images at these positions of the dataset: uint8 (n, height, width, channels)."""
        return self.pixels.index_select(0, self.rows[positions])

    def batches(self) -> Iterator[Tensor]:
        """All images in order, as uint8 (up to 256, height, width, channels)."""
        for first in range(0, len(self), _BATCH):
            yield self.pixels.index_select(0, self.rows[first : first + _BATCH])

    def floats(self) -> Iterator[Tensor]:
        """All images in order, as float32 (up to 256, channels, height, width) in [0, 1]."""
        return map(as_float_tensor, self.batches())

    def digest(self) -> str:
        """SHA-256 of the rows, cut to 16 hex digits."""
        return hashlib.sha256(self.rows.numpy().tobytes()).hexdigest()[:16]

    def spread(self, count: int) -> "Dataset":
        """At most `count` of the images, evenly spread over the listing."""
        step = -(-len(self) // count)
        return Dataset(self.pixels, self.rows[::step])

    @classmethod
    def from_images(cls, images: Tensor) -> "Dataset":
        """A dataset of all `images`, uint8 (n, height, width, channels)."""
        return cls(images, torch.arange(len(images), dtype=torch.int32))


def readable_part(decoded: Decoded, rows: np.ndarray) -> Dataset:
    """The dataset of the readable images at `rows`, (n,) int32."""
    readable = decoded.readable[rows]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes to it
        pixels = torch.from_numpy(decoded.pixels)
    return Dataset(pixels, torch.from_numpy(rows if readable.all() else rows[readable]))


def split(listing: Listing, held_out: str) -> tuple[Selection, Selection | None]:
    """Training and held-out images. `held_out` is a share from 0 to 0.9 or a source; below 10 images none are held out.

    Raises ConfigError when `held_out` is neither.
    """
    rows = np.arange(len(listing), dtype=np.int32)
    try:
        share = float(held_out)
    except ValueError:
        if not os.path.exists(held_out):
            raise ConfigError(f"`held_out` takes a share like 0.05 or a folder, got {held_out!r}") from None
        held = scan(open_source(Path(held_out)))
        held_paths = set(_paths(held))  # a held-out folder may lie inside
        others = np.array([path not in held_paths for path in _paths(listing)], dtype=bool)
        return Selection(listing, rows[others]), Selection(held, np.arange(len(held), dtype=np.int32))
    if not 0 <= share <= 0.9:
        raise ConfigError(f"`held_out` takes a share from 0 to 0.9, got {held_out}")
    if len(listing) < HELD_OUT_NEEDS or share == 0:
        return Selection(listing, rows), None
    chosen = is_held_out(listing.names, share)
    return Selection(listing, rows[~chosen]), Selection(listing, rows[chosen]) if chosen.any() else None


def _paths(listing: Listing) -> list[str]:
    root = os.path.realpath(listing.source.root)
    return [os.path.normpath(os.path.join(root, listing.name(row))) for row in range(len(listing))]


@dataclass(frozen=True, slots=True)
class Survey:
    """Size, colour and transparency of a source's pictures, from at most 400 of them spread over it."""

    shorter_side: int  # pixels, median
    colour_share: float  # share of the pictures with colour, 0 to 1
    transparent_share: float  # share of the pictures that are transparent in places, 0 to 1


def survey(files: Selection) -> Survey:
    """Survey a sample of the pictures. Raises ImageError when none of the sample can be read."""
    source = files.listing.source
    rows = files.rows[files.listing.sizes[files.rows] >= 0]  # without missing files
    sample = [files.listing.name(row) for row in rows[:: max(1, -(-len(rows) // _SURVEYED))]]
    with source.reader() as locate:

        def traits(name: str) -> tuple[int, bool, bool]:
            with open_picture(*locate(name)) as picture:
                return min(picture.size), has_colour(picture), has_transparency(picture)

        results = [result for _, result in read_all(sample, traits) if not isinstance(result, ImageError)]
    if not results:
        raise ImageError(f"none of the {len(sample)} pictures surveyed in {source} can be read; check the files")
    sides, colours, transparent = zip(*results, strict=True)
    return Survey(int(np.median(sides)), sum(colours) / len(results), sum(transparent) / len(results))
