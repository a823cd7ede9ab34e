"""Cache of decoded images: pixels of one size, and a few facts about each file."""

import contextlib
import hashlib
import json
import mmap
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL
import platformdirs

from latentcli.config import ModelConfig
from latentcli.data.decode import DecodedBatch, ImageInfo, answers
from latentcli.data.sources import Listing, Source, names_as_numbers, names_from_numbers
from latentcli.errors import ConfigError, FileFormatError, ImageError, LatentCLIError
from latentcli.storage import tensorfile
from latentcli.storage.files import exclusive

UNREADABLE = ""  # in place of a mode


@dataclass
class Decoded:
    """One row per image of a listing; those of unreadable images are black, with the reason in `problems`."""

    pixels: np.ndarray  # uint8 (n, height, width, channels), in memory or mapped from a file
    sides: np.ndarray  # int32 (n, 2): width and height of the picture in its file; 0 where unreadable
    modes: np.ndarray  # uint8 (n,): position in `mode_names`
    mode_names: list[str] = field(default_factory=lambda: [UNREADABLE])
    problems: dict[int, str] = field(default_factory=dict)  # row: why it cannot be read

    @classmethod
    def empty(cls, pixels: np.ndarray) -> "Decoded":
        return cls(pixels, np.zeros((len(pixels), 2), dtype=np.int32), np.zeros(len(pixels), dtype=np.uint8))

    @property
    def readable(self) -> np.ndarray:
        """(n,) bool."""
        return self.sides[:, 0] > 0

    def put(self, rows: np.ndarray, answer: DecodedBatch) -> None:
        """Store the decoded images of `rows`."""
        self.pixels[rows] = answer.pixels
        for row, facts in zip(rows, answer.facts, strict=True):
            if isinstance(facts, str):
                self.problems[int(row)] = facts
            else:
                self.note(int(row), facts)

    def note(self, row: int, facts: ImageInfo) -> None:
        width, height, mode = facts
        if mode not in self.mode_names:
            self.mode_names.append(mode)
        self.sides[row] = width, height
        self.modes[row] = self.mode_names.index(mode)

    def take_over(self, rows: np.ndarray, other: "Decoded", there: np.ndarray) -> None:
        """Copy the readable images `there` of another listing to `rows`."""
        for mine, theirs in zip(rows, there, strict=True):
            self.pixels[mine] = other.pixels[theirs]
            width, height = other.sides[theirs]
            self.note(int(mine), (int(width), int(height), other.mode_names[other.modes[theirs]]))

    def smaller_than(self, config: ModelConfig, rows: np.ndarray) -> int:
        """How many of the readable pictures at `rows` are smaller than the model's images and were scaled up."""
        sides = np.sort(self.sides[rows][self.readable[rows]], axis=1)  # whichever way up
        return int((sides < sorted((config.width, config.height))).any(axis=1).sum())


def unchanged(listing: Listing, other: Listing) -> tuple[np.ndarray, np.ndarray]:
    """The rows of both listings that hold the same file: same name, size and time."""
    _, mine, theirs = np.intersect1d(listing.names, other.names, assume_unique=True, return_indices=True)
    same = (listing.sizes[mine] == other.sizes[theirs]) & (listing.stamps[mine] == other.stamps[theirs])
    return mine[same], theirs[same]


KIND = "cache"
_INDEX_FILE = "index.safetensors"
_BLOCK = 32 << 20  # bytes that are hashed at once
_PREPARATION = 1  # rises when `images.fit` makes other pixels of the same file
_SPACE_SHARE = 0.5  # of the disk space free for it that a cache may take
_ABANDONED = 86_400.0  # seconds after which a folder without an index is the remains of a killed run
_MEMORY_SHARE = 0.5  # of the available memory, where the disk cannot be used


class Cache:
    """The folder of one source, decoded for one shape of images."""

    def __init__(self, source: Source, config: ModelConfig) -> None:
        self.source = source
        self.config = config
        self._prepared = {
            name: value
            for name, value in config.to_json().items()
            if name in ("width", "height", "channels", "crop", "framing", "aligned", "resampling", "background")
        } | {"pillow": PIL.__version__, "version": _PREPARATION}
        key = json.dumps([source.kind, os.path.realpath(source.path), self._prepared], sort_keys=True)
        self.folder = _home() / hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep other programs out; False when there can be no cache. Raises ConfigError when another one is here."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            yield False
            return
        with exclusive(self.folder):
            yield True

    def load(self) -> tuple[Listing, Decoded] | None:
        """The stored images, if they are complete and undamaged."""
        try:
            header, arrays = tensorfile.read(self.folder / _INDEX_FILE, KIND)
            listing = Listing(self.source, names_from_numbers(arrays["names"]), arrays["sizes"], arrays["stamps"])
            pixels = self._mapped(self.folder / str(header["pixels"]), len(listing))
            facts = json.loads(arrays["told"].tobytes())
            problems = {int(row): text for row, text in facts["problems"].items()}
            decoded = Decoded(pixels, arrays["sides"], arrays["modes"], facts["mode_names"], problems)
            right = header["prepared"] == self._prepared and header["digest"] == digest(pixels)
            whole = {len(part) for part in (listing.sizes, listing.stamps, decoded.sides, decoded.modes)}
        except (FileFormatError, OSError, KeyError, TypeError, ValueError, AttributeError):
            return None
        if not right or whole != {len(listing)}:
            return None
        with contextlib.suppress(OSError):
            os.utime(self.folder / _INDEX_FILE)  # used now: see `_make_room`
        return listing, decoded

    def _mapped(self, file: Path, count: int) -> np.ndarray:
        shape = (count, self.config.height, self.config.width, self.config.channels)
        if file.parent != self.folder or os.path.getsize(file) != int(np.prod(shape)):
            raise ValueError("the pixels are of another size")
        return np.memmap(file, np.uint8, "r", shape=shape)

    def new_pixels(self, count: int) -> np.ndarray | None:
        """Room for the pixels of so many images in a new file, or None when the disk has none."""
        shape = (count, self.config.height, self.config.width, self.config.channels)
        size = int(np.prod(shape))
        file = self.folder / f"pixels-{secrets.token_hex(4)}.u8"
        if not self._make_room(size):
            return None
        try:
            with file.open("wb") as opened:
                if hasattr(os, "posix_fallocate"):  # a full disk shows now, not when the mapped pages are written
                    os.posix_fallocate(opened.fileno(), 0, size)
                else:
                    opened.truncate(size)
            return np.memmap(file, np.uint8, "r+", shape=shape)
        except OSError:
            file.unlink(missing_ok=True)
            return None

    def keep(self, listing: Listing, decoded: Decoded) -> bool:
        """Write the index of the pixels that `new_pixels` gave and that are filled now; earlier ones are removed.

        False when the index cannot be written, so that they serve this run alone.
        """
        assert isinstance(decoded.pixels, np.memmap)
        file = Path(str(decoded.pixels.filename))
        header = {"pixels": file.name, "digest": digest(decoded.pixels), "prepared": self._prepared}
        facts = json.dumps({"mode_names": decoded.mode_names, "problems": decoded.problems})
        arrays = {
            "told": np.frombuffer(facts.encode(), dtype=np.uint8),
            "names": names_as_numbers(listing.names),
            "sizes": listing.sizes,
            "stamps": listing.stamps,
            "sides": decoded.sides,
            "modes": decoded.modes,
        }
        try:
            tensorfile.write(self.folder / _INDEX_FILE, KIND, header, arrays)
        except LatentCLIError:
            self.discard(decoded.pixels)
            return False
        self._remove_all_but(file.name)
        return True

    def discard(self, pixels: np.ndarray) -> None:
        """Remove a file of pixels that has no index; processes that have it mapped keep it."""
        if isinstance(pixels, np.memmap):
            Path(str(pixels.filename)).unlink(missing_ok=True)

    def _remove_all_but(self, name: str) -> None:
        for old in self.folder.glob("pixels-*.u8"):
            if old.name != name:
                old.unlink(missing_ok=True)

    def _make_room(self, size: int) -> bool:
        """Whether the disk has room for so many bytes, after the caches that were not used for longest are gone."""
        with contextlib.suppress(FileFormatError):
            self._remove_all_but(str(tensorfile.read_header(self.folder / _INDEX_FILE, KIND).get("pixels")))
        if not (self.folder / _INDEX_FILE).exists():
            self._remove_all_but("")
        others = sorted((_used(folder), _size(folder), folder) for folder in _home().iterdir() if folder != self.folder)
        free = shutil.disk_usage(self.folder).free
        if size > (free + sum(size for _, size, _ in others)) * _SPACE_SHARE:
            return False
        for used, freed, folder in others:
            abandoned = not (folder / _INDEX_FILE).exists() and time.time() - used > _ABANDONED
            if size > free * _SPACE_SHARE or abandoned:
                shutil.rmtree(folder, ignore_errors=True)
                free += freed
        return True


def in_memory(count: int, config: ModelConfig, source: Source) -> np.ndarray:
    """Room for the pixels in memory, where the disk has none. Raises ImageError when they do not fit there either."""
    size = count * config.dimensions
    available = _available_memory()
    if size > available * _MEMORY_SHARE:
        raise ImageError(
            f"{count} images of {source} at {config.width}x{config.height} take {size / 1e9:.1f} GB, more than "
            f"{_home()} has free; make room there, or set XDG_CACHE_HOME to a larger disk, or take a smaller `size`"
        )
    return np.zeros((count, config.height, config.width, config.channels), dtype=np.uint8)


def digest(pixels: np.ndarray) -> str:
    """SHA-256 over the SHA-256 of each 32 MiB, computed on all cores: 64 hex digits."""
    flat = pixels.reshape(-1)
    blocks = (flat[start : start + _BLOCK] for start in range(0, len(flat), _BLOCK))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return hashlib.sha256(b"".join(pool.map(lambda block: hashlib.sha256(block).digest(), blocks))).hexdigest()


def _used(folder: Path) -> float:
    """Time of the last use of a cache, in seconds since 1970."""
    for path in (folder / _INDEX_FILE, folder):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _size(folder: Path) -> int:
    """Bytes of a cache's files."""
    total = 0
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def _home() -> Path:
    return platformdirs.user_cache_path("latentcli") / "images"


def _available_memory() -> int:
    """Bytes; all of it where the system does not say how much is in use."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE if hasattr(os, "sysconf") else 1 << 33


_POLL = 0.2  # seconds between attempts while another program reads the same images


class Loading:
    """Reads what is not in the cache yet; iterating yields how many images are done."""

    def __init__(self, listing: Listing, config: ModelConfig) -> None:
        self.listing = listing
        self.config = config
        self.decoded = Decoded.empty(np.empty((0, config.height, config.width, config.channels), dtype=np.uint8))
        self.cached = 0  # images that came from the cache
        self.kept = True  # whether the cache will have them next time

    def __iter__(self) -> Iterator[int]:
        cache = Cache(self.listing.source, self.config)
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    may_keep = stack.enter_context(cache.alone())
                    break
                except ConfigError:  # another program reads the same images
                    yield 0
                    time.sleep(_POLL)
            yield from self._read(cache, may_keep)

    def _read(self, cache: Cache, may_keep: bool) -> Iterator[int]:
        known = cache.load() if may_keep else None
        mine, theirs = unchanged(self.listing, known[0]) if known else (np.empty(0, dtype=np.int64),) * 2
        if known and len(mine) == len(self.listing) == len(known[0]) and not self._any_healed(known[1]):
            self.decoded, self.cached = known[1], len(mine)
            yield len(mine)
            return
        if known:
            good = known[1].readable[theirs]
            mine, theirs = mine[good], theirs[good]
        self.cached = len(mine)
        pixels = cache.new_pixels(len(self.listing)) if may_keep else None
        self.kept = pixels is not None
        self.decoded = Decoded.empty(
            in_memory(len(self.listing), self.config, self.listing.source) if pixels is None else pixels
        )
        try:
            if known:
                self.decoded.take_over(mine, known[1], theirs)
            yield from self._decode(mine)
        except BaseException:  # also when nobody wants the rest
            cache.discard(self.decoded.pixels)
            raise
        if self.kept:
            self.kept = cache.keep(self.listing, self.decoded)

    def _decode(self, there: np.ndarray) -> Iterator[int]:
        done = len(there)
        yield done
        missing = np.setdiff1d(np.arange(len(self.listing)), there, assume_unique=True)
        for rows, answer in answers(self.listing, missing, self.config):
            self.decoded.put(rows, answer)
            done += len(rows)
            yield done

    def _any_healed(self, known: Decoded) -> bool:
        """Whether an image that could not be read can be now: permissions change without leaving a trace."""
        rows = np.array(sorted(known.problems), dtype=np.int64)
        for _, answer in answers(self.listing, rows, self.config):
            if not all(isinstance(facts, str) for facts in answer.facts):
                return True
        return False
