"""Layouts of maps: points of a plane for latents, by t-SNE, UMAP or principal components, and grid cells for points.

t-SNE is scikit-learn's, UMAP umap-learn's. Of more than 5,000 latents t-SNE lays out a random 5,000; any other latent
is placed at the weighted mean of its nearest neighbours among the 5,000.
"""

import importlib.util
import warnings

import numpy as np

from latentcli.config import LayoutMethod
from latentcli.errors import missing_extra

LAID_OUT = 5000  # latents that t-SNE itself lays out, in eleven seconds on one core or two
_LEADING = 50  # principal components that t-SNE and UMAP are given, as the authors of t-SNE advise
_PERPLEXITY = 30.0
_SEED = 0
_NEIGHBOURS = 5  # neighbours that place a latent which t-SNE does not lay out
_BLOCK = 512  # grid cells that are assigned to points at once: the time grows with their third power


def check_method(method: LayoutMethod) -> None:
    """Raise ConfigError if the package for `method` is not installed."""
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise missing_extra("`method` umap", "umap", "take tsne")


def lay_out(z: np.ndarray, method: LayoutMethod) -> np.ndarray:
    """Points of a plane, (n, 2) from 0 to 1, for latents `z` (n, latent_dim); equal input gives equal points."""
    plane = _principal(z, min(_LEADING, *z.shape))
    if method == "umap" and len(z) > 3:
        points = _umap(plane)
    elif method == "tsne" and len(z) > 3:
        points = _tsne(plane)
    else:
        points = np.pad(plane, ((0, 0), (0, max(0, 2 - plane.shape[1]))))[:, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray((points - low) / np.maximum(high - low, 1e-12))


def _principal(z: np.ndarray, count: int) -> np.ndarray:
    """Scores of `z` on its first `count` principal components, largest variance first: (n, count) float32."""
    centred = z.astype(np.float64) - z.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    leading = directions[:, ::-1][:, :count]
    leading = leading * np.sign(leading[np.argmax(np.abs(leading), axis=0), range(leading.shape[1])])
    return np.asarray(centred @ leading, dtype=np.float32)


def _tsne(plane: np.ndarray) -> np.ndarray:
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors

    chosen = np.arange(len(plane))
    if len(plane) > LAID_OUT:
        chosen = np.sort(np.random.default_rng(_SEED).choice(len(plane), LAID_OUT, replace=False))
    start = plane[chosen, :2] / max(float(plane[:, 0].std()), 1e-12) * 1e-4  # components, at the usual small spread
    start = np.pad(start, ((0, 0), (0, 2 - start.shape[1])))
    perplexity = min(_PERPLEXITY, (len(chosen) - 1) / 3)
    laid_out = TSNE(2, perplexity=perplexity, init=start, random_state=_SEED, n_jobs=1).fit_transform(plane[chosen])
    if len(chosen) == len(plane):
        return np.asarray(laid_out)
    nearest = NearestNeighbors(n_neighbors=_NEIGHBOURS, n_jobs=-1).fit(plane[chosen])
    distances, neighbours = nearest.kneighbors(plane)
    weights = 1 / np.maximum(distances, 1e-9)
    points = (laid_out[neighbours] * weights[:, :, None]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    points[chosen] = laid_out
    return np.asarray(points)


def _umap(plane: np.ndarray) -> np.ndarray:
    import umap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap warns that with a seed it takes one thread
        reducer = umap.UMAP(n_neighbors=min(15, len(plane) - 1), random_state=_SEED)
        return np.asarray(reducer.fit_transform(plane))


def snap(points: np.ndarray, columns: int) -> np.ndarray:
    """Assign each point, (n, 2) from 0 to 1, to a grid cell of its own: numbers of cells, counted row by row, (n,).

    Points and cells are halved together down to blocks of at most 512, which are assigned with the least sum of squared
    distances (Jonker and Volgenant's algorithm, in SciPy).
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    number = np.arange(len(points))
    rows = -(-len(points) // columns)
    cells = np.stack([(number % columns + 0.5) / columns, (number // columns + 0.5) / rows], axis=1)
    taken = np.empty(len(points), dtype=np.int64)
    blocks = [(number, number)]  # numbers of the points of a block, and of equally many cells
    while blocks:
        members, free = blocks.pop()
        if len(members) <= _BLOCK:
            chosen = linear_sum_assignment(cdist(points[members], cells[free], "sqeuclidean"))[1]
            taken[members] = free[chosen]
            continue
        axis = int(np.argmax(np.ptp(cells[free], axis=0)))
        members = members[np.argsort(points[members, axis], kind="stable")]
        free = free[np.argsort(cells[free, axis], kind="stable")]
        half = len(members) // 2
        blocks += [(members[:half], free[:half]), (members[half:], free[half:])]
    return taken
