"""Pictures in and out: find, read, write, grid, strip.

Pillow's pictures and their 0..255 stay in this file; everywhere else an image is a tensor (n, channels, height, width)
of float32 in [0, 1], or, while waiting to be trained on, (n, height, width, channels) of uint8.
"""

import contextlib
import io
import os
import stat
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from latentcli.config import MODEL_FILE, RESUME_FILE, ModelConfig
from latentcli.errors import ImageError
from latentcli.files import write_whole

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".avif")
)
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "MPO")  # never EPS, PDF …
MEGAPIXELS = 250  # larger pictures are refused before a pixel is decoded
_WITHOUT_ALPHA = ("JPEG", "BMP", "PPM")

# What Pillow raises for damaged files, over all its formats.
PILLOW_ERRORS = (
    OSError, SyntaxError, ValueError, OverflowError, NotImplementedError, MemoryError, EOFError, struct.error,
    IndexError, KeyError, TypeError, ZeroDivisionError, RuntimeError,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip

# Pillow only warns above its own limit; ours is higher and final.
Image.MAX_IMAGE_PIXELS = MEGAPIXELS * 1_000_000
warnings.simplefilter("error", Image.DecompressionBombWarning)

Result = TypeVar("Result")


def find_images(folder: Path) -> list[Path]:
    """Every image file below `folder`, sorted by relative path.

    Hidden files and folders are passed over, and so are the folders of models, whose pictures are no data.
    Only regular files count, also behind links; whether they can be read shows later. Raises ImageError when the
    folder is missing or holds none.
    """
    if not os.path.isdir(folder):
        raise ImageError(f"{folder} is not a folder; give a folder of images")
    found = []
    for root, folders, names in os.walk(folder, followlinks=False):
        if MODEL_FILE in names or RESUME_FILE in names:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(root, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and _is_regular(path):
                found.append(path)
    if not found:
        raise ImageError(f"{folder} holds no images; latentcli reads {', '.join(sorted(SUFFIXES))}")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:  # a dangling or looping link
        return False


@contextlib.contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """The picture with its header checked; pixels are decoded when they are first used.

    Raises ImageError for anything that is no readable image file, also while its pixels are used.
    """
    if not os.path.lexists(path):
        raise ImageError(f"{path} does not exist; check the name")
    if not _is_regular(path):
        raise ImageError(f"{path} is not a file; give an image file")
    with _pillow_errors(path), Image.open(path, formats=FORMATS) as picture:
        if picture.width * picture.height > MEGAPIXELS * 1_000_000:
            size = f"{picture.width}x{picture.height}"
            raise ImageError(f"{path} has {size} pixels; scale it below {MEGAPIXELS} megapixels")
        yield picture


@contextlib.contextmanager
def _pillow_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except PILLOW_ERRORS as error:
        if isinstance(error, PermissionError):
            raise ImageError(f"{path} may not be read; check its permissions") from error
        if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
            raise ImageError(f"{path} is above {MEGAPIXELS} megapixels; scale it down") from error
        raise ImageError(f"{path} is not a readable image (damaged, or of another type)") from error


def read_image(path: Path, config: ModelConfig) -> np.ndarray:
    """The picture as a model wants it: uint8 (height, width, channels), centre crop, Lanczos."""
    with open_picture(path) as picture:
        _draft(picture, config)
        return to_model_size(plain(upright(picture)), config)


def to_model_size(
    picture: Image.Image, config: ModelConfig, box: tuple[int, int, int, int] | None = None
) -> np.ndarray:
    """Crop `box` (x, y, width, height; else the largest centred one), resize: uint8 (height, width, channels)."""
    picture = picture.convert("L" if config.channels == 1 else "RGB")
    x, y, width, height = box or centre_box(picture.width, picture.height, config)
    size = (config.width, config.height)
    if (width, height) != size or picture.size != size:
        picture = picture.resize(size, Image.Resampling.LANCZOS, box=(x, y, x + width, y + height))
    return np.array(picture, dtype=np.uint8).reshape(config.height, config.width, config.channels)


def centre_box(width: int, height: int, config: ModelConfig) -> tuple[int, int, int, int]:
    """The largest centred x, y, width, height in pixels with the model's aspect ratio."""
    scale = min(width / config.width, height / config.height)
    inner = max(1, round(config.width * scale)), max(1, round(config.height * scale))
    return (width - inner[0]) // 2, (height - inner[1]) // 2, *inner


def _draft(picture: Image.Image, config: ModelConfig) -> None:
    """Let a JPEG decode at a fraction of its size, down to twice what is needed: several times faster."""
    if picture.format in ("JPEG", "MPO"):
        longest = 2 * max(config.width, config.height)
        scale = longest / min(picture.size)
        picture.draft(None, (max(1, int(picture.width * scale)), max(1, int(picture.height * scale))))


def upright(picture: Image.Image) -> Image.Image:
    """The EXIF orientation applied; a broken one is ignored."""
    try:
        return ImageOps.exif_transpose(picture)
    except PILLOW_ERRORS:
        picture.load()  # damaged pixels still raise
        return picture


def plain(picture: Image.Image) -> Image.Image:
    """Mode L or RGB from any mode, without clipping 16-bit values or keeping transparency."""
    mode = picture.mode
    if mode.startswith("I") or mode == "F":
        return _eight_bit(picture)
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("L" if mode in ("LA", "L", "1") else "RGB")
    return picture.convert("L" if mode in ("1", "L") else "RGB")


def _eight_bit(picture: Image.Image) -> Image.Image:
    """16- and 32-bit gray scaled by the range of its type, which `convert` would clip to white."""
    values = np.nan_to_num(np.asarray(picture).astype(np.float64))
    top = 65535.0 if picture.mode.startswith("I") else 1.0
    if picture.mode == "I" and values.max(initial=0) <= 255:
        top = 255.0
    if picture.mode == "F" and values.max(initial=0) > 1:
        top = float(values.max())
    return Image.fromarray((np.clip(values / top, 0, 1) * 255).round().astype(np.uint8))


def walk(
    paths: Iterable[Path], read: Callable[[Path], Result], at_once: int = 256
) -> Iterator[tuple[Path, Result | ImageError]]:
    """Read many pictures on all cores, in order: each path with what `read` made of it, or with its ImageError.

    At most `at_once` results wait in memory. The one place where an unreadable picture does not end the work.
    """

    def attempt(path: Path) -> tuple[Path, Result | ImageError]:
        try:
            return path, read(path)
        except ImageError as error:
            return path, error

    waiting = iter(paths)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        while some := list(islice(waiting, at_once)):
            yield from pool.map(attempt, some)


def has_colour(picture: Image.Image) -> bool:
    """Whether a picture shows chroma, looked at in a thumbnail: gray pictures are often stored as RGB."""
    if picture.mode in ("1", "L", "LA", "F") or picture.mode.startswith("I"):
        return False
    picture.draft(None, (64, 64))
    pixels = np.asarray(plain(picture).convert("RGB").resize((32, 32)), dtype=np.int16)
    return bool((pixels.max(axis=2) - pixels.min(axis=2)).mean() > 4)


def as_float(images: Tensor) -> Tensor:
    """uint8 (n, height, width, channels) to float32 (n, channels, height, width) in [0, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).float().div_(255)


def as_uint8(images: Tensor) -> np.ndarray:
    """float (n, channels, height, width) to uint8 (n, height, width, channels), rounded."""
    levels = images.detach().float().mul(255).round_().clamp_(0, 255)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def to_pictures(images: Tensor) -> list[Image.Image]:
    """One picture per image of a batch (n, channels, height, width) in [0, 1]."""
    return [Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image) for image in as_uint8(images)]


def grid(pictures: list[Image.Image], columns: int, gap: int = 2) -> Image.Image:
    """A contact sheet, row by row, with white gaps of `gap` pixels."""
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    mode = "L" if all(picture.mode == "L" for picture in pictures) else "RGB"
    size = columns * (width + gap) - gap, rows * (height + gap) - gap
    sheet = Image.new(mode, size, "white")
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        sheet.paste(picture, (column * (width + gap), row * (height + gap)))
    return sheet


def encode_picture(picture: Image.Image, suffix: str, **options: object) -> bytes:
    """The bytes of an image file of the type that `suffix` (".png", ".jpg" …) names.

    Raises ImageError for a type Pillow cannot write.
    """
    check_writable(Path(f"picture{suffix}"))
    format_name = Image.EXTENSION[suffix.lower()]
    if format_name in _WITHOUT_ALPHA and "A" in picture.getbands():
        picture = picture.convert("RGB")
    buffer = io.BytesIO()
    try:
        picture.save(buffer, format=format_name, **options)
    except PILLOW_ERRORS as error:
        raise ImageError(f"cannot write {suffix}: {error}; use .png") from error
    return buffer.getvalue()


def check_writable(path: Path) -> Path:
    """The path, when Pillow can write what its suffix names. Raises ImageError otherwise."""
    Image.init()
    if Image.EXTENSION.get(path.suffix.lower()) not in FORMATS:
        raise ImageError(f"cannot write {path}: unknown image type; use .png, .jpg, .webp, .tiff or .gif")
    return path


def write_picture(picture: Image.Image, path: Path, **options: object) -> None:
    """Write one picture whole; the type follows the suffix."""
    write_whole(path, encode_picture(picture, path.suffix, **options))


def write_animation(pictures: list[Image.Image], path: Path, fps: float) -> None:
    """Write a GIF (or WebP, APNG) that repeats for ever, at `fps` pictures a second."""
    options: dict[str, object] = {"save_all": True, "append_images": pictures[1:], "loop": 0, "duration": 1000 / fps}
    write_picture(pictures[0], path, **options)
