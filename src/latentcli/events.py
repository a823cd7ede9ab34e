"""Events of a running job. The library yields them, the command line shows them.

Training adds events of its own in `training.events`.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of one part of the work."""

    what: str  # the part, as a verb: "encoding"
    done: int
    total: int  # 1 where nothing is counted


@dataclass(frozen=True, slots=True)
class Wrote:
    """A result was written to disk."""

    path: Path


@dataclass(frozen=True, slots=True)
class Piped:
    """The bytes of a result that goes to the standard output."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image was left out, with the reason; the job ends with exit code 1."""

    message: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An output that existed already was kept."""

    path: Path


@dataclass(frozen=True, slots=True)
class Note:
    """One line for the user."""

    text: str


Event = Progress | Wrote | Piped | Skipped | Kept | Note
