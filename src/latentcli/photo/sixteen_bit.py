"""Reading and writing photos of 16 bits a channel, in full precision.

Pillow reads and writes gray ones. Of 16-bit colour it unpacks one byte of each number, so each file is read twice,
once for each byte; it cannot write 16-bit colour, so PNG files are assembled here.
"""

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile

from latentcli.imaging.images import ORIENTATION, PILLOW_ERRORS, encode_picture

_COLOUR = ("RGB;16B", "RGBA;16B")  # Pillow's names for the layouts of 16-bit colour in PNG
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {3: 2, 4: 6}  # PNG colour type by number of channels
_UP = 2  # PNG filter that stores the difference to the row above
# By EXIF orientation: quarter turns counter-clockwise, and whether the picture is mirrored first.
_ORIENTATIONS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}
_LEVEL = 4  # compression level of zlib: higher ones hardly shrink 16-bit noise


def has_16_bits(picture: Image.Image) -> bool:
    """Whether an opened picture has 16 bits a channel, in a layout that `read_16_bits` can read."""
    in_colour = isinstance(picture, PngImageFile) and len(picture.tile) > 0 and picture.tile[0].args in _COLOUR
    return (picture.mode.startswith("I;16") or in_colour) and "transparency" not in picture.info


def says_16_bits(picture: Image.Image) -> bool:
    """Whether an opened picture's file has 16 bits a channel, even in a layout that `read_16_bits` cannot read."""
    return isinstance(picture, ImageFile) and any(";16" in str(tile.args) for tile in picture.tile)


def read_16_bits(content: bytes, opened: Image.Image) -> np.ndarray:
    """Upright pixels, uint16 (height, width[, 3 or 4]), of a 16-bit file: its bytes, `content`, `opened` by Pillow."""
    with Image.open(io.BytesIO(content)) as picture:
        pixels = np.asarray(picture).astype(np.uint16)
    if pixels.ndim == 3:  # high bytes only; read as if little-endian, the file gives the low bytes
        with Image.open(io.BytesIO(content)) as picture:
            assert isinstance(picture, PngImageFile)
            picture.tile = [tile._replace(args=str(tile.args).replace("16B", "16L")) for tile in picture.tile]
            pixels = (pixels << 8) | np.asarray(picture)
    with contextlib.suppress(*PILLOW_ERRORS):  # a broken orientation is ignored, as for other pictures
        turns, mirrored = _ORIENTATIONS.get(opened.getexif().get(ORIENTATION, 1), (0, False))
        pixels = np.rot90(pixels[:, ::-1] if mirrored else pixels, turns)
    return np.ascontiguousarray(pixels)


def encode_16_bits(pixels: np.ndarray, suffix: str, **options: object) -> bytes:
    """Bytes of a PNG (gray or colour) or TIFF (gray) file with `pixels`, uint16 (height, width[, 3 or 4])."""
    if pixels.ndim == 2:
        return encode_picture(Image.fromarray(pixels), suffix, **options)
    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:], filtered[1:, 1:] = rows[0], rows[1:] - rows[:-1]
    metadata = _chunks(encode_picture(Image.new("L", (1, 1)), suffix, **options))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)),
        *((kind, data) for kind, data in metadata if kind not in (b"IHDR", b"IDAT", b"IEND")),
        (b"IDAT", zlib.compress(filtered.data, _LEVEL)),
        (b"IEND", b""),
    ]
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def can_hold(suffix: str, pixels: np.ndarray) -> bool:
    """Whether a file with `suffix` can hold 16 bits a channel of `pixels`: gray in PNG and TIFF, colour in PNG."""
    kinds = ("PNG", "TIFF") if pixels.ndim == 2 else ("PNG",)
    return Image.EXTENSION.get(suffix.lower()) in kinds


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and the data of each chunk of a PNG file."""
    offset = len(_SIGNATURE)
    while offset < len(png):
        (length,) = struct.unpack_from(">I", png, offset)
        yield png[offset + 4 : offset + 8], png[offset + 8 : offset + 8 + length]
        offset += length + 12
