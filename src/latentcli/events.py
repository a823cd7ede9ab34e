"""What a use case tells while it works."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Progress:
    """So many of the images are done."""

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
class Unreadable:
    """An image was left out, with the message why; the job ends with exit code 1."""

    message: str


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """An output of a folder job existed and was kept."""

    path: Path


@dataclass(frozen=True, slots=True)
class Note:
    """Something the user should know, in one line."""

    text: str


Event = Progress | Wrote | Piped | Unreadable | AlreadyThere | Note
