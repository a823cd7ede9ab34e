"""Training and held-out images of a listing (the files of a source), their decoded pixels, and a survey of pictures.

Whether an image is held out depends on its relative path, so adding photos never reshuffles the old ones. Among
near-duplicates the path of the first decides (`data.duplicates`), once images are decoded.
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

_BATCH = 256  # images of a batch when a dataset is read in order
_SURVEYED = 400  # pictures that a survey opens, at most


def as_float_tensor(images: Tensor) -> Tensor:
    """Convert uint8 (n, height, width, channels) to float32 (n, channels, height, width) from 0 to 1, channels last."""
    return images.permute(0, 3, 1, 2).float().div_(255)


@dataclass(frozen=True, slots=True)
class Selection:
    """Subset of the images of a listing (the files of a source): those at `rows`."""

    listing: Listing
    rows: np.ndarray  # (n,) int32, ascending: positions in `listing`

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Decoded images: the `rows` of `pixels`, which are usually mapped from the cache's file and read in batches."""

    pixels: Tensor  # uint8 (all, height, width, channels)
    rows: Tensor  # (n,) int32: rows of `pixels` that belong to the dataset

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: Tensor) -> Tensor:
        """Images at `positions` (n,), which index the dataset from 0: uint8 (n, height, width, channels)."""
        return self.pixels.index_select(0, self.rows[positions])

    def batches(self) -> Iterator[Tensor]:
        """Batches of all images in order: uint8 (up to 256, height, width, channels)."""
        for first in range(0, len(self), _BATCH):
            yield self.pixels.index_select(0, self.rows[first : first + _BATCH])

    def floats(self) -> Iterator[Tensor]:
        """Batches of all images in order: float32 (up to 256, channels, height, width) in [0, 1]."""
        return map(as_float_tensor, self.batches())

    def digest(self) -> str:
        """Identifier of which images the dataset holds: the SHA-256 of `rows`, cut to 16 hex digits."""
        return hashlib.sha256(self.rows.numpy().tobytes()).hexdigest()[:16]

    def spread(self, count: int) -> "Dataset":
        """Smaller dataset of at most `count` of the images, taken at equal steps."""
        step = -(-len(self) // count)
        return Dataset(self.pixels, self.rows[::step])

    @classmethod
    def from_images(cls, images: Tensor) -> "Dataset":
        """Dataset of all `images`, uint8 (n, height, width, channels)."""
        return cls(images, torch.arange(len(images), dtype=torch.int32))


def readable_part(decoded: Decoded, rows: np.ndarray) -> Dataset:
    """Dataset of the images of `decoded` at `rows`, (n,) int32, without images that could not be read."""
    readable = decoded.readable[rows]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes to it
        pixels = torch.from_numpy(decoded.pixels)
    return Dataset(pixels, torch.from_numpy(rows if readable.all() else rows[readable]))


def split(listing: Listing, held_out: str) -> tuple[Selection, Selection | None]:
    """Training images, and held-out images or None; `held_out` is a share from 0 to 0.9, or the path of a source.

    With fewer than 10 images a share holds out none. Raises ConfigError when `held_out` is neither share nor path.
    """
    rows = np.arange(len(listing), dtype=np.int32)
    try:
        share = float(held_out)
    except ValueError:
        if not os.path.exists(held_out):
            raise ConfigError(f"`held_out` takes a share like 0.05 or a folder, got {held_out!r}") from None
        held = scan(open_source(Path(held_out)))
        held_paths = set(_paths(held))  # may lie inside the training folder
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
    """Typical size, colour and transparency of a source's pictures, estimated from at most 400 of them."""

    shorter_side: int  # pixels, median
    colour_share: float  # share of the pictures with colour, 0 to 1
    transparent_share: float  # share of the pictures that are transparent in places, 0 to 1


def survey(files: Selection) -> Survey:
    """Survey at most 400 pictures, spread evenly over `files`. Raises ImageError when none of them can be read."""
    source = files.listing.source
    rows = files.rows[files.listing.sizes[files.rows] >= 0]  # files that are missing are left out
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
