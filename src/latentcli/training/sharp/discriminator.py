"""Discriminator of patches: it tells images from decoded latents."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from latentcli.config import ModelConfig

_WIDTHS = (32, 64, 128)  # feature maps of the levels, each with half the height and width of the one before
_LAST = 128  # feature maps that verdicts are made from
_SMALLEST = 8  # pixels: no further halving below
# Decoded pictures differ from images in details, which are faint beside the rest. So the network also sees the
# difference from the mean of _AROUND x _AROUND pixels, _STRONGER times amplified: without it, it tells nothing apart
# in 75 steps.
_AROUND, _STRONGER = 5, 6.0
_GAIN = 2.0  # of SiLU, which halves small inputs: spectral normalisation leaves the weights no room to make up for it


class Discriminator(nn.Module):
    """Images (n, channels, height, width) to a verdict per patch (n, 1, rows, columns), and the features of each level.

    Isola et al. 2017, "Image-to-image translation with conditional adversarial networks", section 3.2.2, with spectral
    normalisation (Miyato et al. 2018). It learns verdicts above 1 for images and below -1 for decoded latents.
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
    """Difference of each pixel from the mean of those around it, of images (n, channels, height, width)."""
    return images - F.avg_pool2d(images, _AROUND, 1, _AROUND // 2, count_include_pad=False)
