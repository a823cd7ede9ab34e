"""What the images of a listing became: pixels of one size, and a few facts about each file."""

from dataclasses import dataclass, field

import numpy as np

from latentcli.config import ModelConfig
from latentcli.data.worker import Answer, Facts
from latentcli.sources import Listing

UNREADABLE = ""  # in place of a mode


@dataclass
class Decoded:
    """One row per image of a listing; rows of unreadable images are black and told in `problems`."""

    pixels: np.ndarray  # uint8 (n, height, width, channels), in memory or mapped from a file
    sides: np.ndarray  # int32 (n, 2): width and height of the picture in its file; 0 where unreadable
    modes: np.ndarray  # uint8 (n,): position in `mode_names`
    mode_names: list[str] = field(default_factory=lambda: [UNREADABLE])
    problems: dict[int, str] = field(default_factory=dict)  # row: why it cannot be read

    @classmethod
    def empty(cls, pixels: np.ndarray) -> "Decoded":
        return cls(pixels, np.zeros((len(pixels), 2), dtype=np.int32), np.zeros(len(pixels), dtype=np.uint8))

    @property
    def readable(self) -> np.ndarray:
        """(n,) bool."""
        return self.sides[:, 0] > 0

    def put(self, rows: np.ndarray, answer: Answer) -> None:
        """Take in what a worker made of the images at `rows`."""
        self.pixels[rows] = answer.pixels
        for row, facts in zip(rows, answer.facts, strict=True):
            if isinstance(facts, str):
                self.problems[int(row)] = facts
            else:
                self.note(int(row), facts)

    def note(self, row: int, facts: Facts) -> None:
        width, height, mode = facts
        if mode not in self.mode_names:
            self.mode_names.append(mode)
        self.sides[row] = width, height
        self.modes[row] = self.mode_names.index(mode)

    def take_over(self, rows: np.ndarray, other: "Decoded", there: np.ndarray) -> None:
        """Copy what another listing's readable `there` rows became to `rows`."""
        for mine, theirs in zip(rows, there, strict=True):
            self.pixels[mine] = other.pixels[theirs]
            width, height = other.sides[theirs]
            self.note(int(mine), (int(width), int(height), other.mode_names[other.modes[theirs]]))

    def smaller_than(self, config: ModelConfig, rows: np.ndarray) -> int:
        """How many of the readable pictures at `rows` are smaller than the model's images and were scaled up."""
        sides = np.sort(self.sides[rows][self.readable[rows]], axis=1)  # whichever way up
        return int((sides < sorted((config.width, config.height))).any(axis=1).sum())


def unchanged(listing: Listing, other: Listing) -> tuple[np.ndarray, np.ndarray]:
    """The rows of both listings that hold the same file: same name, size and time."""
    _, mine, theirs = np.intersect1d(listing.names, other.names, assume_unique=True, return_indices=True)
    same = (listing.sizes[mine] == other.sizes[theirs]) & (listing.stamps[mine] == other.stamps[theirs])
    return mine[same], theirs[same]
