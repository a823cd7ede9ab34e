"""State of the explorer: the origin of a picture, and the strength of each vector that it is moved along.

The page keeps the states and sends them whole. So undo, a second tab and a restarted server work without any memory of
the server.
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
    """A picture: its origin, which is exactly one of seed, photo, image and walk, and its moves."""

    seed: int | None = None  # the seed of a sample
    photo: str | None = None  # key of an opened photo
    align: bool = True  # find the face of a photo
    image: int | None = None  # position in the folder of images
    walk: "tuple[State, State, float] | None" = None  # between two states, at 0 to 1
    moves: tuple[tuple[str, float], ...] = ()  # names of vectors, and strengths that are not 0


def parse(values: Any, depth: int = 0) -> State:
    """A state from the page's JSON. Raises UsageError for anything else.

    >>> parse({"seed": 7, "moves": {"smile": 1.5, "old": 0}})
    State(seed=7, photo=None, align=True, image=None, walk=None, moves=(('smile', 1.5),))
    """
    if not isinstance(values, Mapping) or depth > _DEEPEST:
        raise UsageError("a picture is an object of a start and moves")
    kinds = [name for name in ("seed", "photo", "image", "walk") if values.get(name) is not None]
    if len(kinds) != 1:
        raise UsageError("a picture starts from one of a seed, a photo, an image and a walk")
    moves = _moves(values.get("moves", {}))
    origin = values[kinds[0]]
    match kinds[0]:
        case "seed" if _is_whole(origin) and origin < 2**62:
            return State(seed=origin, moves=moves)
        case "image" if _is_whole(origin):
            return State(image=origin, moves=moves)
        case "photo" if isinstance(origin, str):
            return State(photo=origin, align=values.get("align") is not False, moves=moves)
        case "walk" if isinstance(origin, list) and len(origin) == 3:
            ends = parse(origin[0], depth + 1), parse(origin[1], depth + 1)
            return State(walk=(*ends, min(1.0, max(0.0, _number(origin[2])))), moves=moves)
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
