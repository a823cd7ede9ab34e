"""Decoded images kept between runs, in the user's cache folder; read as a mapped file, so memory does not grow.

A cache holds what each image became, and which files it was made from: name, size, time, and how they were prepared.
It is used only where all of that still holds and the pixels' SHA-256 is right; what does not is decoded again.
"""

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

from latentcli import tensorfile
from latentcli.config import ModelConfig
from latentcli.data.decoded import Decoded
from latentcli.errors import FileFormatError, ImageError, LatentCLIError
from latentcli.files import exclusive
from latentcli.sources import Listing, Source, names_as_numbers, names_from_numbers

KIND = "cache"
_INDEX_FILE = "index.safetensors"
_BLOCK = 32 << 20  # bytes that are hashed at once
_PREPARATION = 1  # rises when `images.fit` makes other pixels of the same file
_SPACE_SHARE = 0.5  # of the disk space free for it that a cache may take
_ABANDONED = 86_400.0  # seconds after which a folder without an index is the remains of a killed run
_MEMORY_SHARE = 0.5  # of the available memory, where the disk cannot be used


class Cache:
    """The place for one source prepared for one shape of images."""

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
        """What is kept, whole and right, or None."""
        try:
            header, arrays = tensorfile.read(self.folder / _INDEX_FILE, KIND)
            listing = Listing(self.source, names_from_numbers(arrays["names"]), arrays["sizes"], arrays["stamps"])
            pixels = self._mapped(self.folder / str(header["pixels"]), len(listing))
            told = json.loads(arrays["told"].tobytes())
            problems = {int(row): text for row, text in told["problems"].items()}
            decoded = Decoded(pixels, arrays["sides"], arrays["modes"], told["mode_names"], problems)
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
        """Describe the pixels that `new_pixels` gave and that are filled now; what was kept before goes.

        False when they serve this run alone, since the description cannot be written.
        """
        assert isinstance(decoded.pixels, np.memmap)
        file = Path(str(decoded.pixels.filename))
        header = {"pixels": file.name, "digest": digest(decoded.pixels), "prepared": self._prepared}
        told = json.dumps({"mode_names": decoded.mode_names, "problems": decoded.problems})
        arrays = {
            "told": np.frombuffer(told.encode(), dtype=np.uint8),
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
        """Take the file of pixels that will not be kept out of the folder; who has it mapped keeps it."""
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
            f"{_home()} has free; make room there, or set XDG_CACHE_HOME to a larger disk, or take a smaller --size"
        )
    return np.zeros((count, config.height, config.width, config.channels), dtype=np.uint8)


def digest(pixels: np.ndarray) -> str:
    """SHA-256 over the SHA-256 of each 32 MiB, computed on all cores: 64 hex digits."""
    flat = pixels.reshape(-1)
    blocks = (flat[start : start + _BLOCK] for start in range(0, len(flat), _BLOCK))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return hashlib.sha256(b"".join(pool.map(lambda block: hashlib.sha256(block).digest(), blocks))).hexdigest()


def _used(folder: Path) -> float:
    """When a cache was used last, in seconds since 1970."""
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
    """Bytes; all there is where the system does not tell what is in use."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE if hasattr(os, "sysconf") else 1 << 33
