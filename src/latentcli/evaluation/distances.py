"""How two sets of images differ: in their features, and image by image.

Features are (n, d) float tensors.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

_NEIGHBOURS = 3  # of precision and recall, as in the paper
_AT_ONCE = 512  # rows of a distance matrix


def frechet(x: Tensor, y: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians fitted to both: Heusel et al. 2017, eq. 6. 0 for equal sets."""
    x, y = x.double(), y.double()
    cov_x, cov_y = torch.cov(x.T), torch.cov(y.T)
    # The trace of the root of a product is the sum of the roots of its eigenvalues.
    roots = torch.linalg.eigvals(cov_x @ cov_y).sqrt().real.sum()
    means = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    return float(means + cov_x.trace() + cov_y.trace() - 2 * roots)


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with a cubic kernel: Bińkowski et al. 2018, eq. 4 (KID).

    It may come out slightly below 0 for sets that do not differ.
    """
    x, y = x.double(), y.double()
    n, m, d = len(x), len(y), x.shape[1]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        base = a @ b.T / d + 1
        return base * base * base  # a power is many times slower

    within_x, within_y = kernel(x, x), kernel(y, y)
    same = (within_x.sum() - within_x.trace()) / (n * (n - 1)) + (within_y.sum() - within_y.trace()) / (m * (m - 1))
    return float(same - 2 * kernel(x, y).mean())


def precision_recall(real: Tensor, made: Tensor) -> tuple[float, float]:
    """Share of made images that lie among the real ones, and of real ones among the made: Kynkäänniemi et al. 2019.

    An image lies among others when it is nearer to one of them than that one's third neighbour.
    """
    real, made = real.double(), made.double()
    apart = torch.cdist(made, real)
    return _share_within(apart, _radii(real)), _share_within(apart.T, _radii(made))


def _radii(points: Tensor) -> Tensor:
    nearest = torch.cdist(points, points).topk(min(_NEIGHBOURS + 1, len(points)), largest=False).values
    return nearest[:, -1]  # the first is the point itself


def _share_within(distances: Tensor, radii: Tensor) -> float:
    """The share of rows that are within the radius of a column."""
    return float((distances <= radii).any(dim=1).float().mean())


def spread(images: Tensor) -> float:
    """Mean distance of two of the images (n, channels, height, width), in the root of the mean square over pixels."""
    flat = images.flatten(1)
    return float(torch.pdist(flat).mean()) / flat.shape[1] ** 0.5 if len(flat) > 1 else 0.0


def nearest(images: Tensor, candidates: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """For each of the images its distance to the nearest of the candidates, and that one's place among them.

    Both are batches (n, channels, height, width) in [0, 1]; distances are roots of mean squares over pixels, (n,).
    """
    flat = images.flatten(1)
    best = torch.full((len(flat),), torch.inf)
    place = torch.zeros(len(flat), dtype=torch.int64)
    start = 0
    for batch in candidates:
        distances = torch.cat([torch.cdist(some, batch.flatten(1)) for some in torch.split(flat, _AT_ONCE)])
        found, where = distances.min(dim=1)
        nearer = found < best
        best = torch.where(nearer, found, best)
        place = torch.where(nearer, where + start, place)
        start += len(batch)
    return best / flat.shape[1] ** 0.5, place
