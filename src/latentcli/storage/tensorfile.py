"""Tensors and a JSON header in one `.safetensors` file: the only module that knows the layout.

The header carries `format`, `kind` and a SHA-256 of the tensors, so a damaged file or one of another kind is refused
by name. Nothing here unpickles or runs anything. Tensors are numpy arrays, so that reading a header needs no torch.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from latentcli import typed
from latentcli.errors import FileFormatError
from latentcli.storage.files import check_regular, write_whole

FORMAT = 1  # rises when today's files can no longer be read
_KEY = "latentcli"  # the one metadata entry; its value is our JSON
_MOST_BYTES = 64 << 30  # bytes of a file: latents of a million images take less
_MOST_TEXT = {"latents": 64 << 20, "vector": 64 << 20}  # characters of our JSON in files that name images
_MOST_TEXT_ELSE = 4 << 20  # characters in all others
_NAMED = 20  # characters of a foreign kind in a message
_FLOATS = ("F16", "F32")

Header = dict[str, Any]
Layout = dict[str, tuple[str, tuple[int, ...]]]  # type and shape of each tensor, by name
Parsed = TypeVar("Parsed")
Arrays = dict[str, np.ndarray]
Check = Callable[[Header, Layout], None]


def digest(arrays: Arrays) -> str:
    """SHA-256 over name, dtype, shape and bytes of each array, sorted by name: 64 hex digits."""
    result = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        result.update(f"{name}\0{array.dtype.name}\0{list(array.shape)}\0".encode())
        result.update(np.ascontiguousarray(array).data)
    return result.hexdigest()


def write(path: Path, kind: str, header: Header, arrays: Arrays) -> None:
    """Write arrays and header whole; `format`, `kind` and `sha256` are added to the header."""
    full = {"format": FORMAT, "kind": kind, "sha256": digest(arrays), **header}
    write_whole(path, save(arrays, {_KEY: json.dumps(full, ensure_ascii=True, allow_nan=False)}))


def read_header(path: Path, kind: str) -> Header:
    """The header alone, without reading a tensor.

    Raises FileFormatError when the file is missing, not ours, of another kind, damaged or newer than this program.
    """
    with _opened(path, kind) as (header, _):
        return header


def parse(kind: type[Parsed], header: Header, path: Path) -> Parsed:
    """A header as a dataclass. Raises FileFormatError that names the file and the field."""
    try:
        return typed.read(kind, header)
    except ValueError as error:
        raise FileFormatError(f"{path} holds a header that makes no sense ({error}); make the file again") from error


def numbers(layout: Layout) -> int:
    """Count of the numbers in all tensors together."""
    return sum(math.prod(shape) for _, shape in layout.values())


def are_floats(layout: Layout, besides: str = "") -> bool:
    """Whether all tensors, except those whose names end in `besides`, are floats as weights and latents are."""
    return all(kind in _FLOATS or (besides and name.endswith(besides)) for name, (kind, _) in layout.items())


def read(path: Path, kind: str, check: Check | None = None) -> tuple[Header, Arrays]:
    """Header and arrays; the arrays are checked against the SHA-256 in the header.

    `check` may refuse header and layout before a tensor is read. Raises FileFormatError as `read_header` does.
    """
    with _opened(path, kind) as (header, file):
        if check:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            check(header, {name: (tensor.get_dtype(), tuple(tensor.get_shape())) for name, tensor in slices.items()})
        try:
            arrays: Arrays | None = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, KeyError, TypeError):
            arrays = None
    if arrays is None or digest(arrays) != header.get("sha256"):
        raise FileFormatError(f"{path} is damaged (its checksum does not match); restore it or make it again")
    return header, arrays


@contextlib.contextmanager
def _opened(path: Path, kind: str) -> Iterator[tuple[Header, Any]]:
    """The header of one of our files, and the open file of safetensors."""
    try:
        check_regular(path, _MOST_BYTES)
        with safe_open(path, "np") as file:
            text = (file.metadata() or {})[_KEY]
            header = json.loads(text) if len(text) <= _MOST_TEXT.get(kind, _MOST_TEXT_ELSE) else None
            if not isinstance(header, dict) or type(header.get("format")) is not int or header["format"] < 1:
                raise ValueError("no header of ours")
            if header["format"] > FORMAT:
                raise FileFormatError(f"{path} was written by a newer latentcli; upgrade latentcli to read it")
            if header.get("kind") != kind:
                other = str(header.get("kind"))[:_NAMED]
                raise FileFormatError(f"{path} is a {other} file, not a {kind} file; give a {kind} file")
            yield header, file
    except FileNotFoundError as error:
        raise FileFormatError(f"{path} does not exist") from error
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror or error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} is not a latentcli file; give one that latentcli wrote") from error
