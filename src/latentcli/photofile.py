"""A photo's file: what it has besides pixels, so that the edited photo can be saved as the original came."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from PIL.JpegImagePlugin import get_sampling

from latentcli.images import PILLOW_ERRORS, open_picture, plain, upright

_ORIENTATION = 0x0112  # the EXIF tag
_MOST_DPI = 65_535  # that a file can say
_QUALITY = 95  # of lossy output where the input has none to go by


@dataclass(frozen=True, slots=True)
class FileTraits:
    """What a photo's file has besides pixels, to be saved again with the edited ones."""

    icc_profile: bytes | None = None  # only where the pixels keep their colour space
    exif: bytes | None = None  # orientation taken out
    jpeg: dict[str, object] = field(default_factory=dict)  # quantization tables and subsampling
    lossless: bool = False
    dpi: tuple[float, float] | None = None
    lost: tuple[str, ...] = ()  # what cannot be kept, in words

    def options(self, suffix: str) -> dict[str, object]:
        """For `write_picture` to a file of this type: the input's quality, profile and EXIF where the type has them."""
        format_name = Image.EXTENSION.get(suffix.lower())
        options: dict[str, object] = {}
        if self.icc_profile and format_name in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
            options["icc_profile"] = self.icc_profile
        if self.exif and format_name in ("JPEG", "PNG", "WEBP", "AVIF"):
            options["exif"] = self.exif
        if self.dpi and format_name in ("JPEG", "PNG", "TIFF"):
            options["dpi"] = self.dpi
        if format_name == "JPEG":
            options |= self.jpeg or {"quality": _QUALITY}
        if format_name == "WEBP":
            options |= {"lossless": True} if self.lossless else {"quality": _QUALITY}
        if format_name == "AVIF":
            options["quality"] = _QUALITY
        return options


def read_photo(path: Path) -> tuple[Image.Image, Image.Image | None, FileTraits]:
    """A picture to be edited: upright, mode L or RGB, its alpha channel, and the traits of its file.

    Colours under a transparent area are kept.
    """
    with open_picture(path) as picture:
        turned = upright(picture)
        traits = _traits(picture, turned, path)
        if "A" not in turned.getbands() and "transparency" not in turned.info:
            return plain(turned), None, traits
        layers = turned.convert("RGBA")
        colours = layers.convert("RGB")
        return colours.convert("L") if picture.mode == "LA" else colours, layers.getchannel("A"), traits


def _traits(picture: Image.Image, turned: Image.Image, path: Path) -> FileTraits:
    """`turned` is what `upright` made of `picture`."""
    jpeg: dict[str, object] = {}
    same_space = picture.mode in ("L", "RGB", "LA", "RGBA")
    if picture.format in ("JPEG", "MPO") and same_space:
        jpeg["qtables"] = picture.quantization  # type: ignore[attr-defined]
        if (sampling := get_sampling(picture)) >= 0:
            jpeg["subsampling"] = sampling
    lost = []
    if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
        lost.append("all frames but the first")
    if picture.mode.startswith("I") or picture.mode == "F":
        lost.append("levels beyond 8 bits")
    exif = None
    with contextlib.suppress(*PILLOW_ERRORS):  # broken EXIF is left behind
        found = turned.getexif()
        found.pop(_ORIENTATION, None)
        exif = found.tobytes() if len(found) and picture.format != "TIFF" else None
    return FileTraits(
        icc_profile=picture.info.get("icc_profile") if same_space else None,
        exif=exif,
        jpeg=jpeg,
        lossless=picture.format == "WEBP" and b"VP8L" in _first_bytes(path),
        dpi=_dpi(picture),
        lost=tuple(lost),
    )


def _dpi(picture: Image.Image) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in picture.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 0 < across < _MOST_DPI and 0 < down < _MOST_DPI else None


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)
