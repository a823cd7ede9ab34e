"""Reading of regular files, and safe writing: a file is written whole or not at all, and replaced only on request.

A file appears under its name only when all its bytes are on disk (temporary name, fsync, rename).
"""

import contextlib
import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Container, Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from latentcli.errors import ConfigError, LatentCLIError, OutputExists

LOCK_FILE = ".lock"
PIPE = Path("-")  # the standard input as an argument, the standard output as an output
_BLOCK = 1 << 20  # bytes read at once


def check_regular(path: Path, most: int) -> None:
    """Raise OSError unless `path` is a regular file, or a link to one, of at most `most` bytes.

    Reading a pipe would wait for a writer, and reading a device would never end.
    """
    facts = os.stat(path)
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    if facts.st_size > most:
        raise OSError(errno.EFBIG, f"it has {facts.st_size >> 20:,} MiB, and {most >> 20:,} are the limit")


def read_input(path: Path, most: int) -> bytes:
    """Content of a regular file of at most `most` bytes. Raises OSError for a larger file, a pipe or a device."""
    with open_regular(path, most) as file:
        return read_stream(file, most)


def open_regular(path: Path, most: int) -> BufferedReader:
    """Open a regular file of at most `most` bytes to read it. Raises OSError for a larger file, a pipe or a device."""
    check_regular(path, most)
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")


def read_stream(file: BinaryIO, most: int) -> bytes:
    """Content of a stream, read to its end. Raises OSError when the stream has more than `most` bytes."""
    content = bytearray()
    while block := file.read(_BLOCK):
        content += block
        if len(content) > most:
            raise OSError(errno.EFBIG, f"it has more than {most >> 20:,} MiB, the limit")
    return bytes(content)


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a crash leaves either the old file or the new one, whole.

    Raises LatentCLIError when the folder cannot be written to or the disk is full.
    """
    target = Path(os.path.realpath(path))  # a link stays a link to the new content
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise LatentCLIError(f"cannot write {path}: {error.strerror or error}; nothing was changed") from error
    with contextlib.suppress(OSError):  # where the system can, the rename lasts through a power cut
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_writable_folder(folder: Path) -> None:
    """Make `folder` if missing, and write a temporary file there as a test. Raises LatentCLIError if either fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        raise LatentCLIError(
            f"cannot write to {folder}: {error.strerror or error}; work in a folder where you may write"
        ) from error


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, if its file system supports locks; a crash releases the lock.

    Raises ConfigError when another program holds the lock.
    """
    from filelock import FileLock, Timeout  # costs a tenth of a second

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(FileLock(folder / LOCK_FILE, blocking=False))
        except Timeout as error:
            raise ConfigError(f"another latentcli works in {folder}; wait for it, or choose another `name`") from error
        except (OSError, NotImplementedError):  # a file system without locks
            pass
        yield


def remove_parts(folder: Path) -> None:
    """Remove temporary files that a killed `write_whole` left below `folder`, whose lock the caller must hold."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


def free_name(path: Path, taken: Container[str] = (), on_disk: bool = True, is_folder: bool = False) -> Path:
    """`path`, numbered -2, -3 … if it exists (checked with `on_disk`) or if `taken` has it in case-folded form.

    >>> free_name(Path("no-such-folder/samples.png")).name
    'samples.png'
    >>> free_name(Path("pics+1.5"), {"pics+1.5", "pics+1.5-2"}, on_disk=False, is_folder=True).name
    'pics+1.5-3'
    """
    suffix = ".latents.safetensors" if path.name.endswith(".latents.safetensors") else path.suffix
    stem = path.name if is_folder else path.name.removesuffix(suffix)
    candidate, number = path, 1
    while str(candidate).casefold() in taken or (on_disk and os.path.lexists(candidate)):
        number += 1
        candidate = path.with_name(f"{stem}-{number}{'' if is_folder else suffix}")
    return candidate


def chosen_name(path: Path, force: bool, is_folder: bool = False) -> Path:
    """Path of an output that the user did not name: `path` itself with `force`, else a variant that does not exist."""
    return path if force else free_name(path, is_folder=is_folder)


def output_file(wanted: Path | None, default: Path, force: bool) -> Path:
    """Path to write one result to: `wanted`, or, if that is a folder, the name of `default` in it; for None, `default`.

    A new path without a suffix is a folder. Without `force`, default names are numbered if they exist, and a `wanted`
    file that exists raises OutputExists.
    """
    if wanted is None:
        return chosen_name(default, force)
    if os.path.isdir(wanted) or (not wanted.suffix and not os.path.lexists(wanted)):
        return chosen_name(wanted / default.name, force)
    if os.path.lexists(wanted) and not force:
        raise OutputExists(f"{wanted} exists; add `force` to replace it, or give another `output`")
    return wanted
