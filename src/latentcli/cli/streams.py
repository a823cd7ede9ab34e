"""Standard streams as they come: closed, full, or in an encoding that knows few characters."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

from latentcli.errors import LatentCLIError


class _Closed(io.TextIOBase):
    """In place of a standard output that was closed before the program started."""

    def isatty(self) -> bool:
        return False

    @property
    def buffer(self) -> BinaryIO:
        raise self._error()

    def write(self, text: str) -> int:
        raise self._error()

    def _error(self) -> LatentCLIError:
        return LatentCLIError("the standard output is closed; send it to a file or to /dev/null")


def prepare() -> None:
    """Let any file name and any message be printed, and a closed stream be an error only when it is written to."""
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  # for as long as the program runs
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names as the system knows them, which need not be text
        sys.stdout.reconfigure(encoding=sys.getfilesystemencoding(), errors="surrogateescape")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """Raises LatentCLIError when what was printed cannot be written; a closed pipe stays BrokenPipeError."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:  # no stream
            raise
        _forget_output()
        if isinstance(error, BrokenPipeError):
            raise
        raise LatentCLIError(f"cannot write to the standard output: {error.strerror or error}") from error


def _forget_output() -> None:
    """Send what is still to be written nowhere, so that Python does not try again at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
