"""Photos to edit: read at full size, changed in the pixels of a region, and saved with the original's file traits."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from latentcli.concepts.edit import EditRequest
from latentcli.defaults import PHOTO_MEGAPIXELS
from latentcli.figures.sheet import PLAIN, Captions, Look
from latentcli.imaging.box import Box
from latentcli.imaging.images import (
    WITH_ALPHA,
    as_float,
    encode_picture,
    has_alpha,
    on_white,
    open_picture,
    picture_bytes,
    plain,
    premultiplied,
    straight,
    upright,
)
from latentcli.photo.merge import Region, coarse_size, merge
from latentcli.photo.metadata import FileTraits, traits_of
from latentcli.photo.sixteen_bit import can_hold, encode_16_bits, has_16_bits, read_16_bits

_BAND = 256  # rows changed at a time, so that a large photo is never copied in floating point


@dataclass(frozen=True, slots=True)
class Photo:
    """Pixels of a photo, upright and at full size, with the metadata and compression settings of its file."""

    picture: Image.Image  # mode L or RGB
    alpha: Image.Image | None = None  # mode L; None if opaque
    wide: np.ndarray | None = None  # uint16 (height, width[, 3 or 4]) if the file has 16 bits a channel
    traits: FileTraits = field(default_factory=FileTraits)
    content: bytes = b""  # the file's bytes

    @classmethod
    def read(cls, path: Path, content: bytes | None = None, megapixels: float = PHOTO_MEGAPIXELS) -> "Photo":
        """Read a photo from `path`, or from `content`, a file's bytes. Colours under transparent areas are kept.

        Raises ImageError if the file is no readable image or has more pixels than `megapixels` million.
        """
        with open_picture(path, content, megapixels) as picture:
            content = picture_bytes(path, picture) if content is None else content
            wide = read_16_bits(content, picture) if has_16_bits(picture) else None
            traits = traits_of(picture, content)
            turned = upright(picture)
            is_opaque = "A" not in turned.getbands() and "transparency" not in turned.info
            if is_opaque or picture.mode.startswith("I"):
                shown, alpha = plain(turned), None
            else:
                layers = turned.convert("RGBA")
                shown, alpha = layers.convert("RGB"), layers.getchannel("A")
                shown = shown.convert("L") if picture.mode == "LA" else shown
            shown.info = {}  # Pillow would write it unasked, like the profile of a colour space it no longer has
            return cls(shown, alpha, wide, traits, content)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.picture.size

    def visible(self) -> Image.Image:
        """Copy of the photo's pixels with alpha, if it has any: mode L, RGB, LA or RGBA."""
        picture = self.picture.copy()
        if self.alpha is not None:
            picture.putalpha(self.alpha)
        return picture

    def merged(
        self, before: np.ndarray, after: np.ndarray, box: Box, request: EditRequest, rounded: bool = False
    ) -> "Photo":
        """A copy of the photo with an edit merged in: the change from `before` to `after`, two decodings of `box`.

        Decodings are (channels, height, width). If the photo has no alpha or the merge mode is `ratio`, they are laid
        on white; else their alpha changes the photo's. With `rounded` pixels in the box's corners stay.
        """
        region = box.region(self.size)
        size = region[2] - region[0], region[3] - region[1]
        if min(size) < 1:
            return self
        edits_alpha = len(before) in WITH_ALPHA and self.alpha is not None and request.merge != "ratio"
        if not edits_alpha:
            before, after = on_white(np.stack([before, after]))
        shown = self.picture.crop(region)
        if edits_alpha and self.alpha is not None:
            shown.putalpha(self.alpha.crop(region))
        seen = premultiplied(shown, colour=shown.mode == "RGBA") if edits_alpha else shown
        coarse = np.array(seen.resize(coarse_size(*size), Image.Resampling.BOX))
        x = as_float(coarse.reshape(1, *coarse.shape[:2], -1))[0]
        change = merge(x, region, before, after, box, request, rounded)
        pixels, wide = np.array(shown), None
        if self.wide is not None:
            wide = self.wide.copy()
            pixels = wide[region[1] : region[3], region[0] : region[2]]
        add = _add_premultiplied if edits_alpha else _add
        for top in range(0, size[1], _BAND):
            bottom = min(top + _BAND, size[1])
            add(pixels[top:bottom], change.rows(top, bottom, size))
        if wide is not None:  # 16-bit numbers scaled to 8 bits, for `picture`
            pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        edited = Image.fromarray(pixels)
        alpha = _pasted(self.alpha, edited.getchannel("A"), region) if self.alpha and edits_alpha else self.alpha
        return replace(self, picture=_pasted(self.picture, edited, region), alpha=alpha, wide=wide)

    def bytes(self, suffix: str, record: str | None = None) -> bytes:
        """Bytes of the photo as a file of the type of `suffix`; `record` is the edit record to store, ASCII.

        Raises ImageError for a type Pillow cannot write.
        """
        options = self.traits.options(suffix, record)
        if self.wide is not None and can_hold(suffix, self.wide):
            return encode_16_bits(self.wide, suffix, **options)
        return encode_picture(self.visible() if self.alpha is not None else self.picture, suffix, **options)

    def lost(self, suffix: str, in_sheet: bool = False) -> list[str]:
        """Names of the original's properties that a file with `suffix`, or a sheet of versions, cannot keep."""
        lost = list(self.traits.lost)
        if self.wide is not None and (in_sheet or not can_hold(suffix, self.wide)):
            lost.append("levels beyond 8 bits")
        if self.alpha is not None and (in_sheet or not has_alpha(suffix)):
            lost.append("its transparency")
        return lost


def side_by_side(photos: Sequence[Photo], columns: int, look: Look = PLAIN, words: Captions | None = None) -> Photo:
    """Sheet of versions of one photo, with its file traits, 8 bits a channel, and transparency on a checkerboard."""
    drawn = look.draw([photo.visible() for photo in photos], columns, words)
    return replace(photos[0], picture=drawn, alpha=None, wide=None)


def _add(pixels: np.ndarray, change: np.ndarray) -> None:
    """Add `change` (1 or 3, rows, width), in [-1, 1], to the colours of integer `pixels` (rows, width[, 3 or 4])."""
    top = np.iinfo(pixels.dtype).max
    colours = pixels[:, :, :3] if pixels.ndim == 3 else pixels[:, :, None]
    more = change.transpose(1, 2, 0) * np.float32(top)
    colours[...] = np.clip(np.rint(colours + more[:, :, : colours.shape[2]]), 0, top)


def _add_premultiplied(pixels: np.ndarray, change: np.ndarray) -> None:
    """Add a premultiplied `change` (2 or 4, rows, width) to integer `pixels` (rows, width, 2 or 4) in place.

    Pixels hold straight, not premultiplied, colours; unchanged pixels keep theirs even where fully transparent.
    """
    top = np.iinfo(pixels.dtype).max
    x = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(top)
    x[:-1] *= x[-1:]
    changed = np.rint(straight((x + change)[None])[0] * np.float32(top)).transpose(1, 2, 0)
    np.copyto(pixels, changed.astype(pixels.dtype), where=np.asarray(change.any(axis=0))[:, :, None])


def _pasted(picture: Image.Image, part: Image.Image, region: Region) -> Image.Image:
    """Copy of `picture` with `part` pasted into `region`, converted to the mode of `picture`."""
    whole = picture.copy()
    whole.paste(part if part.mode == whole.mode else part.convert(whole.mode), region)
    return whole
