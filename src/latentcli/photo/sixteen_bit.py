"""Photos of 16 bits a channel: Pillow shows eight of them, the edit keeps them all.

Gray ones Pillow reads and writes itself. Of colour ones it unpacks one byte of each number; asked for the other one
as well, it gives both. It writes none, so their PNG files are put together here.
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

_COLOUR = ("RGB;16B", "RGBA;16B")  # what Pillow calls the layout of 16-bit colour in PNG
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {3: 2, 4: 6}  # of PNG, by channels
_UP = 2  # the PNG filter that stores the difference to the row above
# Quarter turns counter-clockwise after mirroring or not, by the value of the EXIF orientation.
_ORIENTATIONS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}
_LEVEL = 4  # of zlib: 16-bit noise hardly gets smaller above


def has_16_bits(picture: Image.Image) -> bool:
    """Whether an opened picture has 16 bits a channel that can be kept."""
    in_colour = isinstance(picture, PngImageFile) and len(picture.tile) > 0 and picture.tile[0].args in _COLOUR
    return (picture.mode.startswith("I;16") or in_colour) and "transparency" not in picture.info


def says_16_bits(picture: Image.Image) -> bool:
    """Whether an opened picture's file has 16 bits a channel, also where they cannot be kept."""
    return isinstance(picture, ImageFile) and any(";16" in str(tile.args) for tile in picture.tile)


def read_16_bits(content: bytes, opened: Image.Image) -> np.ndarray:
    """uint16 (height, width) of a gray file, or (height, width, 3 or 4), upright; `opened` is the same file."""
    with Image.open(io.BytesIO(content)) as picture:
        pixels = np.asarray(picture).astype(np.uint16)
    if pixels.ndim == 3:  # the first bytes; read as if it were little-endian, the file gives the second ones
        with Image.open(io.BytesIO(content)) as picture:
            assert isinstance(picture, PngImageFile)
            picture.tile = [tile._replace(args=str(tile.args).replace("16B", "16L")) for tile in picture.tile]
            pixels = (pixels << 8) | np.asarray(picture)
    with contextlib.suppress(*PILLOW_ERRORS):  # a broken orientation is ignored, as for other pictures
        turns, mirrored = _ORIENTATIONS.get(opened.getexif().get(ORIENTATION, 1), (0, False))
        pixels = np.rot90(pixels[:, ::-1] if mirrored else pixels, turns)
    return np.ascontiguousarray(pixels)


def encode_16_bits(pixels: np.ndarray, suffix: str, **options: object) -> bytes:
    """The bytes of a PNG (gray and colour) or TIFF (gray) file of uint16 (height, width[, 3 or 4])."""
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
    """Whether a file of this type holds 16 bits a channel of such pixels."""
    kinds = ("PNG", "TIFF") if pixels.ndim == 2 else ("PNG",)
    return Image.EXTENSION.get(suffix.lower()) in kinds


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kind and data of each chunk."""
    offset = len(_SIGNATURE)
    while offset < len(png):
        (length,) = struct.unpack_from(">I", png, offset)
        yield png[offset + 4 : offset + 8], png[offset + 8 : offset + 8 + length]
        offset += length + 12
