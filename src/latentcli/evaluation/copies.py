"""Test whether samples are copies of training images (Meehan et al. 2020, arXiv 2004.05675).

A copy is much nearer to one training image than to others, so each picture is judged by its distance to the nearest
training image over that to the tenth nearest; the second nearest may be a twin of the nearest. The distance alone would
accuse samples of a low temperature, which are nearer to all images. These ratios are compared, by their ranks, with
those of reconstructions of held-out images: a decoder brings whatever it draws nearer to what it was trained on, so
held-out images themselves would make copies of all samples. Held-out images with twins among the training images cost
power, but do not mislead.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from latentcli.imaging.images import on_white

_NEIGHBOURS = 10  # nearest training images that are looked for
_SIDE = 8  # pixels of a thumbnail's side: smaller ones change less by blur, in which 12 and 16 find fewer copies
_AT_ONCE = 16  # batches of candidates that are compared at once

Distances = tuple[Tensor, Tensor]  # to the ten nearest training images, by thumbnails and by features: each (n, 10)


@dataclass(frozen=True, slots=True)
class Nearness:
    """How near samples are to training images."""

    nearest: float  # median distance to the nearest over that of held-out images' reconstructions, by thumbnails
    copied: float  # share of copies, at least
    by_chance: float  # probability of so large a share if there are no copies, 0 to 1


def thumbnails(images: Tensor) -> Tensor:
    """Colours of 8x8 thumbnails on white, (n, d), of images (n, channels, height, width) in [0, 1]."""
    return F.adaptive_avg_pool2d(torch.from_numpy(on_white(images.numpy())), _SIDE).flatten(1)


def nearest(points: Tensor, candidates: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Distances of points (n, d) to their ten nearest candidates, ascending, and numbers of the candidates: (n, 10).

    Candidates are batches (m, d). Fewer than ten give fewer columns.
    """
    best, rows, first = torch.empty(len(points), 0), torch.empty(len(points), 0, dtype=torch.int64), 0
    batches = iter(candidates)
    while several := list(islice(batches, _AT_ONCE)):
        block = torch.cat(several)
        squares = torch.addmm(block.square().sum(dim=1), points, block.T, alpha=-2)  # but for the points' own
        near, own = squares.topk(min(_NEIGHBOURS, len(block)), largest=False)
        best, rows, first = torch.cat([best, near], dim=1), torch.cat([rows, first + own], dim=1), first + len(block)
        best, chosen = best.topk(min(_NEIGHBOURS, best.shape[1]), largest=False)
        rows = rows.gather(1, chosen)
    return (best + points.square().sum(dim=1, keepdim=True)).clamp_(min=0).sqrt_(), rows


def compare(samples: Distances, reconstructed: Distances) -> Nearness:
    """Nearness of samples to the training images beside that of reconstructions of held-out images.

    Share and probability are those of the space where copies are clearest; the probability is doubled for the choice.
    """
    own, usual = (float(distances[0][:, 0].quantile(0.5)) for distances in (samples, reconstructed))
    share, chance = min(map(copied, samples, reconstructed), key=lambda found: found[1])
    return Nearness(own / max(usual, 1e-6), share, min(1.0, 2 * chance))  # Bonferroni


def copied(samples: Tensor, others: Tensor) -> tuple[float, float]:
    """Share of copies among the samples, at least, and the probability of so many by chance, by Mann and Whitney.

    Both arguments are distances to the ten nearest, (n, 10) and (m, 10). If c of the samples have ratios below those of
    all others, and the rest as the others, a sample is below another with probability c + (1 - c) / 2.
    """
    from scipy.stats import mannwhitneyu

    own, usual = ((d[:, 0] / d[:, -1].clamp(min=1e-6)).double().numpy() for d in (samples, others))
    above, chance = mannwhitneyu(own, usual, alternative="less", method="asymptotic")
    return max(0.0, 1 - 2 * float(above) / (len(own) * len(usual))), float(chance)
