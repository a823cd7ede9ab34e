"""Merging an edit into a photo: the difference of two decodings is added, and the photo's own detail is kept.

A decoding is blurred and a photo is not. The detail that a photo has and its reconstruction lacks is texture and edges.
Texture belongs in the edited photo as well; edges of removed content do not: they would be a ghost of the old face on
the new one. Texture is faint and edges are strong. So in each octave, where the edit changes much, the amplitude of
the photo's detail is limited to its median, and the decoding is sharpened to make up for the lost sharpness.
The mask refines that of Brock et al. 2017 (arXiv 1609.07093, section 3).

Images with alpha are premultiplied by alpha, so that one sum moves colours and outline together.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from latentcli.concepts.edit import EditRequest
from latentcli.config import Merge
from latentcli.imaging.box import Box
from latentcli.imaging.images import WITH_ALPHA

_FINEST = 1024  # pixels of a region's longer side while merging: finer detail is texture and stays
_ABOVE = 2  # masks and sharpening are computed at this many times the model's size
_TURNED_AT = 3  # times their own size at which layers are turned, before they are scaled up further
_FEATHER = 0.08  # share of the box's side over which an edit fades out towards the border
_ROUNDED = 3.0  # exponent of the superellipse to which `rounded` limits an edit
_REACH = (3 / 255, 9 / 255)  # mean change at which the mask of an edit leaves 0 and reaches 1
_REDRAWN = (0.025, 0.08)  # mean change at which the photo's own edges begin to fade, and are gone
_UNLIKE = (0.05, 0.3)  # 1 less correlation at which the photo's own edges begin to fade, and are gone
_NEAR, _AROUND, _STRUCTURE = 1 / 64, 1 / 32, 1 / 25  # blurs for _REACH, _REDRAWN and _UNLIKE, in sides of the box
_FLAT = 1e-4  # variance below which there is no structure to compare
_OCTAVES = 1 / 16  # of the region's side: a coarser difference to the reconstruction is light and colour, and stays
_SHARPENING = 5.0  # strength of the unsharp mask
_HALO = 0.75  # deviation of the unsharp mask's blur, in pixels of the model
_EDGE = 5  # side of the pixel window whose darkest and brightest level limit the sharpening
_SHARPNESS_SIDE = 128  # pixels to which a box is scaled down to compare sharpness
_RATIO_FLOOR, _RATIO_LIMITS = 0.05, (0.5, 2.0)  # of the ratio image: Liu, Shan and Zhang 2001
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # Rec. 601, as Pillow turns colour to gray

Region = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True, slots=True)
class Merged:
    """Change to add to a region of a photo, and the edit's mask; both are exactly 0 outside the edited area."""

    change: np.ndarray  # (channels, height, width) in [-1, 1]
    mask: np.ndarray  # (height, width) in [0, 1], the same for all channels

    def rows(self, first: int, last: int, size: tuple[int, int]) -> np.ndarray:
        """Rows `first` to `last` - 1, (channels, rows, width), of the change scaled to `size`, (width, height)."""
        scale = self.change.shape[1] / size[1]
        box = (0, first * scale, self.change.shape[2], last * scale)
        return _resized(self.change, (size[0], last - first), Image.Resampling.BILINEAR, box)


def coarse_size(width: int, height: int) -> tuple[int, int]:
    """Size, at most 1024 a side, to which a region is reduced to merge an edit; detail that is finer stays unchanged.

    >>> coarse_size(4096, 2048), coarse_size(300, 200)
    ((1024, 512), (300, 200))
    """
    share = min(1.0, _FINEST / max(width, height))
    return max(1, round(width * share)), max(1, round(height * share))


def merge(
    coarse: np.ndarray,
    region: Region,
    before: np.ndarray,
    after: np.ndarray,
    box: Box,
    request: EditRequest,
    rounded: bool = False,
) -> Merged:
    """Difference to add to `region` of a photo, which contains the crop `box`, to apply an edit; and the edit's mask.

    `coarse` is the photo's region at `coarse_size`, (channels, height, width) in [0, 1]. `before` and `after` are the
    decodings (channels, height, width) of the box at the model's size. With `rounded` the corners of the box, which
    show no face, stay as they are. All three are float32; either all or none have alpha, premultiplied.
    """
    shown, before, after = _like(coarse, before, after)
    if request.merge == "ratio":
        shown = coarse
    layers = _onto(_on_box(before, after, request.merge, rounded), coarse.shape[1:], region, box)
    side = box.width * coarse.shape[2] / (region[2] - region[0])
    change = _for_channels(_MODES[request.merge](shown, layers, side, request.detail), len(coarse))
    return Merged(change, layers.reach[0])


@dataclass(frozen=True, slots=True)
class _Layers:
    """A box's decoding before the edit, differences to add for edit and sharpening, and two masks, all of one size."""

    before: np.ndarray  # (channels, height, width): the photo's reconstruction
    difference: np.ndarray  # (channels, height, width): decoding after the edit less `before`
    sharper: np.ndarray  # (channels, height, width): change by sharpening the decoding
    reach: np.ndarray  # (1 or channels, height, width) in [0, 1]: mask of the edited area
    redrawn: np.ndarray  # (1, height, width) in [0, 1]: mask of the area where the photo's own edges fade


def _like(coarse: np.ndarray, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`coarse`, `before` and `after`, all reduced to brightness (and alpha) if the photo or the model is gray."""
    colours = coarse[:-1] if len(coarse) in WITH_ALPHA else coarse
    is_gray = bool((colours == colours[:1]).all())  # also when it is stored as RGB
    if len(before) == len(coarse) and not is_gray:
        return coarse, before, after
    return _gray(coarse), _gray(before), _gray(after)


def _gray(image: np.ndarray) -> np.ndarray:
    """Brightness of an image (channels, height, width) by Rec. 601, followed by alpha if the image has alpha."""
    if len(image) < 3:
        return image
    return np.concatenate([np.tensordot(_LUMA, image[:3], axes=1)[None], image[3:]])


def _structure(image: np.ndarray) -> np.ndarray:
    """Layer (1, height, width) that shows all edges of an image: brightness, or the mean of brightness and alpha."""
    return np.asarray(_gray(image).mean(axis=0, keepdims=True))


def _for_channels(change: np.ndarray, channels: int) -> np.ndarray:
    """`change` expanded to `channels`: a change of brightness is repeated for each colour; alpha, if any, is last."""
    if channels in WITH_ALPHA:
        return np.concatenate([_for_channels(change[:-1], channels - 1), change[-1:]])
    return np.broadcast_to(change, (channels, *change.shape[1:]))


def _on_box(before: np.ndarray, after: np.ndarray, mode: Merge, rounded: bool) -> _Layers:
    """Layers, not yet rotated like the box, at twice the model's size, from its decodings `before` and `after`."""
    height, width = (_ABOVE * side for side in before.shape[1:])
    old, new = (_resized(image, (width, height), Image.Resampling.LANCZOS) for image in (before, after))
    window = _window(height, width, rounded)
    difference = new - old
    if mode == "decode":
        return _Layers(old, difference, np.zeros_like(old), window, window)
    amount = np.abs(difference).mean(axis=0, keepdims=True)
    side = min(height, width)
    reach = _smoothstep(_blur(amount, _NEAR * side), *_REACH) * window
    if len(old) in WITH_ALPHA:  # where only colours change, the outline stays as it is
        outline = reach * _smoothstep(_blur(np.abs(difference[-1:]), _NEAR * side), *_REACH)
        reach = np.concatenate([*[reach] * (len(old) - 1), outline])
    redrawn = _smoothstep(_blur(amount, _AROUND * side), *_REDRAWN)
    redrawn *= _smoothstep(_unlikeness(_structure(old), _structure(new), _STRUCTURE * side), *_UNLIKE)
    sharper = redrawn * (_sharpening(new) - _sharpening(old) * (1 - redrawn))
    return _Layers(old, difference, sharper, reach, redrawn)


def _unlikeness(a: np.ndarray, b: np.ndarray, deviation: float) -> np.ndarray:
    """Map (1, height, width) of 1 minus the local correlation of two gray images: 0 where their structure is the same.

    The correlation is SSIM's structure term (Wang et al. 2004, eq. 10) in a Gaussian window of `deviation` pixels.
    """
    blurred = _blur(np.concatenate([a, b, a * a, b * b, a * b]), deviation)
    mean_a, mean_b, of_a, of_b, of_both = blurred[:, None]
    variances = np.maximum(of_a - np.square(mean_a), 0) * np.maximum(of_b - np.square(mean_b), 0)
    alike = (of_both - mean_a * mean_b + _FLAT) / (np.sqrt(variances) + _FLAT)
    return np.asarray(1 - alike)


def _onto(drawn: _Layers, shape: tuple[int, ...], region: Region, box: Box) -> _Layers:
    """Copy of the layers `drawn` of the upright `box`, turned and scaled onto `region`, at `shape` (height, width).

    Outside the box masks are 0, and the other layers repeat their border.
    """
    left, top, right, bottom = region
    across, down = shape[1] / (right - left), shape[0] / (bottom - top)  # coarse pixels in one of the photo
    rows, columns = drawn.before.shape[1:]
    if min(box.width * across / columns, box.height * down / rows) < 1:  # the box has fewer pixels than the layers
        columns, rows = max(1, round(box.width * across)), max(1, round(box.height * down))
    cosine, sine = box.axes
    x, y = left - box.middle[0], top - box.middle[1]  # the region's corner, from the middle of the box
    turn = np.array([[cosine / across, sine / down, x * cosine + y * sine],
                     [-sine / across, cosine / down, y * cosine - x * sine]])  # fmt: skip
    onto = turn * [[columns / box.width], [rows / box.height]] + [[0, 0, columns / 2], [0, 0, rows / 2]]
    u, v = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    at = np.tensordot(onto[:, :2], np.stack([u, v]), axes=1) + onto[:, 2:, None]  # (2, height, width), in the layers
    inside = ((at >= 0) & (at <= np.array([columns, rows])[:, None, None])).all(axis=0)
    farthest = max(-at.min(), at[0].max() - columns, at[1].max() - rows)

    share = min(1.0, _TURNED_AT * columns / (box.width * across))
    rough = [max(1, round(length * share)) for length in shape]  # turned at no more pixels than the layers have to show
    margin = 3 + max(0, math.ceil(farthest))
    matrix = (onto * (shape[1] / rough[1], shape[0] / rough[0], 1) + [0, 0, margin]).ravel().tolist()

    def laid(layers: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
        layers = _resized(layers, (columns, rows), Image.Resampling.BILINEAR)
        wider = np.pad(layers, [(0, 0), (margin, margin), (margin, margin)], mode="edge")

        def turned(layer: np.ndarray) -> np.ndarray:
            size = rough[1], rough[0]
            return np.asarray(Image.fromarray(layer).transform(size, Image.Transform.AFFINE, matrix, resampling))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return _resized(np.stack(list(pool.map(turned, wider))), shape[::-1], resampling)

    smooth = [laid(layers, Image.Resampling.BICUBIC) for layers in (drawn.before, drawn.difference, drawn.sharper)]
    masks = [laid(mask, Image.Resampling.BILINEAR) * inside for mask in (drawn.reach, drawn.redrawn)]
    return _Layers(*smooth, *masks)


def _residual(photo: np.ndarray, drawn: _Layers, side: float, detail: float) -> np.ndarray:
    """Difference to add to `photo`: that of the decodings, sharpened; strong edges of the photo itself are weakened."""
    own = photo - drawn.before  # detail that the reconstruction lacks
    plain = drawn.reach * (drawn.difference - (own - _limited(own, drawn.redrawn, detail)))
    extra = drawn.reach * drawn.sharper
    return np.asarray(plain + _matching(photo, plain, extra, drawn.reach[:1] * drawn.redrawn, side) * extra)


def _ratio(photo: np.ndarray, drawn: _Layers, side: float, detail: float) -> np.ndarray:
    """Difference to add to `photo` to scale it by the brightness ratio, decoding after / before (Liu et al. 2001)."""
    old = _gray(drawn.before) + _RATIO_FLOOR
    ratio = np.clip((old + _gray(drawn.difference)) / old, *_RATIO_LIMITS)
    return np.asarray(drawn.reach * photo * (ratio - 1))


def _decoding(photo: np.ndarray, drawn: _Layers, side: float, detail: float) -> np.ndarray:
    """Difference to add to `photo` to replace its edited area with the decoding after the edit."""
    return np.asarray(drawn.reach * (drawn.before + drawn.difference - photo))


_MODES: dict[Merge, Callable[[np.ndarray, _Layers, float, float], np.ndarray]] = {
    "residual": _residual,
    "ratio": _ratio,
    "decode": _decoding,
}


def _limited(own: np.ndarray, redrawn: np.ndarray, detail: float) -> np.ndarray:
    """`own`, a photo's detail, with strong edges in the mask `redrawn` weakened: kept at `detail` 1, removed at 0."""
    if detail == 1:
        return own
    times = detail / (1 - detail)  # limit in multiples of the median amplitude: 1 for a detail of 0.5
    octaves = max(1, round(math.log2(max(2.0, _OCTAVES * max(own.shape[1:])))))
    rest, mask, bands = own, redrawn, []
    for _ in range(octaves):
        if min(rest.shape[1:]) < 4:
            break
        half = _halved(rest)
        band = rest - _resized(half, rest.shape[:0:-1], Image.Resampling.BILINEAR)
        amplitude = np.sqrt(np.square(band).sum(axis=0, keepdims=True))
        changed = amplitude[mask > 0.05]
        usual = np.median(changed if len(changed) else amplitude)
        limit = np.minimum(times * usual / np.maximum(amplitude, 1e-6), 1)
        bands.append(band * (1 - mask * (1 - limit)))
        rest, mask = half, _halved(mask)
    for band in reversed(bands):
        rest = _resized(rest, band.shape[:0:-1], Image.Resampling.BILINEAR) + band
    return rest


def _matching(photo: np.ndarray, plain: np.ndarray, extra: np.ndarray, mask: np.ndarray, side: float) -> np.float32:
    """Factor f, 0 to 1, for which `photo` + `plain` + f `extra` is as sharp as `photo` (Laplacian energy in `mask`)."""
    share = min(1.0, _SHARPNESS_SIDE / side)
    layers = np.concatenate([*map(_structure, (photo, plain, extra)), mask])
    if share < 1:
        height, width = (max(3, round(length * share)) for length in layers.shape[1:])
        layers = _resized(layers, (width, height), Image.Resampling.BOX)
    around = np.pad(layers[:3], [(0, 0), (1, 1), (1, 1)], mode="edge")
    beside = around[:, :-2, 1:-1] + around[:, 2:, 1:-1] + around[:, 1:-1, :-2] + around[:, 1:-1, 2:]
    before, change, more = beside - 4 * layers[:3]

    def energy(a: np.ndarray, b: np.ndarray) -> float:
        return float((layers[3] * a * b).sum(dtype=np.float64))

    after = before + change
    square, slope = energy(more, more), 2 * energy(after, more)
    lacking = energy(after, after) - energy(before, before)
    root = math.sqrt(max(slope * slope - 4 * square * lacking, 0.0))
    return np.float32(min(max((root - slope) / max(2 * square, 1e-12), 0.0), 1.0))


def _sharpening(image: np.ndarray) -> np.ndarray:
    """Difference to add to an image, (channels, height, width), to sharpen it: unsharp mask, no overshoot at edges."""
    away = np.float32(_SHARPENING) * (image - _blur(image, _HALO * _ABOVE))
    reach = _EDGE // 2
    around = np.pad(image, [(0, 0), (reach, reach), (reach, reach)], mode="edge")
    # Rows, then columns: the same as Pillow's MinFilter and MaxFilter, in a twentieth of the time.
    down = np.stack([around[:, row : row + image.shape[1]] for row in range(_EDGE)])
    least, most = (
        choose.reduce([reduced[:, :, column : column + image.shape[2]] for column in range(_EDGE)])
        for choose, reduced in ((choose, choose.reduce(down)) for choose in (np.minimum, np.maximum))
    )
    return np.asarray(np.clip(image + away, least, most) - image)


def _blur(image: np.ndarray, deviation: float) -> np.ndarray:
    """Gaussian blur of an image (channels, height, width), with its border repeated outside.

    Each axis is multiplied by a matrix, since importing SciPy would take longer than its filter saves.
    """
    reach = max(1, math.ceil(3 * deviation))
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * np.square(offsets / deviation))

    def matrix(length: int) -> np.ndarray:
        rows = np.repeat(np.arange(length), len(offsets)).reshape(length, -1)
        weighted = np.zeros((length, length))
        np.add.at(weighted, (rows, np.clip(rows + offsets, 0, length - 1)), weights / weights.sum())
        return weighted.astype(np.float32)

    return np.asarray(matrix(image.shape[1]) @ image @ matrix(image.shape[2]).T)


def _resized(
    layers: np.ndarray,
    size: tuple[int, ...],
    resampling: Image.Resampling,
    box: tuple[float, float, float, float] | None = None,
) -> np.ndarray:
    """Layers (n, height, width), or the part in `box`, resized to `size`, (width, height)."""
    if box is None and size == layers.shape[:0:-1]:
        return layers
    resized = [Image.fromarray(layer).resize((size[0], size[1]), resampling, box) for layer in layers]
    return np.stack([np.asarray(layer) for layer in resized])


def _halved(layers: np.ndarray) -> np.ndarray:
    """Layers (n, height, width) downscaled to half the size, rounded up, by means of two by two pixels."""
    return np.stack([np.asarray(Image.fromarray(layer).reduce(2)) for layer in layers])


def _smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Cubic step from 0 for values up to `low` to 1 for values from `high` on."""
    share = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share))


def _window(height: int, width: int, rounded: bool) -> np.ndarray:
    """Window (1, height, width): 1 inside, 0 at the border, a half cosine between; `rounded` cuts the corners off."""
    y, x = (np.abs((2 * np.arange(length, dtype=np.float32) + 1) / length - 1) for length in (height, width))
    if rounded:
        out = (x[None, :] ** _ROUNDED + y[:, None] ** _ROUNDED) ** (1 / _ROUNDED)
    else:
        out = np.maximum(x[None, :], y[:, None])
    share = np.clip((1 - 1 / max(height, width) - out) / (2 * _FEATHER), 0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.float32(np.pi) * share))[None]
