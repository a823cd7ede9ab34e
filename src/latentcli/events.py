"""Events of a running job, which the library yields and the command line shows.

`training.events` has the events of training.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of one part of a job: `done` of `total` steps or items."""

    what: str  # name of the part, such as "encoding"
    done: int
    total: int  # 1 if the part cannot be counted


@dataclass(frozen=True, slots=True)
class Wrote:
    """A result was written to the file `path`."""

    path: Path


@dataclass(frozen=True, slots=True)
class Piped:
    """A result as bytes, which go to the standard output instead of a file."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image was left out; `message` names the image and the reason, and the command will exit with code 1."""

    message: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An output file existed already and was not written again."""

    path: Path


@dataclass(frozen=True, slots=True)
class Note:
    """A message for the user, of one line."""

    text: str


Event = Progress | Wrote | Piped | Skipped | Kept | Note
