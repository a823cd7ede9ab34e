"""Layouts: latents as points of a plane, and points as cells of a grid.

t-SNE is scikit-learn's and UMAP umap-learn's. Above some thousand latents t-SNE lays out a part of them, and the others
go where their nearest neighbours of that part are.
"""

import importlib.util
import warnings

import numpy as np

from latentcli.config import LayoutMethod
from latentcli.errors import missing_extra

LAID_OUT = 5000  # latents by t-SNE itself: eleven seconds on one core, and no fewer on two
_LEADING = 50  # principal components that t-SNE sees, as its authors advise
_PERPLEXITY = 30.0
_NEIGHBOURS = 5  # that place a latent which was not laid out
_BLOCK = 512  # cells that are assigned at once: the time grows with the third power


def check_method(method: LayoutMethod) -> None:
    """Raises ConfigError where the method is not installed."""
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise missing_extra("`method` umap", "umap", "take tsne")


def lay_out(z: np.ndarray, method: LayoutMethod, seed: int = 0) -> np.ndarray:
    """Points (n, 2) in 0 to 1 of latents (n, latent_dim), the same for the same seed."""
    plane = _principal(z, min(_LEADING, *z.shape))
    if method == "umap" and len(z) > 3:
        points = _umap(plane, seed)
    elif method == "tsne" and len(z) > 3:
        points = _tsne(plane, seed)
    else:
        points = np.pad(plane, ((0, 0), (0, max(0, 2 - plane.shape[1]))))[:, :2]
    return _in_unit_square(points)


def _principal(z: np.ndarray, count: int) -> np.ndarray:
    """The leading principal coordinates: (n, count)."""
    centred = z.astype(np.float64) - z.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    leading = directions[:, ::-1][:, :count]
    leading = leading * np.sign(leading[np.argmax(np.abs(leading), axis=0), range(leading.shape[1])])
    return np.asarray(centred @ leading, dtype=np.float32)


def _tsne(plane: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors

    count = len(plane)
    chosen = np.arange(count)
    if count > LAID_OUT:
        chosen = np.sort(np.random.default_rng(seed).choice(count, LAID_OUT, replace=False))
    start = plane[chosen, :2] / max(float(plane[:, 0].std()), 1e-12) * 1e-4  # van der Maaten's, from the components
    start = np.pad(start, ((0, 0), (0, 2 - start.shape[1])))
    perplexity = min(_PERPLEXITY, (len(chosen) - 1) / 3)
    laid_out = TSNE(2, perplexity=perplexity, init=start, random_state=seed, n_jobs=1).fit_transform(plane[chosen])
    if count == len(chosen):
        return np.asarray(laid_out)
    near = NearestNeighbors(n_neighbors=_NEIGHBOURS, n_jobs=-1).fit(plane[chosen])
    distances, neighbours = near.kneighbors(plane)
    weights = 1 / np.maximum(distances, 1e-9)
    points = (laid_out[neighbours] * weights[:, :, None]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    points[chosen] = laid_out
    return np.asarray(points)


def _umap(plane: np.ndarray, seed: int) -> np.ndarray:
    import umap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed takes one thread
        found = umap.UMAP(n_neighbors=min(15, len(plane) - 1), random_state=seed).fit_transform(plane)
    return np.asarray(found)


def _in_unit_square(points: np.ndarray) -> np.ndarray:
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray((points - low) / np.maximum(high - low, 1e-12))


def snap(points: np.ndarray, columns: int) -> np.ndarray:
    """A cell for each point (n, 2): its number in a grid that is filled row by row, none twice: (n,).

    Cells and points are halved together until few are left, and those are assigned with the least squared distance in
    all (Jonker and Volgenant's algorithm, in SciPy).
    """
    count = len(points)
    rows = -(-count // columns)
    number = np.arange(count)
    cells = np.stack([(number % columns + 0.5) / columns, (number // columns + 0.5) / rows], axis=1)
    taken = np.empty(count, dtype=np.int64)
    _assign(points, cells, np.arange(count), np.arange(count), taken)
    return taken


def _assign(points: np.ndarray, cells: np.ndarray, some: np.ndarray, free: np.ndarray, taken: np.ndarray) -> None:
    """Give some points the free cells, as many."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    if len(some) <= _BLOCK:
        chosen = linear_sum_assignment(cdist(points[some], cells[free], "sqeuclidean"))[1]
        taken[some] = free[chosen]
        return
    axis = int(np.argmax(np.ptp(cells[free], axis=0)))
    by_place = some[np.argsort(points[some, axis], kind="stable")]
    by_cell = free[np.argsort(cells[free, axis], kind="stable")]
    half = len(some) // 2
    _assign(points, cells, by_place[:half], by_cell[:half], taken)
    _assign(points, cells, by_place[half:], by_cell[half:], taken)
