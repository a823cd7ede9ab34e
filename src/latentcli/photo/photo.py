"""A photo around an edit: read it whole, cut out what the model sees, merge the change back, save it as it came."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from latentcli.config import PHOTO_MEGAPIXELS, ModelConfig
from latentcli.images import encode_picture, grid, has_alpha, open_picture, plain, to_model_size, upright
from latentcli.photo.deep import can_hold, encode_deep, is_deep, read_deep
from latentcli.photo.merging import Merging, merge
from latentcli.photo.traits import FileTraits, traits_of
from latentcli.place import Place


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo, upright and at full size, with what its file needs to be saved as it came."""

    picture: Image.Image  # mode L or RGB
    alpha: Image.Image | None = None
    deep: np.ndarray | None = None  # uint16 (height, width[, 3 or 4]) where the file has 16 bits a channel
    traits: FileTraits = field(default_factory=FileTraits)
    content: bytes = b""  # of its file

    @classmethod
    def read(cls, path: Path, content: bytes | None = None, megapixels: float = PHOTO_MEGAPIXELS) -> "Photo":
        """A file, or the bytes of one. Colours under a transparent area are kept.

        Raises ImageError when it is no readable image, or one of more megapixels.
        """
        with open_picture(path, content, megapixels) as picture:
            content = path.read_bytes() if content is None else content
            deep = read_deep(io.BytesIO(content), picture) if is_deep(picture) else None
            turned = upright(picture)
            traits = traits_of(picture, turned, content)
            if "A" not in turned.getbands() and "transparency" not in turned.info:
                return cls(plain(turned), None, deep, traits, content)
            layers = turned.convert("RGBA")
            colours = layers.convert("RGB")
            shown = colours.convert("L") if picture.mode == "LA" else colours
            return cls(shown, layers.getchannel("A"), deep, traits, content)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.picture.size

    @property
    def digest(self) -> str:
        """SHA-256 of its file."""
        return hashlib.sha256(self.content).hexdigest()

    def crop(self, config: ModelConfig, place: Place) -> np.ndarray:
        """What the model sees: uint8 (height, width, channels)."""
        return to_model_size(self.picture, config, place)

    def merged(self, before: Tensor, after: Tensor, place: Place, how: Merging) -> "Photo":
        """The photo with the way from one decoding (channels, height, width) of a place to the other merged in."""
        region = place.region(self.size)
        left, top, right, bottom = region
        if left >= right or top >= bottom:
            return self
        pixels = np.array(self.picture.crop(region)).reshape(bottom - top, right - left, -1)
        shown = torch.from_numpy(pixels).permute(2, 0, 1).float().div_(255)
        change = merge(shown, region, before, after, place, how).change
        if self.deep is not None:
            deep = _deepened(self.deep, change, region)
            return replace(self, picture=_shown(deep), deep=deep)
        levels = (shown + change).mul_(255).round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        picture = self.picture.copy()
        picture.paste(Image.fromarray(levels[:, :, 0] if levels.shape[2] == 1 else levels), region)
        return replace(self, picture=picture)

    def bytes(self, suffix: str, done: str | None = None) -> bytes:
        """Its file in the type of the suffix; `done` is ASCII text that says there what was done to it.

        Raises ImageError for a type Pillow cannot write.
        """
        options = self.traits.options(suffix, done)
        if self.deep is not None and can_hold(suffix, self.deep):
            return encode_deep(self.deep, suffix, **options)
        picture = self.picture
        if self.alpha is not None:
            picture = picture.copy()
            picture.putalpha(self.alpha)
        return encode_picture(picture, suffix, **options)

    def lost(self, suffix: str, in_sheet: bool = False) -> list[str]:
        """What a file of this type, or one of several versions, does not keep of the original's, in words."""
        lost = list(self.traits.lost)
        if self.deep is not None and (in_sheet or not can_hold(suffix, self.deep)):
            lost.append("levels beyond 8 bits")
        if self.alpha is not None and (in_sheet or not has_alpha(suffix)):
            lost.append("its transparency")
        return lost


def side_by_side(photos: Sequence[Photo], columns: int) -> Photo:
    """A sheet of versions of one photo, at its size and with its traits, 8 bits deep and without transparency."""
    return replace(photos[0], picture=grid([photo.picture for photo in photos], columns), alpha=None, deep=None)


def _deepened(deep: np.ndarray, change: Tensor, region: tuple[int, int, int, int]) -> np.ndarray:
    """16-bit pixels (height, width[, 3 or 4]) with a change (1 or 3, height, width) added; transparency stays."""
    left, top, right, bottom = region
    result = deep.copy()
    part = result[top:bottom, left:right]
    more = change[0].numpy() if deep.ndim == 2 else change.permute(1, 2, 0).numpy()
    colours = part if deep.ndim == 2 else part[:, :, :3]
    colours[...] = np.clip(np.rint(colours + more * 65535.0), 0, 65535)
    return result


def _shown(deep: np.ndarray) -> Image.Image:
    """The colours as 8 bits."""
    colours = deep if deep.ndim == 2 else deep[:, :, :3]
    return Image.fromarray((colours / 257.0).round().astype(np.uint8))
