"""A listing to its decoded pixels: from the cache where the files are the same, else decoded on all cores."""

import contextlib
import time
from collections.abc import Iterator

import numpy as np

from latentcli.config import ModelConfig
from latentcli.data.cache import Cache, in_memory
from latentcli.data.decoded import Decoded, unchanged
from latentcli.data.decoding import answers
from latentcli.errors import ConfigError
from latentcli.sources import Listing

_POLL = 0.2  # seconds between looks whether another program is done with the same images


class Loading:
    """Reads what is not in the cache yet; iterating yields how many images are done."""

    def __init__(self, listing: Listing, config: ModelConfig) -> None:
        self.listing = listing
        self.config = config
        self.decoded = Decoded.empty(np.empty((0, config.height, config.width, config.channels), dtype=np.uint8))
        self.cached = 0  # images that came from the cache
        self.kept = True  # whether the cache will have them next time

    def __iter__(self) -> Iterator[int]:
        place = Cache(self.listing.source, self.config)
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    may_keep = stack.enter_context(place.alone())
                    break
                except ConfigError:  # another program reads the same images
                    yield 0
                    time.sleep(_POLL)
            yield from self._read(place, may_keep)

    def _read(self, place: Cache, may_keep: bool) -> Iterator[int]:
        known = place.load() if may_keep else None
        mine, theirs = unchanged(self.listing, known[0]) if known else (np.empty(0, dtype=np.int64),) * 2
        if known and len(mine) == len(self.listing) == len(known[0]) and not self._any_healed(known[1]):
            self.decoded, self.cached = known[1], len(mine)
            yield len(mine)
            return
        if known:
            good = known[1].readable[theirs]
            mine, theirs = mine[good], theirs[good]
        self.cached = len(mine)
        pixels = place.new_pixels(len(self.listing)) if may_keep else None
        self.kept = pixels is not None
        self.decoded = Decoded.empty(
            in_memory(len(self.listing), self.config, self.listing.source) if pixels is None else pixels
        )
        try:
            if known:
                self.decoded.take_over(mine, known[1], theirs)
            yield from self._decode(mine)
        except BaseException:  # also when nobody wants the rest
            place.discard(self.decoded.pixels)
            raise
        if self.kept:
            self.kept = place.keep(self.listing, self.decoded)

    def _decode(self, there: np.ndarray) -> Iterator[int]:
        done = len(there)
        yield done
        missing = np.setdiff1d(np.arange(len(self.listing)), there, assume_unique=True)
        for rows, answer in answers(self.listing, missing, self.config):
            self.decoded.put(rows, answer)
            done += len(rows)
            yield done

    def _any_healed(self, known: Decoded) -> bool:
        """Whether an image that could not be read can be now: permissions change without leaving a trace."""
        rows = np.array(sorted(known.problems), dtype=np.int64)
        for _, answer in answers(self.listing, rows, self.config):
            if not all(isinstance(facts, str) for facts in answer.facts):
                return True
        return False
