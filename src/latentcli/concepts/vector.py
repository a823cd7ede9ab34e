"""Concept vectors: a direction in latent space with its diagnostics, and the file that holds them.

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
from latentcli.concepts.diagnostics import Diagnostics, Scores, Verdict, judge, measure
from latentcli.concepts.fit import METHODS, Examples, FitSettings, discriminant, find, gap_of
from latentcli.config import Discovery
from latentcli.errors import ConfigError, FileFormatError
from latentcli.figures.table import Table, cell
from latentcli.model.prior import Geometry
from latentcli.storage import catalog, tensorfile
from latentcli.storage.latents import Latents

KIND = "vector"
_ARRAYS = ("direction", "percentiles", "probe")
_COMBINATION = "combination"  # the method of a sum of vectors
AXIS = "axis"  # the method of latent dimensions and components, which are not saved
DISCOVERY: dict[Discovery, str] = {"latents": "principal component", "pictures": "decoder Jacobian"}
_SHOWS = "shows"  # the array that says which measured images show the concept
_PERCENTS = np.arange(101)
_MOST_NUMBERS = 1 << 20  # in a vector's file


@dataclass(frozen=True, slots=True)
class Discovered:
    """Origin of an unsupervised direction; a step along it is one standard deviation of the latents."""

    by: Discovery
    rank: int  # from 1, the largest
    variance: float  # share of the latents' variance that lies along it
    change: float  # root mean square of what a step changes in images, of the range 0 to 1


@dataclass(frozen=True, slots=True)
class _Recipe:
    """The entries of a recipe that describe a sum or a discovered direction; `refit` reads those of labelled images."""

    combine: tuple[tuple[str, float], ...] = ()
    discover: Discovered | None = None


@dataclass(frozen=True, slots=True)
class ConceptVector:
    """A direction (latent_dim,) and its diagnostics. Projections are onto the unit direction, in latent units."""

    name: str
    direction: np.ndarray  # strength 1.0 adds it once
    model_id: str
    method: str
    positives: int  # images it was fitted on, of each class
    negatives: int
    mean_positive: float  # mean projection of each class
    mean_negative: float
    sigma: float  # pooled within-class standard deviation of the projections
    threshold: float  # projection with the largest sum of true positive and true negative rates
    percentiles: np.ndarray  # (101,): of the projections of the latents it was fitted on
    probe: np.ndarray  # (latent_dim,): discriminant whose scores have a within-class standard deviation of 1
    recipe: dict[str, Any]  # how to make it again; relative names
    diagnostics: Diagnostics
    scores: Scores | None = None  # of measured images, for charts

    @property
    def auc(self) -> float | None:
        """AUC of the projection on images it was not fitted on; None where there are too few."""
        return self.diagnostics.auc

    @property
    def auc_lda(self) -> float | None:
        """AUC of a shrinkage LDA on the same images: the most that the latent space encodes linearly."""
        return self.diagnostics.auc_lda

    @property
    def combined(self) -> tuple[tuple[str, float], ...]:
        """The vectors that it is the sum of, with their strengths; none for other vectors."""
        return typed.read(_Recipe, self.recipe, "recipe").combine

    @property
    def discovered(self) -> Discovered | None:
        """The origin of an unsupervised direction; None for other vectors."""
        return typed.read(_Recipe, self.recipe, "recipe").discover

    @property
    def verdict(self) -> Verdict:
        """The verdict that follows from the diagnostics."""
        if not self.positives:
            return Verdict("a sum" if self.combined else "unlabelled")
        return judge(self.diagnostics, len(self.direction), "table" in self.recipe)

    @property
    def advice(self) -> str:
        """The most important problem, in one line; "" without one."""
        return self.verdict.advice

    @property
    def gap_in_sigma(self) -> float:
        """Length of strength 1.0 in within-class standard deviations."""
        return float(np.linalg.norm(self.direction)) / self.sigma if self.sigma > 0 else math.inf

    def score(self, z: np.ndarray) -> np.ndarray:
        """Projection of latents (n, latent_dim) onto the unit direction: (n,)."""
        return np.asarray(z @ _unit(self.direction))

    def projection_of(self, target: str) -> float:
        """Projection at a target: `p90`, `positive` or `negative`."""
        if target.startswith("p") and target[1:].isdecimal():
            return float(self.percentiles[int(target[1:])])
        return self.mean_positive if target == "positive" else self.mean_negative

    def percentile(self, scores: np.ndarray) -> np.ndarray:
        """Percentage of the latents it was fitted on that lie below each projection: (n,)."""
        return np.minimum(np.searchsorted(self.percentiles, scores), 100)

    def apply(self, latents: Latents, strength: float) -> Latents:
        """Move every latent by `strength` times the direction. Raises ModelMismatch for latents of another model."""
        latents.require_model(self.model_id, "the latents", f"the model of vector {self.name}", len(self.direction))
        return replace(latents, z=latents.z + np.float32(strength) * self.direction)

    def cosine(self, other: "ConceptVector") -> float:
        """Cosine with another vector of the same model, -1 to 1."""
        return float(_unit(self.direction) @ _unit(other.direction))

    def save(self, path: Path) -> None:
        """Write the file whole. Raises LatentCLIError when that fails."""
        in_header = [field.name for field in fields(self) if field.name not in (*_ARRAYS, "scores")]
        header = {name: getattr(self, name) for name in in_header} | {"diagnostics": asdict(self.diagnostics)}
        arrays = {name: np.ascontiguousarray(getattr(self, name), dtype=np.float32) for name in _ARRAYS}
        if self.scores is not None:
            arrays["scores"] = np.stack([self.scores.projection, self.scores.discriminant]).astype(np.float32)
            arrays[_SHOWS] = self.scores.shows.astype(np.uint8)
        tensorfile.write(path, KIND, header, arrays)

    @classmethod
    def load(cls, path: Path) -> "ConceptVector":
        """Read a vector's file. Raises FileFormatError when it is no concept vector, or damaged."""
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
        conditions = [
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
    """A model's vectors, sorted by name, and a message for each file that cannot be read."""
    vectors, messages = [], []
    for path in catalog.vectors_of(entry).values():
        try:
            vectors.append(ConceptVector.load(path))
        except FileFormatError as error:
            messages.append(str(error))
    return vectors, messages


def fit(
    name: str, examples: Examples, held_out: Examples, settings: FitSettings, geometry: Geometry, model_id: str,
    recipe: Mapping[str, Any],
) -> ConceptVector:  # fmt: skip
    """Fit a vector to `examples` and measure it on `held_out`.

    Raises ConfigError when a class is empty or nothing is left of the direction.
    """
    from sklearn.metrics import roc_curve

    try:
        direction = find(examples, settings, geometry)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    diagnostics, scores = measure(examples, held_out, settings, geometry, direction)
    shows, projections = examples.shows, examples.z @ _unit(direction.v)
    false_rate, true_rate, thresholds = roc_curve(shows, projections, drop_intermediate=False)
    best = 1 + np.argmax((true_rate - false_rate)[1:])  # the first threshold is infinite
    return ConceptVector(
        name=name,
        direction=direction.v.astype(np.float32),
        model_id=model_id,
        method=METHODS[settings.method],
        positives=int(shows.sum()),
        negatives=int((~shows).sum()),
        mean_positive=float(projections[shows].mean()),
        mean_negative=float(projections[~shows].mean()),
        sigma=_within(projections, shows),
        threshold=float(thresholds[best]),
        percentiles=np.percentile(projections, _PERCENTS).astype(np.float32),
        probe=probe(examples).astype(np.float32),
        recipe=dict(recipe),
        diagnostics=diagnostics,
        scores=scores,
    )


def combine(name: str, parts: Sequence[tuple[ConceptVector, float]], geometry: Geometry) -> ConceptVector:
    """The sum of vectors, each times a number; its projections are those of latents drawn from the model's prior.

    Raises ConfigError when they cancel.
    """
    direction = np.sum([np.float32(strength) * vector.direction for vector, strength in parts], axis=0)
    if not np.linalg.norm(direction) > 0:
        raise ConfigError("these vectors cancel each other; nothing is left to combine")
    recipe = {"combine": [[vector.name, strength] for vector, strength in parts]}
    return unlabelled(name, direction, _COMBINATION, recipe, geometry, parts[0][0].model_id)


def unlabelled(
    name: str, direction: np.ndarray, method: str, recipe: dict[str, Any], geometry: Geometry, model_id: str
) -> ConceptVector:
    """A vector without labelled images; its projections are those of latents drawn from the model's prior."""
    unit = _unit(direction)
    scores = geometry.drawn @ unit
    middle, half = float(geometry.mean @ unit), float(np.linalg.norm(direction)) / 2
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
    """A discriminant (latent_dim,) whose scores have a within-class standard deviation of 1 on the examples.

    With cells it is that of the gap within them, free of differences between the cells.
    """
    w = discriminant(examples, gap_of(examples).v)
    return w / max(_within(examples.z @ w, examples.shows), 1e-12)


def _within(scores: np.ndarray, shows: np.ndarray) -> float:
    """Pooled within-class standard deviation."""
    around = np.concatenate([scores[shows == kind] - scores[shows == kind].mean() for kind in (True, False)])
    return float(np.sqrt(np.square(around).sum() / max(1, len(around) - 2)))


def _unit(direction: np.ndarray) -> np.ndarray:
    return np.asarray(direction / np.linalg.norm(direction))


def vector_table(vectors: Sequence[ConceptVector]) -> Table:
    """A table with a row for each vector: its images, its gap and its diagnostics."""
    figures = ("gap, sd", "AUC", "AUC of LDA", "AUC by chance", "expected cosine")
    columns = ("vector", "with", "without", *figures, "method", "verdict")
    rows = []
    for vector in vectors:
        measured = vector.diagnostics
        numbers = map(cell, (measured.auc, measured.auc_lda, measured.chance, measured.steadiness))
        counts = str(vector.positives), str(vector.negatives)
        rows.append((vector.name, *counts, cell(vector.gap_in_sigma, 2), *numbers, vector.method, vector.verdict.word))
    caption = (
        "AUC: how well projections onto the vector separate images it was not fitted on. AUC of LDA: the same for a "
        "linear discriminant, the most the latent space encodes linearly. AUC by chance: the reach of vectors of "
        "shuffled labels. Expected cosine: with the vector from unlimited images."
    )
    return Table(caption, columns, rows)
