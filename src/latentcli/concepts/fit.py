"""Directions from labelled latents: the difference of means, balanced, orthogonalised, shrunk or from a classifier.

A classifier's direction is a filter: it leaves out whatever the concept shares with noise, and edits along it are weak
(Haufe et al. 2014; Pahde et al. 2025). The difference of means is the pattern itself, so it is the default; directions
of classifiers are rescaled to its gap between the classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from latentcli.config import VectorMethod
from latentcli.errors import ConfigError
from latentcli.model.prior import Geometry

METHODS: dict[VectorMethod, str] = {
    "mean": "mean difference",
    "lda": "linear discriminant",
    "logistic": "logistic regression",
    "svm": "linear support vector machine",
}
_VARIANCE_KEPT = 0.5  # a vector fitted on few images keeps the principal directions with this share of the variance
_FEW_IN_CELL = 20  # images; balancing cells with fewer of a class are listed as thin


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled latents that a concept vector is fitted to or measured on."""

    z: np.ndarray  # (n, latent_dim) float64
    shows: np.ndarray  # (n,) bool: whether the latent's image shows the concept
    cells: Mapping[str, np.ndarray] = field(default_factory=dict)  # (n,) int codes of each column to balance by
    pairs: np.ndarray | None = None  # (n,) int: the two latents of a pair share a number

    def __len__(self) -> int:
        return len(self.z)

    def take(self, rows: np.ndarray) -> "Examples":
        """The subset of examples that `rows`, indices or a boolean mask, selects."""
        cells = {column: codes[rows] for column, codes in self.cells.items()}
        return Examples(self.z[rows], self.shows[rows], cells, None if self.pairs is None else self.pairs[rows])

    def shuffled(self, rng: np.random.Generator) -> "Examples":
        """The examples with permuted labels and without pairs, to measure what chance alone reaches."""
        return replace(self, shows=rng.permutation(self.shows), pairs=None)

    def halves(self, rng: np.random.Generator) -> "tuple[Examples, Examples]":
        """Two random halves of the examples, stratified by class; both latents of a pair go to the same half."""
        if self.pairs is not None:
            numbers = rng.permutation(np.unique(self.pairs))
            first = np.isin(self.pairs, numbers[: len(numbers) // 2])
        else:
            first = np.zeros(len(self), dtype=bool)
            for kind in (True, False):
                rows = rng.permutation(np.flatnonzero(self.shows == kind))
                first[rows[: len(rows) // 2]] = True
        return self.take(first), self.take(~first)


@dataclass(frozen=True, slots=True)
class FitSettings:
    """Settings of fitting a concept vector: method, orthogonalisation and shrinkage."""

    method: VectorMethod = "mean"
    orthogonal_to: tuple[str, ...] = ()  # names of the model's vectors to make the new one orthogonal to
    whitened: bool = True  # orthogonal in the metric of the latents' inverse covariance, else in the Euclidean one
    others: Sequence[np.ndarray] = ()  # directions (latent_dim,) of the vectors in `orthogonal_to`
    shrunk: bool | None = None  # project onto leading principal directions; None: if images < 2 x dimensions

    def resolved(self, examples: Examples) -> "FitSettings":
        """A copy whose `shrunk` is True or False, decided by the number of `examples`, so that subsets agree on it."""
        few = len(examples) < 2 * examples.z.shape[1]
        return replace(self, shrunk=few if self.shrunk is None else self.shrunk)


@dataclass(frozen=True, slots=True)
class Direction:
    """A direction fitted to labelled latents, with notes on how it was found."""

    v: np.ndarray  # (latent_dim,): an edit of strength 1.0 adds it once
    kept: float = 1.0  # share of its length left after orthogonalising
    balanced: str = ""  # columns it is balanced by and the way of balancing, in words
    thin: tuple[str, ...] = ()  # cells (combinations of the columns' classes) with few images, in words
    dimensions: int | None = None  # principal dimensions left after shrinking; None if not shrunk


def find(examples: Examples, settings: FitSettings, geometry: Geometry) -> Direction:
    """Fit the direction of a concept. Raises ConfigError if a class is empty or orthogonalising leaves nothing.

    The directions in `settings.others` are projected out (Shen et al. 2020, "InterFaceGAN", section 3.3). With
    `settings.whitened` this is done in whitened latents: edits leave the LDA scores of the other concepts unchanged.
    """
    positive, negative = int(examples.shows.sum()), int((~examples.shows).sum())
    if not positive or not negative:
        raise ConfigError(
            f"a vector needs images with and without the concept, got {positive} and {negative} readable ones"
        )
    direction = gap_of(examples)
    v = gap = direction.v
    if settings.method != "mean":
        w = _filter(examples, gap, settings.method)
        v = w * (w @ gap) / (w @ w)  # so far along w that w's own score moves by its class gap
    if settings.resolved(examples).shrunk:
        leading = geometry.leading(_VARIANCE_KEPT)
        v = leading @ (leading.T @ v)
        direction = replace(direction, dimensions=leading.shape[1])
    if settings.others:
        metric = geometry.inverse() if settings.whitened else np.eye(len(v))
        others = np.stack(settings.others)  # (k, latent_dim)
        rest = v - np.linalg.lstsq(others @ metric @ others.T, others @ metric @ v, rcond=None)[0] @ others
        direction = replace(direction, kept=float(np.sqrt(max(0.0, rest @ metric @ rest) / (v @ metric @ v))))
        v = rest
    if not np.linalg.norm(v) > 1e-6 * np.sqrt(np.trace(geometry.covariance)):
        raise ConfigError(
            "nothing of the concept is left after orthogonalising"
            if settings.others
            else "the images with and without the concept have the same mean latent; check the labels"
        )
    return replace(direction, v=v)


def gap_of(examples: Examples) -> Direction:
    """Mean latent with the concept less that without; with columns to balance by, averaged over combinations of values.

    If a combination lacks a class, the result is the concept's coefficient in a least-squares fit of the latents to
    the concept and the columns' values. Raises ConfigError if the columns determine the concept.
    """
    z, shows = examples.z, examples.shows
    plain = np.where(shows, 1 / shows.sum(), -1 / (~shows).sum()) @ z  # the classes are not copied
    if not examples.cells:
        return Direction(plain)
    names, columns = list(examples.cells), " and ".join(examples.cells)
    codes, cell = np.unique(np.stack(list(examples.cells.values()), axis=1), axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    counts = np.stack([np.bincount(cell[shows == kind], minlength=len(codes)) for kind in (True, False)])
    thin = tuple(
        f"{', '.join(f'{name} {value}' for name, value in zip(names, code, strict=True))}: "
        f"{positive} with, {negative} without"
        for code, positive, negative in zip(codes, *counts, strict=True)
        if min(positive, negative) < _FEW_IN_CELL
    )
    if counts.min():
        weights = counts[0] * counts[1] / counts.sum(axis=0)  # Cochran's: the least variance where cells agree
        members = (cell[:, None] == np.arange(len(codes))).astype(np.float64)
        positive_means, negative_means = (
            members[shows == kind].T @ z[shows == kind] / count[:, None]
            for kind, count in zip((True, False), counts, strict=True)
        )
        gap = weights @ (positive_means - negative_means) / weights.sum()
        return Direction(gap, balanced=f"by {columns}, within {len(codes)} cells", thin=thin)
    predictors = [np.ones(len(examples)), shows.astype(np.float64)]
    for column in examples.cells.values():
        predictors += [(column == code).astype(np.float64) for code in np.unique(column)[1:]]
    design = np.stack(predictors, axis=1)
    if np.linalg.matrix_rank(design) < len(predictors):
        raise ConfigError("the concept equals the columns it is balanced by; leave out a `balance_by`")
    gap = np.asarray(np.linalg.lstsq(design, z, rcond=None)[0][1])
    return Direction(gap, balanced=f"by regression on {columns}, since some cells are empty", thin=thin)


def _filter(examples: Examples, gap: np.ndarray, method: VectorMethod) -> np.ndarray:
    """Normal (latent_dim,) of the hyperplane by which `method` separates the classes, their means set `gap` apart."""
    if method == "lda":
        return discriminant(examples, gap)
    z, shows = examples.z, examples.shows
    # Differences between the classes other than the (balanced) gap are removed first.
    z = z - shows[:, None] * (z[shows].mean(axis=0) - z[~shows].mean(axis=0) - gap)
    if method == "logistic":
        from sklearn.linear_model import LogisticRegression

        return np.asarray(LogisticRegression(max_iter=300).fit(z, shows).coef_[0])
    from sklearn.svm import LinearSVC

    return np.asarray(LinearSVC(C=1.0, dual=len(z) < z.shape[1], max_iter=5000).fit(z, shows).coef_[0])


def discriminant(examples: Examples, gap: np.ndarray) -> np.ndarray:
    """Weights (latent_dim,) of a shrinkage LDA: inverse within-class covariance (Ledoit & Wolf 2004) times `gap`."""
    from sklearn.covariance import ledoit_wolf

    z, shows = examples.z, examples.shows
    centred = np.concatenate([z[kind] - z[kind].mean(axis=0) for kind in (shows, ~shows)])
    covariance, _ = ledoit_wolf(centred, assume_centered=True)
    ridge = 1e-9 * np.trace(covariance) + 1e-12
    return np.linalg.solve(covariance + ridge * np.eye(len(gap)), gap)
