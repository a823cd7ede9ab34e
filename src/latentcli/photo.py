"""A photo around an edit: cut out what the model sees, merge what it changed back at full size.

Only the difference of two decodings is scaled up and added; where it is small the photo's pixels stay as they were,
bit for bit.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from latentcli.config import SOFT_LIMIT, ModelConfig
from latentcli.errors import ConfigError
from latentcli.images import model_box, to_model_size
from latentcli.photofile import FileTraits, read_photo

Box = tuple[int, int, int, int]  # x, y, width, height in pixels of the upright photo

_FEATHER = 0.08  # share of the box's side over which an edit fades out towards its border
_LUMA = (0.299, 0.587, 0.114)  # Rec. 601, as Pillow turns colour to gray


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo, upright and at full size, with what its file needs to be saved as it came."""

    picture: Image.Image  # mode L or RGB
    alpha: Image.Image | None
    traits: FileTraits

    @classmethod
    def read(cls, path: Path) -> "Photo":
        """Raises ImageError when the file is no readable image."""
        return cls(*read_photo(path))

    def box(self, config: ModelConfig, wanted: Box | None) -> Box:
        """The part the model sees: the wanted box, or what it was trained to see of a picture.

        Raises ConfigError when the wanted box leaves the photo or has another shape than a cropping model sees.
        """
        width, height = self.picture.size
        if wanted is None:
            return model_box(width, height, config)
        x, y, box_width, box_height = wanted
        if x < 0 or y < 0 or box_width < 1 or box_height < 1 or x + box_width > width or y + box_height > height:
            raise ConfigError(
                f"--box {x},{y},{box_width},{box_height} does not lie inside the photo of {width}x{height}"
            )
        skew = abs(box_width * config.height - box_height * config.width)
        if config.crop != "none" and skew > max(config.width, config.height):
            raise ConfigError(
                f"--box must have the model's shape {config.width}:{config.height}, got {box_width}x{box_height}"
            )
        return wanted

    def crop(self, config: ModelConfig, box: Box) -> np.ndarray:
        """What the model sees: uint8 (height, width, channels)."""
        return to_model_size(self.picture, config, box)

    def merge(self, difference: Tensor, box: Box) -> Image.Image:
        """The photo with a change (channels, height, width) in [-1, 1] added inside the box.

        The change is scaled up, faded out towards the border and put through a soft threshold of one gray level.
        A gray model changes the brightness of a colour photo and keeps its hue; a gray photo stays gray.
        """
        x, y, width, height = box
        scaled = F.interpolate(difference[None], (height, width), mode="bicubic", antialias=True).squeeze(0)
        region = (x, y, x + width, y + height)
        before = torch.from_numpy(np.array(self.picture.crop(region))).reshape(height, width, -1).permute(2, 0, 1)
        change = soft_threshold(_to_channels(scaled, before) * _window(height, width))
        after = (before + change * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
        result = self.picture.copy()
        result.paste(Image.fromarray(after.squeeze(2).numpy() if after.shape[2] == 1 else after.numpy()), region)
        if self.alpha is not None:
            result.putalpha(self.alpha)
        return result


def soft_threshold(change: Tensor) -> Tensor:
    """Changes below one gray level become 0, larger ones shrink by as much; continuous.

    >>> soft_threshold(torch.tensor([0.003, 0.5])).mul(255).round()
    tensor([  0., 126.])
    """
    return change.sign() * (change.abs() - SOFT_LIMIT).clamp_min(0)


def _to_channels(change: Tensor, photo: Tensor) -> Tensor:
    """A change (channels, height, width) from a model of 1 or 3 channels, for a photo's of the same size."""
    is_gray = bool((photo == photo[:1]).all())  # also when it is stored as RGB
    if is_gray and len(change) == 3:
        change = (change * torch.tensor(_LUMA)[:, None, None]).sum(dim=0, keepdim=True)
    return change.expand(len(photo), -1, -1)


def _window(height: int, width: int) -> Tensor:
    """1 inside, falling to 0 at the border along a half cosine: (height, width)."""

    def ramp(length: int) -> Tensor:
        distance = torch.minimum(torch.arange(length) + 0.5, length - 0.5 - torch.arange(length))
        return 0.5 - 0.5 * torch.cos(torch.pi * (distance / (_FEATHER * length)).clamp(max=1))

    return ramp(height)[:, None] * ramp(width)[None, :]
