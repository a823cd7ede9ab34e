"""Discriminator for sharpening: a convolutional network that tells patches of images from those of decoded latents."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from latentcli.config import ModelConfig
from latentcli.evaluation.sample_metrics import details

_WIDTHS = (32, 64, 128)  # feature maps of the levels, each level with half the height and width of the level before
_LAST = 128  # feature maps of the layer before the verdicts
_SMALLEST = 8  # pixels: smaller features are not halved again
# Factor on the `details` of images, a second input: decoded pictures differ from images in faint details, and without
# this input the discriminator tells nothing apart in 75 steps.
_STRONGER = 6.0
_GAIN = 2.0  # times SiLU, which halves small inputs: spectrally normalised weights cannot compensate for that


class Discriminator(nn.Module):
    """Network from images (n, channels, height, width) to patch scores (n, 1, rows, columns) and each level's features.

    Isola et al. 2017, "Image-to-image translation with conditional adversarial networks", section 3.2.2, with spectral
    normalisation (Miyato et al. 2018). Scores are trained to be above 1 for images, below -1 for decoded latents.
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
            h = _GAIN * F.silu(level(h))  # leaky ReLU's backward pass takes ten times as long in bf16
            features.append(h)
        return self.last(h).float(), features
