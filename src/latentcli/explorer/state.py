"""State of the explorer: what a picture starts from, and how far it is moved along each axis.

The page keeps the states and sends them whole, so that undo, two tabs and a server that was started again need nothing
of the server.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from latentcli.defaults import MOST_STRENGTH
from latentcli.errors import UsageError

_DEEPEST = 4  # walks between walks
_MOST_MOVES = 100


@dataclass(frozen=True, slots=True)
class State:
    """A picture: exactly one of seed, photo, image and walk says what it starts from."""

    seed: int | None = None  # of a sample
    photo: str | None = None  # key of an opened photo
    align: bool = True  # of a photo: find its face
    image: int | None = None  # position in the folder of images
    walk: "tuple[State, State, float] | None" = None  # between two states, at 0 to 1
    moves: tuple[tuple[str, float], ...] = ()  # names of vectors, and strengths that are not 0


def parse(values: Any, depth: int = 0) -> State:
    """A state from the page's JSON. Raises UsageError for anything that is none.

    >>> parse({"seed": 7, "moves": {"smile": 1.5, "old": 0}})
    State(seed=7, photo=None, align=True, image=None, walk=None, moves=(('smile', 1.5),))
    """
    if not isinstance(values, Mapping) or depth > _DEEPEST:
        raise UsageError("a picture is an object of a start and moves")
    kinds = [name for name in ("seed", "photo", "image", "walk") if values.get(name) is not None]
    if len(kinds) != 1:
        raise UsageError("a picture starts from one of a seed, a photo, an image and a walk")
    moves = _moves(values.get("moves", {}))
    start = values[kinds[0]]
    match kinds[0]:
        case "seed" if _is_whole(start) and start < 2**62:
            return State(seed=start, moves=moves)
        case "image" if _is_whole(start):
            return State(image=start, moves=moves)
        case "photo" if isinstance(start, str):
            return State(photo=start, align=values.get("align") is not False, moves=moves)
        case "walk" if isinstance(start, list) and len(start) == 3:
            ends = parse(start[0], depth + 1), parse(start[1], depth + 1)
            return State(walk=(*ends, min(1.0, max(0.0, _number(start[2])))), moves=moves)
    raise UsageError(f"{kinds[0]} cannot be what a picture starts from")


def _moves(values: Any) -> tuple[tuple[str, float], ...]:
    if (
        not isinstance(values, Mapping)
        or len(values) > _MOST_MOVES
        or not all(isinstance(name, str) for name in values)
    ):
        raise UsageError(f"moves are up to {_MOST_MOVES} names of vectors with strengths")
    return tuple((name, _number(strength)) for name, strength in values.items() if _number(strength))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MOST_STRENGTH:
        raise UsageError(f"strengths are numbers up to {MOST_STRENGTH:g}")
    return float(value) if math.isfinite(value) else 0.0
