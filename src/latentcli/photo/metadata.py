"""File traits of a photo besides its pixels, so that the edited photo can be saved as the original came."""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import get_sampling
from PIL.PngImagePlugin import PngImageFile, PngInfo

from latentcli.concepts.edit import EditRequest
from latentcli.errors import FileFormatError
from latentcli.imaging.images import ORIENTATION, PILLOW_ERRORS, open_picture
from latentcli.photo.sixteen_bit import has_16_bits

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825  # EXIF tags
_USER_COMMENT = 0x9286  # in the EXIF IFD
_DESCRIBING = (270, 271, 272, 305, 306, 315, 316, 33432)  # of TIFF's tags; others lay it out
_CODES = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16"}  # that a user comment starts with
_MOST_EXIF = 65_000  # bytes in a JPEG
_MOST_DPI = 65_535  # that a file can say
_QUALITY = 95  # of lossy output where the input has none to go by
_TEXT_KEY = "latentcli"  # of the PNG chunk that says what was done
_XMP_KEY, _RAW_PROFILE = "XML:com.adobe.xmp", "Raw profile type "  # of chunks that are written anew
_MARK = "latentcli edit: "  # before the same in an EXIF comment
_DESCRIPTION = 270  # the tag that says it in TIFF, whose compressed files hold no EXIF IFD
_WITH_EXIF = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF")
_WITH_ICC = _WITH_EXIF
_WITH_XMP = ("JPEG", "WEBP", "AVIF")
_LOSSLESS_TIFF = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate")


@dataclass(frozen=True, slots=True)
class FileTraits:
    """What a photo's file has besides pixels."""

    icc_profile: bytes | None = None  # only where the pixels keep their colour space
    exif: bytes | None = None  # orientation taken out
    xmp: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()  # PNG's, without our own
    jpeg: tuple[tuple[str, object], ...] = ()  # quantization tables, subsampling, whether progressive
    lossless: bool = False
    compression: str | None = None  # TIFF's
    dpi: tuple[float, float] | None = None
    done_before: str | None = None  # what an earlier edit wrote down
    lost: tuple[str, ...] = ()  # what cannot be kept, in words

    def options(self, suffix: str, done: str | None = None) -> dict[str, object]:
        """For `encode_picture` to a file of this type: the input's quality, profile and EXIF where the type has them.

        `done` is ASCII text to be kept in the file: what was done to the photo.
        """
        kind = Image.EXTENSION.get(suffix.lower())
        options: dict[str, object] = {}
        if self.icc_profile and kind in _WITH_ICC:
            options["icc_profile"] = self.icc_profile
        if self.xmp and kind in _WITH_XMP:
            options["xmp"] = self.xmp
        exif = self.exif
        if done is not None and kind != "PNG":
            exif = _commented(exif, done, in_tiff=kind == "TIFF")
        if kind == "JPEG" and exif and len(exif) > _MOST_EXIF:
            exif = self.exif  # a large one leaves no room to tell what was done
        if exif and kind in _WITH_EXIF:
            options["exif"] = exif
        if self.dpi and kind in ("JPEG", "PNG", "TIFF"):
            options["dpi"] = self.dpi
        if kind == "PNG":
            options["pnginfo"] = self._png_texts(done)
        if kind == "JPEG":
            options |= dict(self.jpeg) or {"quality": _QUALITY}
        if kind == "WEBP":
            options |= {"lossless": True, "exact": True} if self.lossless else {"quality": _QUALITY}
        if kind == "AVIF":
            options["quality"] = _QUALITY
        if kind == "TIFF" and self.compression:
            options["compression"] = "raw" if _has_inner(exif) else self.compression
        return options

    def _png_texts(self, done: str | None) -> PngInfo:
        info = PngInfo()
        for key, text in (*self.texts, *([(_TEXT_KEY, done)] if done else [])):
            info.add_itxt(key, text)
        if self.xmp:
            info.add_itxt(_XMP_KEY, self.xmp.decode("utf-8", "replace"))
        return info


def traits_of(picture: Image.Image, content: bytes) -> FileTraits:
    """Of an opened picture whose pixels have not been decoded yet; `content` are the file's bytes."""
    lost = _lost(picture)  # first, since texts may stand behind the pixels
    same_space = picture.mode in ("1", "L", "RGB", "LA", "RGBA", "P", "PA") or picture.mode.startswith("I;16")
    xmp = picture.info.get("xmp")
    return FileTraits(
        icc_profile=picture.info.get("icc_profile") if same_space else None,
        exif=_exif(picture),
        xmp=_upright_xmp(xmp.encode() if isinstance(xmp, str) else xmp),
        texts=tuple(
            (key, str(text))
            for key, text in _texts(picture).items()
            if key not in (_TEXT_KEY, _XMP_KEY) and not key.startswith(_RAW_PROFILE)
        ),
        jpeg=_jpeg(picture) if same_space else (),
        lossless=picture.format == "WEBP" and _is_lossless(content),
        compression=_compression(picture),
        dpi=_dpi(picture),
        done_before=done_to(picture),
        lost=tuple(lost),
    )


def _upright_xmp(xmp: bytes | None) -> bytes | None:
    """Without an orientation, which is applied."""
    return re.sub(rb'tiff:Orientation(="\d"|>\d</tiff:Orientation)', _as_one, xmp) if xmp else None


def _as_one(found: re.Match[bytes]) -> bytes:
    return re.sub(rb"\d", b"1", found.group())


def holds_metadata(suffix: str) -> bool:
    """Whether a file of this type can hold the edit it came from."""
    return Image.EXTENSION.get(suffix.lower()) in _WITH_EXIF


def done_to(picture: Image.Image) -> str | None:
    """What an edit wrote down in an opened picture's file."""
    if found := _texts(picture).get(_TEXT_KEY):
        return str(found)
    with contextlib.suppress(*PILLOW_ERRORS):
        exif = picture.getexif()
        for text in (_comment(exif), str(exif.get(_DESCRIPTION, ""))):
            _, mark, done = text.partition(_MARK)
            if mark:
                return done
    return None


def _texts(picture: Image.Image) -> dict[str, Any]:
    with contextlib.suppress(*PILLOW_ERRORS):
        return dict(cast(PngImageFile, picture).text) if picture.format == "PNG" else {}
    return {}


def _exif(picture: Image.Image) -> bytes | None:
    """Without the orientation, which is applied, and without the thumbnail, which shows the photo as it was."""
    with contextlib.suppress(*PILLOW_ERRORS):  # broken EXIF is left behind
        found = picture.getexif()
        kept = Image.Exif()
        for tag, value in found.items():
            if tag in (ORIENTATION, _EXIF_IFD, _GPS_IFD) or (picture.format == "TIFF" and tag not in _DESCRIBING):
                continue
            kept[tag] = value
        for tag in (_EXIF_IFD, _GPS_IFD):
            if inner := found.get_ifd(tag):
                kept.get_ifd(tag).update(inner)
        return kept.tobytes() if len(kept) or any(kept.get_ifd(tag) for tag in (_EXIF_IFD, _GPS_IFD)) else None
    return None


def _comment(exif: Image.Exif) -> str:
    """The text of the user comment, "" without one."""
    value = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        return ""
    encoding = _CODES.get(value[:8], "latin-1")
    if encoding == "utf-16" and value[8:10] not in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16-be" if exif.endian == ">" else "utf-16-le"
    return value[8:].decode(encoding, "replace").strip("\0 ")


def _commented(exif: bytes | None, done: str, in_tiff: bool) -> bytes:
    """The EXIF with what was done at the end of its user comment, or of TIFF's description."""
    kept = Image.Exif()
    kept.load(exif or b"")
    before = str(kept.get(_DESCRIPTION, "")) if in_tiff else _comment(kept)
    ahead = before.partition(_MARK)[0].rstrip()
    text = f"{ahead}\n{_MARK}{done}" if ahead else f"{_MARK}{done}"
    if in_tiff:
        kept[_DESCRIPTION] = text
        return kept.tobytes()
    code = b"ASCII\0\0\0" if text.isascii() else b"UNICODE\0"
    kept.get_ifd(_EXIF_IFD)[_USER_COMMENT] = code + text.encode(_CODES[code])
    return kept.tobytes()


def _has_inner(exif: bytes | None) -> bool:
    kept = Image.Exif()
    kept.load(exif or b"")
    return any(kept.get_ifd(tag) for tag in (_EXIF_IFD, _GPS_IFD))


def _is_lossless(webp: bytes) -> bool:
    """Whether a WebP file has a chunk of lossless pixels; others may come before it."""
    place = 12
    while place + 8 <= len(webp):
        if webp[place : place + 4] == b"VP8L":
            return True
        length = int.from_bytes(webp[place + 4 : place + 8], "little")
        place += 8 + length + length % 2
    return False


def _jpeg(picture: Image.Image) -> tuple[tuple[str, object], ...]:
    if picture.format not in ("JPEG", "MPO"):
        return ()
    options: dict[str, object] = {"qtables": picture.quantization}  # type: ignore[attr-defined]
    if (sampling := get_sampling(picture)) >= 0:
        options["subsampling"] = sampling
    if picture.info.get("progressive"):
        options["progressive"] = True
    return tuple(options.items())


def _compression(picture: Image.Image) -> str | None:
    if picture.format != "TIFF":
        return None
    found = str(picture.info.get("compression"))
    return found if found in _LOSSLESS_TIFF else "tiff_adobe_deflate"


def _lost(picture: Image.Image) -> list[str]:
    lost = []
    if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
        lost.append("all frames but the first")
    if picture.mode in ("CMYK", "LAB", "HSV"):
        lost.append(f"its {picture.mode} colours")
    if picture.mode in ("P", "PA"):
        lost.append("its palette")
    if picture.mode.startswith("I;16") and "transparency" in picture.info:
        lost.append("its transparency")
    if picture.mode in ("I", "F") or (_says_16_bits(picture) and not has_16_bits(picture)):
        lost.append("levels beyond 8 bits")
    return lost


def _says_16_bits(picture: Image.Image) -> bool:
    return isinstance(picture, ImageFile) and any(";16" in str(tile.args) for tile in picture.tile)


def _dpi(picture: Image.Image) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in picture.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 0 < across < _MOST_DPI and 0 < down < _MOST_DPI else None


def earlier(text: str | None) -> dict[str, Any] | None:
    """The edit that a photo came from, as far as it can be read."""
    with contextlib.suppress(ValueError):
        return EditRequest.parse(text).to_json() if text else None
    return None


def read_request(path: Path) -> EditRequest:
    """The edit that a photo's file says was made. Raises ImageError for no image, FileFormatError without an edit."""
    with open_picture(path) as picture:
        text = done_to(picture)
    if text is None:
        raise FileFormatError(f"{path} holds no edit by latentcli; name a photo that `latentcli edit` wrote")
    try:
        return EditRequest.parse(text)
    except ValueError as error:
        raise FileFormatError(f"{path} holds unreadable edit metadata ({error}); edit the photo again") from error
