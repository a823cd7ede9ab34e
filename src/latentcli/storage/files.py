"""Writing files so that nothing is lost: whole or not at all, and never over something else.

A file appears under its name only when all its bytes are on disk (temporary name, fsync, rename).
"""

import contextlib
import errno
import os
import stat
import tempfile
import threading
from collections.abc import Container, Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from latentcli.errors import ConfigError, LatentCLIError, OutputExists

LOCK_FILE = ".lock"
PIPE = Path("-")  # as an argument the standard input, as an output the standard output
_BLOCK = 1 << 20  # bytes read at once
_ONE_AT_A_TIME = threading.Lock()  # the umask is the whole program's


def check_regular(path: Path, most: int) -> None:
    """Raises OSError unless `path` is a regular file, or a link to one, of at most so many bytes.

    A FIFO would wait for a writer, and a device never end.
    """
    facts = os.stat(path)
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    if facts.st_size > most:
        raise OSError(errno.EFBIG, f"it has {facts.st_size >> 20:,} MiB, and {most >> 20:,} are the limit")


def read_input(path: Path, most: int) -> bytes:
    """The content of a regular file of at most so many bytes. Raises OSError, never waits, and reads no more."""
    with open_regular(path, most) as file:
        return read_stream(file, most)


def open_regular(path: Path, most: int) -> BufferedReader:
    """A regular file of at most so many bytes, opened to be read. Raises OSError, and never waits."""
    check_regular(path, most)
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")


def read_stream(file: BinaryIO, most: int) -> bytes:
    """All there is, at most so many bytes. Raises OSError where there is more."""
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
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:80]}.", suffix=".part", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(OSError):  # some file systems have no modes
                os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(target.parent)
    except OSError as error:
        raise LatentCLIError(f"cannot write {path}: {error.strerror or error}; nothing was changed") from error


def _umask() -> int:
    with _ONE_AT_A_TIME:
        mask = os.umask(0o077)
        os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the rename last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_writable_folder(folder: Path) -> None:
    """Make the folder, and try whether files can be written there. Raises LatentCLIError when they cannot."""
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
    """Keep a second program out of a folder, where the file system knows locks; a crash leaves it free.

    Raises ConfigError when another program holds it.
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
    """Remove what `write_whole` left when it was killed; only for who has the folder to itself."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


def free_name(path: Path, taken: Container[str] = (), on_disk: bool = True, is_folder: bool = False) -> Path:
    """`path`, or with -2, -3 … before its suffix where it is taken: by a file, or by one of some case-folded names.

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
    """A name that latentcli chooses: that of a file that is to be replaced with `force`, else a free one like it."""
    return path if force else free_name(path, is_folder=is_folder)


def output_file(wanted: Path | None, default: Path, force: bool) -> Path:
    """Where one result goes: the name the user gave, which must be free, or one like `default`.

    A name without a suffix is a folder. With `force` a result of that name is replaced.

    Raises OutputExists when `wanted` is taken and `force` is not given.
    """
    if wanted is None:
        return chosen_name(default, force)
    if os.path.isdir(wanted) or (not wanted.suffix and not os.path.lexists(wanted)):
        return chosen_name(wanted / default.name, force)
    if os.path.lexists(wanted) and not force:
        raise OutputExists(f"{wanted} exists; add `force` to replace it, or give another `output`")
    return wanted
