"""What tells whether the files of a run are still the same: their names and sizes.

A run keeps their digest beside its position, and once, in a file of its own, the names and sizes themselves, so that
what has changed can be told.
"""

import hashlib
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
        """Keep names and sizes in a run's folder."""
        arrays = {f"names.{place}": names_as_numbers(listing.names) for place, listing in enumerate(self.listings)}
        arrays |= {f"sizes.{place}": _marks(listing) for place, listing in enumerate(self.listings)}
        tensorfile.write(folder / FILES_FILE, KIND, {"listings": len(self.listings)}, arrays)

    def changes_since(self, folder: Path) -> str:
        """In which files they differ from those kept in a run's folder, in words."""
        try:
            header, arrays = tensorfile.read(folder / FILES_FILE, KIND)
            listings = range(int(header["listings"]))
            names_before = _told_apart([names_from_numbers(arrays[f"names.{place}"]) for place in listings])
            sizes_before = np.concatenate([arrays[f"sizes.{place}"] for place in listings])
        except (FileFormatError, KeyError, ValueError):
            return f"{FILES_FILE} does not tell how"
        names = _told_apart([listing.names for listing in self.listings])
        sizes = np.concatenate([_marks(listing) for listing in self.listings])
        _, here, there = np.intersect1d(names, names_before, assume_unique=True, return_indices=True)
        kinds = {
            "new": np.setdiff1d(names, names_before, assume_unique=True),
            "gone": np.setdiff1d(names_before, names, assume_unique=True),
            "changed": names[np.sort(here[sizes[here] != sizes_before[there]])],
        }
        return ", ".join(f"{len(some)} {kind} ({_some(some)})" for kind, some in kinds.items() if len(some))


def _told_apart(listings: Sequence[np.ndarray]) -> np.ndarray:
    """All names in one array: a file of the same name in the second listing is another one."""
    return np.concatenate([np.char.add(b"%d/" % place, names) for place, names in enumerate(listings)])


def _some(names: np.ndarray) -> str:
    shown = [bytes(name).split(b"/", 1)[1].decode(errors="surrogateescape") for name in names[:_NAMED]]
    return ", ".join(shown) + (", …" if len(names) > _NAMED else "")


def _marks(listing: Listing) -> np.ndarray:
    """(n,) int64: bytes, in archives mixed with the CRC."""
    return listing.sizes ^ (listing.stamps << 31) if listing.source.kind == "zip" else listing.sizes
