"""Events: what a job reports while it works. The library yields them, the command line draws them.

Training adds events of its own in `training.events`.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Progress:
    """One part of the work has got this far."""

    what: str  # the part, as a verb: "encoding"
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Wrote:
    """A result is on disk."""

    path: Path


@dataclass(frozen=True, slots=True)
class Piped:
    """A result for the standard output."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image was left out, with the reason; the job ends with exit code 1."""

    message: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An output of a folder job existed and was kept."""

    path: Path


@dataclass(frozen=True, slots=True)
class Note:
    """Something the user should know, in one line."""

    text: str


Event = Progress | Wrote | Piped | Skipped | Kept | Note
