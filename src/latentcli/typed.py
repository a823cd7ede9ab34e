"""Dataclasses from JSON, checked: each value has the type of its field, else an error names the field.

The files are not trusted. Unknown keys are ignored, so that files of later versions can be read.
"""

import contextlib
import dataclasses
import types
import typing
from collections.abc import Hashable
from functools import cache
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

from latentcli.text import shown

Value = TypeVar("Value")
_LARGEST = 1e300  # absolute value that numbers must stay below
_MOST_TEXT = 40  # characters of a wrong value that an error message shows
_NAMES = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false"}


def read(kind: type[Value], data: Any, path: str = "") -> Value:
    """Instance of the dataclass `kind` from a parsed JSON object; ValueError names a wrong field, prefixed by `path`.

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
    if not isinstance(data, dict):
        raise _misfit(path or "the whole", data, "an object")
    values = {}
    hints = _hints(cast(Hashable, kind))
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        below = f"{path}.{field.name}" if path else field.name
        if field.name in data:
            values[field.name] = _value(hints[field.name], data[field.name], below)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{below} is missing")
    return kind(**values)


_hints = cache(typing.get_type_hints)


def _value(hint: Any, data: Any, path: str) -> Any:
    """JSON value converted to the type of `hint`. Raises ValueError that names `path` if the value does not fit."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or (type(data) is hint and hint is not float):
        return data
    if hint is float and type(data) in (int, float) and abs(data) < _LARGEST:
        return float(data)
    if origin is Literal:
        if data not in arguments:
            raise _misfit(path, data, f"one of {', '.join(map(str, arguments))}")
        return data
    if origin in (types.UnionType, typing.Union):
        if data is None and type(None) in arguments:
            return None
        *others, last = (each for each in arguments if each is not type(None))
        for each in others:
            with contextlib.suppress(ValueError):
                return _value(each, data, path)
        return _value(last, data, path)
    if origin is tuple:
        if not isinstance(data, list | tuple):
            raise _misfit(path, data, "a list")
        items = arguments[:1] * len(data) if arguments[-1] is Ellipsis else arguments
        if len(items) != len(data):
            raise _misfit(path, data, f"a list of {len(items)}")
        return tuple(_value(item, data[row], f"{path}[{row}]") for row, item in enumerate(items))
    if origin is dict:
        if not isinstance(data, dict):
            raise _misfit(path, data, "an object")
        return {name: _value(arguments[1], value, f"{path}.{shown(name)}") for name, value in data.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read(hint, data, path)
    raise _misfit(path, data, _NAMES.get(hint, str(hint)))


def _misfit(path: str, data: Any, wanted: str) -> ValueError:
    text = shown(repr(data) if isinstance(data, str | int | float | bool | None) else f"a {type(data).__name__}")
    return ValueError(f"{path} is {text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + '…'} and not {wanted}")
