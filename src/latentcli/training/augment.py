"""Augmentation of batches: moved, mirrored and recoloured images; the module `schedule` draws the random amounts."""

import torch
from torch import Tensor


def farthest(shift: float, images: Tensor) -> tuple[int, int]:
    """Largest shift in pixels (down, right): the share `shift` of height and width of images (n, h, w, channels)."""
    return round(shift * images.shape[1]), round(shift * images.shape[2])


def shifted(images: Tensor, shifts: Tensor) -> Tensor:
    """Images (n, height, width, channels) moved by `shifts` (n, 2), pixels down and right; edge pixels are repeated."""
    n, height, width, _ = images.shape
    rows = (torch.arange(height, device=images.device) - shifts[:, :1]).clamp(0, height - 1)  # (n, height)
    columns = (torch.arange(width, device=images.device) - shifts[:, 1:]).clamp(0, width - 1)  # (n, width)
    return images[torch.arange(n, device=images.device)[:, None, None], rows[:, :, None], columns[:, None, :]]


def mirrored(x: Tensor, which: Tensor) -> Tensor:
    """Images (n, channels, height, width), each mirrored left to right if its value in `which`, (n,) bool, is True."""
    return torch.where(which[:, None, None, None], x.flip(3), x)


def jittered(x: Tensor, jitters: Tensor) -> Tensor:
    """Images (n, channels, height, width) in [0, 1], changed by `jitters` (n, 2): brightness and contrast.

    A colour c becomes c + c (1 - c) (brightness + contrast (2c - 1)), which keeps black and white, and so plain
    backgrounds. Of 2 or 4 channels the last, alpha, is kept; colours are premultiplied by it before and after.
    """
    brightness, contrast = jitters[:, :, None, None, None].unbind(1)
    if x.shape[1] not in (2, 4):
        return x + x * (1 - x) * (brightness + contrast * (2 * x - 1))
    alpha = x[:, -1:]
    colour = jittered((x[:, :-1] / alpha.clamp_min(1e-6)).clamp(max=1), jitters)
    return torch.cat([colour * alpha, alpha], dim=1)
