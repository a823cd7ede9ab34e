"""What tells whether the files of a run are still the same: their names and sizes.

A run keeps their digest beside its position, and once, in a file of its own, the names and sizes themselves, so that
what has changed can be told.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from latentcli import tensorfile
from latentcli.config import FILES_FILE
from latentcli.errors import FileFormatError
from latentcli.sources import Listing, names_as_numbers, names_from_numbers

KIND = "files"
_NAMED = 3  # files of a kind that are named
_SAME_FOLDER = 0.5  # share of the files above which two listings are of one folder


@dataclass(frozen=True)
class Prints:
    """Of all the listings a run reads, one after the other."""

    listings: Sequence[Listing]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the names and the sizes of each listing: 64 hex digits."""
        result = hashlib.sha256()
        for listing in self.listings:
            result.update(b"%d %d\0" % (len(listing), listing.names.dtype.itemsize))
            result.update(names_as_numbers(listing.names).data)
            result.update(_marks(listing).data)
        return result.hexdigest()

    def write(self, folder: Path) -> None:
        """Keep names and sizes, and where they were, in a run's folder."""
        arrays = {f"names.{place}": names_as_numbers(listing.names) for place, listing in enumerate(self.listings)}
        arrays |= {f"sizes.{place}": _marks(listing) for place, listing in enumerate(self.listings)}
        header = {"places": [os.path.realpath(listing.source.path) for listing in self.listings]}
        tensorfile.write(folder / FILES_FILE, KIND, header, arrays)

    def changes_since(self, folder: Path) -> str:
        """In which files they differ from those kept in a run's folder, in words."""
        try:
            kept = Kept.load(folder)
        except FileFormatError:
            return f"{FILES_FILE} does not tell how"
        names_before, sizes_before = _told_apart(kept.names), np.concatenate(kept.sizes)
        names = _told_apart([listing.names for listing in self.listings])
        sizes = np.concatenate([_marks(listing) for listing in self.listings])
        _, here, there = np.intersect1d(names, names_before, assume_unique=True, return_indices=True)
        kinds = {
            "new": np.setdiff1d(names, names_before, assume_unique=True),
            "gone": np.setdiff1d(names_before, names, assume_unique=True),
            "changed": names[np.sort(here[sizes[here] != sizes_before[there]])],
        }
        return ", ".join(f"{len(some)} {kind} ({_some(some)})" for kind, some in kinds.items() if len(some))


@dataclass(frozen=True, slots=True)
class Kept:
    """What `Prints.write` kept of a run's listings."""

    places: tuple[Path, ...]  # where they were
    names: tuple[np.ndarray, ...]
    sizes: tuple[np.ndarray, ...]

    @classmethod
    def load(cls, folder: Path) -> "Kept":
        """Raises FileFormatError when a run's folder has none."""
        header, arrays = tensorfile.read(folder / FILES_FILE, KIND)
        try:
            places = tuple(Path(place) for place in header["places"])
            names = tuple(names_from_numbers(arrays[f"names.{place}"]) for place in range(len(places)))
            sizes = tuple(arrays[f"sizes.{place}"] for place in range(len(places)))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FileFormatError(f"{folder / FILES_FILE} is damaged; remove it") from error
        return cls(places, names, sizes)

    @property
    def place(self) -> Path | None:
        """Where the images to train on were."""
        return self.places[0] if self.places else None

    def holds(self, listing: Listing) -> np.ndarray:
        """Which of the files were there to train on: (n,) bool.

        All or none of them unless half are the same, since pictures in two folders may share names and even sizes.
        """
        _, here, there = np.intersect1d(listing.names, self.names[0], assume_unique=True, return_indices=True)
        same = np.zeros(len(listing), dtype=bool)
        same[here] = _marks(listing)[here] == self.sizes[0][there]
        return same if same.mean() >= _SAME_FOLDER else np.zeros(len(listing), dtype=bool)


def _told_apart(listings: Sequence[np.ndarray]) -> np.ndarray:
    """All names in one array: a file of the same name in the second listing is another one."""
    return np.concatenate([np.char.add(b"%d/" % place, names) for place, names in enumerate(listings)])


def _some(names: np.ndarray) -> str:
    shown = [bytes(name).split(b"/", 1)[1].decode(errors="surrogateescape") for name in names[:_NAMED]]
    return ", ".join(shown) + (", …" if len(names) > _NAMED else "")


def _marks(listing: Listing) -> np.ndarray:
    """(n,) int64: bytes, in archives mixed with the CRC."""
    return listing.sizes ^ (listing.stamps << 31) if listing.source.kind == "zip" else listing.sizes
