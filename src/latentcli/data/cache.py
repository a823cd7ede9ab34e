"""Cache of decoded images on the disk, one folder per source and image settings, and loading of images through it."""

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
from pathlib import Path

import numpy as np
import PIL
import platformdirs

from latentcli.config import ModelConfig
from latentcli.data.decode import Decoded, decode_rows
from latentcli.data.sources import Listing, Source, names_as_numbers, names_from_numbers
from latentcli.errors import ConfigError, FileFormatError, ImageError, LatentCLIError
from latentcli.storage import tensorfile
from latentcli.storage.files import exclusive

KIND = "cache"
_INDEX_FILE = "index.safetensors"
# Settings of a model on which the decoded pixels depend.
_SETTINGS = ("width", "height", "channels", "crop", "framing", "aligned", "resampling", "background")
_BLOCK = 32 << 20  # bytes of pixels that a thread hashes at a time
_PREPARATION = 1  # version of the cached pixels: raised when `images.fit` makes other pixels of the same file
_SPACE_SHARE = 0.5  # largest share of the free disk space that new pixels take
_ABANDONED = 86_400.0  # seconds since its last change, after which a cache without an index is left from a killed run
_MEMORY_SHARE = 0.5  # largest share of the available memory that pixels take where the disk cannot be used
_POLL = 0.2  # seconds between attempts to lock a cache that another program has locked


class Loading:
    """Task of loading all images of a listing (files of a source), from the cache or, if new or changed, by decoding.

    Iterating loads the images and yields the number loaded so far, from the cache first; it sets `decoded` and `kept`.
    """

    decoded: Decoded
    kept: bool  # whether the cache holds the images for the next run

    def __init__(self, listing: Listing, config: ModelConfig) -> None:
        self.listing = listing
        self.config = config

    def __iter__(self) -> Iterator[int]:
        cache = Cache(self.listing.source, self.config)
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(cache.alone())
                    break
                except ConfigError:  # another program has locked the cache
                    yield 0
                    time.sleep(_POLL)
            yield from self._load(cache)

    def _load(self, cache: "Cache") -> Iterator[int]:
        listing = self.listing
        stored_listing, stored = cache.load()
        _, rows, stored_rows = np.intersect1d(
            listing.names, stored_listing.names, assume_unique=True, return_indices=True
        )
        same = listing.sizes[rows] == stored_listing.sizes[stored_rows]
        same &= listing.stamps[rows] == stored_listing.stamps[stored_rows]
        rows, stored_rows = rows[same], stored_rows[same]  # files that have not changed
        if len(rows) == len(listing) == len(stored_listing) and not self._any_healed(stored):
            self.decoded, self.kept = stored, True
            yield len(rows)
            return
        readable = stored.readable[stored_rows]
        rows, stored_rows = rows[readable], stored_rows[readable]
        done = len(rows)
        self.decoded = Decoded.empty(cache.new_pixels(len(listing)))
        self.kept = isinstance(self.decoded.pixels, np.memmap)
        try:
            self.decoded.take_over(rows, stored, stored_rows)
            yield done
            others = np.setdiff1d(np.arange(len(listing)), rows, assume_unique=True)
            for block, batch in decode_rows(listing, others, self.config):
                self.decoded.put(block, batch)
                done += len(block)
                yield done
        except BaseException:  # also GeneratorExit, when the caller stops iterating
            cache.discard(self.decoded.pixels)
            raise
        self.kept = self.kept and cache.keep(listing, self.decoded)

    def _any_healed(self, stored: Decoded) -> bool:
        """Whether any image marked unreadable in `stored` can be read now, found out by decoding them."""
        rows = np.array(sorted(stored.problems), dtype=np.int64)
        batches = decode_rows(self.listing, rows, self.config)
        return any(not isinstance(facts, str) for _, (_, all_facts) in batches for facts in all_facts)


class Cache:
    """Folder of one source's images, decoded with one set of image settings: a file of raw pixels and an index file."""

    def __init__(self, source: Source, config: ModelConfig) -> None:
        self.source = source
        self.config = config
        self.usable = True  # False once making the folder has failed
        settings = {name: value for name, value in config.to_json().items() if name in _SETTINGS}
        self._prepared = settings | {"pillow": PIL.__version__, "version": _PREPARATION}
        key = json.dumps([source.kind, os.path.realpath(source.path), self._prepared], sort_keys=True)
        self.folder = _home() / hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the folder, or clear `usable` if the folder cannot be made. Raises ConfigError if the lock is taken."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            self.usable = False
            yield
            return
        with exclusive(self.folder):
            yield

    def load(self) -> tuple[Listing, Decoded]:
        """Cached listing and its decoded images; both are empty if the cache is missing, outdated or damaged."""
        none = np.empty(0, dtype=np.int64)
        empty = Listing(self.source, none.astype("S1"), none, none), Decoded.empty(np.empty(self._shape(0), np.uint8))
        if not self.usable:
            return empty
        try:
            header, arrays = tensorfile.read(self.folder / _INDEX_FILE, KIND)
            listing = Listing(self.source, names_from_numbers(arrays["names"]), arrays["sizes"], arrays["stamps"])
            file = self.folder / str(header["pixels"])
            if file.parent != self.folder or os.path.getsize(file) != len(listing) * self.config.dimensions:
                return empty
            pixels = np.memmap(file, np.uint8, "r", shape=self._shape(len(listing)))
            problems = {int(row): text for row, text in json.loads(arrays["problems"].tobytes()).items()}
            decoded = Decoded(pixels, arrays["sides"], names_from_numbers(arrays["modes"]), problems)
            columns = (listing.sizes, listing.stamps, decoded.sides, decoded.modes)
            whole = {len(column) for column in columns} == {len(listing)}
            if not whole or (header["prepared"], header["digest"]) != (self._prepared, digest(pixels)):
                return empty
        except (FileFormatError, OSError, LookupError, TypeError, ValueError, AttributeError):
            return empty
        with contextlib.suppress(OSError):
            os.utime(self.folder / _INDEX_FILE)  # marks the last use, by which `_make_room` sorts caches
        return listing, decoded

    def _shape(self, count: int) -> tuple[int, int, int, int]:
        return count, self.config.height, self.config.width, self.config.channels

    def new_pixels(self, count: int) -> np.ndarray:
        """Array for the pixels of `count` images, uint8 (count, height, width, channels), mapped from a new file.

        The array is in memory if the folder is unusable or the disk full. Raises ImageError if memory is too small.
        """
        size = count * self.config.dimensions
        if self.usable and self._make_room(size):
            file = self.folder / f"pixels-{secrets.token_hex(4)}.u8"
            try:
                with file.open("wb") as opened:
                    if hasattr(os, "posix_fallocate"):  # a full disk shows now, not when the mapped pages are written
                        os.posix_fallocate(opened.fileno(), 0, size)
                    else:
                        opened.truncate(size)
                return np.memmap(file, np.uint8, "r+", shape=self._shape(count))
            except OSError:
                file.unlink(missing_ok=True)
        if size > _available_memory() * _MEMORY_SHARE:
            raise ImageError(
                f"{count} images of {self.source} at {self.config.width}x{self.config.height} take "
                f"{size / 1e9:.1f} GB, more than {_home()} has free; make room there, "
                "or set XDG_CACHE_HOME to a larger disk, or take a smaller `size`"
            )
        return np.zeros(self._shape(count), dtype=np.uint8)

    def keep(self, listing: Listing, decoded: Decoded) -> bool:
        """Write the index file, with names and sizes of `listing`, for the file of `decoded.pixels`; remove older ones.

        Returns False on failure: the pixel file is then removed, but its pixels stay mapped until this process ends.
        """
        assert isinstance(decoded.pixels, np.memmap)
        file = Path(str(decoded.pixels.filename))
        header = {"pixels": file.name, "digest": digest(decoded.pixels), "prepared": self._prepared}
        arrays = {
            "names": names_as_numbers(listing.names),
            "sizes": listing.sizes,
            "stamps": listing.stamps,
            "sides": decoded.sides,
            "modes": names_as_numbers(decoded.modes),
            "problems": np.frombuffer(json.dumps(decoded.problems).encode(), dtype=np.uint8),
        }
        try:
            tensorfile.write(self.folder / _INDEX_FILE, KIND, header, arrays)
        except LatentCLIError:
            self.discard(decoded.pixels)
            return False
        self._remove_all_but(file.name)
        return True

    def discard(self, pixels: np.ndarray) -> None:
        """Remove the file that `pixels` are mapped from, if any; processes that have mapped it can still read it."""
        if isinstance(pixels, np.memmap):
            Path(str(pixels.filename)).unlink(missing_ok=True)

    def _remove_all_but(self, name: str) -> None:
        for file in self.folder.glob("pixels-*.u8"):
            if file.name != name:
                file.unlink(missing_ok=True)

    def _make_room(self, size: int) -> bool:
        """Remove other caches, longest unused first, until `size` is within half the free disk; False if impossible."""
        try:
            self._remove_all_but(str(tensorfile.read_header(self.folder / _INDEX_FILE, KIND).get("pixels")))
        except FileFormatError:
            self._remove_all_but("")
        others = sorted((*_use(folder), folder) for folder in _home().iterdir() if folder != self.folder)
        free = shutil.disk_usage(self.folder).free
        if size > (free + sum(size for _, size, _ in others)) * _SPACE_SHARE:
            return False
        for used, freed, folder in others:
            abandoned = not (folder / _INDEX_FILE).exists() and time.time() - used > _ABANDONED
            if size > free * _SPACE_SHARE or abandoned:
                shutil.rmtree(folder, ignore_errors=True)
                free += freed
        return True


def digest(pixels: np.ndarray) -> str:
    """SHA-256 of decoded pixels, as 64 hex digits: over the SHA-256 of each block of 32 MiB, hashed on all cores."""
    flat = pixels.reshape(-1)
    blocks = (flat[start : start + _BLOCK] for start in range(0, len(flat), _BLOCK))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return hashlib.sha256(b"".join(pool.map(lambda block: hashlib.sha256(block).digest(), blocks))).hexdigest()


def _use(folder: Path) -> tuple[float, int]:
    """Last use of the cache in `folder`, in seconds since 1970, and bytes of its files; now and 0 if unreadable."""
    index = folder / _INDEX_FILE
    try:
        used = (index if index.exists() else folder).stat().st_mtime
        return used, sum(path.stat().st_size for path in folder.iterdir())
    except OSError:
        return time.time(), 0


def _home() -> Path:
    return platformdirs.user_cache_path("latentcli") / "images"


def _available_memory() -> int:
    """Bytes of free memory; on systems without /proc/meminfo all memory, or 8 GiB if that is unknown as well."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE if hasattr(os, "sysconf") else 1 << 33
