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

FORMAT = 1  # version of the files: raised when files of the version before can no longer be read
_KEY = "latentcli"  # the one metadata entry of a file; its value is the header as JSON
_MOST_BYTES = 64 << 30  # bytes of a file, at most: latents of a million images take less
_MOST_TEXT = {"latents": 64 << 20, "vector": 64 << 20}  # characters of a header, at most, by kinds that name images
_MOST_TEXT_ELSE = 4 << 20  # characters of a header of any other kind, at most
_NAMED = 20  # characters of an unexpected kind that a message quotes
_FLOATS = ("F16", "F32")

Header = dict[str, Any]
Layout = dict[str, tuple[str, tuple[int, ...]]]  # type and shape of each tensor, by name
Parsed = TypeVar("Parsed")
Arrays = dict[str, np.ndarray]
Check = Callable[[Header, Layout], None]


def digest(arrays: Arrays) -> str:
    """SHA-256 of arrays, as 64 hex digits: over name, dtype, shape and bytes of each array, sorted by name."""
    result = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        result.update(f"{name}\0{array.dtype.name}\0{list(array.shape)}\0".encode())
        result.update(np.ascontiguousarray(array).data)
    return result.hexdigest()


def write(path: Path, kind: str, header: Header, arrays: Arrays) -> None:
    """Write arrays and header to `path`, whole or not at all; adds `format`, `kind` and `sha256` to the header."""
    full = {"format": FORMAT, "kind": kind, "sha256": digest(arrays), **header}
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # `save` writes memory as it lies
    write_whole(path, save(arrays, {_KEY: json.dumps(full, ensure_ascii=True, allow_nan=False)}))


def read_header(path: Path, kind: str) -> Header:
    """Header of the file at `path`, without reading a tensor; the file must be of `kind`: "model", "vector" ….

    Raises FileFormatError when the file is missing, damaged, of another kind or newer than this program.
    """
    with _opened(path, kind) as (header, _):
        return header


def parse(kind: type[Parsed], header: Header, path: Path) -> Parsed:
    """Convert a header to the dataclass `kind`. Raises FileFormatError, which names file and field, for a bad value."""
    try:
        return typed.read(kind, header)
    except ValueError as error:
        raise FileFormatError(f"{path} holds a header that makes no sense ({error}); make the file again") from error


def numbers(layout: Layout) -> int:
    """Number of elements in all tensors of a file together."""
    return sum(math.prod(shape) for _, shape in layout.values())


def are_floats(layout: Layout, besides: str = "") -> bool:
    """Whether all tensors are of type F16 or F32, except for tensors whose names end in `besides`."""
    return all(kind in _FLOATS or (besides and name.endswith(besides)) for name, (kind, _) in layout.items())


def read(path: Path, kind: str, check: Check | None = None) -> tuple[Header, Arrays]:
    """Header and arrays of the file at `path`; the arrays are checked against the SHA-256 in the header.

    `check` gets the header and the layout (types and shapes) before any array is read, and may raise an error. Raises
    FileFormatError for a file of another kind, and for one that is damaged or newer than this program.
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
    """Open a file of `kind` for reading; yields its header, checked, and the safetensors file with the tensors."""
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
