"""Directions from labelled latents: the difference of means, balanced, orthogonalised, shrunk or from a classifier.

The difference of means is a weighted sum of the latents, whichever way it is balanced. Its error follows from the
weights, and `shrink` makes the most probable direction and an unbiased length of it. A classifier's direction is a
filter: it leaves out whatever the concept shares with noise, and edits along it are weak (Haufe et al. 2014; Pahde et
al. 2025). The difference of means is the pattern itself, so it is the default; directions of classifiers are rescaled
to its gap between the classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from latentcli.concepts.shrink import Estimate, Noise, estimate
from latentcli.config import VectorMethod
from latentcli.errors import ConfigError
from latentcli.model.prior import Geometry

METHODS: dict[VectorMethod, str] = {
    "mean": "mean difference",
    "lda": "linear discriminant",
    "logistic": "logistic regression",
    "svm": "linear support vector machine",
}
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

    def combinations(self) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """Cells, the combinations of values of the columns to balance by; without columns there is one.

        Returns the cell of each latent (n,), the images with (row 0) and without the concept in each, and in words the
        cells in which few images are of a class.
        """
        if not self.cells:
            return np.zeros(len(self), dtype=np.int64), np.array([[self.shows.sum()], [(~self.shows).sum()]]), ()
        codes, cell = np.unique(np.stack(list(self.cells.values()), axis=1), axis=0, return_inverse=True)
        cell = cell.reshape(-1)
        counts = np.stack([np.bincount(cell[self.shows == kind], minlength=len(codes)) for kind in (True, False)])
        thin = tuple(
            f"{', '.join(f'{name} {value}' for name, value in zip(self.cells, code, strict=True))}: "
            f"{positive} with, {negative} without"
            for code, positive, negative in zip(codes, *counts, strict=True)
            if min(positive, negative) < _FEW_IN_CELL
        )
        return cell, counts, thin

    def joined(self, other: "Examples") -> "Examples":
        """These examples, then those of `other`, which has the same columns; pairs stay pairs."""
        cells = {column: np.append(codes, other.cells[column]) for column, codes in self.cells.items()}
        pairs = None if self.pairs is None or other.pairs is None else np.append(self.pairs, other.pairs)
        return Examples(np.concatenate([self.z, other.z]), np.append(self.shows, other.shows), cells, pairs)

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
    shrunk: bool = True  # the posterior mean of the class gap stands for the observed one


@dataclass(frozen=True, slots=True)
class Direction:
    """A direction fitted to labelled latents, with notes on how it was found."""

    v: np.ndarray  # (latent_dim,): an edit of strength 1.0 adds it once
    kept: float = 1.0  # share of its length left after orthogonalising
    balanced: str = ""  # columns it is balanced by and the way of balancing, in words
    thin: tuple[str, ...] = ()  # cells (combinations of the columns' classes) with few images, in words
    estimate: Estimate | None = None  # of the class gap, before orthogonalising; None if not shrunk


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
    weights, found, kept = Weights.of(examples), None, 1.0
    gap = v = weights.w @ examples.z
    if settings.shrunk and np.any(gap):
        found = estimate(gap, weights.noise(examples, geometry.covariance), geometry)
        gap = found.mean
        v = gap * found.length / max(float(np.linalg.norm(gap)), 1e-12)
    if settings.method != "mean":
        w = _filter(examples, gap, settings.method)
        v = w * (w @ gap) / max(w @ w, 1e-300)  # so far along w that w's own score moves by its class gap
    rest = orthogonalised(v[None], settings, geometry)[0]
    if settings.others:
        metric = _metric(settings, geometry)
        kept = float(np.sqrt(max(0.0, rest @ metric @ rest) / max(v @ metric @ v, 1e-300)))
    if not np.linalg.norm(rest) > 1e-6 * np.sqrt(np.trace(geometry.covariance)):
        raise ConfigError(
            "nothing of the concept is left after orthogonalising"
            if settings.others
            else "the images with and without the concept have the same mean latent; check the labels"
        )
    return Direction(rest, kept, weights.balanced, weights.thin, found)


def orthogonalised(v: np.ndarray, settings: FitSettings, geometry: Geometry) -> np.ndarray:
    """Directions `v` (n, latent_dim) without their parts along `settings.others`."""
    if not settings.others:
        return v
    metric, others = _metric(settings, geometry), np.stack(settings.others)  # (k, latent_dim)
    parts = np.linalg.lstsq(others @ metric @ others.T, others @ metric @ v.T, rcond=None)[0]  # (k, n)
    return np.asarray(v - parts.T @ others)


def _metric(settings: FitSettings, geometry: Geometry) -> np.ndarray:
    """Metric (latent_dim, latent_dim) in which directions are made orthogonal."""
    return geometry.inverse() if settings.whitened else np.eye(len(geometry.mean))


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of latents whose sum is the class gap: a regression on the concept and what it is balanced by."""

    w: np.ndarray  # (n,): in a plain difference of means 1 over the images with the concept, or -1 over those without
    nuisance: np.ndarray  # (n, k): orthonormal basis of what is regressed out: the mean, or cells, or columns
    balanced: str = ""  # columns it is balanced by and the way of balancing, in words
    thin: tuple[str, ...] = ()  # cells with few images, in words

    @classmethod
    def of(cls, examples: Examples) -> "Weights":
        """Weights for `examples`; with columns to balance by, classes are compared within combinations of values.

        Cells count by the harmonic mean of their classes' sizes: Cochran's weights, and those of least squares with a
        constant for each cell. If a cell lacks a class, the columns' values have constants of their own instead.
        Raises ConfigError if the columns determine the concept.
        """
        shows, columns = examples.shows.astype(np.float64), " and ".join(examples.cells)
        cell, counts, thin = examples.combinations()
        if counts.min():
            balanced = f"by {columns}, within {counts.shape[1]} cells" if columns else ""
            nuisance = (cell[:, None] == np.arange(counts.shape[1])) / np.sqrt(counts.sum(axis=0))
        else:
            balanced = f"by regression on {columns}, since some cells are empty"
            values = [column[:, None] == np.unique(column) for column in examples.cells.values()]
            bases, sizes, _ = np.linalg.svd(np.concatenate(values, axis=1).astype(np.float64), full_matrices=False)
            nuisance = bases[:, sizes > 1e-9 * sizes[0]]
        rest = shows - nuisance @ (nuisance.T @ shows)
        if not rest @ shows > 1e-9 * len(shows):
            raise ConfigError("the concept equals the columns it is balanced by; leave out a `balance_by`")
        return cls(rest / (rest @ shows), nuisance, balanced, thin)

    def noise(self, examples: Examples, covariance: np.ndarray) -> Noise:
        """Covariance of the class gap's error, from residuals of the regression; a pair counts as one observation.

        Where the regression leaves no residuals, latents scatter by `covariance` (latent_dim, latent_dim).
        """
        z, w = examples.z, self.w
        residuals = z - self.nuisance @ (self.nuisance.T @ z)
        residuals -= np.outer(w / (w @ w), w @ z)
        residuals *= w[:, None]
        parameters = self.nuisance.shape[1] + 1
        if examples.pairs is not None:
            pair = np.unique(examples.pairs, return_inverse=True)[1]
            order = np.argsort(pair, kind="stable")
            residuals = np.add.reduceat(residuals[order], np.flatnonzero(np.diff(pair[order], prepend=-1)))
            parameters -= 1  # the pairs' means are taken out with the mean
        freedom = len(residuals) - parameters
        if freedom < 1:  # one image of each class: as noisy as any latent
            return Noise(w @ w * covariance.astype(np.float64), 1)
        return Noise(residuals.T @ residuals * (len(residuals) / freedom), freedom)


def gap_of(examples: Examples) -> np.ndarray:
    """Observed class gap (latent_dim,): mean latent with the concept less that without, balanced by the cells."""
    return np.asarray(Weights.of(examples).w @ examples.z)


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

    return np.asarray(LinearSVC(C=1.0, dual=len(z) < z.shape[1], max_iter=5000, random_state=0).fit(z, shows).coef_[0])


def discriminant(examples: Examples, gap: np.ndarray) -> np.ndarray:
    """Weights (latent_dim,) of a shrinkage LDA: inverse within-class covariance (Ledoit & Wolf 2004) times `gap`."""
    from sklearn.covariance import ledoit_wolf

    z, shows = examples.z, examples.shows
    centred = np.concatenate([z[kind] - z[kind].mean(axis=0) for kind in (shows, ~shows)])
    covariance, _ = ledoit_wolf(centred, assume_centered=True)
    ridge = 1e-9 * np.trace(covariance) + 1e-12
    return np.linalg.solve(covariance + ridge * np.eye(len(gap)), gap)
