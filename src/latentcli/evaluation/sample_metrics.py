"""Sample metrics: Fréchet and kernel distance, precision and recall, diversity, and the space they are measured in.

An encoder trained on the same images would favour its own samples, and Inception has to be downloaded. So the default
space is a network of fixed random filters, whose statistics respond to colour, texture, sharpness and layout (random
networks rank generators much as trained ones do: Naeem et al. 2020, section 5). Distances in it compare models of one
image size; they are not FID. Inception, or any other network, can be read from a file.
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

_FILTERS = 16  # per level
_SMALLEST = 8  # pixels: no further halving below
_SEED = 2020  # of the filters; it must never change
_CHUNK = 64  # images: their activations stay in the processor's cache
_SUFFIXES = (".pt", ".onnx")


@dataclass(frozen=True)
class FeatureSpace:
    """Turns images into features."""

    name: str  # for tables
    network: Callable[[Tensor], Tensor]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (n, d) of images (n, channels, height, width) in [0, 1], seen as colour and on white."""
        colour = torch.from_numpy(on_white(images.numpy())).expand(-1, 3, -1, -1)
        return torch.cat([self.network(some).float().cpu() for some in torch.split(colour, _CHUNK)])


def open_features(path: Path | None) -> FeatureSpace:
    """The network in a TorchScript (.pt) or ONNX file, or without a file the random filters.

    It must take float32 (n, 3, height, width) in [0, 1] and give (n, d). Raises ConfigError or FileFormatError.
    """
    if path is None:
        return FeatureSpace("random filters", random_filters)
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f"unsupported network file {path}; give TorchScript (.pt) or ONNX (.onnx)")
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; check the name")
    network = _torchscript(path) if path.suffix == ".pt" else _onnx(path)

    def checked(images: Tensor) -> Tensor:
        try:
            found = network(images)
        except Exception as error:  # whatever a foreign network raises
            shape = "x".join(map(str, images.shape))
            raise FileFormatError(f"{path} cannot take images of {shape} ({_first_line(error)})") from error
        if not isinstance(found, Tensor) or found.dim() != 2 or len(found) != len(images):
            raise FileFormatError(f"{path} must give one row of features per image, (n, d)")
        return found

    return FeatureSpace(path.name, checked)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _torchscript(path: Path) -> Callable[[Tensor], Tensor]:
    try:
        return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-any-return, no-untyped-call]
    except RuntimeError as error:
        raise FileFormatError(f"{path} is not a TorchScript file; save it with torch.jit.save") from error


def _onnx(path: Path) -> Callable[[Tensor], Tensor]:
    try:
        network = open_session(path)
        name = network.get_inputs()[0].name
    except Exception as error:  # onnxruntime has exceptions of its own
        raise FileFormatError(f"{path} is not an ONNX network that can be run") from error
    return lambda images: torch.from_numpy(network.run(None, {name: images.numpy()})[0])


def random_filters(images: Tensor) -> Tensor:
    """Features of colour images: means and deviations of random 3x3 filters at each scale, and the coarsest's layout.

    The filters come from a frozen generator, so they are the same everywhere and always.
    """
    generator = np.random.RandomState(_SEED)
    h = images * 2 - 1
    found = []
    while True:
        fan_in = h.shape[1] * 9
        weights = generator.standard_normal((_FILTERS, h.shape[1], 3, 3)) * math.sqrt(2 / fan_in)
        h = F.relu_(F.conv2d(F.pad(h, (1, 1, 1, 1), mode="replicate"), torch.from_numpy(weights).float()))
        means = h.mean(dim=(2, 3), keepdim=True)
        deviations = (h - means).square_().mean(dim=(2, 3)).sqrt()  # several times as fast as torch.std
        found += [means.flatten(1), deviations]
        if min(h.shape[2:]) < 2 * _SMALLEST:
            break
        h = F.avg_pool2d(h, 2)
    return torch.cat([*found, F.adaptive_avg_pool2d(h, 2).flatten(1)], dim=1)


_NEIGHBOURS = 3  # of precision and recall, as in the paper
_CHUNK_ROWS = 512  # rows of a distance matrix


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
    """Distance of each image to the nearest of the candidates, and the row of that one among them.

    Both are batches (n, channels, height, width) in [0, 1]; distances are roots of mean squares over pixels, (n,).
    """
    flat = images.flatten(1)
    best = torch.full((len(flat),), torch.inf)
    row = torch.zeros(len(flat), dtype=torch.int64)
    start = 0
    for batch in candidates:
        distances = torch.cat([torch.cdist(some, batch.flatten(1)) for some in torch.split(flat, _CHUNK_ROWS)])
        found, index = distances.min(dim=1)
        nearer = found < best
        best = torch.where(nearer, found, best)
        row = torch.where(nearer, index + start, row)
        start += len(batch)
    return best / flat.shape[1] ** 0.5, row


def nearest_rows(points: Tensor, candidates: Tensor) -> Tensor:
    """Distance of each row of points (n, d) to the nearest of the candidates (m, d): (n,)."""
    return torch.cat([torch.cdist(some, candidates).min(dim=1).values for some in torch.split(points, _CHUNK_ROWS)])
