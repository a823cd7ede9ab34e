"""Diagnostics of a concept vector, measured on images that it was not fitted on, and a verdict on its quality."""

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from latentcli.concepts.fit import Direction, Examples, FitSettings, Weights, discriminant, find, gap_of, orthogonalised
from latentcli.concepts.shrink import means
from latentcli.errors import ConfigError
from latentcli.model.prior import Geometry

MIN_HELD_OUT = 50  # held-out images of each class, so that percentiles are images; with fewer there are folds
SMALL = 8  # a latent space of up to 8 dimensions has too few directions to tell concepts apart
_FOLDS = 5  # of the cross-validation
_MIN_MEASURED = 5  # images of each class; with fewer there is no AUC
_MIN_HALVED = 4  # images of each class; with fewer there is no expected cosine
_HALVINGS = 5  # fits to random halves, of classifiers
_SHUFFLES, _SLOW_SHUFFLES = 199, 19  # fits to permuted labels: of differences of means, and of classifiers
_BY_CHANCE = 0.05  # p-value above which a vector is no better than chance
_ROUNDING = 1e-12  # errors of projections, relative to their size
_STORED = 1000  # most scores of each class that are stored for charts
_ABSENT = 0.65  # below this AUC of LDA the latent space does not encode the concept
_HIDDEN = 0.1  # if LDA's AUC exceeds the vector's by more, other factors vary along the vector
_CONFOUNDED = 0.25  # if another concept shifts by more than this share of the vector's own shift, both are confounded
_SAME = 0.8  # if another concept shifts by more than this share of the vector's own shift, both are the same
_UNRELIABLE = 0.7  # below this expected cosine the vector was fitted on too few images
_OVERLAPPING = 0.6  # if orthogonalising leaves a smaller share of the length, the concepts overlap
_GOOD = 0.8  # AUC from which a classifier is called good: Hosmer and Lemeshow, Applied Logistic Regression


@dataclass(frozen=True, slots=True)
class Shift:
    """Mean change of the LDA score of `concept` by edits of strength 1 along a vector, in within-class deviations."""

    concept: str
    shift: float
    before: float | None = None  # shift by the vector as it was before balancing and orthogonalising


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """Quality measures of a concept vector, taken when it is fitted; None stands for a measure without enough images.

    A cell is a set of images that agree in every table column that the vector is balanced by.
    """

    measured_on: str = ""  # number and kind of the measured images, in words
    auc: float | None = None  # of projections onto the vector
    auc_lda: float | None = None  # of a shrinkage LDA: the most that the latent space encodes linearly
    auc_all: float | None = None  # AUC with the held-out images between the classes' thresholds; None without any
    gap: float | None = None  # class gap of the projections, in within-class standard deviations
    margin: float | None = None  # half the width of the gap's 95 % interval
    chance: float | None = None  # AUC that 19 of 20 vectors of permuted labels stay below
    p_value: float | None = None  # (k + 1) / (n + 1) for k of n vectors of permuted labels with this AUC or more
    shuffles: int = 0  # n
    cosine: float | None = None  # expected, with the vector from unlimited images
    kept: float = 1.0  # share of the vector's length left after orthogonalising
    balanced: str = ""  # columns it is balanced by and the way of balancing, in words
    thin: tuple[str, ...] = ()  # cells with few images of a class, in words
    own_shift: Shift | None = None  # of the concept that the vector was fitted to
    side_effects: tuple[Shift, ...] = ()  # shifts of other concepts

    @property
    def chance_in_words(self) -> str:
        """What vectors of permuted labels reach, with the p-value; "" if that was not measured."""
        if self.chance is None or self.p_value is None:
            return ""
        p = f"p = {self.p_value:.3f} by {self.shuffles} shuffles"
        return f"vectors of shuffled labels reach AUC {self.chance:.2f}; {p}"

    @property
    def shifts(self) -> list[Shift]:
        """Shift of the vector's own concept, if measured, then its side effects: shifts of other concepts."""
        return [shift for shift in (self.own_shift, *self.side_effects) if shift]

    @property
    def strongest_side_effect(self) -> Shift | None:
        """The side effect with the largest shift, up or down; None where none was measured."""
        return max(self.side_effects, key=lambda effect: abs(effect.shift), default=None)


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores (n,) of the measured images."""

    projection: np.ndarray  # onto the vector
    discriminant: np.ndarray  # of a shrinkage LDA
    shows: np.ndarray  # bool: whether the image shows the concept

    def some(self) -> "Scores":
        """Scores of up to 1,000 images of each class, for ROC curves and histograms."""
        rng = np.random.default_rng(0)
        some = [rng.permutation(np.flatnonzero(self.shows == kind))[:_STORED] for kind in (True, False)]
        rows = np.sort(np.concatenate(some))
        return Scores(self.projection[rows], self.discriminant[rows], self.shows[rows])


def within(scores: np.ndarray, shows: np.ndarray) -> float:
    """Pooled within-class standard deviation of `scores` (n,), 0 for rounding errors; `shows` (n,) bool are classes."""
    around = np.concatenate([scores[shows == kind] - scores[shows == kind].mean() for kind in (True, False)])
    deviation = float(np.sqrt(np.square(around).sum() / max(1, len(around) - 2)))
    return deviation if deviation > _ROUNDING * np.abs(scores).max() else 0.0


@dataclass(frozen=True, slots=True)
class _Folds:
    """Labelled images in folds: directions are fitted to all but one fold and measured on it."""

    examples: Examples
    fold: np.ndarray  # (n,) int
    measured: tuple[int, ...]  # folds to measure on, one after the other

    def fitted_on(self) -> Iterator[Examples]:
        """For each measured fold the other images."""
        return (self.examples.take(self.fold != number) for number in self.measured)

    @property
    def rows(self) -> np.ndarray:
        """Rows (n,) of the measured images, fold after fold."""
        return np.concatenate([np.flatnonzero(self.fold == number) for number in self.measured])

    def projections(self, directions: Iterable[np.ndarray]) -> np.ndarray:
        """Projections of the measured images, from the mean of the images that the fold's directions were fitted to.

        For each measured fold, `directions` has a vector (latent_dim,) or k of them (k, latent_dim), of any length; the
        projections are (n,) or (n, k).
        """
        found = []
        for number, v in zip(self.measured, directions, strict=True):
            units = v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)
            outside = self.fold != number
            found.append((self.examples.z[~outside] - self.examples.z[outside].mean(axis=0)) @ units.T)
        return np.concatenate(found)

    def shuffles(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Permutations (count, n) of the labels that keep the counts of folds and cells, or that swap within pairs."""
        if self.examples.pairs is not None:
            order = np.argsort(self.examples.pairs, kind="stable").reshape(-1, 2)
            swapped = [np.where(rng.random((len(order), 1)) < 0.5, order, order[:, ::-1]) for _ in range(count)]
        else:
            group = self.fold + (1 + self.fold.max()) * self.examples.combinations()[0]
            order = np.argsort(group, kind="stable")
            swapped = [np.lexsort((rng.random(len(group)), group)) for _ in range(count)]
        permutations = np.empty((count, len(self.fold)), dtype=np.int64)
        permutations[:, order] = np.stack(swapped)
        return permutations


def measure(
    examples: Examples,
    held_out: Examples,
    settings: FitSettings,
    geometry: Geometry,
    direction: Direction,
    between: Examples | None = None,
    each: float = 1.0,
) -> tuple[Diagnostics, Scores | None]:
    """Diagnostics of `direction`, fitted to `examples` with `settings`, and scores; shifts are left unset.

    Measured are `held_out`, or, if one of its classes has fewer than 50 images, `examples` by cross-validation; with
    fewer than 5 nothing is, and there are no scores. `between` are images whose labels lie between the thresholds of
    the classes; each stands for `each` of them.
    """
    rng = np.random.default_rng(0)
    diagnostics = Diagnostics(
        measured_on="too few images",
        cosine=_expected_cosine(examples, settings, geometry, direction, rng),
        kept=direction.kept,
        balanced=direction.balanced,
        thin=direction.thin,
    )
    folds = _folds(examples, held_out, rng)
    if folds is None:
        return diagnostics, None
    is_held_out = len(folds.measured) == 1
    try:
        fits = [direction.v] if is_held_out else [find(part, settings, geometry).v for part in folds.fitted_on()]
    except ConfigError:  # an empty cell, or the same images in both classes
        return diagnostics, None
    unit = direction.v / np.linalg.norm(direction.v)
    projection = folds.projections(fits) + examples.z.mean(axis=0) @ unit
    measured = folds.examples.take(folds.rows)
    shows, sigma = measured.shows, within(projection, measured.shows)
    discriminants = (discriminant(part, gap_of(replace(part, cells={}))) for part in folds.fitted_on())
    scores = Scores(projection, folds.projections(discriminants), shows)
    auc, auc_lda = areas(np.stack([projection, scores.discriminant], axis=1), shows[:, None])
    by_chance = _areas_by_chance(folds, settings, geometry, rng)
    gap, error = _gap(replace(measured, z=projection[:, None]), None if is_held_out else direction)
    kind = "held-out images" if is_held_out else f"the images it was fitted on, {_FOLDS}-fold cross-validated"
    return replace(
        diagnostics,
        measured_on=f"{int(shows.sum())} with and {int((~shows).sum())} without: {kind}",
        auc=float(auc),
        auc_lda=float(auc_lda),
        auc_all=None if between is None else _area_of_all(scores, between.z @ unit, between.shows, each),
        chance=float(np.quantile(by_chance, 0.95)),
        p_value=float((1 + (by_chance >= auc).sum()) / (1 + len(by_chance))),
        shuffles=len(by_chance),
        gap=gap / sigma if sigma > 0 else None,
        margin=error / sigma if sigma > 0 else None,
    ), scores


def _smaller_class(examples: Examples) -> int:
    return int(min(examples.shows.sum(), (~examples.shows).sum()))


def _folds(examples: Examples, held_out: Examples, rng: np.random.Generator) -> _Folds | None:
    """Folds to measure on: `held_out` if it has enough images, else five of `examples`; None if they are too few."""
    if _smaller_class(held_out) >= MIN_HELD_OUT:
        return _Folds(examples.joined(held_out), np.repeat([0, 1], [len(examples), len(held_out)]), (1,))
    if _smaller_class(examples) < _MIN_MEASURED:
        return None
    fold = np.empty(len(examples), dtype=np.int64)
    for kind in (True, False):
        rows = np.flatnonzero(examples.shows == kind)
        fold[rows] = rng.permutation(np.arange(len(rows)) % _FOLDS)
    if examples.pairs is not None:
        fold = np.unique(examples.pairs, return_inverse=True)[1] % _FOLDS
    return _Folds(examples, fold, tuple(range(_FOLDS)))


def areas(scores: np.ndarray, shows: np.ndarray) -> np.ndarray:
    """Areas under the ROC curves (k,) of `scores` (n, k) for the classes `shows`, (n, k) or (n, 1): Mann-Whitney."""
    from scipy.stats import rankdata

    positives, negatives = shows.sum(axis=0), (~shows).sum(axis=0)
    sums = (rankdata(scores, axis=0) * shows).sum(axis=0)
    return np.asarray((sums - positives * (positives + 1) / 2) / (positives * negatives))


def _area_of_all(scores: Scores, between: np.ndarray, shows: np.ndarray, each: float) -> float:
    """AUC on the measured images and those `between` the thresholds, each of which stands for `each` images."""
    from sklearn.metrics import roc_auc_score

    weights = np.repeat([1.0, each], [len(scores.shows), len(between)])
    classes, projections = np.append(scores.shows, shows), np.append(scores.projection, between)
    return float(roc_auc_score(classes, projections, sample_weight=weights))


def _gap(measured: Examples, cross_validated: Direction | None) -> tuple[float, float]:
    """Class gap of the projections `measured.z` (n, 1), and half the width of its 95 % interval (Student's t).

    In cross-validation each image is measured by directions that were fitted to the others, and is among those that
    the others are measured by. That adds to the variance what the directions' own error does to the projections of as
    many other images: tr (W N)^2 / |W gap|^2 for the shrinking W, and at most once more what is there.
    """
    from scipy.stats import t

    try:
        weights = Weights.of(measured)
    except ConfigError:  # the columns to balance by determine the concept in these few
        weights = Weights.of(replace(measured, cells={}))
    noise = weights.noise(measured, measured.z.var(axis=0, keepdims=True))
    variance = float(noise.covariance[0, 0])
    if cross_validated is not None:
        estimate = cross_validated.estimate
        variance += variance if estimate is None else estimate.wander
    return float(weights.w @ measured.z[:, 0]), float(t.ppf(0.975, noise.freedom) * math.sqrt(variance))


def _areas_by_chance(folds: _Folds, settings: FitSettings, geometry: Geometry, rng: np.random.Generator) -> np.ndarray:
    """AUCs (k,) of vectors fitted to permuted labels, on images with permuted labels: what chance reaches."""
    is_fast = settings.method == "mean"
    permutations = folds.shuffles(_SHUFFLES if is_fast else _SLOW_SHUFFLES, rng)
    directions = []
    for number, part in zip(folds.measured, folds.fitted_on(), strict=True):
        outside = folds.fold != number
        place = np.cumsum(outside) - 1  # permutations keep to their folds
        inner = place[permutations[:, outside]]
        if is_fast:
            weights = Weights.of(part)
            shuffled = weights.w[inner]
            noise = replace(weights, w=shuffled[0]).noise(part, geometry.covariance)
            directions.append(orthogonalised(means(shuffled @ part.z, noise, geometry), settings, geometry))
        else:
            found = np.zeros((len(inner), part.z.shape[1]))
            for v, rows in zip(found, inner, strict=True):
                with contextlib.suppress(ConfigError):  # both classes have the same mean: the direction 0
                    v[:] = find(replace(part, shows=part.shows[rows]), settings, geometry).v
            directions.append(found)
    return areas(folds.projections(directions), folds.examples.shows[permutations[:, folds.rows]].T)


def _expected_cosine(
    examples: Examples, settings: FitSettings, geometry: Geometry, direction: Direction, rng: np.random.Generator
) -> float | None:
    """Expected cosine between `direction` and one from unlimited images; None if there are too few to estimate it.

    Of a difference of means the estimate that shrinks it gives it; of a classifier the formula of Spearman and Brown
    for vectors that are not shrunk, fitted to random halves.
    """
    if _smaller_class(examples) < _MIN_HALVED:
        return None
    if settings.method == "mean" and direction.estimate is not None:
        return direction.estimate.cosine
    plain, cosines = replace(settings, shrunk=False), []
    for _ in range(_HALVINGS):
        with contextlib.suppress(ConfigError):  # an empty cell
            a, b = (find(half, plain, geometry).v for half in examples.halves(rng))
            cosines.append(float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))))
    if not cosines:
        return None
    r = max(0.0, float(np.mean(cosines)))
    return math.sqrt(2 * r / (1 + r))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Judgement of whether a concept vector can be trusted."""

    word: str  # one or a few words, like "good", "weak" or "confounded with male"
    advice: str = ""  # the vector's most important problem in one line, with a remedy


def judge(figures: Diagnostics, latent_dim: int, has_columns: bool = True) -> Verdict:
    """Verdict, like `good` or `too few images`, by the most important problem in a vector's diagnostics, `figures`.

    `has_columns` says whether labels come from a table, so that the advice may be to balance by one of its columns.
    """
    auc, auc_lda, chance, p_value = figures.auc, figures.auc_lda, figures.chance, figures.p_value
    cosine, worst = figures.cosine, figures.strongest_side_effect
    if auc is None or auc_lda is None or chance is None or p_value is None:
        return Verdict("too few images", "too few images to measure it: label 20 or more of each class")
    remedy = "train with more latent dimensions" if latent_dim <= SMALL else "check the labels, or label more images"
    if p_value > _BY_CHANCE:
        reach = f"AUC {auc:.2f}, and vectors of shuffled labels reach {chance:.2f}"
        return Verdict("no better than chance", f"no better than chance: {reach}; {remedy}")
    if auc_lda < _ABSENT:
        is_small = "the model is too small for this concept"
        problem = is_small if latent_dim <= SMALL else "this latent space barely encodes the concept"
        return Verdict("weak", f"{problem} (AUC of LDA {auc_lda:.2f}): {remedy}")
    if cosine is not None and cosine < _UNRELIABLE:
        advice = f"too few images: the expected cosine with the vector from unlimited images is {cosine:.2f}"
        return Verdict("too few images", advice)
    if worst and figures.own_shift:
        own, effect = figures.own_shift.shift, f"{worst.concept} ({worst.shift:+.2f} sd)"
        if abs(worst.shift) > _SAME * abs(own):
            word = "opposite of" if worst.shift * own < 0 else "same as"
            in_few = f"{word} {effect} in this {latent_dim}-D latent space"  # where few directions differ
            advice = in_few if latent_dim <= SMALL else f"nearly the {word} {effect}: one vector will do for both"
            return Verdict(f"{word} {worst.concept}", advice)
        if abs(worst.shift) > _CONFOUNDED * abs(own):
            option = "`balance_by`" if has_columns and not figures.balanced else "`orthogonal_to`"
            advice = f"confounded with {effect}: try {option} {worst.concept}"
            return Verdict(f"confounded with {worst.concept}", advice)
    if figures.kept < _OVERLAPPING:
        advice = f"only {figures.kept:.0%} of its length is left after orthogonalising: the concepts overlap"
        return Verdict("weak", advice)
    if auc_lda - auc > _HIDDEN:
        problem = f"other factors vary along this direction too (AUC {auc:.2f}, LDA {auc_lda:.2f})"
        return Verdict("weak", f"{problem}: balance by a correlated column, or try `method` lda")
    return Verdict("good" if auc >= _GOOD else "weak")
