"""Fingerprints of the files of a run: names and sizes, which show whether they are still the same.

A run keeps their digest beside its position, and once, in a file of its own, the names and sizes themselves, so that
a message can say what has changed.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from latentcli.config import FILES_FILE
from latentcli.data.sources import Listing, name_hashes, names_as_numbers, names_from_numbers
from latentcli.errors import FileFormatError
from latentcli.storage import tensorfile

KIND = "files"
_NAMED = 3  # files of a kind that are named
_SAME_FOLDER = 0.5  # share of the files, of the smaller listing, above which two are taken for one folder


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of all the listings a run reads, one after the other."""

    listings: Sequence[Listing]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the names and the sizes of each listing: 64 hex digits."""
        result = hashlib.sha256()
        for listing in self.listings:
            result.update(b"%d %d\0" % (len(listing), listing.names.dtype.itemsize))
            result.update(names_as_numbers(listing.names).data)
            result.update(listing.sizes.data)
            result.update(_checks(listing).data)
        return result.hexdigest()

    def write(self, folder: Path, trained: np.ndarray) -> None:
        """Keep names and sizes, where they were, and the rows of the first listing that are trained on."""
        arrays = {f"names.{place}": names_as_numbers(listing.names) for place, listing in enumerate(self.listings)}
        arrays |= {f"sizes.{place}": listing.sizes for place, listing in enumerate(self.listings)}
        arrays |= {f"checks.{place}": _checks(listing) for place, listing in enumerate(self.listings)}
        arrays["trained"] = trained
        header = {
            "places": [os.path.realpath(listing.source.path) for listing in self.listings],
            "roots": [os.path.realpath(listing.source.root) for listing in self.listings],
        }
        tensorfile.write(folder / FILES_FILE, KIND, header, arrays)

    def changes_since(self, folder: Path) -> str:
        """The files in which they differ from those stored in a run's folder, in words."""
        try:
            kept = StoredFingerprints.load(folder)
        except FileFormatError:
            return f"{FILES_FILE} is missing or damaged"
        names_before, marks_before = _numbered(kept.names), _marks(kept.sizes, kept.checks)
        names = _numbered([listing.names for listing in self.listings])
        marks = _marks([listing.sizes for listing in self.listings], [_checks(listing) for listing in self.listings])
        _, here, there = np.intersect1d(names, names_before, assume_unique=True, return_indices=True)
        kinds = {
            "new": np.setdiff1d(names, names_before, assume_unique=True),
            "gone": np.setdiff1d(names_before, names, assume_unique=True),
            "changed": names[np.sort(here[(marks[here] != marks_before[there]).any(axis=1)])],
        }
        return ", ".join(f"{len(some)} {kind} ({_some(some)})" for kind, some in kinds.items() if len(some))


@dataclass(frozen=True, slots=True)
class StoredFingerprints:
    """Fingerprints of a run's listings, as `Fingerprints.write` stored them."""

    places: tuple[str, ...]  # folders, archives and lists, as they were called
    roots: tuple[str, ...]  # what the names are relative to
    names: tuple[np.ndarray, ...]
    sizes: tuple[np.ndarray, ...]
    checks: tuple[np.ndarray, ...]
    trained: np.ndarray  # rows of the first

    @classmethod
    def load(cls, folder: Path) -> "StoredFingerprints":
        """Raises FileFormatError when a run's folder has none."""
        header, arrays = tensorfile.read(folder / FILES_FILE, KIND)
        try:
            places, roots = (tuple(map(str, header[name])) for name in ("places", "roots"))
            names = tuple(names_from_numbers(arrays[f"names.{place}"]) for place in range(len(places)))
            sizes = tuple(arrays[f"sizes.{place}"] for place in range(len(places)))
            checks = tuple(arrays[f"checks.{place}"] for place in range(len(places)))
            trained = arrays["trained"]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FileFormatError(f"{folder / FILES_FILE} is damaged; remove it") from error
        return cls(places, roots, names, sizes, checks, trained)

    def trained_on(self, listing: Listing) -> np.ndarray | None:
        """Whether each file was trained on, (n,) bool; None where they have nothing to do with the run.

        Paths decide where the files have not moved. Elsewhere names and sizes do, when half of them are the same: in a
        folder that has moved, was unpacked, is a part of the old one or has grown out of it.
        """
        for key, least in ((_by_path, 0.0), (_by_name, _SAME_FOLDER)):
            here = key(os.path.realpath(listing.source.root), listing.names, listing.sizes)
            then = [key(*parts) for parts in zip(self.roots, self.names, self.sizes, strict=True)]
            every = np.concatenate(then)
            known = int(np.isin(here, every).sum())
            if known > 0 and known >= least * min(len(here), len(every)):
                return np.isin(here, then[0][self.trained])
        return None


def _by_path(root: str, names: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    paths = (os.path.normpath(os.path.join(os.fsencode(root), name)) for name in names)
    return name_hashes(b"%b %d" % pair for pair in zip(paths, sizes, strict=True))


def _by_name(root: str, names: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return name_hashes(b"%b %d" % (name.rpartition(b"/")[2], size) for name, size in zip(names, sizes, strict=True))


def _numbered(listings: Sequence[np.ndarray]) -> np.ndarray:
    """All names in one array: a file of the same name in the second listing is another one."""
    return np.concatenate([np.char.add(b"%d/" % place, names) for place, names in enumerate(listings)])


def _some(names: np.ndarray) -> str:
    shown = [bytes(name).split(b"/", 1)[1].decode(errors="surrogateescape") for name in names[:_NAMED]]
    return ", ".join(shown) + (", …" if len(names) > _NAMED else "")


def _checks(listing: Listing) -> np.ndarray:
    """(n,) int64: of files in an archive the CRC-32."""
    return listing.stamps if listing.source.checksummed else np.zeros_like(listing.sizes)


def _marks(sizes: Sequence[np.ndarray], checks: Sequence[np.ndarray]) -> np.ndarray:
    """Numbers that change with a file's content: (n, 2)."""
    return np.stack([np.concatenate(sizes), np.concatenate(checks)], axis=1)
