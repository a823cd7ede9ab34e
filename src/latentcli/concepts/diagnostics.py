"""What a concept vector is worth: measured on images that it was not fitted on, and said in words."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from latentcli.concepts import fit
from latentcli.concepts.fit import Direction, Examples, FitSettings
from latentcli.errors import ConfigError
from latentcli.model.prior import Geometry

MIN_HELD_OUT = 20  # held-out images of each kind; with fewer the labelled images are cross-validated
_FOLDS = 5
_MIN_MEASURED = 5  # images of each kind, below which there is no AUC at all
_HALVES = 20  # random halves
_SHUFFLES = 20  # of the labels
_SLOW = 5  # rounds of either where fitting takes long
_KEPT = 1000  # scores of each kind that are kept for drawings
_ABSENT = 0.65  # AUC of a discriminant, below which the latent space does not have the concept
_HIDDEN = 0.1  # AUC that a discriminant finds more than the vector
_LEAKS = 0.25  # shift of another concept over that of its own
_UNSTEADY = 0.7  # cosine with the vector from unlimited images
_LOST = 0.6  # share of the length kept when made orthogonal


@dataclass(frozen=True, slots=True)
class Shift:
    """How far edits by strength 1 move a concept's discriminant, in its within-class standard deviations."""

    concept: str
    shift: float
    before: float | None = None  # of the vector before balancing and making it orthogonal


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """Measured once, when the vector is fitted; None is what could not be measured."""

    measured_on: str = ""  # which images
    auc: float | None = None  # of the projection
    auc_lda: float | None = None  # of a shrinkage LDA: what the latent space knows at all
    chance: float | None = None  # AUC that 19 of 20 vectors of shuffled labels stay below
    agreement: float | None = None  # mean cosine of the vectors of random halves
    kept: float = 1.0  # share of the length after making it orthogonal
    balanced: str = ""
    thin: tuple[str, ...] = ()  # cells with few images
    dimensions: int | None = None  # that few images were shrunk to
    own_shift: Shift | None = None
    leaks: tuple[Shift, ...] = ()

    @property
    def steadiness(self) -> float | None:
        """Expected cosine with the vector from unlimited images: Spearman-Brown, from halves to the whole."""
        if self.agreement is None:
            return None
        r = max(0.0, self.agreement)
        return math.sqrt(2 * r / (1 + r))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Diagnostics":
        """The reverse of `to_json`. Raises TypeError for anything else."""
        parts = {
            "thin": tuple(values.get("thin", ())),
            "own_shift": Shift(**values["own_shift"]) if values.get("own_shift") else None,
            "leaks": tuple(Shift(**leak) for leak in values.get("leaks", ())),
        }
        return cls(**values | parts)


@dataclass(frozen=True, slots=True)
class Scores:
    """Of the measured images, for ROC curves and histograms: of the projection and of the LDA, (n,) each."""

    projection: np.ndarray
    discriminant: np.ndarray
    shows: np.ndarray  # bool


def measure(
    examples: Examples, held_out: Examples, recipe: FitSettings, geometry: Geometry, found: Direction
) -> tuple[Diagnostics, Scores]:
    """Everything that needs latents only; `found` is what the recipe makes of all the examples."""
    rng, recipe = np.random.default_rng(0), recipe.decided(examples)
    enough = _fewest(held_out) >= MIN_HELD_OUT
    fits = list(_fits(examples, held_out) if enough else _folds(examples, rng))
    fits = fits if enough or _can_all_be_fitted(fits, recipe, geometry) else []

    def score(direction: Callable[[Examples], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Scores and labels of the measured images, each fold's around its own middle."""
        parts = []
        for fitted_on, measured in fits:
            w = direction(fitted_on)
            w = w / max(float(np.linalg.norm(w)), 1e-12)
            middle = (
                0.0 if enough else sum((fitted_on.z[fitted_on.shows == kind] @ w).mean() for kind in (True, False)) / 2
            )
            parts.append((measured.z @ w - middle, measured.shows))
        scores, shows = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
        return scores, shows

    def vector(some: Examples) -> np.ndarray:
        return found.v if some is examples else fit.find(some, recipe, geometry).v

    def probe(some: Examples) -> np.ndarray:
        return fit.discriminant(some, some.z[some.shows].mean(axis=0) - some.z[~some.shows].mean(axis=0))

    rounds = _SLOW if recipe.method in ("logistic", "svm") else _SHUFFLES
    auc: float | None
    auc_lda: float | None
    chance: float | None
    if fits:
        projection, shows = score(vector)
        discriminant, _ = score(probe)
        auc, auc_lda = _auc(projection, shows), _auc(discriminant, shows)
        control = _as_far_as_possible(lambda: _auc(*score(lambda some: vector(some.shuffled(rng)))), rounds)
        chance = float(np.quantile([0.5 + abs(area - 0.5) for area in control], 0.95)) if control else None
        scores = _thinned(Scores(projection, discriminant, shows), rng)
    else:
        auc, auc_lda, chance, shows = None, None, None, np.zeros(0, dtype=bool)
        scores = Scores(np.zeros(0), np.zeros(0), shows)
    images = "held-out images" if enough else f"the images it was fitted on, {_FOLDS}-fold cross-validated"
    counts = f"{int(shows.sum())} with and {int((~shows).sum())} without" if fits else "too few images"
    trust = Diagnostics(
        measured_on=f"{counts}: {images}" if fits else counts,
        auc=auc,
        auc_lda=auc_lda,
        chance=chance,
        agreement=_agreement(examples, vector, min(rounds, _HALVES), rng),
        kept=found.kept,
        balanced=found.balanced,
        thin=found.thin,
        dimensions=found.dimensions,
    )
    return trust, scores


def _can_all_be_fitted(fits: list[tuple[Examples, Examples]], recipe: FitSettings, geometry: Geometry) -> bool:
    """Whether no part of few images has an empty cell, or the same images in both kinds."""
    try:
        for fitted_on, _ in fits:
            fit.find(fitted_on, recipe, geometry)
    except ConfigError:
        return False
    return True


def _fewest(examples: Examples) -> int:
    return int(min(examples.shows.sum(), (~examples.shows).sum())) if len(examples) else 0


def _fits(examples: Examples, held_out: Examples) -> Iterator[tuple[Examples, Examples]]:
    yield examples, held_out


def _folds(examples: Examples, rng: np.random.Generator) -> Iterator[tuple[Examples, Examples]]:
    """What to fit on and what to measure on, each kind in every fold; none with too few images."""
    if _fewest(examples) < _MIN_MEASURED:
        return
    fold = np.empty(len(examples), dtype=np.int64)
    for kind in (True, False):
        rows = np.flatnonzero(examples.shows == kind)
        fold[rows] = rng.permutation(np.arange(len(rows)) % _FOLDS)
    if examples.pairs is not None:
        fold = np.unique(examples.pairs, return_inverse=True)[1] % _FOLDS
    for number in range(_FOLDS):
        yield examples.take(fold != number), examples.take(fold == number)


def _auc(scores: np.ndarray, shows: np.ndarray) -> float:
    """Area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(shows, scores))


def _agreement(
    examples: Examples, vector: Callable[[Examples], np.ndarray], rounds: int, rng: np.random.Generator
) -> float | None:
    if _fewest(examples) < 4:
        return None

    def cosine() -> float:
        a, b = (vector(half) for half in examples.halves(rng))
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    cosines = _as_far_as_possible(cosine, rounds)
    return float(np.mean(cosines)) if cosines else None


def _as_far_as_possible(measured: Callable[[], float], rounds: int) -> list[float]:
    """Of so many random rounds those that can be measured: in a part of few images a cell may be empty."""
    found = []
    for _ in range(rounds):
        with contextlib.suppress(ConfigError):
            found.append(measured())
    return found


def _thinned(scores: Scores, rng: np.random.Generator) -> Scores:
    kept = [rng.permutation(np.flatnonzero(scores.shows == kind))[:_KEPT] for kind in (True, False)]
    rows = np.sort(np.concatenate(kept))
    return Scores(scores.projection[rows], scores.discriminant[rows], scores.shows[rows])


def advise(trust: Diagnostics, has_columns: bool = True) -> str:
    """What is off, in one line with what to do; "" when nothing is. Only a table has columns to balance by."""
    if trust.auc is None or trust.auc_lda is None or trust.chance is None:
        return "too few images to say what it is worth: label 20 or more of each kind"
    if trust.auc <= trust.chance and trust.auc_lda < _ABSENT:
        return (
            f"it means nothing: it tells the kinds apart no better (AUC {trust.auc:.2f}) than vectors of shuffled "
            f"labels do (up to {trust.chance:.2f}); check the labels"
        )
    if trust.auc_lda < _ABSENT:
        return f"the concept is hardly in this latent space (AUC of LDA {trust.auc_lda:.2f}): check the labels"
    steadiness = trust.steadiness
    if steadiness is not None and steadiness < _UNSTEADY:
        return f"too few images: the vector from more would share a cosine of about {steadiness:.2f} with this one"
    worst = max(trust.leaks, key=lambda leak: abs(leak.shift), default=None)
    if worst and trust.own_shift and abs(worst.shift) > _LEAKS * abs(trust.own_shift.shift):
        how = "--balance-by" if has_columns and not trust.balanced else "--orthogonal-to"
        return f"confounded with {worst.concept} ({worst.shift:+.2f} sd): try {how} {worst.concept}"
    if trust.kept < _LOST:
        return f"only {trust.kept:.0%} of it is left after making it orthogonal: the concepts overlap"
    if trust.auc_lda - trust.auc > _HIDDEN:
        return (
            f"much else varies along it (AUC {trust.auc:.2f}, where LDA finds {trust.auc_lda:.2f}): balance by what "
            "goes along with it, or try --method lda"
        )
    return ""
