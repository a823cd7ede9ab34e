"""Discriminator of patches, which tells images from what a decoder makes of latents."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from latentcli.config import ModelConfig

_WIDTHS = (32, 64, 128)  # feature maps of the levels, each with half the height and width of the one before
_LAST = 128  # feature maps that verdicts are made from
_SMALLEST = 8  # pixels: no further halving below
# Pictures differ from what is made in details, which are small beside the rest: it sees them by themselves as well, as
# what differs from the mean of so many pixels each way, so many times as strong. Without that it tells nothing apart in
# 75 steps.
_AROUND, _STRONGER = 5, 6.0
_GAIN = 2.0  # of SiLU, whose slope is a half where its input is small: spectral normalisation leaves no room to make up


class Discriminator(nn.Module):
    """Images (n, channels, height, width) to verdicts (n, 1, rows, columns), one a patch, and features of each level.

    Isola et al. 2017, "Image-to-image translation with conditional adversarial networks", section 3.2.2, with spectral
    normalisation (Miyato et al. 2018). Verdicts on images are to be above 1, on what is made below -1.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        before, side = 2 * config.channels, min(config.height, config.width)
        for width in _WIDTHS:
            if side < _SMALLEST:
                break
            self.levels.append(spectral_norm(nn.Conv2d(before, width, 4, stride=2, padding=1)))
            before, side = width, side // 2
        self.levels.append(spectral_norm(nn.Conv2d(before, _LAST, 3, padding=1)))
        self.last = spectral_norm(nn.Conv2d(_LAST, 1, 3, padding=1))

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        h = torch.cat([2 * images - 1, 2 * _STRONGER * details(images)], dim=1)
        for level in self.levels:
            h = _GAIN * F.silu(level(h))  # the backward pass of leaky ReLU takes ten times as long in bf16
            features.append(h)
        return self.last(h).float(), features


def details(images: Tensor) -> Tensor:
    """What differs from the mean of the pixels around, of images (n, channels, height, width)."""
    return images - F.avg_pool2d(images, _AROUND, 1, _AROUND // 2, count_include_pad=False)
