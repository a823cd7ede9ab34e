"""Concept vectors: directions in latent space with their diagnostics, and the files that hold them.

Strength 1.0 goes from the mean of the images without the concept to the mean of those with it (White 2016, "Sampling
generative networks", section 3.2).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from latentcli import typed
from latentcli.concepts.diagnostics import Diagnostics, Scores, Verdict, judge, measure, within
from latentcli.concepts.fit import METHODS, Examples, FitSettings, discriminant, find, gap_of
from latentcli.concepts.label_source import origin_in_words
from latentcli.config import Discovery
from latentcli.errors import ConfigError, FileFormatError
from latentcli.figures.table import Table, cell
from latentcli.model.prior import Geometry
from latentcli.storage import catalog, tensorfile
from latentcli.storage.latents import Latents

KIND = "vector"
_ARRAYS = ("direction", "percentiles", "probe")
_COMBINATION = "combination"  # `method` of a sum of vectors
AXIS = "axis"  # `method` of a latent dimension or principal component, which is not saved
DISCOVERY: dict[Discovery, str] = {"latents": "principal component", "pictures": "decoder Jacobian"}
_SHOWS = "shows"  # name of the array that tells for each measured image whether it shows the concept
_PERCENTS = np.arange(101)
_MOST_NUMBERS = 1 << 20  # limit for a vector's file
_FARTHEST = 1e9  # projections in a file must be nearer to the origin, or moves to them would overflow


@dataclass(frozen=True, slots=True)
class Discovered:
    """Origin and effect of a direction found without labels."""

    by: Discovery
    rank: int  # among the directions found together; 1 is the largest
    variance: float  # share of the latents' variance along the direction
    change: float  # root mean square change of pixels, in 0 to 1, by a move of one standard deviation


@dataclass(frozen=True, slots=True)
class _Recipe:
    """Entries of a recipe (how a vector was made) that describe a sum or a discovered direction."""

    combine: tuple[tuple[str, float], ...] = ()  # names of the vectors in the sum, with their strengths
    discover: Discovered | None = None


@dataclass(frozen=True, slots=True)
class ConceptVector:
    """A concept's direction with its diagnostics. Projections are onto the unit direction, in latent units.

    The measured images are held-out ones, or those it was fitted to, each projected onto a direction fitted to others.
    """

    name: str
    direction: np.ndarray  # (latent_dim,): an edit of strength 1.0 adds it once
    model_id: str
    method: str
    positives: int  # number of fitted images that show the concept; 0 for a vector without labels
    negatives: int  # number of fitted images that lack the concept
    mean_positive: float  # mean projection of measured images that show the concept
    mean_negative: float  # mean projection of measured images that lack the concept
    sigma: float  # pooled within-class standard deviation of the projections
    threshold: float  # projection with the largest sum of true positive and true negative rates
    percentiles: np.ndarray  # (101,): percentiles 0 to 100 of the measured images' projections
    probe: np.ndarray  # (latent_dim,): discriminant whose scores have a within-class standard deviation of 1
    recipe: dict[str, Any]  # origin of the labels and settings of the fit, to fit it again; relative names
    diagnostics: Diagnostics
    scores: Scores | None = None  # of the images that the diagnostics were measured on, for charts

    @property
    def auc(self) -> float | None:
        """AUC of projections of images that the vector was not fitted on; None if there are too few."""
        return self.diagnostics.auc

    @property
    def auc_lda(self) -> float | None:
        """AUC of a shrinkage LDA on the images of `auc`: the most that the latent space encodes linearly."""
        return self.diagnostics.auc_lda

    @property
    def combined(self) -> tuple[tuple[str, float], ...]:
        """Names and strengths of the vectors whose sum this vector is; empty for a vector that is no sum."""
        return typed.read(_Recipe, self.recipe, "recipe").combine

    @property
    def discovered(self) -> Discovered | None:
        """Origin of a direction found without labels; None for any other vector."""
        return typed.read(_Recipe, self.recipe, "recipe").discover

    @property
    def origin(self) -> str:
        """Where the labels come from, in words; "" for a vector without labels or of an unknown origin."""
        return origin_in_words(self.recipe)

    @property
    def verdict(self) -> Verdict:
        """Judgement of whether the vector can be trusted, like `good` or `confounded with male`, with advice."""
        if not self.positives:
            return Verdict("a sum" if self.combined else "unlabelled")
        return judge(self.diagnostics, len(self.direction), "table" in self.recipe)

    @property
    def advice(self) -> str:
        """The vector's most important problem and a remedy, in one line; "" if it has none."""
        return self.verdict.advice

    @property
    def gap_in_sigma(self) -> float:
        """Class gap of the measured images' projections, in within-class standard deviations; else the length."""
        return self.length_in_sigma if self.diagnostics.gap is None else self.diagnostics.gap

    @property
    def gap_in_words(self) -> str:
        """Class gap in within-class standard deviations with its 95 % interval, like `3.88 ± 0.21`; `-` if unmeasured.

        A vector without labels has its length instead. Alike images have no deviation to measure a gap in.
        """
        if self.diagnostics.gap is None or self.diagnostics.margin is None:
            return "-" if self.positives or not self.sigma else cell(self.length_in_sigma, 2)
        return f"{self.diagnostics.gap:.2f} ± {self.diagnostics.margin:.2f}"

    @property
    def length_in_sigma(self) -> float:
        """Length of the direction, which an edit of strength 1.0 adds, in within-class standard deviations."""
        return float(np.linalg.norm(self.direction)) / self.sigma if self.sigma > 0 else math.inf

    def score(self, z: np.ndarray) -> np.ndarray:
        """Projections (n,) of the latents `z` (n, latent_dim) onto the unit direction."""
        return np.asarray(z @ _unit(self.direction))

    def projection_of(self, target: str) -> float:
        """Projection that `target` names: a percentile of the measured images (`p90`) or a class mean (`positive`)."""
        if target.startswith("p") and target[1:].isdecimal():
            return float(self.percentiles[int(target[1:])])
        return self.mean_positive if target == "positive" else self.mean_negative

    def percentile(self, scores: np.ndarray) -> np.ndarray:
        """Percentile, 0 to 100, of each of the projections `scores` (n,) among the measured images'."""
        return np.minimum(np.searchsorted(self.percentiles, scores), 100)

    def apply(self, latents: Latents, strength: float) -> Latents:
        """Move every latent by `strength` times the direction. Raises ModelMismatch for latents of another model."""
        latents.require_model(self.model_id, "the latents", f"the model of vector {self.name}", len(self.direction))
        return replace(latents, z=latents.z + np.float32(strength) * self.direction)

    def cosine(self, other: "ConceptVector") -> float:
        """Cosine with another vector of the same model, -1 to 1."""
        return float(_unit(self.direction) @ _unit(other.direction))

    def save(self, path: Path) -> None:
        """Write the vector to a file, atomically. Raises LatentCLIError if it cannot be written."""
        in_header = [field.name for field in fields(self) if field.name not in (*_ARRAYS, "scores")]
        header = {name: getattr(self, name) for name in in_header} | {"diagnostics": asdict(self.diagnostics)}
        arrays = {name: np.ascontiguousarray(getattr(self, name), dtype=np.float32) for name in _ARRAYS}
        if self.scores is not None:
            arrays["scores"] = np.stack([self.scores.projection, self.scores.discriminant]).astype(np.float32)
            arrays[_SHOWS] = self.scores.shows.astype(np.uint8)
        tensorfile.write(path, KIND, header, arrays)

    @classmethod
    def load(cls, path: Path) -> "ConceptVector":
        """Read a vector from its file. Raises FileFormatError if the file is damaged or holds no concept vector."""
        unusable = FileFormatError(f"{path} does not hold a usable direction; fit the vector again")

        def check(header: tensorfile.Header, layout: tensorfile.Layout) -> None:
            if tensorfile.numbers(layout) > _MOST_NUMBERS or not tensorfile.are_floats(layout, besides=_SHOWS):
                raise unusable

        header, arrays = tensorfile.read(path, KIND, check)
        values = header | {name: arrays[name].astype(np.float32) for name in _ARRAYS if name in arrays}
        values["scores"] = None
        if _SHOWS in arrays and arrays[_SHOWS].size:
            scores, shows = arrays.get("scores", np.empty(0)), arrays[_SHOWS].astype(bool)
            if scores.shape != (2, *shows.shape) or shows.ndim != 1 or not np.isfinite(scores).all():
                raise unusable
            values["scores"] = {"projection": scores[0], "discriminant": scores[1], "shows": shows}
        vector = tensorfile.parse(cls, values, path)
        tensorfile.parse(_Recipe, vector.recipe, path)
        numbers = (vector.mean_positive, vector.mean_negative, vector.sigma, vector.threshold)
        conditions = [
            all(abs(number) < _FARTHEST for number in numbers),
            vector.direction.ndim == 1 and vector.probe.shape == vector.direction.shape,
            vector.percentiles.shape == _PERCENTS.shape,
            np.isfinite(vector.direction).all() and np.linalg.norm(vector.direction) > 0,
            np.isfinite(vector.probe).all() and np.isfinite(vector.percentiles).all(),
            vector.method in (*METHODS.values(), *DISCOVERY.values(), _COMBINATION),
        ]
        if not all(conditions):
            raise unusable
        return vector


def load_all(entry: catalog.ModelEntry) -> tuple[list[ConceptVector], list[str]]:
    """Saved vectors of a model, sorted by name, and an error message for each file that cannot be read."""
    vectors, messages = [], []
    for path in catalog.vectors_of(entry).values():
        try:
            vectors.append(ConceptVector.load(path))
        except FileFormatError as error:
            messages.append(str(error))
    return vectors, messages


def fit(
    name: str, examples: Examples, held_out: Examples, settings: FitSettings, geometry: Geometry, model_id: str,
    recipe: Mapping[str, Any], between: Examples | None = None, each: float = 1.0,
) -> ConceptVector:  # fmt: skip
    """Fit a concept vector to `examples` and measure it on images that it is not fitted to, as `measure` chooses them.

    With too few images to measure, the model's own latents stand for them. Raises ConfigError if a class is empty or
    orthogonalising leaves nothing of the direction.
    """
    try:
        direction = find(examples, settings, geometry)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    diagnostics, scores = measure(examples, held_out, settings, geometry, direction, between, each)
    middle = (examples.z[examples.shows].mean(axis=0) + examples.z[~examples.shows].mean(axis=0)) / 2
    vector = unlabelled(
        name, direction.v.astype(np.float32), METHODS[settings.method], dict(recipe), geometry, model_id, middle
    )
    vector = replace(
        vector,
        positives=int(examples.shows.sum()),
        negatives=int((~examples.shows).sum()),
        probe=probe(examples).astype(np.float32),
        diagnostics=diagnostics,
    )
    if scores is None:
        return vector
    shows, projections = scores.shows, scores.projection
    return replace(
        vector,
        mean_positive=float(projections[shows].mean()),
        mean_negative=float(projections[~shows].mean()),
        sigma=within(projections, shows),
        threshold=_best_threshold(projections, shows),
        percentiles=np.percentile(projections, _PERCENTS).astype(np.float32),
        scores=scores.some(),
    )


def _best_threshold(projections: np.ndarray, shows: np.ndarray) -> float:
    """Projection with the largest sum of true positive and true negative rates (Youden 1950)."""
    from sklearn.metrics import roc_curve

    false_rate, true_rate, thresholds = roc_curve(shows, projections, drop_intermediate=False)
    return float(thresholds[1 + np.argmax((true_rate - false_rate)[1:])])  # the first threshold is infinite


def combine(name: str, parts: Sequence[tuple[ConceptVector, float]], geometry: Geometry) -> ConceptVector:
    """New, unlabelled vector: the sum of `parts`, vectors times strengths. Raises ConfigError if the sum is zero."""
    direction = np.sum([np.float32(strength) * vector.direction for vector, strength in parts], axis=0)
    if not np.linalg.norm(direction) > 0:
        raise ConfigError("these vectors cancel each other; nothing is left to combine")
    recipe = {"combine": [[vector.name, strength] for vector, strength in parts]}
    return unlabelled(name, direction, _COMBINATION, recipe, geometry, parts[0][0].model_id)


def unlabelled(
    name: str, direction: np.ndarray, method: str, recipe: dict[str, Any], geometry: Geometry, model_id: str,
    centre: np.ndarray | None = None,
) -> ConceptVector:  # fmt: skip
    """Vector for a direction made without labels; its percentiles and deviation come from samples of the prior.

    `centre` (latent_dim,) is the middle between its class means, by default the mean of the prior.
    """
    unit = _unit(direction)
    scores = geometry.drawn @ unit
    middle = float((geometry.mean if centre is None else centre) @ unit)
    half = float(np.linalg.norm(direction)) / 2
    return ConceptVector(
        name=name,
        direction=direction,
        model_id=model_id,
        method=method,
        positives=0,
        negatives=0,
        mean_positive=middle + half,
        mean_negative=middle - half,
        sigma=float(np.sqrt(unit @ geometry.covariance @ unit)),
        threshold=middle,
        percentiles=np.percentile(scores, _PERCENTS).astype(np.float32),
        probe=geometry.inverse().astype(np.float32) @ direction,
        recipe=recipe,
        diagnostics=Diagnostics(),
    )


def probe(examples: Examples) -> np.ndarray:
    """LDA discriminant (latent_dim,), scaled so that scores of `examples` have a within-class deviation of 1.

    If the examples have columns to balance by, the discriminant is that of the balanced class gap.
    """
    w = discriminant(examples, gap_of(examples))
    return w / max(within(examples.z @ w, examples.shows), 1e-12)


def _unit(direction: np.ndarray) -> np.ndarray:
    return np.asarray(direction / np.linalg.norm(direction))


def vector_table(vectors: Sequence[ConceptVector]) -> Table:
    """Table with a row per vector: numbers of images, class gap, diagnostics, method and verdict."""
    figures = ("gap, sd", "AUC", "of all", "of LDA", "by chance", "expected cosine")
    columns = ("vector", "with", "without", *figures, "method", "verdict")
    rows = []
    for vector in vectors:
        measured = vector.diagnostics
        areas = (measured.auc, measured.auc_all, measured.auc_lda, measured.chance, measured.cosine)
        counts = str(vector.positives), str(vector.negatives)
        rows.append((vector.name, *counts, vector.gap_in_words, *map(cell, areas), vector.method, vector.verdict.word))
    caption = (
        "Gap between the classes of images that the vector was not fitted on, with its 95 % interval. AUC: how well "
        "projections onto the vector separate them; of all: with the images between the thresholds of the labels; of "
        "LDA: by a linear discriminant, the most the latent space encodes linearly; by chance: the reach of vectors of "
        "shuffled labels. Expected cosine: with the vector from unlimited images."
    )
    return Table(caption, columns, rows)
