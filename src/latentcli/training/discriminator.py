"""Discriminator of patches, which tells images from what a decoder makes of latents."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from latentcli.config import ModelConfig

_WIDTHS = (32, 64, 128)  # feature maps of the levels, each with half the height and width of the one before
_LAST = 128  # feature maps that verdicts are made from
_SMALLEST = 8  # pixels: no further halving below


class Discriminator(nn.Module):
    """Images (n, channels, height, width) to verdicts (n, 1, rows, columns), one a patch, and features of each level.

    Isola et al. 2017, "Image-to-image translation with conditional adversarial networks", section 3.2.2, with spectral
    normalisation (Miyato et al. 2018). Verdicts on images are to be above 1, on what is made below -1.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        before, side = config.channels, min(config.height, config.width)
        for width in _WIDTHS:
            if side < _SMALLEST:
                break
            self.levels.append(spectral_norm(nn.Conv2d(before, width, 4, stride=2, padding=1)))
            before, side = width, side // 2
        self.levels.append(spectral_norm(nn.Conv2d(before, _LAST, 3, padding=1)))
        self.last = spectral_norm(nn.Conv2d(_LAST, 1, 3, padding=1))

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        h = 2 * images - 1
        for level in self.levels:
            h = F.silu(level(h))  # the backward pass of leaky ReLU takes ten times as long in bf16
            features.append(h)
        return self.last(h).float(), features
