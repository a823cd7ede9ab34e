"""Sources of images: a folder tree, a `.zip` archive, or a text file of paths.

A listing holds name, size and time stamp of every image of a source, sorted by name, so that changes are found. Names
are arrays of bytes: a million of them take tens of megabytes.
"""

import contextlib
import hashlib
import io
import os
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np

from latentcli.defaults import HELD_OUT_SHARE
from latentcli.errors import ImageError
from latentcli.storage.files import read_input
from latentcli.storage.history import TrainingSummary
from latentcli.storage.names import MODEL_FILE, RESUME_FILE

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".avif")
)
HELD_OUT_NEEDS = 10  # images of a source, below which no image is held out
_LARGEST_ENTRY = 128 << 20  # bytes of an archived image, at most: several are in memory at once
_MODEL_FILES = (os.fsencode(MODEL_FILE), os.fsencode(RESUME_FILE))  # a folder with one of them is a model's
_MOST_LIST, _MOST_LINES = 128 << 20, 5_000_000  # bytes and lines of a list of paths, at most: a million paths take less
_START = 4096  # first bytes of a file: if one of them is zero, the file is not text
_AT_ONCE = 50_000  # files held as Python objects at a time, while a listing is made
_ARCHIVE_ERRORS = (
    KeyError, RuntimeError, OSError, EOFError, NotImplementedError, ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

# Kinds of files and folders that a listing leaves out, in the words of messages.
DANGLING = "links that lead nowhere"
LINKED_FOLDERS = "links to folders"
OTHER = "files of other types"
SPECIAL = "pipes, devices and the like"
CLOSED = "folders that may not be read"
TWICE = "duplicate names"
MODELS = "folders of models"
NOTEWORTHY = (DANGLING, LINKED_FOLDERS, SPECIAL, CLOSED, MODELS)  # kinds that users may have expected to be listed
_NAMED = 10  # names of files kept for each kind
_SHORT = np.uint64(32)  # bits that hashes of names are cut by in model files

File = tuple[bytes, int, int]  # name, size in bytes and stamp of an image, as in `Listing`
Locate = Callable[[str], tuple[Path, bytes | None]]  # from an image's name to its path and, in archives, its bytes


@dataclass
class PassedOver:
    """Files and folders that a listing leaves out: their number and up to ten names, by kind."""

    counts: Counter[str] = field(default_factory=Counter)
    names: defaultdict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, name: bytes) -> None:
        self.counts[kind] += 1
        if len(self.names[kind]) < _NAMED:
            self.names[kind].append(name)

    def noteworthy(self) -> Iterator[str]:
        """Lines for the user on left-out files that a listing may be expected to hold: number, kind and first names."""
        for kind in NOTEWORTHY:
            if count := self.counts[kind]:
                names = ", ".join(os.fsdecode(name) for name in sorted(self.names[kind]))
                yield f"passed over: {count} {kind} ({names}{', …' if count > _NAMED else ''})"


@dataclass(frozen=True)
class Source(ABC):
    """Place that images come from, a folder, an archive or a list of paths; images are named relative to `root`.

    A new kind of source is a subclass added to `KINDS`, among which `open_source` chooses.
    """

    path: Path
    kind: ClassVar[str]
    checksummed: ClassVar[bool] = False  # whether stamps are checksums of the content, not times

    def __str__(self) -> str:
        return str(self.path)

    @property
    def root(self) -> Path:
        """Path that the names of images are relative to."""
        return self.path

    @contextlib.contextmanager
    def reader(self) -> Iterator[Locate]:
        """Open the source and yield a function from an image's name to its path and, in archives, its bytes.

        Opening and the function raise ImageError when the archive cannot be read.
        """
        yield lambda name: (self.root / name, None)

    @staticmethod
    @abstractmethod
    def is_at(path: Path) -> bool:
        """Whether `path`, which exists, is a source of this class."""

    @abstractmethod
    def files(self, passed_over: PassedOver) -> Iterator[File]:
        """Name, size and stamp of each image, unsorted; adds other files to `passed_over`. Raises ImageError."""


@dataclass(frozen=True)
class Listing:
    """Names, sizes and time stamps of the images of a source, sorted by name."""

    source: Source
    names: np.ndarray  # (n,) bytes: relative POSIX paths as the system encodes them
    sizes: np.ndarray  # (n,) int64, bytes; -1 where the file is missing
    stamps: np.ndarray  # (n,) int64: time of change in nanoseconds; in archives the CRC-32
    passed_over: PassedOver = field(default_factory=PassedOver)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        """Relative path of the image at `row`."""
        return os.fsdecode(bytes(self.names[row]))


def name_hashes(names: Iterable[bytes]) -> np.ndarray:
    """Hash of each name, the first eight bytes of its SHA-256 as a number: (n,) uint64."""
    digests = b"".join(hashlib.sha256(name).digest()[:8] for name in names)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def is_held_out(names: Iterable[bytes], share: float) -> np.ndarray:
    """Whether each image is held out of training, (n,) bool: the hash of its path is in the lowest `share` of hashes.

    Near-duplicates follow the first of their group, so some images end up on the other side.

    >>> int(is_held_out((b"%d.png" % number for number in range(10_000)), 0.05).sum())
    493
    """
    return _are_low(name_hashes(names), share)


def _are_low(hashes: np.ndarray, share: float) -> np.ndarray:
    return hashes.astype(np.float64) < share * 2.0**64


def held_out_then(names: Iterable[bytes], training: TrainingSummary | None) -> np.ndarray:
    """Whether each image was held out of a past training, (n,) bool, by the share in its summary, else the default."""
    hashes = name_hashes(names)
    by_path = _are_low(hashes, (training and training.held_out_share) or HELD_OUT_SHARE)
    return by_path ^ np.isin(hashes >> _SHORT, np.array(training.moved if training else (), dtype=np.uint64))


def moved(names: Iterable[bytes], trained: np.ndarray, share: float) -> tuple[int, ...]:
    """Hashes, cut to 32 bits, of `names` of images that are on the other side of the split than their paths say.

    `trained` are the rows of the training images. A near-duplicate is on the side of the first image of its group.
    """
    hashes = name_hashes(names)
    is_trained = np.isin(np.arange(len(hashes)), trained)
    return tuple((hashes[is_trained == _are_low(hashes, share)] >> _SHORT).tolist())


def names_as_numbers(names: np.ndarray) -> np.ndarray:
    """Convert names, (n,) bytes, to an array that tensor files can store: (n, longest) uint8, a view where possible."""
    return np.ascontiguousarray(names).view(np.uint8).reshape(len(names), names.dtype.itemsize)


def names_from_numbers(numbers: np.ndarray) -> np.ndarray:
    """Convert an array of `names_as_numbers`, (n, longest) uint8, back to names, (n,) bytes."""
    return np.ascontiguousarray(numbers).view(f"S{numbers.shape[1]}").reshape(-1)


def open_source(path: Path) -> Source:
    """Source at `path`: folder, archive or list of paths. Raises ImageError if `path` is a picture or missing."""
    if not os.path.exists(path):
        raise ImageError(f"{path} does not exist; give a folder of images, a .zip, or a text file of paths")
    if not os.path.isdir(path) and not os.path.isfile(path):  # a pipe would block, a device never end
        raise ImageError(f"{path} is neither a folder nor a file; give a folder of images, a .zip, or a list of paths")
    for kind in KINDS.values():
        if kind.is_at(path):
            return kind(path)
    raise ImageError(f"{path} is a single image; give a folder of images")


def find_images(folder: Path) -> list[Path]:
    """Paths of all image files below `folder`, sorted by relative path. Raises ImageError when there is none."""
    if not os.path.isdir(folder):
        raise ImageError(f"{folder} is not a folder; give a folder of images")
    listing = scan(Folder(folder))
    return [folder / listing.name(row) for row in range(len(listing))]


def scan(source: Source) -> Listing:
    """List the images of a source. Raises ImageError when it holds no images.

    In a folder, hidden files, hidden folders and folders of models are left out, and links to files are followed.
    Whether the images can be read is not checked.
    """
    passed_over = PassedOver()
    names, sizes, stamps = _as_arrays(source.files(passed_over))
    names, first = np.unique(names, return_index=True)  # sorted, without duplicates
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


def _as_arrays(files: Iterator[File]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays of names, (n,) bytes, and of sizes and stamps, both (n,) int64, filled block by block to save memory."""
    names: list[np.ndarray] = [np.empty(0, dtype="S1")]
    numbers: list[np.ndarray] = [np.empty((0, 2), dtype=np.int64)]
    while block := list(islice(files, _AT_ONCE)):
        names.append(np.array([name for name, _, _ in block], dtype=np.bytes_))
        numbers.append(np.array([file[1:] for file in block], dtype=np.int64))
    sizes, stamps = np.concatenate(numbers).T.copy()
    return np.concatenate(names), sizes, stamps


def _suffix(name: bytes) -> str:
    return os.path.splitext(os.fsdecode(name))[1].lower()


class Folder(Source):
    """Source whose images are the files of a folder and its subfolders."""

    kind = "folder"

    @staticmethod
    def is_at(path: Path) -> bool:
        return os.path.isdir(path)

    def files(self, passed_over: PassedOver) -> Iterator[File]:
        top = os.fsencode(self.path)
        waiting = [b""]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(os.path.join(top, folder)) as opened:
                    entries = list(opened)
            except OSError:
                passed_over.add(CLOSED, folder)
                continue
            if folder and any(entry.name in _MODEL_FILES for entry in entries):
                passed_over.add(MODELS, folder)
                continue
            for entry in entries:
                name = folder + b"/" + entry.name if folder else entry.name
                if entry.name.startswith(b"."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name)
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
                        yield name, facts.st_size, facts.st_mtime_ns
                    else:
                        passed_over.add(SPECIAL, name)


class Archive(Source):
    """Source whose images are the entries of a `.zip` archive."""

    kind = "zip"
    checksummed = True

    @staticmethod
    def is_at(path: Path) -> bool:
        return path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)

    def files(self, passed_over: PassedOver) -> Iterator[File]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                for entry in archive.infolist():
                    folders = entry.filename.split("/")
                    if entry.is_dir() or any(folder.startswith((".", "__MACOSX")) for folder in folders):
                        continue
                    if _suffix(os.fsencode(entry.filename)) in SUFFIXES:
                        yield os.fsencode(entry.filename), entry.file_size, entry.CRC
                    else:
                        passed_over.add(OTHER, os.fsencode(entry.filename))
        except _ARCHIVE_ERRORS as error:
            raise ImageError(f"{self} is not a readable zip archive ({error}); pack it again") from error

    @contextlib.contextmanager
    def reader(self) -> Iterator[Locate]:
        try:
            archive = zipfile.ZipFile(self.path)
        except _ARCHIVE_ERRORS as error:
            raise ImageError(f"{self} cannot be opened any more ({error})") from error

        def locate(name: str) -> tuple[Path, bytes]:
            path = self.root / name
            try:
                if archive.getinfo(name).file_size > _LARGEST_ENTRY:
                    limit = f"{_LARGEST_ENTRY >> 20} MiB, the limit for an archived image"
                    raise ImageError(f"{path} exceeds {limit}; take it out of the archive")
                return path, archive.read(name)
            except _ARCHIVE_ERRORS as error:
                raise ImageError(f"{path} cannot be read from the archive ({error}); pack it again") from error

        with archive:
            yield locate


class PathList(Source):
    """Source whose images are named in a text file: one path a line, relative to the folder of the text file."""

    kind = "list"

    @property
    def root(self) -> Path:
        return self.path.parent

    @staticmethod
    def is_at(path: Path) -> bool:
        return path.suffix.lower() not in SUFFIXES  # a picture is no list

    def files(self, passed_over: PassedOver) -> Iterator[File]:
        advice = "give a folder of images, a .zip, or a text file of paths"
        try:
            content = read_input(self.path, _MOST_LIST)
            if b"\0" in content[:_START]:
                raise ImageError(f"{self} is not a list of images; {advice}")
            if content.count(b"\n") > _MOST_LINES:
                raise ImageError(f"{self} has more than {_MOST_LINES:,} lines, the limit; give a folder instead")
            text = content.decode("utf-8-sig")
        except PermissionError as error:
            raise ImageError(f"{self} may not be read; check its permissions") from error
        except (OSError, UnicodeDecodeError) as error:
            raise ImageError(f"{self} is not a list of images (not UTF-8 text); {advice}") from error
        for line in map(str.strip, io.StringIO(text)):
            if not line or line.startswith("#"):
                continue
            try:
                facts = os.stat(self.root / line)
            except (OSError, ValueError):
                yield os.fsencode(line.replace("\0", "?")), -1, 0
            else:
                yield os.fsencode(line), facts.st_size, facts.st_mtime_ns


KINDS: dict[str, type[Source]] = {each.kind: each for each in (Folder, Archive, PathList)}  # in the order of trying
