"""Metrics of samples: Fréchet and kernel distance, precision and recall, diversity; and the feature space used.

The model's own encoder would favour its own samples, and Inception has to be downloaded. So the default features are
those of a network of fixed random filters, whose statistics respond to colour, texture, sharpness and layout. Random
networks rank generators much as trained ones do (Naeem et al. 2020, section 5). These distances compare models of one
image size and are not FID. Inception, or any other network, can be read from a file.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from latentcli.errors import ConfigError, FileFormatError
from latentcli.imaging.images import on_white
from latentcli.runtime import open_session

_FILTERS = 16  # random filters per scale
_SMALLEST = 8  # pixels: images are not halved to sides shorter than this
_SEED = 2020  # seed of the random filters; must never change
_CHUNK = 64  # images whose activations fit into the processor's cache
_KINDS = {  # suffixes of network files, with the end of the message for a file that cannot be read
    ".pt": "is not a TorchScript file; save it with torch.jit.save",
    ".onnx": "is not an ONNX network that can be run",
}


@dataclass(frozen=True)
class FeatureSpace:
    """Feature extractor of images: a network, and the name that tables give the feature space."""

    name: str  # shown in tables
    network: Callable[[Tensor], Tensor]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (n, d) of images (n, channels, height, width) in [0, 1], converted to RGB on a white background."""
        colour = torch.from_numpy(on_white(images.numpy())).expand(-1, 3, -1, -1)
        return torch.cat([self.network(chunk).float().cpu() for chunk in torch.split(colour, _CHUNK)])


def open_features(path: Path | None) -> FeatureSpace:
    """Feature space of the network in a TorchScript (.pt) or ONNX file, or of random filters if `path` is None.

    The network must map float32 (n, 3, height, width) in [0, 1] to (n, d). Raises ConfigError for a missing file or
    another suffix, FileFormatError for an unusable network.
    """
    if path is None:
        return FeatureSpace("random filters", random_filters)
    if path.suffix not in _KINDS:
        raise ConfigError(f"unsupported network file {path}; give TorchScript (.pt) or ONNX (.onnx)")
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; check the name")
    try:
        network = _load(path)
    except Exception as error:  # onnxruntime has exceptions of its own
        raise FileFormatError(f"{path} {_KINDS[path.suffix]}") from error

    def checked(images: Tensor) -> Tensor:
        try:
            features = network(images)
        except Exception as error:  # a foreign network may raise any exception
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            shape = "x".join(map(str, images.shape))
            raise FileFormatError(f"{path} cannot take images of {shape} ({reason})") from error
        if not isinstance(features, Tensor) or features.dim() != 2 or len(features) != len(images):
            raise FileFormatError(f"{path} must give one row of features per image, (n, d)")
        return features

    return FeatureSpace(path.name, checked)


def _load(path: Path) -> Callable[[Tensor], Tensor]:
    if path.suffix == ".pt":
        return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-any-return, no-untyped-call]
    session = open_session(path)
    name = session.get_inputs()[0].name
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def random_filters(images: Tensor) -> Tensor:
    """Features (n, d) of RGB images (n, 3, height, width): statistics of the responses to random 3x3 filters.

    The statistics are means and standard deviations at each scale, and means of each quarter at the coarsest. The seed
    and the generator (`np.random.RandomState`) are frozen: filters are the same on all machines, in all versions.
    """
    generator = np.random.RandomState(_SEED)
    h = images * 2 - 1
    features = []
    while True:
        fan_in = h.shape[1] * 9
        weights = generator.standard_normal((_FILTERS, h.shape[1], 3, 3)) * math.sqrt(2 / fan_in)
        h = F.relu_(F.conv2d(F.pad(h, (1, 1, 1, 1), mode="replicate"), torch.from_numpy(weights).float()))
        means = h.mean(dim=(2, 3), keepdim=True)
        deviations = (h - means).square_().mean(dim=(2, 3)).sqrt()  # several times as fast as torch.std
        features += [means.flatten(1), deviations]
        if min(h.shape[2:]) < 2 * _SMALLEST:
            break
        h = F.avg_pool2d(h, 2)
    return torch.cat([*features, F.adaptive_avg_pool2d(h, 2).flatten(1)], dim=1)


_NEIGHBOURS = 3  # k of precision and recall, as in Kynkäänniemi et al. 2019
_CHUNK_ROWS = 512  # rows of a distance matrix computed at once


def frechet(x: Tensor, y: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians fitted to features x (n, d) and y (m, d): Heusel et al. 2017, eq. 6."""
    x, y = x.double(), y.double()
    cov_x, cov_y = torch.cov(x.T), torch.cov(y.T)
    # The trace of a matrix root is the sum of the roots of the matrix's eigenvalues.
    roots = torch.linalg.eigvals(cov_x @ cov_y).sqrt().real.sum()
    means = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    return float(means + cov_x.trace() + cov_y.trace() - 2 * roots)


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with a cubic kernel: Bińkowski et al. 2018, eq. 4 (KID).

    The estimate may be slightly below 0 for equal distributions.
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
    """Share of `made` within the manifold of `real`, and of `real` within that of `made`: Kynkäänniemi et al. 2019.

    The manifold of features (n, d) is the union of balls around all points that reach to the third nearest neighbour.
    """
    real, made = real.double(), made.double()

    def radii(points: Tensor) -> Tensor:
        nearest = torch.cdist(points, points).topk(min(_NEIGHBOURS + 1, len(points)), largest=False).values
        return nearest[:, -1]  # the first is the point itself

    distances = torch.cdist(made, real)  # (made, real)
    is_real, is_made = distances <= radii(real), distances <= radii(made)[:, None]
    return float(is_real.any(dim=1).float().mean()), float(is_made.any(dim=0).float().mean())


def spread(images: Tensor) -> float:
    """Diversity of images (n, channels, height, width): mean over pairs of the root mean square pixel difference."""
    flat = images.flatten(1)
    return float(torch.pdist(flat).mean()) / flat.shape[1] ** 0.5 if len(flat) > 1 else 0.0


def nearest(images: Tensor, candidates: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Root mean square pixel difference of each image to the nearest candidate, and the candidate's index: each (n,).

    Images and candidates are batches (n, channels, height, width) in [0, 1].
    """
    flat = images.flatten(1)
    best = torch.full((len(flat),), torch.inf)
    row = torch.zeros(len(flat), dtype=torch.int64)
    first = 0
    for batch in candidates:
        distances, index = nearest_rows(flat, batch.flatten(1))
        row = torch.where(distances < best, index + first, row)
        best = torch.where(distances < best, distances, best)
        first += len(batch)
    return best / flat.shape[1] ** 0.5, row


def nearest_rows(points: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Euclidean distance of each point (n, d) to the nearest candidate (m, d), and the candidate's index: each (n,)."""
    chunks = [torch.cdist(chunk, candidates).min(dim=1) for chunk in torch.split(points, _CHUNK_ROWS)]
    return torch.cat([chunk.values for chunk in chunks]), torch.cat([chunk.indices for chunk in chunks])
