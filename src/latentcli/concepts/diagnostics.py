"""Diagnostics of a concept vector, measured on images that it was not fitted on, and a verdict on its quality."""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from latentcli.concepts.fit import Direction, Examples, FitSettings, discriminant, find
from latentcli.errors import ConfigError
from latentcli.model.prior import Geometry

MIN_HELD_OUT = 20  # held-out images of each class; with fewer the labelled images are cross-validated
SMALL = 8  # a latent space of up to 8 dimensions has too few directions to tell concepts apart
_FOLDS = 5  # of the cross-validation
_MIN_MEASURED = 5  # images of each class; with fewer there is no AUC
_MIN_HALVED = 4  # images of each class; with fewer there is no expected cosine
_ROUNDS = 20  # fits to random halves, and fits to shuffled labels
_SLOW_ROUNDS = 5  # the same for logistic regression and SVM, which are slow
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
    chance: float | None = None  # AUC that 19 of 20 vectors of shuffled labels stay below
    agreement: float | None = None  # mean cosine between vectors fitted to random halves
    kept: float = 1.0  # share of the vector's length left after orthogonalising
    balanced: str = ""  # columns it is balanced by and the way of balancing, in words
    thin: tuple[str, ...] = ()  # cells with few images of a class, in words
    dimensions: int | None = None  # principal dimensions left after shrinking; None if not shrunk
    own_shift: Shift | None = None  # of the concept that the vector was fitted to
    side_effects: tuple[Shift, ...] = ()  # shifts of other concepts

    @property
    def steadiness(self) -> float | None:
        """Expected cosine between the vector and one fitted to unlimited images: Spearman-Brown of `agreement`."""
        if self.agreement is None:
            return None
        r = max(0.0, self.agreement)
        return math.sqrt(2 * r / (1 + r))

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
    """Scores (n,) of the measured images, for ROC curves and histograms."""

    projection: np.ndarray  # onto the vector
    discriminant: np.ndarray  # of a shrinkage LDA
    shows: np.ndarray  # bool: whether the image shows the concept


def measure(
    examples: Examples, held_out: Examples, settings: FitSettings, geometry: Geometry, direction: Direction
) -> tuple[Diagnostics, Scores]:
    """Diagnostics of `direction`, fitted to `examples` with `settings`, and scores for charts; shifts are left unset.

    Measured are `held_out`, or, if one of its classes has fewer than 20 images, `examples` by cross-validation.
    """
    from sklearn.metrics import roc_auc_score

    rng, settings = np.random.default_rng(0), settings.resolved(examples)
    enough = _smaller_class(held_out) >= MIN_HELD_OUT
    splits = [(examples, held_out)] if enough else _folds(examples, settings, geometry, rng)
    shows = np.concatenate([np.zeros(0, dtype=bool), *(measured.shows for _, measured in splits)])

    def fitted(part: Examples) -> np.ndarray:
        return direction.v if part is examples else find(part, settings, geometry).v

    def fitted_lda(part: Examples) -> np.ndarray:
        return discriminant(part, part.z[part.shows].mean(axis=0) - part.z[~part.shows].mean(axis=0))

    def score(fit: Callable[[Examples], np.ndarray]) -> np.ndarray:
        """Projections of all measured images, each onto the unit direction that `fit` returns for its training part."""
        scores = [np.zeros(0)]
        for fitted_on, measured in splits:
            w = fit(fitted_on)
            w = w / max(float(np.linalg.norm(w)), 1e-12)
            means = [(fitted_on.z[fitted_on.shows == kind] @ w).mean() for kind in (True, False)]
            scores.append(measured.z @ w - (0.0 if enough else sum(means) / 2))
        return np.concatenate(scores)

    def chance() -> float:
        area = roc_auc_score(shows, score(lambda part: fitted(part.shuffled(rng))))
        return 0.5 + abs(float(area) - 0.5)

    def agreement() -> float:
        a, b = (fitted(half) for half in examples.halves(rng))
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    rounds = _SLOW_ROUNDS if settings.method in ("logistic", "svm") else _ROUNDS
    projection, lda = score(fitted), score(fitted_lda)
    areas = _repeated(chance, rounds if splits else 0)
    stored = [rng.permutation(np.flatnonzero(shows == kind))[:_STORED] for kind in (True, False)]
    rows = np.sort(np.concatenate(stored))
    cosines = _repeated(agreement, rounds if _smaller_class(examples) >= _MIN_HALVED else 0)
    images = "held-out images" if enough else f"the images it was fitted on, {_FOLDS}-fold cross-validated"
    counts = f"{int(shows.sum())} with and {int((~shows).sum())} without: {images}"
    diagnostics = Diagnostics(
        measured_on=counts if splits else "too few images",
        auc=float(roc_auc_score(shows, projection)) if splits else None,
        auc_lda=float(roc_auc_score(shows, lda)) if splits else None,
        chance=float(np.quantile(areas, 0.95)) if areas else None,
        agreement=float(np.mean(cosines)) if cosines else None,
        kept=direction.kept,
        balanced=direction.balanced,
        thin=direction.thin,
        dimensions=direction.dimensions,
    )
    return diagnostics, Scores(projection[rows], lda[rows], shows[rows])


def _smaller_class(examples: Examples) -> int:
    return int(min(examples.shows.sum(), (~examples.shows).sum()))


def _folds(
    examples: Examples, settings: FitSettings, geometry: Geometry, rng: np.random.Generator
) -> list[tuple[Examples, Examples]]:
    """Cross-validation splits, (examples to fit, examples to measure); empty if there are too few images to fit."""
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


def _repeated(measured: Callable[[], float], rounds: int) -> list[float]:
    """Results of calling `measured` `rounds` times; calls that raise ConfigError, for want of images, are skipped."""
    results = []
    for _ in range(rounds):
        with contextlib.suppress(ConfigError):
            results.append(measured())
    return results


@dataclass(frozen=True, slots=True)
class Verdict:
    """Judgement of whether a concept vector can be trusted."""

    word: str  # one or a few words, like "good", "weak" or "confounded with male"
    advice: str = ""  # the vector's most important problem in one line, with a remedy


def judge(figures: Diagnostics, latent_dim: int, has_columns: bool = True) -> Verdict:
    """Verdict, like `good` or `too few images`, by the most important problem in a vector's diagnostics, `figures`.

    `has_columns` says whether labels come from a table, so that the advice may be to balance by one of its columns.
    """
    auc, auc_lda, chance = figures.auc, figures.auc_lda, figures.chance
    cosine, worst = figures.steadiness, figures.strongest_side_effect
    if auc is None or auc_lda is None or chance is None:
        return Verdict("too few images", "too few images to measure it: label 20 or more of each class")
    remedy = "train with more latent dimensions" if latent_dim <= SMALL else "check the labels"
    if auc <= chance and auc_lda < _ABSENT:
        reach = f"AUC {auc:.2f}, and vectors of shuffled labels reach {chance:.2f}"
        return Verdict("no better than chance", f"no better than chance: {reach}; {remedy}")
    if auc_lda < _ABSENT:
        if latent_dim <= SMALL:
            return Verdict("weak", f"the model is too small for this concept (AUC of LDA {auc_lda:.2f}): {remedy}")
        return Verdict("weak", f"this latent space barely encodes the concept (AUC of LDA {auc_lda:.2f}): {remedy}")
    if cosine is not None and cosine < _UNRELIABLE:
        advice = f"too few images: the expected cosine with the vector from unlimited images is {cosine:.2f}"
        return Verdict("too few images", advice)
    if worst and figures.own_shift:
        own, effect = figures.own_shift.shift, f"{worst.concept} ({worst.shift:+.2f} sd)"
        if abs(worst.shift) > _SAME * abs(own):
            word = "opposite of" if worst.shift * own < 0 else "same as"
            if latent_dim <= SMALL:  # where few directions differ
                return Verdict(f"{word} {worst.concept}", f"{word} {effect} in this {latent_dim}-D latent space")
            return Verdict(f"{word} {worst.concept}", f"nearly the {word} {effect}: one vector will do for both")
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
