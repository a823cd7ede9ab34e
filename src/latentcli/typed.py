"""JSON from files as dataclasses: every value of the type that its field has, or an error that names it.

Files may come from anybody; what is unknown in them is left out, so that files of later versions can be read.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Hashable
from functools import cache
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

from latentcli.text import shown

Value = TypeVar("Value")
_MOST_TEXT = 40  # characters of a value in a message


def read(kind: type[Value], found: Any, where: str = "") -> Value:
    """A dataclass from a JSON object. Raises ValueError that names the field, below `where`.

    >>> @dataclasses.dataclass
    ... class Point:
    ...     x: int
    ...     y: float = 0.0
    >>> read(Point, {"x": 3, "colour": "red"})
    Point(x=3, y=0.0)
    >>> read(Point, {"x": "3"})
    Traceback (most recent call last):
    ValueError: x is '3' and not a whole number
    """
    if not isinstance(found, dict):
        raise _misfit(where or "the whole", found, "an object")
    values = {}
    hints = _hints(cast(Hashable, kind))
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        place = f"{where}.{field.name}" if where else field.name
        if field.name in found:
            values[field.name] = _value(hints[field.name], found[field.name], place)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{place} is missing")
    return kind(**values)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _value(hint: Any, found: Any, where: str) -> Any:
    """A JSON value as a type hint has it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return found
    if origin is Literal:
        if found not in arguments:
            raise _misfit(where, found, f"one of {', '.join(map(str, arguments))}")
        return found
    if origin in (types.UnionType, typing.Union):
        return _one_of(arguments, found, where)
    if origin is tuple:
        return _tuple(arguments, found, where)
    if origin is dict:
        if not isinstance(found, dict):
            raise _misfit(where, found, "an object")
        return {name: _value(arguments[1], value, f"{where}.{shown(name)}") for name, value in found.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read(hint, found, where)
    return _plain(hint, found, where)


def _plain(hint: Any, found: Any, where: str) -> Any:
    if hint is float and type(found) in (int, float):
        number = float(found) if abs(found) < 1e300 else math.inf
        if math.isfinite(number):
            return number
    elif type(found) is hint:
        return found
    names = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false"}
    raise _misfit(where, found, names.get(hint, str(hint)))


def _one_of(hints: tuple[Any, ...], found: Any, where: str) -> Any:
    if found is None and type(None) in hints:
        return None
    others = [hint for hint in hints if hint is not type(None)]
    for hint in others[:-1]:
        try:
            return _value(hint, found, where)
        except ValueError:
            continue
    return _value(others[-1], found, where)


def _tuple(hints: tuple[Any, ...], found: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(found, list | tuple):
        raise _misfit(where, found, "a list")
    if len(hints) == 2 and hints[1] is Ellipsis:
        hints = (hints[0],) * len(found)
    if len(hints) != len(found):
        raise _misfit(where, found, f"a list of {len(hints)}")
    return tuple(
        _value(hint, value, f"{where}[{row}]") for row, (hint, value) in enumerate(zip(hints, found, strict=True))
    )


def _misfit(where: str, found: Any, wanted: str) -> ValueError:
    text = shown(repr(found) if isinstance(found, str | int | float | bool | None) else f"a {type(found).__name__}")
    return ValueError(f"{where} is {text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + '…'} and not {wanted}")
