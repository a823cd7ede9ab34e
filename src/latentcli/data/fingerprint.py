"""Fingerprints of a training run's image files: names, sizes and checksums, by which changes are noticed.

A run's checkpoint holds the digest of the fingerprints; the fingerprints themselves are in `files.safetensors`, so that
a message can name the files that have changed.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from latentcli.data.sources import Listing, name_hashes, names_as_numbers, names_from_numbers
from latentcli.errors import FileFormatError
from latentcli.storage import tensorfile
from latentcli.storage.names import FILES_FILE
from latentcli.text import listed

KIND = "files"
_SAME_FOLDER = 0.5  # share of the smaller listing's files that two listings of one folder have in common, at least


@dataclass(frozen=True, slots=True)
class Files:
    """Fingerprints of the files of one listing: name, size and, in archives, checksum of each."""

    source: str  # path of the folder, archive or list
    root: str  # path of the folder that names are relative to
    names: np.ndarray  # (n,) bytes
    sizes: np.ndarray  # (n,) int64, bytes
    checks: np.ndarray  # (n,) int64: the CRC-32 in archives, else 0

    @classmethod
    def of(cls, listing: Listing) -> Self:
        checks = listing.stamps if listing.source.checksummed else np.zeros_like(listing.sizes)
        source, root = (os.path.realpath(path) for path in (listing.source.path, listing.source.root))
        return cls(source, root, listing.names, listing.sizes, checks)

    def hashes(self, by_path: bool) -> np.ndarray:
        """Hash of each file, (n,) uint64: of size and absolute path if `by_path`, else of size and bare file name."""
        root = os.fsencode(self.root)
        names = (
            os.path.normpath(os.path.join(root, name)) if by_path else name.rpartition(b"/")[2] for name in self.names
        )
        return name_hashes(b"%b %d" % pair for pair in zip(names, self.sizes, strict=True))


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of all listings that a training run reads, and the files of the first listing that it trains on."""

    listings: tuple[Files, ...]
    trained: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int32))  # rows of the first listing

    @classmethod
    def of(cls, listings: Sequence[Listing]) -> Self:
        return cls(tuple(map(Files.of, listings)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, sizes and checksums of the files of all listings: 64 hex digits."""
        result = hashlib.sha256()
        for files in self.listings:
            result.update(b"%d %d\0" % (len(files.names), files.names.dtype.itemsize))
            result.update(names_as_numbers(files.names).data)
            result.update(files.sizes.data)
            result.update(files.checks.data)
        return result.hexdigest()

    def write(self, folder: Path, trained: np.ndarray) -> None:
        """Write the fingerprints to a run's folder, with `trained`, the rows of the first listing that it trains on."""
        arrays = {"trained": trained}
        for number, files in enumerate(self.listings):
            arrays[f"names.{number}"] = names_as_numbers(files.names)
            arrays[f"sizes.{number}"] = files.sizes
            arrays[f"checks.{number}"] = files.checks
        header = {
            "sources": [files.source for files in self.listings],
            "roots": [files.root for files in self.listings],
        }
        tensorfile.write(folder / FILES_FILE, KIND, header, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the fingerprints from a run's folder. Raises FileFormatError when they are missing or damaged."""
        header, arrays = tensorfile.read(folder / FILES_FILE, KIND)
        try:
            listings = []
            for number, (source, root) in enumerate(zip(header["sources"], header["roots"], strict=True)):
                names, sizes, checks = (arrays[f"{name}.{number}"] for name in ("names", "sizes", "checks"))
                listings.append(Files(str(source), str(root), names_from_numbers(names), sizes, checks))
            return cls(tuple(listings), arrays["trained"])
        except (LookupError, TypeError, ValueError) as error:
            raise FileFormatError(f"{folder / FILES_FILE} is damaged; remove it") from error

    def changes_since(self, folder: Path) -> str:
        """Text that counts and names files new, gone or changed since fingerprints were stored in a run's `folder`."""
        try:
            stored = Fingerprints.load(folder)
        except FileFormatError:
            return f"{FILES_FILE} is missing or damaged"
        marks, before = self._marks(), stored._marks()
        kinds = {
            "new": marks.keys() - before.keys(),
            "gone": before.keys() - marks.keys(),
            "changed": {key for key in marks.keys() & before.keys() if marks[key] != before[key]},
        }
        names = {kind: [os.fsdecode(name) for _, name in sorted(keys)] for kind, keys in kinds.items() if keys}
        return ", ".join(f"{len(changed)} {kind} ({listed(changed)})" for kind, changed in names.items())

    def _marks(self) -> dict[tuple[int, bytes], tuple[int, int]]:
        """Size and checksum of each file; the key is the position of its listing and its name."""
        return {
            (number, name): (size, check)
            for number, files in enumerate(self.listings)
            for name, size, check in zip(files.names.tolist(), files.sizes.tolist(), files.checks.tolist(), strict=True)
        }

    def trained_on(self, listing: Listing) -> np.ndarray | None:
        """Whether each file of `listing` was trained on, (n,) bool; None for a listing unrelated to the run.

        Files are compared by absolute path and size. If none agrees, they are compared by file name and size, and half
        of the smaller listing must agree: the folder may have been moved, unpacked, cut down or extended.
        """
        files = Files.of(listing)
        for by_path, least_share in ((True, 0.0), (False, _SAME_FOLDER)):
            hashes = files.hashes(by_path)
            hashes_then = [each.hashes(by_path) for each in self.listings]
            all_then = np.concatenate(hashes_then)
            same = int(np.isin(hashes, all_then).sum())
            if same > 0 and same >= least_share * min(len(hashes), len(all_then)):
                return np.isin(hashes, hashes_then[0][self.trained])
        return None
