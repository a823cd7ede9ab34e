"""Sources of images: a folder tree, a `.zip` archive, or a text file of paths.

A listing names every image of a source in sorted order, with size and time stamp, by which changes are found. Names
are arrays of bytes: a million of them take tens of megabytes.
"""

import hashlib
import io
import os
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from latentcli.config import HELD_OUT_SHARE, MODEL_FILE, RESUME_FILE
from latentcli.errors import ImageError
from latentcli.storage.files import read_input
from latentcli.storage.history import TrainingSummary

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".avif")
)
_LARGEST_ENTRY = 128 << 20  # bytes of one archived file: several are in memory at once
_MODEL_FILES = (os.fsencode(MODEL_FILE), os.fsencode(RESUME_FILE))
_MOST_LIST = 128 << 20  # bytes of a list of paths: a million take less
_MOST_LINES = 5_000_000  # of it
_START = 4096  # bytes of a file that is no text if there is a zero among them
_AT_ONCE = 50_000  # names that wait as Python objects
_ARCHIVE_ERRORS = (
    KeyError, RuntimeError, OSError, EOFError, NotImplementedError, ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

# Things that a listing passes over, as messages name them.
DANGLING = "links that lead nowhere"
LINKED_FOLDERS = "links to folders"
OTHER = "files of other types"
SPECIAL = "pipes, devices and the like"
CLOSED = "folders that may not be read"
TWICE = "duplicate names"
MODELS = "folders of models"
NOTEWORTHY = (DANGLING, LINKED_FOLDERS, SPECIAL, CLOSED, MODELS)  # the user may have meant these to count
_NAMED = 10  # of a kind

File = tuple[bytes, int, int]  # name, size, stamp


class Reader:
    """Opens the files of a source by name. A context manager."""

    def __init__(self, source: "Source") -> None:
        self.source = source

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def locate(self, name: str) -> tuple[Path, bytes | None]:
        """The file's path and, when it is not on the disk under that, its bytes. Raises ImageError."""
        return self.source.root / name, None


@dataclass
class PassedOver:
    """What a listing passes over: how many of each kind, and the names of the first."""

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[bytes]] = field(default_factory=dict)

    def add(self, what: str, name: bytes) -> None:
        self.counts[what] += 1
        some = self.names.setdefault(what, [])
        if len(some) < _NAMED:
            some.append(name)

    def noteworthy(self) -> Iterator[str]:
        """What the user may have meant to count, a line a kind, by name."""
        for what in NOTEWORTHY:
            if count := self.counts[what]:
                some = ", ".join(os.fsdecode(name) for name in sorted(self.names[what]))
                yield f"passed over: {count} {what} ({some}{', …' if count > _NAMED else ''})"


@dataclass(frozen=True)
class Source(ABC):
    """Images under relative names: a folder, an archive, a list. Open it with `open_source`.

    A new kind is one subclass, added to `KINDS`.
    """

    path: Path
    kind: ClassVar[str]
    checksummed: ClassVar[bool] = False  # whether stamps tell the content, wherever and whenever it was stored

    def __str__(self) -> str:
        return str(self.path)

    @property
    def root(self) -> Path:
        """The folder that names are relative to."""
        return self.path

    def reader(self) -> Reader:
        """A reader of the files. Raises ImageError when the source cannot be opened any more."""
        return Reader(self)

    @staticmethod
    @abstractmethod
    def is_at(path: Path) -> bool:
        """Whether a path that exists is a source of this kind."""

    @abstractmethod
    def files(self, passed_over: PassedOver) -> Iterator[File]:
        """Every image file, in any order; what is no image is counted in `passed_over`. Raises ImageError."""


@dataclass(frozen=True)
class Listing:
    """The images of a source, sorted by name."""

    source: Source
    names: np.ndarray  # (n,) bytes: relative POSIX paths as the system encodes them
    sizes: np.ndarray  # (n,) int64, bytes; -1 where the file is missing
    stamps: np.ndarray  # (n,) int64: time of change in nanoseconds; in archives the CRC-32
    passed_over: PassedOver = field(default_factory=PassedOver)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        return os.fsdecode(bytes(self.names[row]))


def name_hashes(names: Iterable[bytes]) -> np.ndarray:
    """The first eight bytes of each name's SHA-256 as one number: (n,) uint64."""
    digests = b"".join(hashlib.sha256(name).digest()[:8] for name in names)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def is_held_out(hashes: np.ndarray, share: float) -> np.ndarray:
    """Whether each image is held out, from the hash of its relative path alone: (n,) bool.

    >>> int(is_held_out(name_hashes(b"%d.png" % number for number in range(10_000)), 0.05).sum())
    493
    """
    return hashes.astype(np.float64) < share * 2.0**64


def held_out_then(names: Iterable[bytes], training: TrainingSummary | None) -> np.ndarray:
    """Whether each image was held out of a training, by its summary and the relative paths: (n,) bool."""
    share = (training and training.held_out_share) or HELD_OUT_SHARE
    return is_held_out(name_hashes(names), share)


def names_as_numbers(names: np.ndarray) -> np.ndarray:
    """Names as a file can hold them: (n,) bytes to (n, longest) uint8, without a copy where they lie in one piece."""
    return np.ascontiguousarray(names).view(np.uint8).reshape(len(names), names.dtype.itemsize)


def names_from_numbers(numbers: np.ndarray) -> np.ndarray:
    """The reverse of `names_as_numbers`."""
    return np.ascontiguousarray(numbers).view(f"S{numbers.shape[1]}").reshape(-1)


def open_source(path: Path) -> Source:
    """The source at a path, of the first of `KINDS` that fits. Raises ImageError when there is none."""
    if not os.path.exists(path):
        raise ImageError(f"{path} does not exist; give a folder of images, a .zip, or a text file of paths")
    if not os.path.isdir(path) and not os.path.isfile(path):  # a pipe would wait, and a device never end
        raise ImageError(f"{path} is neither a folder nor a file; give a folder of images, a .zip, or a list of paths")
    for kind in KINDS.values():
        if kind.is_at(path):
            return kind(path)
    raise ImageError(f"{path} is a single image; give a folder of images")


def find_images(folder: Path) -> list[Path]:
    """Every image file below `folder`, sorted by relative path. Raises ImageError when there is none."""
    if not os.path.isdir(folder):
        raise ImageError(f"{folder} is not a folder; give a folder of images")
    listing = scan(Folder(folder))
    return [folder / listing.name(row) for row in range(len(listing))]


def scan(source: Source) -> Listing:
    """List the images of a source.

    Hidden files and folders are passed over, and so are the folders of models, whose pictures are no data. Of a
    folder only regular files count, also behind links; whether they can be read shows later. Raises ImageError when
    there is no image.
    """
    passed_over = PassedOver()
    names, sizes, stamps = _as_arrays(source.files(passed_over))
    names, first = np.unique(names, return_index=True)  # sorted
    if len(first) < len(sizes):
        passed_over.counts[TWICE] += len(sizes) - len(first)
    if not len(names):
        passed = ", ".join(f"{count} {what}" for what, count in sorted(passed_over.counts.items()))
        raise ImageError(
            f"{source} holds no images{f' (passed over: {passed})' if passed else ''}; "
            f"latentcli reads {', '.join(sorted(SUFFIXES))}"
        )
    if not (sizes >= 0).any():
        raise ImageError(
            f"none of the {len(names)} files that {source} names is there; its paths count from its own folder"
        )
    return Listing(source, names, sizes[first], stamps[first], passed_over)


def _as_arrays(files: Iterable[File]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    names: list[np.ndarray] = [np.empty(0, dtype="S1")]
    numbers: list[np.ndarray] = [np.empty((0, 2), dtype=np.int64)]
    waiting: list[File] = []

    def pack() -> None:
        names.append(np.array([name for name, _, _ in waiting], dtype=np.bytes_))
        numbers.append(np.array([file[1:] for file in waiting], dtype=np.int64).reshape(-1, 2))
        waiting.clear()

    for file in files:
        waiting.append(file)
        if len(waiting) == _AT_ONCE:
            pack()
    if waiting:
        pack()
    both = np.concatenate(numbers)
    return np.concatenate(names), both[:, 0].copy(), both[:, 1].copy()


class Folder(Source):
    """A folder tree."""

    kind = "folder"

    @staticmethod
    def is_at(path: Path) -> bool:
        return os.path.isdir(path)

    def files(self, passed_over: PassedOver) -> Iterator[File]:
        top = os.fsencode(self.path)
        waiting = [b""]
        while waiting:
            below = waiting.pop()
            try:
                with os.scandir(os.path.join(top, below)) as entries:
                    found, folders, is_model = _read_folder(entries, below, passed_over)
            except OSError:
                passed_over.add(CLOSED, below)
                continue
            if is_model and below:
                passed_over.add(MODELS, below)
                continue
            waiting += folders
            yield from found


def _read_folder(
    entries: Iterable["os.DirEntry[bytes]"], below: bytes, passed_over: PassedOver
) -> tuple[list[File], list[bytes], bool]:
    """The image files and the folders directly in a folder, and whether it is a model's."""
    found: list[File] = []
    folders: list[bytes] = []
    is_model = False
    for entry in entries:
        is_model = is_model or entry.name in _MODEL_FILES
        if entry.name.startswith(b"."):
            continue
        name = below + b"/" + entry.name if below else entry.name
        if entry.is_dir(follow_symlinks=False):
            folders.append(name)
        elif entry.is_symlink() and os.path.isdir(entry.path):
            passed_over.add(LINKED_FOLDERS, name)
        elif _suffix(entry.name) not in SUFFIXES:
            passed_over.add(OTHER, name)
        else:
            try:
                facts = entry.stat()
            except OSError:
                passed_over.add(DANGLING, name)
                continue
            if stat.S_ISREG(facts.st_mode):
                found.append((name, facts.st_size, facts.st_mtime_ns))
            else:
                passed_over.add(SPECIAL, name)
    return found, folders, is_model


def _suffix(name: bytes) -> str:
    return os.path.splitext(os.fsdecode(name))[1].lower()


class Archive(Source):
    """A `.zip` archive."""

    kind = "zip"
    checksummed = True

    @staticmethod
    def is_at(path: Path) -> bool:
        return path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)

    def reader(self) -> Reader:
        return _ArchiveReader(self)

    def files(self, passed_over: PassedOver) -> Iterator[File]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                for entry in archive.infolist():
                    parts = entry.filename.split("/")
                    if entry.is_dir() or any(part.startswith((".", "__MACOSX")) for part in parts):
                        continue
                    if _suffix(os.fsencode(entry.filename)) in SUFFIXES:
                        yield os.fsencode(entry.filename), entry.file_size, entry.CRC
                    else:
                        passed_over.add(OTHER, os.fsencode(entry.filename))
        except _ARCHIVE_ERRORS as error:
            raise ImageError(f"{self} is not a readable zip archive ({error}); pack it again") from error


class _ArchiveReader(Reader):
    """Keeps the archive open."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        try:
            self._archive = zipfile.ZipFile(source.path)
        except _ARCHIVE_ERRORS as error:
            raise ImageError(f"{source} cannot be opened any more ({error})") from error

    def __exit__(self, *error: object) -> None:
        self._archive.close()

    def locate(self, name: str) -> tuple[Path, bytes | None]:
        path = self.source.root / name
        try:
            if self._archive.getinfo(name).file_size > _LARGEST_ENTRY:
                limit = f"{_LARGEST_ENTRY >> 20} MiB, the limit for an archived image"
                raise ImageError(f"{path} exceeds {limit}; take it out of the archive")
            return path, self._archive.read(name)
        except _ARCHIVE_ERRORS as error:
            raise ImageError(f"{path} cannot be read from the archive ({error}); pack it again") from error


class PathList(Source):
    """A text file of paths, relative to its own folder, one a line."""

    kind = "list"

    @property
    def root(self) -> Path:
        return self.path.parent

    @staticmethod
    def is_at(path: Path) -> bool:
        return path.suffix.lower() not in SUFFIXES  # those are single images

    def files(self, passed_over: PassedOver) -> Iterator[File]:
        for line in map(str.strip, io.StringIO(self._text())):
            if not line or line.startswith("#"):
                continue
            try:
                facts = os.stat(self.root / line)
            except (OSError, ValueError):
                yield os.fsencode(line.replace("\0", "?")), -1, 0
            else:
                yield os.fsencode(line), facts.st_size, facts.st_mtime_ns

    def _text(self) -> str:
        advice = "give a folder of images, a .zip, or a text file of paths"
        try:
            content = read_input(self.path, _MOST_LIST)
            if b"\0" in content[:_START]:
                raise ImageError(f"{self} is not a list of images; {advice}")
            if content.count(b"\n") > _MOST_LINES:
                raise ImageError(f"{self} has more than {_MOST_LINES:,} lines, the limit; give a folder instead")
            return content.decode("utf-8-sig")
        except PermissionError as error:
            raise ImageError(f"{self} may not be read; check its permissions") from error
        except (OSError, UnicodeDecodeError) as error:
            raise ImageError(f"{self} is not a list of images (not UTF-8 text); {advice}") from error


KINDS: dict[str, type[Source]] = {each.kind: each for each in (Folder, Archive, PathList)}  # tried in this order
