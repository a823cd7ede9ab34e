"""State of a picture in the explorer: its origin, and the strength of each vector that it is moved along.

The page keeps all states and sends a whole state with each request. So undo, a second tab and a restarted server need
no memory in the server.
"""

from dataclasses import dataclass, field
from typing import Any

from latentcli import typed
from latentcli.defaults import MOST_STRENGTH
from latentcli.errors import UsageError

_DEEPEST = 4  # levels of walks between walks, at most
_MOST_MOVES = 100  # vectors of a state, at most
_MOST_SEED = 2**62  # seeds are below this number


@dataclass(frozen=True, slots=True)
class State:
    """A picture in the explorer: exactly one origin (seed, photo, image or walk), and moves along vectors."""

    seed: int | None = None  # the seed of a sample
    photo: str | None = None  # key of an opened photo
    align: bool = True  # find the face in the photo
    image: int | None = None  # index in the sorted images of the explorer's folder
    walk: "tuple[State, State, float] | None" = None  # first and last state of a walk, and the position on it, 0 to 1
    moves: dict[str, float] = field(default_factory=dict)  # strengths of vectors, by their names

    def __post_init__(self) -> None:
        if sum(origin is not None for origin in (self.seed, self.photo, self.image, self.walk)) != 1:
            raise UsageError("a picture starts from one of a seed, a photo, an image and a walk")
        if not (0 <= (self.seed or 0) < _MOST_SEED and (self.image or 0) >= 0) or self.depth > _DEEPEST:
            raise UsageError("a picture cannot start from that seed, image or walk")
        if len(self.moves) > _MOST_MOVES or not all(abs(move) <= MOST_STRENGTH for move in self.moves.values()):
            raise UsageError(f"moves are up to {_MOST_MOVES} vectors with strengths up to {MOST_STRENGTH:g}")

    @property
    def depth(self) -> int:
        """Levels of nested walks: 0 without a walk, 1 for a walk between states without one."""
        return 0 if self.walk is None else 1 + max(end.depth for end in self.walk[:2])


def parse(values: Any) -> State:
    """Check JSON values from the page and build a State. Raises UsageError or ValueError for invalid values.

    >>> parse({"seed": 7, "moves": {"smile": 1.5}})
    State(seed=7, photo=None, align=True, image=None, walk=None, moves={'smile': 1.5})
    """
    return typed.read(State, values, "the picture")
