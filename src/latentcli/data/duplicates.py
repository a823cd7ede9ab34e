"""Near-duplicates: groups of images so alike that a copy of one in training would flatter the others held out.

An image is described by the gradients of an 8x8 thumbnail of its gray levels. Large gradients saturate, so a change of
brightness, contrast or skin colour counts little, a change of shape much. Two images are linked if their descriptions
much closer than images of the set often are; groups are what links connect. Some sets have no gaps between images, such
as drawings made of the same parts; there links would chain everything, so groups that become too large are cut into
groups of closer images.
"""

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from latentcli.imaging.images import WITH_ALPHA

_SIDE = 8  # pixels of a thumbnail's side
_SOFT = 32.0  # gray levels: a gradient of this size counts half of the largest
_PLAIN = 0.05  # length of a description below which an image is plain, like no other
_SCALE = 512  # length of a description; whole numbers up to it have dot products that float32 holds exactly
# Distances of descriptions, 0 to 2, below which images are linked; the next where a group is too large. Recompressed,
# resized, brighter, cropped and blurred faces are within 0.3 of the originals, other faces 0.6 away in the median.
# benchmarks/copies.py counts the pairs that are joined.
_RADII = (0.3, 0.2, 0.13, 0.08, 0.04)
_LARGEST_SHARE, _LARGEST = 0.02, 10  # images of a group at most, as a share of all, or where that is less, a number
# Distance of near-duplicates, at most, over that of images of a kind: in one set that of the nearest 1 % of pairs, from
# an image to another set that of the ninth nearest. Of the test digits of MNIST, 2 in 1,000 have one among the training
# digits (1/2: 13); of 1,797 digits scaled up from 8x8 pixels, 56 are in groups (by the radii alone: 670).
_DISTINCT = 1 / 3
_OF_A_KIND = 0.01  # share of pairs, nearest first, that are taken for images of a kind; of few images ten each
_COMPARED = 1500  # images among which pairs of a kind are looked for
_LINKS = 9  # images nearest to an image, with itself, among which links are looked for
_MOST = 100_000  # images up to which all pairs are compared: half a minute on two cores
_CHUNK = 20_000_000  # dot products computed at once


def first_alike(images: Iterable[Tensor], count: int) -> np.ndarray:
    """Number of the first image of each image's group, its own if it is like no other: (count,) int64.

    `images` are batches (n, height, width, channels) uint8, `count` images together. Of more than 100,000 images none
    is compared.
    """
    own = np.arange(count)
    if count > _MOST:
        return own
    described = torch.cat([_describe(batch) for batch in images])
    distances, neighbours = _nearest(described, described)
    pairs = np.stack([np.repeat(own, neighbours.shape[1]), neighbours.ravel()])
    first, undecided = own, np.ones(count, dtype=bool)  # whether the group of an image is still too large
    widest = _DISTINCT * _of_a_kind(described)
    for radius in (min(widest, _RADII[0]), *(radius for radius in _RADII[1:] if radius < widest)):
        kept = (distances.ravel() <= radius) & undecided[pairs].all(axis=0)
        found = _connected(pairs[:, kept], count)
        sizes = np.bincount(found, minlength=count)[found]
        settled = undecided & (sizes <= max(_LARGEST, _LARGEST_SHARE * count))
        first = np.where(settled, found, first)
        undecided &= ~settled
    return first


def has_alike(images: Iterable[Tensor], others: Iterable[Tensor]) -> np.ndarray:
    """Whether each of `images` has a near-duplicate in `others`, (n,) bool; both are batches as in `first_alike`.

    Where many others are about as near as the nearest, it is no near-duplicate but one of a kind.
    """
    mine, theirs = (torch.cat([_describe(batch) for batch in part]) for part in (images, others))
    distances, _ = _nearest(mine, theirs)
    is_alike: np.ndarray = distances[:, 0] <= np.minimum(_RADII[0], _DISTINCT * distances[:, -1])
    return is_alike


def _describe(images: Tensor) -> Tensor:
    """Descriptions of images (n, height, width, channels) uint8: (n, 112) whole numbers as float32, length _SCALE."""
    means = F.adaptive_avg_pool2d(images.permute(0, 3, 1, 2).float(), _SIDE).double()  # exact: few whole numbers
    if images.shape[-1] in WITH_ALPHA:
        means = means[:, :-1] + 255 - means[:, -1:]
    gray = means.mean(dim=1)  # (n, 8, 8)
    gradients = torch.cat([gray.diff(dim=1).flatten(1), gray.diff(dim=2).flatten(1)], dim=1)
    saturated = gradients / (gradients.abs() + _SOFT)
    length = saturated.norm(dim=1, keepdim=True)
    return torch.where(length > _PLAIN, saturated / length.clamp(min=_PLAIN) * _SCALE, 0.0).round().float()


def _nearest(points: Tensor, candidates: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Distances, 0 to 2, of descriptions to the nine nearest `candidates`, ascending, and their numbers: (n, 9)."""
    k = min(_LINKS, len(candidates))
    chunks = [(chunk @ candidates.T).topk(k) for chunk in torch.split(points, max(1, _CHUNK // len(candidates)))]
    dots, numbers = (torch.cat(parts).numpy() for parts in zip(*chunks, strict=True))
    return np.sqrt(np.maximum(0, 2 - 2 * dots.astype(np.float64) / _SCALE**2)), numbers


def _of_a_kind(described: Tensor) -> float:
    """Distance of images of a kind: that of the nearest 1 % of pairs, rounded so that it stays as images are added."""
    some = described[:: -(-len(described) // _COMPARED)]
    dots = (some @ some.T)[tuple(torch.triu_indices(len(some), len(some), 1))]
    among = round(max(_OF_A_KIND, min(1.0, _LARGEST / len(some))) * len(dots))
    nearest = dots.topk(max(1, among)).values[-1] if len(dots) else torch.zeros(())
    return round(float((2 - 2 * nearest / _SCALE**2).clamp(min=0).sqrt()), 1)


def _connected(pairs: np.ndarray, count: int) -> np.ndarray:
    """Lowest number among all that `pairs` (2, m) connect to each of `count` numbers: (count,) int64."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(pairs.shape[1], dtype=bool), tuple(pairs)), (count, count))
    _, first, group = np.unique(connected_components(links)[1], return_index=True, return_inverse=True)
    return np.asarray(first[group])
