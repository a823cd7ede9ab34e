"""Standard streams as they come: closed, full, or in an encoding that knows few characters."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator

from latentcli.errors import LatentCLIError


def prepare() -> None:
    """Let any file name and any message be printed, and a closed stream be an error only when it is written to."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull)  # noqa: SIM115, PTH123  # for reading alone, so that writing to it fails
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
    except io.UnsupportedOperation as error:
        raise LatentCLIError("the standard output is closed; send it to a file or to /dev/null") from error
    except OSError as error:
        if error.filename is not None:  # no stream
            raise
        with contextlib.suppress(OSError, ValueError):  # what is left to write goes nowhere, else Python tries again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise LatentCLIError(f"cannot write to the standard output: {error.strerror or error}") from error
