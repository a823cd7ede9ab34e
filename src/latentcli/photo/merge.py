"""An edit merged into a photo: what lies between two decodings is added, and the photo's own detail is kept.

A decoding is blurred and a photo is not. What the photo has beyond its reconstruction is its texture, which belongs to
the edited photo as well, and the sharp edges of what is edited away, which do not: added to the new face they are the
ghost of the old one. Texture is faint and edges are not. So in each octave of detail, where the edit changes much, the
photo's detail is limited to the amplitude it has in most places; and what sharpness that costs is given back by
sharpening what the decoder drew. The mask refines that of Brock et al. 2017 (arXiv 1609.07093, section 3).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from latentcli.box import Box
from latentcli.concepts.edit import EditRequest
from latentcli.config import Merge

_FINEST = 1024  # pixels along a region: finer detail than that is texture and stays
_ABOVE = 2  # masks and sharpening are computed at this many times the model's size
_FEATHER = 0.08  # share of the box's side over which an edit fades out towards its border
_ROUNDED = 3.0  # exponent of the superellipse inside a box whose corners are left as they are
_REACH = (3 / 255, 9 / 255)  # mean change at which an edit begins to count, and counts in full
_REDRAWN = (0.025, 0.08)  # mean change at which the photo's edges begin to go, and are gone
_UNLIKE = (0.05, 0.3)  # lack of correlation at which they begin to go, and are gone
_NEAR, _AROUND, _STRUCTURE = 1 / 64, 1 / 32, 1 / 25  # of the box's side: deviations of the blurs behind those three
_FLAT = 1e-4  # variance below which there is no structure to compare
_OCTAVES = 1 / 16  # of the region's side: coarser differences to the reconstruction are light and colour, and stay
_SHARPENING, _HALO = 4.0, 0.75  # times the difference to a blur of this deviation, in model pixels
_EDGE = 5  # pixels of the layers: sharpening stays within the levels so near by
_SHARPNESS_SIDE = 128  # pixels of a box in which sharpness is compared
_SHARED = (0.25, 0.5)  # a level shared by the whole box is left out up to this share of the change, kept from that
_RATIO_FLOOR, _RATIO_LIMITS = 0.05, (0.5, 2.0)  # Liu, Shan and Zhang 2001
_LUMA = (0.299, 0.587, 0.114)  # Rec. 601, as Pillow turns colour to gray

Region = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True, slots=True)
class Merged:
    """What to add to a region of a photo, and where: both are exactly 0 where the edit does not reach."""

    change: Tensor  # (channels, height, width) in [-1, 1]
    mask: Tensor  # (height, width) in [0, 1]

    def rows(self, first: int, last: int, size: tuple[int, int]) -> Tensor:
        """Rows of the change as it is in a region of (width, height), bilinear: (channels, last - first, width)."""
        width, height = size
        coarse = self.change.shape[1]
        y = ((torch.arange(first, last) + 0.5) * coarse / height - 0.5).clamp(0, coarse - 1)
        above = y.floor().long()
        share = (y - above)[None, :, None]
        below = (above + 1).clamp(max=coarse - 1)
        rows = self.change[:, above] * (1 - share) + self.change[:, below] * share
        return F.interpolate(rows[None], (last - first, width), mode="bilinear")[0]


def coarse_size(width: int, height: int) -> tuple[int, int]:
    """The size at which a region is merged: finer detail is texture and stays.

    >>> coarse_size(4096, 2048), coarse_size(300, 200)
    ((1024, 512), (300, 200))
    """
    share = min(1.0, _FINEST / max(width, height))
    return max(1, round(width * share)), max(1, round(height * share))


def merge(
    coarse: Tensor,
    region: Region,
    before: Tensor,
    after: Tensor,
    box: Box,
    request: EditRequest,
    rounded: bool = False,
) -> Merged:
    """Change of a photo's region, which is shown at its `coarse_size`: (channels, height, width) in [0, 1].

    `before` and `after` are the decodings (channels, height, width) of the box, at the model's size; `rounded` leaves
    the corners of the box as they are: they show no face.
    """
    shown, before, after = _like(coarse, before, after)
    drawn = _on_box(before, after, request.merge, rounded)
    shown = coarse if request.merge == "ratio" else shown
    side = box.width * coarse.shape[2] / (region[2] - region[0])
    found = _WAYS[request.merge](shown, _Drawn(*_onto(drawn, coarse, region, box)), side, request.detail)
    return Merged(found.change.expand(len(coarse), -1, -1), found.mask)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The decodings of a box, as layers of one height and width."""

    before: Tensor  # (channels, height, width)
    difference: Tensor  # the same
    sharper: Tensor  # the same: what sharpening adds
    reach: Tensor  # (1, height, width) in [0, 1]: where the edit counts
    redrawn: Tensor  # the same: where the photo's own edges go


def _like(coarse: Tensor, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Photo and decodings in the channels they are compared in: a gray one of them makes the edit one of brightness."""
    is_gray = bool((coarse == coarse[:1]).all())  # also when it is stored as RGB
    if len(before) == len(coarse) and not is_gray:
        return coarse, before, after
    return _gray(coarse), _gray(before), _gray(after)


def _gray(image: Tensor) -> Tensor:
    return image if len(image) == 1 else (image * torch.tensor(_LUMA)[:, None, None]).sum(dim=0, keepdim=True)


def _on_box(before: Tensor, after: Tensor, way: Merge, rounded: bool) -> _Drawn:
    """Difference and masks, upright, at twice the model's size."""
    size = [_ABOVE * side for side in before.shape[1:]]
    old, new = F.interpolate(torch.stack([before, after]), size, mode="bicubic")
    window = _window(size[0], size[1], rounded)
    if way == "decode":
        return _Drawn(old, new - old, torch.zeros_like(old), window, window)
    difference = _levelled(new - old)
    amount = difference.abs().mean(dim=0, keepdim=True)
    side = min(size)
    reach = _smoothstep(_blur(amount, _NEAR * side), *_REACH) * window
    redrawn = _smoothstep(_blur(amount, _AROUND * side), *_REDRAWN)
    redrawn *= _smoothstep(_unlikeness(_gray(old), _gray(old + difference), _STRUCTURE * side), *_UNLIKE)
    sharper = redrawn * (_sharpening(old + difference) - _sharpening(old) * (1 - redrawn))
    return _Drawn(old, difference, sharper, reach, redrawn)


def _unlikeness(a: Tensor, b: Tensor, deviation: float) -> Tensor:
    """1 less the local correlation of two gray images (1, height, width): SSIM's structure (Wang et al. 2004, eq. 10).

    Eyes that get narrower are still those eyes, and keep their detail; a mouth that opens is another one.
    """
    mean_a, mean_b, of_a, of_b, of_both = _blur(torch.cat([a, b, a * a, b * b, a * b]), deviation)[:, None]
    variances = (of_a - mean_a.square()).clamp_min(0) * (of_b - mean_b.square()).clamp_min(0)
    alike: Tensor = (of_both - mean_a * mean_b + _FLAT) / (variances.sqrt() + _FLAT)
    return 1 - alike


def _levelled(difference: Tensor) -> Tensor:
    """Without the level that the whole box shares, unless that is most of what changes: a smile is no warmer light."""
    level = difference.flatten(1).median(dim=1).values
    most = difference.abs().mean(dim=0).flatten().quantile(0.99).clamp_min(1e-6)
    kept = _smoothstep(level.abs().mean() / most, *_SHARED)
    return difference - (1 - kept) * level[:, None, None]


def _onto(drawn: _Drawn, coarse: Tensor, region: Region, box: Box) -> tuple[Tensor, ...]:
    """Each layer as it lies on the region's pixels."""
    layers = (drawn.before, drawn.difference, drawn.sharper, drawn.reach, drawn.redrawn)
    stack = torch.cat(layers)[None]
    height, width = coarse.shape[1:]
    left, top, right, bottom = region
    across, down = width / (right - left), height / (bottom - top)  # coarse pixels in one of the photo
    smallest = min(box.width * across / stack.shape[3], box.height * down / stack.shape[2])
    if smallest < 1:  # the box has fewer pixels than the layers
        size = [max(1, round(box.height * down)), max(1, round(box.width * across))]
        stack = F.interpolate(stack, size, mode="bilinear", antialias=True)
    x = left + (torch.arange(width) + 0.5) / across - box.middle[0]
    y = top + (torch.arange(height) + 0.5) / down - box.middle[1]
    cosine, sine = box.axes
    grid = torch.stack(
        [
            (x[None, :] * cosine + y[:, None] * sine) / (box.width / 2),
            (y[:, None] * cosine - x[None, :] * sine) / (box.height / 2),
        ],
        dim=2,
    )
    inside = (grid.abs() <= 1).all(dim=2)
    smooth, masks = stack[:, :-2], stack[:, -2:]
    on = F.grid_sample(smooth, grid[None], mode="bicubic", padding_mode="border", align_corners=False)[0]
    on_masks = F.grid_sample(masks, grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0] * inside
    parts = torch.split(on, [len(layer) for layer in layers[:3]])
    return (*parts, *torch.split(on_masks, 1))


def _residual(photo: Tensor, drawn: _Drawn, side: float, detail: float) -> Merged:
    own = photo - drawn.before  # what the photo has and its reconstruction has not
    without_ghosts = drawn.difference - (own - _limited(own, drawn.redrawn, detail))
    plain, extra = drawn.reach * without_ghosts, drawn.reach * drawn.sharper
    gain = _matching(photo, plain, extra, drawn.reach * drawn.redrawn, side)
    return Merged(plain + gain * extra, drawn.reach[0])


def _ratio(photo: Tensor, drawn: _Drawn, side: float, detail: float) -> Merged:
    """Ratio image of the brightness: texture and hue of the photo stay (Liu, Shan and Zhang 2001)."""
    old = _gray(drawn.before) + _RATIO_FLOOR
    ratio = ((old + _gray(drawn.difference)) / old).clamp(*_RATIO_LIMITS)
    return Merged(drawn.reach * photo * (ratio - 1), drawn.reach[0])


def _decoding(photo: Tensor, drawn: _Drawn, side: float, detail: float) -> Merged:
    return Merged(drawn.reach * (drawn.before + drawn.difference - photo), drawn.reach[0])


_WAYS: dict[Merge, Callable[[Tensor, _Drawn, float, float], Merged]] = {
    "residual": _residual,
    "ratio": _ratio,
    "decode": _decoding,
}


def _limited(own: Tensor, redrawn: Tensor, detail: float) -> Tensor:
    """Detail (channels, height, width) with its edges limited, octave by octave, where it is redrawn."""
    if detail == 1:
        return own
    times = detail / (1 - detail)  # the median amplitude: 1 at a half
    octaves = max(1, round(math.log2(max(2.0, _OCTAVES * max(own.shape[1:])))))
    rest, where, bands = own[None], redrawn[None], []
    for _ in range(octaves):
        if min(rest.shape[2:]) < 4:
            break
        half = F.avg_pool2d(rest, 2, ceil_mode=True, count_include_pad=False)
        band = rest - F.interpolate(half, rest.shape[2:], mode="bilinear")
        amplitude = band.square().sum(dim=1, keepdim=True).sqrt_()
        changed = amplitude[where > 0.05]
        usual = (changed if len(changed) else amplitude.flatten()).median()
        limit = (times * usual / amplitude.clamp_min(1e-6)).clamp(max=1)
        bands.append(band * (1 - where * (1 - limit)))
        rest, where = half, F.avg_pool2d(where, 2, ceil_mode=True, count_include_pad=False)
    for band in reversed(bands):
        rest = F.interpolate(rest, band.shape[2:], mode="bilinear") + band
    return rest[0]


def _matching(photo: Tensor, plain: Tensor, extra: Tensor, where: Tensor, side: float) -> Tensor:
    """How much of the sharpening, 0 to 1, gives the edit the photo's sharpness: the energy of its Laplacian there."""
    share = min(1.0, _SHARPNESS_SIDE / side)
    layers = torch.cat([_gray(photo), _gray(plain), _gray(extra), where])[None]
    if share < 1:
        size = [max(3, round(length * share)) for length in layers.shape[2:]]
        layers = F.interpolate(layers, size, mode="area")
    before, change, more = _laplacian(layers[:, :3].transpose(0, 1)).squeeze(1)
    weight = layers[0, 3]

    def energy(a: Tensor, b: Tensor) -> Tensor:
        return (weight * a * b).sum()

    after = before + change
    square, slope = energy(more, more), 2 * energy(after, more)
    lacking = energy(after, after) - energy(before, before)
    root = (slope.square() - 4 * square * lacking).clamp_min(0).sqrt()
    return ((root - slope) / (2 * square).clamp_min(1e-12)).clamp(0, 1)


def _laplacian(layers: Tensor) -> Tensor:
    """Of each (n, 1, height, width)."""
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    return F.conv2d(F.pad(layers, (1, 1, 1, 1), mode="replicate"), kernel)


def _sharpening(image: Tensor) -> Tensor:
    """What sharpening adds to an image (channels, height, width): edges get steeper, and no brighter or darker."""
    most = F.max_pool2d(image, _EDGE, stride=1, padding=_EDGE // 2)
    least = -F.max_pool2d(-image, _EDGE, stride=1, padding=_EDGE // 2)
    away = _SHARPENING * (image - _blur(image, _HALO * _ABOVE))
    return (image + away).maximum(least).minimum(most) - image


def _blur(image: Tensor, deviation: float) -> Tensor:
    """Gaussian blur of (channels, height, width); the border goes on."""
    reach = max(1, math.ceil(3 * deviation))
    kernel = torch.exp(-torch.arange(-reach, reach + 1.0).square() / (2 * deviation * deviation))
    kernel /= kernel.sum()
    layers = image[:, None]
    layers = F.conv2d(F.pad(layers, (reach, reach, 0, 0), mode="replicate"), kernel[None, None, None, :])
    return F.conv2d(F.pad(layers, (0, 0, reach, reach), mode="replicate"), kernel[None, None, :, None])[:, 0]


def _smoothstep(values: Tensor, low: float, high: float) -> Tensor:
    """0 up to `low`, 1 from `high`, smooth between."""
    share = ((values - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)


def _window(height: int, width: int, rounded: bool) -> Tensor:
    """1 inside, falling to 0 at the border along a half cosine: (1, height, width). `rounded` cuts the corners off."""
    y, x = (((2 * torch.arange(length) + 1) / length - 1).abs() for length in (height, width))
    if rounded:
        out = (x[None, :] ** _ROUNDED + y[:, None] ** _ROUNDED) ** (1 / _ROUNDED)
    else:
        out = torch.maximum(x[None, :], y[:, None])
    share = ((1 - 1 / max(height, width) - out) / (2 * _FEATHER)).clamp(0, 1)
    return (0.5 - 0.5 * torch.cos(torch.pi * share))[None]
