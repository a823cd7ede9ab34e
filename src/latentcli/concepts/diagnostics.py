"""Diagnostics of a concept vector, measured on images it was not fitted on, and the verdict that follows."""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from latentcli.concepts.fit import Direction, Examples, FitSettings, discriminant, find
from latentcli.errors import ConfigError
from latentcli.model.prior import Geometry

MIN_HELD_OUT = 20  # held-out images of each class; with fewer the labelled images are cross-validated
_FOLDS = 5
_MIN_MEASURED = 5  # images of each class; with fewer there is no AUC
_MIN_HALVED = 4  # images of each class; with fewer there is no expected cosine
_ROUNDS = 20  # of random halves and of shuffled labels
_SLOW_ROUNDS = 5  # of methods that take long
_KEPT = 1000  # scores of each class that are stored for charts
_ABSENT = 0.65  # AUC of LDA, below which the latent space lacks the concept
_HIDDEN = 0.1  # AUC of LDA above the vector's
_CONFOUNDED = 0.25  # shift of another concept over the vector's own
_SAME = 0.8  # the same, from which the other concept is this one under another name
_UNRELIABLE = 0.7  # expected cosine
_OVERLAPPING = 0.6  # share of the length left after orthogonalising
_GOOD = 0.8  # AUC from which a classifier is called good: Hosmer and Lemeshow, Applied Logistic Regression
SMALL = 8  # latent dimensions: directions of different concepts run into each other


@dataclass(frozen=True, slots=True)
class Shift:
    """Shift of a concept's discriminant by edits of strength 1, in its within-class standard deviations."""

    concept: str
    shift: float
    before: float | None = None  # by the vector before balancing and orthogonalising


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """Figures of a vector, measured once, when it is fitted; None could not be measured."""

    measured_on: str = ""  # which images
    auc: float | None = None  # of the projection
    auc_lda: float | None = None  # of a shrinkage LDA: the most that the latent space encodes linearly
    chance: float | None = None  # AUC that 19 of 20 vectors of shuffled labels stay below
    agreement: float | None = None  # mean cosine of the vectors of random halves
    kept: float = 1.0  # share of the length after orthogonalising
    balanced: str = ""
    thin: tuple[str, ...] = ()  # cells with few images
    dimensions: int | None = None  # left after shrinking
    own_shift: Shift | None = None
    side_effects: tuple[Shift, ...] = ()

    @property
    def steadiness(self) -> float | None:
        """Expected cosine with the vector from unlimited images: Spearman-Brown, from halves to the whole."""
        if self.agreement is None:
            return None
        r = max(0.0, self.agreement)
        return math.sqrt(2 * r / (1 + r))

    @property
    def shifts(self) -> list[Shift]:
        """The vector's own shift, then its side effects."""
        return [shift for shift in (self.own_shift, *self.side_effects) if shift]

    @property
    def strongest_side_effect(self) -> Shift | None:
        """The largest of them, up or down; None where none was measured."""
        return max(self.side_effects, key=lambda other: abs(other.shift), default=None)


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of the measured images for ROC curves and histograms, (n,) each."""

    projection: np.ndarray
    discriminant: np.ndarray
    shows: np.ndarray  # bool


def measure(
    examples: Examples, held_out: Examples, settings: FitSettings, geometry: Geometry, found: Direction
) -> tuple[Diagnostics, Scores]:
    """Everything that needs latents only; `found` is the direction of all the examples."""
    rng, settings = np.random.default_rng(0), settings.resolved(examples)
    enough = _smaller_class(held_out) >= MIN_HELD_OUT
    splits = [(examples, held_out)] if enough else _folds(examples, settings, geometry, rng)

    def score(direction: Callable[[Examples], np.ndarray]) -> np.ndarray:
        """Scores of the measured images, centred in each fold."""
        scores = [np.zeros(0)]
        for fitted_on, measured in splits:
            w = direction(fitted_on)
            w = w / max(float(np.linalg.norm(w)), 1e-12)
            means = [(fitted_on.z[fitted_on.shows == kind] @ w).mean() for kind in (True, False)]
            scores.append(measured.z @ w - (0.0 if enough else sum(means) / 2))
        return np.concatenate(scores)

    def vector(some: Examples) -> np.ndarray:
        return found.v if some is examples else find(some, settings, geometry).v

    def lda(some: Examples) -> np.ndarray:
        return discriminant(some, some.z[some.shows].mean(axis=0) - some.z[~some.shows].mean(axis=0))

    def chance() -> float:
        area = _auc(shows, score(lambda some: vector(some.shuffled(rng))))
        return 0.5 + abs(area - 0.5)

    def agreement() -> float:
        a, b = (vector(half) for half in examples.halves(rng))
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    rounds = _SLOW_ROUNDS if settings.method in ("logistic", "svm") else _ROUNDS
    shows = np.concatenate([np.zeros(0, dtype=bool), *(measured.shows for _, measured in splits)])
    scores = Scores(score(vector), score(lda), shows)
    control = _repeated(chance, rounds if splits else 0)
    kept = [rng.permutation(np.flatnonzero(shows == kind))[:_KEPT] for kind in (True, False)]
    rows = np.sort(np.concatenate(kept))
    cosines = _repeated(agreement, rounds if _smaller_class(examples) >= _MIN_HALVED else 0)
    images = "held-out images" if enough else f"the images it was fitted on, {_FOLDS}-fold cross-validated"
    counts = f"{int(shows.sum())} with and {int((~shows).sum())} without: {images}"
    diagnostics = Diagnostics(
        measured_on=counts if splits else "too few images",
        auc=_auc(shows, scores.projection) if splits else None,
        auc_lda=_auc(shows, scores.discriminant) if splits else None,
        chance=float(np.quantile(control, 0.95)) if control else None,
        agreement=float(np.mean(cosines)) if cosines else None,
        kept=found.kept,
        balanced=found.balanced,
        thin=found.thin,
        dimensions=found.dimensions,
    )
    return diagnostics, Scores(scores.projection[rows], scores.discriminant[rows], shows[rows])


def _smaller_class(examples: Examples) -> int:
    return int(min(examples.shows.sum(), (~examples.shows).sum())) if len(examples) else 0


def _folds(
    examples: Examples, settings: FitSettings, geometry: Geometry, rng: np.random.Generator
) -> list[tuple[Examples, Examples]]:
    """Examples to fit on and to measure on, both classes in every fold; none where there are too few images."""
    if _smaller_class(examples) < _MIN_MEASURED:
        return []
    fold = np.empty(len(examples), dtype=np.int64)
    for kind in (True, False):
        rows = np.flatnonzero(examples.shows == kind)
        fold[rows] = rng.permutation(np.arange(len(rows)) % _FOLDS)
    if examples.pairs is not None:
        fold = np.unique(examples.pairs, return_inverse=True)[1] % _FOLDS
    splits = [(examples.take(fold != number), examples.take(fold == number)) for number in range(_FOLDS)]
    try:
        for fitted_on, _ in splits:
            find(fitted_on, settings, geometry)
    except ConfigError:  # an empty cell, or the same images in both classes
        return []
    return splits


def _auc(shows: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(shows, scores))


def _repeated(measured: Callable[[], float], rounds: int) -> list[float]:
    """Results of random rounds, but for those that cannot be fitted: a part of few images may have an empty cell."""
    found = []
    for _ in range(rounds):
        with contextlib.suppress(ConfigError):
            found.append(measured())
    return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the figures say of a vector."""

    word: str  # or a few: "good", "weak", "confounded with male"
    advice: str = ""  # the most important problem in one line, with a remedy


def judge(found: Diagnostics, latent_dim: int, has_columns: bool = True) -> Verdict:
    """The verdict on a vector in a latent space of so many dimensions. Only a table has columns to balance by."""
    if found.auc is None or found.auc_lda is None or found.chance is None:
        return Verdict("too few images", "too few images to measure it: label 20 or more of each class")
    remedy = "train with more latent dimensions" if latent_dim <= SMALL else "check the labels"
    if found.auc <= found.chance and found.auc_lda < _ABSENT:
        reach = f"AUC {found.auc:.2f}, and vectors of shuffled labels reach {found.chance:.2f}"
        return Verdict("no better than chance", f"no better than chance: {reach}; {remedy}")
    if found.auc_lda < _ABSENT:
        figure = f"(AUC of LDA {found.auc_lda:.2f}): {remedy}"
        if latent_dim <= SMALL:
            return Verdict("weak", f"the model is too small for this concept {figure}")
        return Verdict("weak", f"this latent space barely encodes the concept {figure}")
    cosine = found.steadiness
    if cosine is not None and cosine < _UNRELIABLE:
        return Verdict(
            "too few images",
            f"too few images: the expected cosine with the vector from unlimited images is {cosine:.2f}",
        )
    if mixed := _mixed(found, latent_dim, has_columns):
        return mixed
    if found.kept < _OVERLAPPING:
        return Verdict(
            "weak", f"only {found.kept:.0%} of its length is left after orthogonalising: the concepts overlap"
        )
    if found.auc_lda - found.auc > _HIDDEN:
        return Verdict(
            "weak",
            f"other factors vary along this direction too (AUC {found.auc:.2f}, LDA {found.auc_lda:.2f}): "
            "balance by a correlated column, or try `method` lda",
        )
    return Verdict("good" if found.auc >= _GOOD else "weak")


def _mixed(found: Diagnostics, latent_dim: int, has_columns: bool) -> Verdict | None:
    """The verdict where edits move another concept, too."""
    worst = found.strongest_side_effect
    if worst is None or found.own_shift is None:
        return None
    own, by = found.own_shift.shift, f"{worst.concept} ({worst.shift:+.2f} sd)"
    if abs(worst.shift) > _SAME * abs(own):
        word = "opposite of" if worst.shift * own < 0 else "same as"
        if latent_dim <= SMALL:  # where few directions differ
            return Verdict(f"{word} {worst.concept}", f"{word} {by} in this {latent_dim}-D latent space")
        return Verdict(f"{word} {worst.concept}", f"nearly the {word} {by}: one vector will do for both")
    if abs(worst.shift) > _CONFOUNDED * abs(own):
        option = "`balance_by`" if has_columns and not found.balanced else "`orthogonal_to`"
        return Verdict(f"confounded with {worst.concept}", f"confounded with {by}: try {option} {worst.concept}")
    return None
