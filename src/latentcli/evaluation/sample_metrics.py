"""Metrics of samples: kernel and Fréchet distance, precision and recall, diversity; and the feature space used.

The model's own encoder would favour its own samples, and Inception has to be downloaded. So the default features are
those of a network of fixed random filters, which rank generators much as trained ones do (Naeem et al. 2020, section
5), with the strength of regular patterns of pixels. They are whitened by the covariance of training images: else
brightness and contrast, in which images differ most, would hide what never occurs in images, such as a seam or a mesh.
These distances compare models of one folder and one image size, and are not FID or KID. Inception, or any other
network, can be read from a file; its features are not whitened.
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
_PERIODS = (2, 4, 8)  # pixels: periods of regular patterns
_WINDOW = 32  # pixels: side of the windows in which they are sought, besides in the whole picture
_AROUND = 5  # pixels: detail is the difference from the mean of _AROUND x _AROUND pixels
_LEAST_ENERGY = (0.1 / 255) ** 2  # added to that of a pattern: a tenth of a gray level is invisible
_TINY = 1e-6  # least scale of features, and least variance after scaling
_LEAST_SCALE = 0.01  # of a feature's deviation, as a share of the mean deviation: constant features are not blown up
WHITENED_BY = 2000  # limit on the images whose covariance whitens the features
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
    whitens: bool = False  # whether `whitened` changes anything

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (n, d) of images (n, channels, height, width) in [0, 1], converted to RGB on a white background."""
        colour = torch.from_numpy(on_white(images.numpy())).expand(-1, 3, -1, -1)
        return torch.cat([self.network(chunk).float().cpu() for chunk in torch.split(colour, _CHUNK)])

    def whitened(self, images: Iterable[Tensor]) -> "FeatureSpace":
        """This space with features that have covariance I, nearly, over batches of `images`, the training images."""
        if not self.whitens:
            return self
        mean, matrix = (part.float() for part in whiten(torch.cat([self(batch) for batch in images]).double()))
        return FeatureSpace(self.name, lambda images: (self.network(images) - mean) @ matrix)


def whiten(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) of features (n, d), and the matrix (d, d) that whitens features minus the mean.

    It divides each feature by its deviation, then multiplies by the inverse root of their correlations, shrunk towards
    I (Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices").
    """
    from sklearn.covariance import ledoit_wolf

    mean, deviations = features.mean(dim=0), features.std(dim=0, correction=0)
    scale = deviations + _LEAST_SCALE * deviations.mean() + _TINY
    z = ((features - mean) / scale).repeat(2 if len(features) == 1 else 1, 1)  # scikit-learn warns of one row
    covariance, _ = ledoit_wolf(z.numpy(), assume_centered=True)
    variances, directions = torch.linalg.eigh(torch.from_numpy(covariance))
    roots = variances.clamp_min(_TINY).rsqrt()
    return mean, directions * roots @ directions.T / scale[:, None]


def open_features(path: Path | None) -> FeatureSpace:
    """Feature space of the network in a TorchScript (.pt) or ONNX file, or of random filters if `path` is None.

    The network must map float32 (n, 3, height, width) in [0, 1] to (n, d). Raises ConfigError for a missing file or
    another suffix, FileFormatError for an unusable network.
    """
    if path is None:
        return FeatureSpace("whitened filters", _filters_and_patterns, whitens=True)
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


def _filters_and_patterns(images: Tensor) -> Tensor:
    return torch.cat([random_filters(images), patterns(images)], dim=1)


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


def patterns(images: Tensor) -> Tensor:
    """Features (n, 6) of RGB images (n, 3, height, width): log energy of patterns that repeat every 2, 4 or 8 pixels.

    The energy is the mean square, over the phases of a period, of the mean detail at that phase within a window.
    """
    detail = details(images.mean(dim=1, keepdim=True))
    energies = []
    for period in _PERIODS:
        height, width = (side // period * period for side in detail.shape[2:])
        phases = F.pixel_unshuffle(detail[:, :, :height, :width], period)  # (n, period^2, rows, columns)
        in_windows = F.avg_pool2d(phases, [min(_WINDOW // period, side) for side in phases.shape[2:]])
        for means in (in_windows, phases.mean(dim=(2, 3), keepdim=True)):
            energies.append((means.square().mean(dim=(1, 2, 3)) + _LEAST_ENERGY).log())
    return torch.stack(energies, dim=1)


def details(images: Tensor) -> Tensor:
    """Images (n, channels, height, width) minus their local means over _AROUND x _AROUND pixels."""
    return images - F.avg_pool2d(images, _AROUND, 1, _AROUND // 2, count_include_pad=False)


_NEIGHBOURS = 3  # k of precision and recall, as in Kynkäänniemi et al. 2019
_RESAMPLES = 200  # of the bootstrap
_PER_FEATURE = 2  # pictures per feature, from which the extrapolation of the Fréchet distance holds: 1,000 for 500


def frechet(x: Tensor, y: Tensor) -> float | None:
    """Squared Fréchet distance of features x and y, each (n, d), extrapolated to infinitely many pictures.

    The distance of n pictures is too high by c / n (Chong and Forsyth 2020, "Effectively unbiased FID and Inception
    Score"), so it is taken twice, minus the mean of those of two halves. None below 2 d pictures.
    """
    n = min(len(x), len(y))
    if n < _PER_FEATURE * x.shape[1]:
        return None
    x, y = x[:n].double(), y[:n].double()
    halves = [gaussian_distance(x[first::2], y[first::2]) for first in range(2)]
    return 2 * gaussian_distance(x, y) - sum(halves) / 2


def gaussian_distance(x: Tensor, y: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians fitted to features x (n, d) and y (m, d): Heusel et al. 2017, eq. 6."""
    means = x.mean(dim=0), y.mean(dim=0)
    roots = [
        torch.linalg.qr(points - mean, mode="r").R / (len(points) - 1) ** 0.5  # R.T @ R is the covariance
        for points, mean in zip((x, y), means, strict=True)
    ]
    # The trace of the root of a product of covariances is the sum of the singular values of the product of the roots.
    shared = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    traces = sum(root.square().sum() for root in roots)
    return float((means[0] - means[1]).square().sum() + traces - 2 * shared)


def kernel_distance(made: Tensor, real: Tensor) -> tuple[float, float]:
    """Unbiased squared maximum mean discrepancy of features (n, d) and (m, d), and half its 95 % bootstrap interval.

    Gretton et al. 2012, eq. 3, with a Gaussian kernel as wide as `real` is spread: the cubic kernel of KID is
    unbounded, so that a few unusual images decide it. The estimate may be below 0 for equal distributions.
    """
    made, real = made.double(), real.double()
    width = real.var(dim=0).sum().clamp_min(_TINY)  # half of the mean squared distance of two images

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (torch.cdist(a, b).square_() / (-2 * width)).exp_()

    def within(weights: Tensor, values: Tensor) -> Tensor:
        own = weights.square().sum(dim=1)  # pairs of a picture and itself, whose kernel is 1
        return (((weights @ values) * weights).sum(dim=1) - own) / (1 - own).clamp_min(_TINY)

    by_made, by_real = _weights(len(made)), _weights(len(real))
    across = ((by_made @ kernel(made, real)) * by_real).sum(dim=1)
    found = within(by_made, kernel(made, made)) + within(by_real, kernel(real, real)) - 2 * across
    return float(found[0]), float(1.96 * found[1:].std())


def _weights(count: int) -> Tensor:
    """Weights of `count` pictures (1 + _RESAMPLES, count): equal ones, then those of resamples with replacement."""
    drawn = np.random.default_rng(count).multinomial(count, np.full(count, 1 / count), _RESAMPLES)
    return torch.from_numpy(np.concatenate([np.ones((1, count)), drawn]) / count)


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
