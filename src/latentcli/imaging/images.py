"""Reading, conversion and writing of pictures.

Only this module knows that pixels are 0 to 255. Elsewhere images are float32 (n, channels, height, width) in [0, 1],
or, while they wait for training, uint8 (n, height, width, channels). Alpha is the last channel, and colours are
premultiplied by it, so that invisible pixels are 0 and cannot bleed into visible ones; Pillow's pictures are not
premultiplied. Nothing here imports torch, so that the processes that decode a folder start at once.
"""

import contextlib
import io
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageColor, ImageOps

from latentcli.config import ModelConfig
from latentcli.defaults import MEGAPIXELS
from latentcli.errors import ConfigError, ImageError
from latentcli.imaging.box import Box, cut
from latentcli.imaging.faces import NoFace, find_faces
from latentcli.storage.files import read_input, write_whole

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "MPO")  # that Pillow may read: never EPS, PDF …
ORIENTATION = 0x0112  # number of the EXIF tag for the orientation
_MOST_OVERHEAD, _MOST_PER_PIXEL = 64 << 20, 16  # largest file of a picture: fixed bytes, and bytes for each pixel
MOST_PIPED = 192 << 20  # bytes of a picture from the standard input, at most
_CROP_TIMES = 2  # square pictures up to this multiple of the model's width are taken for face crops
_PNG_LEVEL = 3  # compression, of 9: a third of the time of Pillow's own 6, for files that are 4 % larger
_WITHOUT_ALPHA = ("JPEG", "BMP", "PPM")  # formats without transparency
WITH_ALPHA = (2, 4)  # numbers of channels of images with transparency: gray or RGB, then alpha
_TRANSPARENT = 230  # alpha below which a pixel counts as transparent: a tenth of the background shows through
_CHECK, _CHECKS = 8, (255, 228)  # the checkerboard behind transparent pictures: pixels of a square, and its two grays

# Errors that Pillow raises for damaged files, over all its formats.
PILLOW_ERRORS = (
    OSError, SyntaxError, ValueError, OverflowError, NotImplementedError, MemoryError, EOFError, struct.error,
    IndexError, KeyError, TypeError, ZeroDivisionError, RuntimeError,
)  # fmt: skip

# Pillow's limit of pixels, which only warns, is off: `open_picture` refuses large pictures before pixels are decoded.
Image.MAX_IMAGE_PIXELS = None

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextlib.contextmanager
def open_picture(path: Path, content: bytes | None = None, megapixels: float = MEGAPIXELS) -> Iterator[Image.Image]:
    """Open a picture of at most `megapixels` and check its header; pixels are decoded when they are first used.

    `content` are the file's bytes if they are not on the disk at `path`. Raises ImageError for a file that is not a
    readable image, also while its pixels are used.
    """
    if content is None and not os.path.lexists(path):
        raise ImageError(f"{path} does not exist; check the name")
    if content is None and not os.path.isfile(path):
        raise ImageError(f"{path} is not a file; give an image file")
    try:
        with Image.open(path if content is None else io.BytesIO(content), formats=FORMATS) as picture:
            if picture.width * picture.height > megapixels * 1_000_000:
                size = f"{picture.width}x{picture.height}"
                raise_it = "" if megapixels == MEGAPIXELS else ", or raise `max_megapixels`"
                raise ImageError(f"{path} has {size} pixels; scale it below {megapixels:g} megapixels{raise_it}")
            if picture.format == "PNG":  # decoding alone does not always notice a damaged chunk
                with Image.open(path if content is None else io.BytesIO(content), formats=("PNG",)) as twin:
                    twin.verify()
            yield picture
    except NoFace as error:
        raise ImageError(f"{path} shows no face that can be found; leave it out, or crop it yourself") from error
    except PermissionError as error:
        raise ImageError(f"{path} may not be read; check its permissions") from error
    except PILLOW_ERRORS as error:
        raise ImageError(f"{path} is not a readable image (damaged, or of another type)") from error


def picture_bytes(path: Path, picture: Image.Image) -> bytes:
    """Bytes of the file at `path`, opened as `picture`. Raises OSError when the file is far larger than its pixels."""
    return read_input(path, _MOST_OVERHEAD + _MOST_PER_PIXEL * picture.width * picture.height)


def read_image(path: Path, config: ModelConfig) -> np.ndarray:
    """Picture at `path`, cropped and resized for a model: uint8 (height, width, channels). Raises ImageError."""
    with open_picture(path) as picture:
        return fit_given(picture, config)


def fit_given(picture: Image.Image, config: ModelConfig) -> np.ndarray:
    """Picture that a user gives, cropped and resized for a model: uint8 (height, width, channels).

    For a model of aligned faces the largest face is cropped, or the centre if no face is found; a square picture of at
    most twice the model's width counts as a face crop already.
    """
    is_crop = picture.width == picture.height <= _CROP_TIMES * config.width
    if config.crop == "face" and config.aligned and not is_crop:
        with contextlib.suppress(NoFace):
            return _fit_face(picture, config)
    return fit(picture, config)


def fit(picture: Image.Image, config: ModelConfig) -> np.ndarray:
    """Picture of a training set, cropped and resized for a model: uint8 (height, width, channels). Raises NoFace."""
    if config.crop == "face" and not config.aligned:
        return _fit_face(picture, config)
    if picture.format in ("JPEG", "MPO"):  # JPEG decodes faster at a reduced size, here twice the model's
        across, down = 2 * config.width / picture.width, 2 * config.height / picture.height
        if config.crop != "none":
            across = down = 2 * max(config.width, config.height) / min(picture.size)
        scale = max(across, down)
        picture.draft(None, (max(1, int(picture.width * scale)), max(1, int(picture.height * scale))))
    whole = upright(picture)
    return to_model_size(whole if config.has_alpha else plain(whole, config.background), config)


def _fit_face(picture: Image.Image, config: ModelConfig) -> np.ndarray:
    """Largest face of a picture, cropped and resized for a model: uint8 (height, width, channels). Raises NoFace."""
    whole = plain(upright(picture), config.background)
    faces = find_faces(whole)
    if not faces:
        raise NoFace
    return to_model_size(whole, config, faces[0].place(config.framing))


def to_model_size(picture: Image.Image, config: ModelConfig, box: Box | None = None) -> np.ndarray:
    """Crop `box`, by default the `model_box`, and resize the crop for a model: uint8 (height, width, channels)."""
    if config.has_alpha:
        picture = premultiplied(picture, config.has_colour)
    else:
        picture = picture.convert("RGB" if config.has_colour else "L")
    box = box or model_box(picture.width, picture.height, config)
    size = (config.width, config.height)
    if box != Box(0, 0, *size) or picture.size != size:
        picture = cut(picture, box, size)
    pixels = np.array(picture, dtype=np.uint8).reshape(config.height, config.width, config.channels)
    if config.has_alpha:  # Lanczos overshoots, but no premultiplied colour is above its alpha
        np.minimum(pixels[:, :, :-1], pixels[:, :, -1:], out=pixels[:, :, :-1])
    return pixels


def model_box(width: int, height: int, config: ModelConfig) -> Box:
    """Largest centred crop box with the model's aspect ratio in a picture; all of the picture if `crop` is "none"."""
    if config.crop == "none":
        return Box(0, 0, width, height)
    scale = min(width / config.width, height / config.height)
    inner = max(1, round(config.width * scale)), max(1, round(config.height * scale))
    return Box((width - inner[0]) // 2, (height - inner[1]) // 2, *inner)


def upright(picture: Image.Image) -> Image.Image:
    """Picture with its EXIF orientation applied, itself if there is nothing to turn; a damaged tag is ignored."""
    try:
        if picture.getexif().get(ORIENTATION, 1) == 1:
            picture.load()
            return picture
        return ImageOps.exif_transpose(picture)
    except PILLOW_ERRORS:
        picture.load()  # damaged pixels still raise
        return picture


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height of a picture once its EXIF orientation is applied, without decoding pixels."""
    width, height = picture.size
    with contextlib.suppress(*PILLOW_ERRORS):
        if picture.getexif().get(ORIENTATION) in (5, 6, 7, 8):
            return height, width
    return width, height


def plain(picture: Image.Image, background: str = "#ffffff") -> Image.Image:
    """Picture in mode L or RGB, transparency laid on `background`, 16 bits scaled to 8; itself if nothing changes."""
    mode = picture.mode
    if _exceeds_8_bits(picture):
        return _eight_bit(picture)
    if _may_be_transparent(picture):
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, background)
        stays_gray = mode in ("LA", "L", "1") and len(set(ImageColor.getrgb(background))) == 1
        return Image.alpha_composite(ground, picture).convert("L" if stays_gray else "RGB")
    kind = "L" if mode in ("1", "L") else "RGB"
    return picture if mode == kind else picture.convert(kind)


def premultiplied(picture: Image.Image, colour: bool) -> Image.Image:
    """Picture with colours multiplied by alpha, in mode RGBa, or La without `colour`; a missing alpha becomes 255."""
    straight = (picture if _may_be_transparent(picture) else plain(picture)).convert("RGBA")
    return straight.convert("RGBa") if colour else straight.convert("LA").convert("La")


def _exceeds_8_bits(picture: Image.Image) -> bool:
    """Whether a picture is gray with more than 8 bits a pixel, judged by its mode."""
    return picture.mode.startswith("I") or picture.mode == "F"


def _may_be_transparent(picture: Image.Image) -> bool:
    """Whether a picture, of 8 bits at most, has an alpha channel or a transparent colour, judged by its header."""
    says_alpha = picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
    return says_alpha and not _exceeds_8_bits(picture)


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Convert gray of more than 8 bits to mode L, scaled by the range of its mode; Pillow's `convert` would clip it."""
    values = np.asarray(picture).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("pixels that are no numbers")
    top, highest = 65535.0, values.max(initial=0)
    if picture.mode == "F":
        top = max(1.0, highest)
    elif picture.mode == "I" and highest <= 255:
        top = 255.0
    return Image.fromarray((np.clip(values / top, 0, 1) * 255).round().astype(np.uint8))


def read_all(
    items: Iterable[Item], read: Callable[[Item], Result], at_once: int = 256, workers: int | None = None
) -> Iterator[tuple[Item, Result | ImageError]]:
    """Call `read` on many items in threads; yields each item, in order, with its result or its ImageError.

    `workers` is the number of threads, by default one per core; at most `at_once` results wait in memory. This is the
    one function in which an unreadable picture does not end the work.
    """

    def attempt(item: Item) -> tuple[Item, Result | ImageError]:
        try:
            return item, read(item)
        except ImageError as error:
            return item, error

    remaining = iter(items)
    with ThreadPoolExecutor(max_workers=workers or os.cpu_count()) as pool:
        while block := list(islice(remaining, at_once)):
            yield from pool.map(attempt, block)


def has_colour(picture: Image.Image) -> bool:
    """Whether a picture shows colours, judged by a thumbnail: gray pictures are often stored as RGB."""
    if picture.mode in ("1", "L", "LA") or _exceeds_8_bits(picture):
        return False
    picture.draft(None, (64, 64))
    pixels = np.asarray(plain(picture).convert("RGB").resize((32, 32)), dtype=np.int16)
    return bool((pixels.max(axis=2) - pixels.min(axis=2)).mean() > 4)


def has_transparency(picture: Image.Image) -> bool:
    """Whether some pixels of a picture are transparent: many alpha channels are opaque everywhere."""
    if not _may_be_transparent(picture):
        return False
    return int(np.asarray(picture.convert("RGBA").getchannel("A")).min()) < _TRANSPARENT


def as_float(images: np.ndarray) -> np.ndarray:
    """Convert uint8 images (n, height, width, channels) to float32 (n, channels, height, width) in [0, 1]."""
    floats = images.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    floats /= 255
    return floats


def as_uint8(images: np.ndarray) -> np.ndarray:
    """Convert float32 images (n, channels, height, width), 0 to 1, to uint8 (n, height, width, channels), rounded."""
    levels = images.transpose(0, 2, 3, 1) * np.float32(255)
    np.clip(np.rint(levels, out=levels), 0, 255, out=levels)
    return levels.astype(np.uint8, order="C")


def straight(images: np.ndarray) -> np.ndarray:
    """Divide the colours of premultiplied images, (n, 2 or 4, height, width), by alpha; black where alpha is 0."""
    alpha = np.clip(images[:, -1:], 0, 1)
    colours = np.zeros_like(images[:, :-1])
    np.divide(images[:, :-1], alpha, out=colours, where=alpha * 255 >= 0.5)
    return np.concatenate([np.clip(colours, 0, 1), alpha], axis=1)


def on_white(images: np.ndarray) -> np.ndarray:
    """Images laid on white if they have an alpha channel, else unchanged: (n, 1 or 3, height, width)."""
    return images if images.shape[1] not in WITH_ALPHA else images[:, :-1] + (1 - images[:, -1:])


def to_pictures(images: np.ndarray) -> list[Image.Image]:
    """Pillow pictures, mode L, LA, RGB or RGBA, of a batch of images (n, channels, height, width) in [0, 1]."""
    if images.shape[1] in WITH_ALPHA:
        images = straight(images)
    return [Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image) for image in as_uint8(images)]


def on_checks(picture: Image.Image) -> Image.Image:
    """Picture laid on a light checkerboard, in mode L or RGB, if it has an alpha channel; else the same object."""
    if "A" not in picture.getbands():
        return picture
    across, down = (np.arange(side) // _CHECK % 2 for side in picture.size)
    board = Image.fromarray(np.array(_CHECKS, dtype=np.uint8)[across ^ down[:, None]])
    shown = board.convert("L" if picture.mode == "LA" else "RGB")
    shown.paste(picture.convert(shown.mode), mask=picture.getchannel("A"))
    return shown


def encode_picture(picture: Image.Image, suffix: str, **options: object) -> bytes:
    """Bytes of an image file of the type that `suffix` (".png", ".jpg" …) names; `options` go to Pillow.

    Raises ImageError for a type that Pillow cannot write.
    """
    check_writable(Path(f"picture{suffix}"))
    format_name = Image.EXTENSION[suffix.lower()]
    if "A" in picture.getbands() and not has_alpha(suffix):
        picture = plain(picture)
    if format_name == "PNG":
        options = {"compress_level": _PNG_LEVEL, **options}
    buffer = io.BytesIO()
    try:
        picture.save(buffer, format=format_name, **options)
    except PILLOW_ERRORS as error:
        raise ImageError(f"cannot write {suffix}: {error}; use .png") from error
    return buffer.getvalue()


def has_alpha(suffix: str) -> bool:
    """Whether files with this suffix (".png", ".jpg" …) can be transparent."""
    return Image.EXTENSION.get(suffix.lower()) not in _WITHOUT_ALPHA


def check_writable(path: Path) -> Path:
    """Return `path` if Pillow can write the file type of its suffix. Raises ImageError otherwise."""
    Image.init()
    if Image.EXTENSION.get(path.suffix.lower()) not in FORMATS:
        raise ImageError(f"cannot write {path}: unknown image type; use .png, .jpg, .webp, .tiff or .gif")
    return path


def write_picture(picture: Image.Image, path: Path, **options: object) -> None:
    """Write a picture to `path`, whole or not at all, as the file type of the suffix."""
    write_whole(path, encode_picture(picture, path.suffix, **options))


def parse_colour(text: str) -> str:
    """Colour as #rrggbb, from a name or a number. Raises ConfigError for other text.

    >>> parse_colour("black"), parse_colour("#0f0")
    ('#000000', '#00ff00')
    """
    try:
        return "#{:02x}{:02x}{:02x}".format(*ImageColor.getrgb(text)[:3])
    except ValueError:
        raise ConfigError(f"{text!r} is no colour; give a name like black or a number like #336699") from None
