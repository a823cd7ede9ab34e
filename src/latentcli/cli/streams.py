"""Standard streams that are closed, full, or in an encoding with few characters."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator

from latentcli.errors import LatentCLIError


def prepare() -> None:
    """Let any file name and message be printed. A closed stream becomes an error when something is written to it."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull)  # noqa: SIM115, PTH123  # for reading alone, so that writing to it fails
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  # for as long as the program runs
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may hold bytes that are no text
        sys.stdout.reconfigure(encoding=sys.getfilesystemencoding(), errors="surrogateescape")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """Flush the standard output at the end. Raises LatentCLIError if it cannot be written, BrokenPipeError as it is."""
    try:
        yield
        sys.stdout.flush()
    except io.UnsupportedOperation as error:
        raise LatentCLIError("the standard output is closed; send it to a file or to /dev/null") from error
    except OSError as error:
        if error.filename is not None:  # a file, not a stream
            raise
        with contextlib.suppress(OSError, ValueError):  # else Python writes the rest again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise LatentCLIError(f"cannot write to the standard output: {error.strerror or error}") from error
