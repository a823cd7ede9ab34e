"""State of the explorer: the origin of a picture, and the strength of each vector that it is moved along.

The page keeps the states and sends them whole. So undo, a second tab and a restarted server work without any memory of
the server.
"""

from dataclasses import dataclass, field
from typing import Any

from latentcli import typed
from latentcli.defaults import MOST_STRENGTH
from latentcli.errors import UsageError

_DEEPEST = 4  # walks between walks
_MOST_MOVES = 100
_MOST_SEED = 2**62


@dataclass(frozen=True, slots=True)
class State:
    """A picture: its origin, which is exactly one of seed, photo, image and walk, and its moves."""

    seed: int | None = None  # the seed of a sample
    photo: str | None = None  # key of an opened photo
    align: bool = True  # find the face of a photo
    image: int | None = None  # position in the folder of images
    walk: "tuple[State, State, float] | None" = None  # between two states, at 0 to 1
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
        """Number of walks that lie within each other."""
        return 0 if self.walk is None else 1 + max(end.depth for end in self.walk[:2])


def parse(values: Any) -> State:
    """A state from the page's JSON. Raises UsageError or ValueError for anything else.

    >>> parse({"seed": 7, "moves": {"smile": 1.5}})
    State(seed=7, photo=None, align=True, image=None, walk=None, moves={'smile': 1.5})
    """
    return typed.read(State, values, "the picture")
