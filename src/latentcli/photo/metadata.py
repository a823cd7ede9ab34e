"""File traits of a photo (EXIF, colour profile, compression, ...), kept so that an edit is saved like its original.

An edited photo's file holds its edit record, the JSON text of its `EditRequest`: PNG in a text chunk, TIFF in the
description, other types at the end of the EXIF user comment.
"""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from PIL import Image
from PIL.JpegImagePlugin import get_sampling
from PIL.PngImagePlugin import PngImageFile, PngInfo

from latentcli.concepts.edit import EditRequest
from latentcli.errors import FileFormatError
from latentcli.imaging.images import ORIENTATION, PILLOW_ERRORS, open_picture
from latentcli.photo.sixteen_bit import has_16_bits, says_16_bits

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825  # EXIF tags of the inner directories
_USER_COMMENT = 0x9286  # tag in the EXIF IFD
_DESCRIPTION = 270  # tag that holds the edit record in TIFF, whose compressed files hold no EXIF IFD
_DESCRIBING = (_DESCRIPTION, 271, 272, 305, 306, 315, 316, 33432)  # TIFF tags of metadata, not of the pixels' layout
_CODES = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16"}  # encodings by the prefix of a user comment
_MARK = "latentcli edit: "  # stands before the edit record in a comment or description
_TEXT_KEY = "latentcli"  # key of the PNG text chunk with the edit record
_XMP_KEY, _RAW_PROFILE = "XML:com.adobe.xmp", "Raw profile type "  # keys of PNG chunks that are not copied as texts
_MOST_EXIF = 65_000  # bytes of EXIF in a JPEG
_MOST_DPI = 65_535  # largest resolution that a file can hold
_QUALITY = 95  # of lossy output if the original's is unknown
_WITH_EXIF = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF")
_HOLD = {  # file types that can hold a trait
    "icc_profile": _WITH_EXIF,
    "xmp": ("JPEG", "WEBP", "AVIF"),
    "exif": _WITH_EXIF,
    "dpi": ("JPEG", "PNG", "TIFF"),
}
_LOSSLESS_TIFF = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate")


@dataclass(frozen=True, slots=True)
class FileTraits:
    """Metadata and compression settings of a photo's file."""

    icc_profile: bytes | None = None  # only where the pixels keep their colour space
    exif: bytes | None = None  # without orientation and thumbnail
    xmp: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()  # keys and texts of PNG's text chunks, without the edit record
    jpeg: tuple[tuple[str, object], ...] = ()  # quantization tables, subsampling, whether progressive
    lossless: bool = False
    compression: str | None = None  # TIFF's
    dpi: tuple[float, float] | None = None
    earlier: dict[str, Any] | None = None  # edit record of the photo, if it was itself edited
    lost: tuple[str, ...] = ()  # properties that an edit cannot keep, in words

    def options(self, suffix: str, record: str | None = None) -> dict[str, object]:
        """Keyword options of `encode_picture` that write these traits (quality, profile, EXIF, ...) to a file.

        `suffix` gives the file's type; traits that it cannot hold are left out. `record` is an edit record to add.
        """
        kind = Image.EXTENSION.get(suffix.lower())
        exif = self.exif if record is None or kind == "PNG" else _with_record(self.exif, record, kind == "TIFF")
        if kind == "JPEG" and exif and len(exif) > _MOST_EXIF:
            exif = self.exif  # a large EXIF block leaves no room for the record
        traits = {"icc_profile": self.icc_profile, "xmp": self.xmp, "exif": exif, "dpi": self.dpi}
        options: dict[str, object] = {name: value for name, value in traits.items() if value and kind in _HOLD[name]}
        if kind == "PNG":
            options["pnginfo"] = info = PngInfo()
            for key, text in (*self.texts, *([(_TEXT_KEY, record)] if record else [])):
                info.add_itxt(key, text)
            if self.xmp:
                info.add_itxt(_XMP_KEY, self.xmp.decode("utf-8", "replace"))
        elif kind == "JPEG":
            options |= dict(self.jpeg) or {"quality": _QUALITY}
        elif kind == "WEBP" and self.lossless:
            options |= {"lossless": True, "exact": True}
        elif kind in ("WEBP", "AVIF"):
            options["quality"] = _QUALITY
        elif kind == "TIFF" and self.compression:
            options["compression"] = "raw" if _inner(_loaded(exif)) else self.compression
        return options


def traits_of(picture: Image.Image, content: bytes) -> FileTraits:
    """File traits of an opened picture whose pixels have not been decoded yet; `content` is its file's bytes."""
    lost = _lost(picture)  # first, since texts may stand behind the pixels
    same_space = picture.mode in ("1", "L", "RGB", "LA", "RGBA", "P", "PA") or picture.mode.startswith("I;16")
    xmp, compression, earlier = picture.info.get("xmp"), None, None
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if picture.format == "TIFF":
        compression = str(picture.info.get("compression"))
        compression = compression if compression in _LOSSLESS_TIFF else "tiff_adobe_deflate"
    jpeg: dict[str, object] = {}
    if picture.format in ("JPEG", "MPO") and same_space:
        jpeg["qtables"] = picture.quantization  # type: ignore[attr-defined]
        if (sampling := get_sampling(picture)) >= 0:
            jpeg["subsampling"] = sampling
        if picture.info.get("progressive"):
            jpeg["progressive"] = True
    with contextlib.suppress(ValueError):
        earlier = EditRequest.parse(_record(picture) or "").to_json()
    return FileTraits(
        icc_profile=picture.info.get("icc_profile") if same_space else None,
        exif=_exif(picture),
        xmp=re.sub(rb'(tiff:Orientation(?:="|>))\d(?="|</tiff:Orientation)', rb"\g<1>1", xmp) if xmp else None,
        texts=tuple(
            (key, str(text))
            for key, text in _texts(picture).items()
            if key not in (_TEXT_KEY, _XMP_KEY) and not key.startswith(_RAW_PROFILE)
        ),
        jpeg=tuple(jpeg.items()),
        lossless=picture.format == "WEBP" and _is_lossless(content),
        compression=compression,
        dpi=_dpi(picture),
        earlier=earlier,
        lost=tuple(lost),
    )


def holds_metadata(suffix: str) -> bool:
    """Whether files with this `suffix` can hold an edit record."""
    return Image.EXTENSION.get(suffix.lower()) in _WITH_EXIF


def read_request(path: Path) -> EditRequest:
    """The edit request stored in an edited photo's file.

    Raises ImageError if the file is no image, FileFormatError if it holds no readable edit record.
    """
    with open_picture(path) as picture:
        record = _record(picture)
    if record is None:
        raise FileFormatError(f"{path} holds no edit by latentcli; name a photo that `latentcli edit` wrote")
    try:
        return EditRequest.parse(record)
    except ValueError as error:
        raise FileFormatError(f"{path} holds unreadable edit metadata ({error}); edit the photo again") from error


def _record(picture: Image.Image) -> str | None:
    """The edit record (JSON text) in an opened picture's file, or None."""
    if record := _texts(picture).get(_TEXT_KEY):
        return str(record)
    with contextlib.suppress(*PILLOW_ERRORS):
        exif = picture.getexif()
        for text in (_comment(exif), str(exif.get(_DESCRIPTION, ""))):
            _, mark, record = text.partition(_MARK)
            if mark:
                return record
    return None


def _texts(picture: Image.Image) -> dict[str, Any]:
    """Text chunks of a PNG by their keys; empty for other types and unreadable chunks."""
    with contextlib.suppress(*PILLOW_ERRORS):
        return dict(cast(PngImageFile, picture).text) if picture.format == "PNG" else {}
    return {}


def _exif(picture: Image.Image) -> bytes | None:
    """EXIF of a picture without orientation (already applied) and thumbnail (of the unedited photo), or None."""
    with contextlib.suppress(*PILLOW_ERRORS):  # broken EXIF is left behind
        exif, cleaned = picture.getexif(), Image.Exif()
        for tag, value in exif.items():
            if tag in (ORIENTATION, _EXIF_IFD, _GPS_IFD) or (picture.format == "TIFF" and tag not in _DESCRIBING):
                continue
            cleaned[tag] = value
        for tag, values in _inner(exif).items():
            cleaned.get_ifd(tag).update(values)
        return cleaned.tobytes() if len(cleaned) or _inner(cleaned) else None
    return None


def _loaded(exif: bytes | None) -> Image.Exif:
    loaded = Image.Exif()
    loaded.load(exif or b"")
    return loaded


def _inner(exif: Image.Exif) -> dict[int, dict[int, Any]]:
    """Entries, by tag, of each sub-directory (EXIF, GPS) that is not empty; the key is the tag of the sub-directory."""
    return {tag: values for tag in (_EXIF_IFD, _GPS_IFD) if (values := exif.get_ifd(tag))}


def _comment(exif: Image.Exif) -> str:
    """Decoded text of the EXIF user comment, or ""."""
    value = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    if not isinstance(value, bytes):
        return value if isinstance(value, str) else ""
    encoding = _CODES.get(value[:8], "latin-1")
    if encoding == "utf-16" and value[8:10] not in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16-be" if exif.endian == ">" else "utf-16-le"
    return value[8:].decode(encoding, "replace").strip("\0 ")


def _with_record(exif: bytes | None, record: str, in_tiff: bool) -> bytes:
    """EXIF with the edit record at the end of the user comment or TIFF description, in place of an older record."""
    loaded = _loaded(exif)
    before = str(loaded.get(_DESCRIPTION, "")) if in_tiff else _comment(loaded)
    ahead = before.partition(_MARK)[0].rstrip()
    text = f"{ahead}\n{_MARK}{record}" if ahead else f"{_MARK}{record}"
    if in_tiff:
        loaded[_DESCRIPTION] = text
    else:
        code = b"ASCII\0\0\0" if text.isascii() else b"UNICODE\0"
        loaded.get_ifd(_EXIF_IFD)[_USER_COMMENT] = code + text.encode(_CODES[code])
    return loaded.tobytes()


def _is_lossless(webp: bytes) -> bool:
    """Whether the bytes of a WebP file have a chunk of losslessly compressed pixels."""
    offset = 12
    while offset + 8 <= len(webp):
        if webp[offset : offset + 4] == b"VP8L":
            return True
        length = int.from_bytes(webp[offset + 4 : offset + 8], "little")
        offset += 8 + length + length % 2
    return False


def _lost(picture: Image.Image) -> list[str]:
    """Descriptions of a picture's properties that an edit cannot keep, like `its palette`."""
    mode = picture.mode
    losses = {
        "all frames but the first": getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO",
        f"its {mode} colours": mode in ("CMYK", "LAB", "HSV"),
        "its palette": mode in ("P", "PA"),
        "its transparency": mode.startswith("I;16") and "transparency" in picture.info,
        "levels beyond 8 bits": mode in ("I", "F") or (says_16_bits(picture) and not has_16_bits(picture)),
    }
    return [words for words, is_lost in losses.items() if is_lost]


def _dpi(picture: Image.Image) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in picture.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 0 < across < _MOST_DPI and 0 < down < _MOST_DPI else None
