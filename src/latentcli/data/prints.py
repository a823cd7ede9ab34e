"""What tells whether the files of a run are still the same: a hash of each name, and each size."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from latentcli.sources import Listing

_NAMED = 3  # files of a kind that are named


@dataclass(frozen=True)
class Prints:
    """Of all the listings a run reads, one after the other."""

    listings: Sequence[Listing]

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """`files.names` (n,) uint64, hashes, and `files.sizes` (n,) int64, bytes (in archives mixed with the CRC)."""
        # A file of the same name in the second listing is another one.
        hashes = [listing.hashes ^ np.uint64(place) for place, listing in enumerate(self.listings)]
        sizes = [_marks(listing) for listing in self.listings]
        return {"files.names": np.concatenate(hashes), "files.sizes": np.concatenate(sizes)}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the arrays: 64 hex digits."""
        return hashlib.sha256(b"".join(array.tobytes() for array in self.arrays.values())).hexdigest()

    def since(self, earlier: Mapping[str, np.ndarray]) -> str:
        """In which files they differ from earlier arrays, in words."""
        names, sizes = self.arrays["files.names"], self.arrays["files.sizes"]
        before, sizes_before = earlier["files.names"], earlier["files.sizes"]
        new = np.flatnonzero(~np.isin(names, before))
        gone = int((~np.isin(before, names)).sum())
        _, here, there = np.intersect1d(names, before, return_indices=True)
        changed = np.sort(here[sizes[here] != sizes_before[there]])
        parts = [
            f"{len(new)} new ({self._some(new)})" if len(new) else "",
            f"{gone} gone" if gone else "",
            f"{len(changed)} changed ({self._some(changed)})" if len(changed) else "",
        ]
        return ", ".join(filter(None, parts)) or "their order"

    def _some(self, rows: np.ndarray) -> str:
        names = [self._name(int(row)) for row in rows[:_NAMED]]
        return ", ".join(names) + (", …" if len(rows) > _NAMED else "")

    def _name(self, row: int) -> str:
        for listing in self.listings:
            if row < len(listing):
                return listing.name(row)
            row -= len(listing)
        raise IndexError(row)


def _marks(listing: Listing) -> np.ndarray:
    return listing.sizes ^ (listing.stamps << 31) if listing.source.kind == "zip" else listing.sizes
