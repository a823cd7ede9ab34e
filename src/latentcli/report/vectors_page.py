"""Report of a model's concept vectors: a strip and a verdict for each, side effects, and folded diagnostics."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from latentcli.concepts.diagnostics import Scores
from latentcli.concepts.vector import ConceptVector, vector_table
from latentcli.figures.sheet import sheet
from latentcli.figures.table import Table, cell
from latentcli.imaging.images import to_pictures
from latentcli.model.modelfile import LoadedModel
from latentcli.model.prior import Geometry
from latentcli.report.page import (
    Chart,
    Entry,
    Line,
    Part,
    Picture,
    Remark,
    Remarks,
    Section,
    curves,
    histogram,
    page,
)

_OVERVIEW = (-1.0, 1.0, 5)  # strengths of the strips of the overview: from, to, pictures
_STRENGTHS = (-1.0, 2.0, 7)  # of the others
_SMALL = 0.2  # shift up to which nothing is said: "small" in Cohen, Statistical Power Analysis, 1988
_POINTS = 100  # of a curve
_BINS = 30


@dataclass(frozen=True, slots=True)
class VectorReportData:
    """Everything a report of vectors is made from."""

    model: LoadedModel
    geometry: Geometry
    vectors: Sequence[ConceptVector]
    z: np.ndarray  # (n, latent_dim): the latents that the vectors are shown on
    kind: str  # of these: held-out images, images or samples


def build(data: VectorReportData) -> str:
    """The page as HTML."""
    name, vectors = data.model.name, data.vectors
    figures = [
        Section("scores", "Scores", [vector_table(vectors)]),
        Section("cosines", "Cosines", [_cosines(vectors)] if len(vectors) > 1 else []),
    ]
    each = [Section(_id(number), vector.name, _vector(data, vector)) for number, vector in enumerate(vectors)]
    sections = [
        Section("overview", "Overview", _overview(data)),
        Section("effects", "Side effects", _all_side_effects(vectors)),
        Section("each", "Each vector", each),
        Section("figures", "Figures", figures),
    ]
    introduction = (
        f"{len(vectors)} concept vectors. Strength 1 goes from the mean of the images without a concept to the mean of "
        "those with it. Edited pictures are synthetic."
    )
    return page(f"Concept vectors of the model {name}", introduction, sections)


def _id(number: int) -> str:
    return f"vector-{number}"


def _overview(data: VectorReportData) -> list[Part]:
    first, last, _ = _OVERVIEW
    one = data.kind.removesuffix("s")
    shown = data.z[np.linalg.norm(data.z - data.geometry.mean, axis=1).argmin()]  # the most ordinary of them
    words = (
        f"One {one} at strengths {first:g} to {last:g} of each vector; the middle is the {one} itself. An AUC of 1 "
        "separates pictures with a concept from those without, one of 0.5 does not. Side effects are in standard "
        "deviations (sd) of images that do not differ in the concept."
    )
    entries = [
        Entry(
            vector.name,
            Remark("good" if vector.verdict.word == "good" else "note", _summary(vector), vector.verdict.word),
            Picture(
                _strip(data, shown[None], vector.direction, _OVERVIEW),
                f"{one} at strengths {first:g} to {last:g} of {vector.name}",
                "",
            ),
            _id(number),
        )
        for number, vector in enumerate(data.vectors)
    ]
    return [words, *entries]


def _summary(vector: ConceptVector) -> str:
    """Its AUC and its strongest side effect, in words."""
    auc = f"AUC {vector.auc:.2f}" if vector.auc is not None else ""
    parts = ", ".join(f"{name}={strength:g}" for name, strength in vector.combined)
    return "; ".join(filter(None, (auc, parts, _strongest(vector))))


def verdicts(vectors: Sequence[ConceptVector]) -> Table:
    """What each vector is worth, one a row."""
    rows = [(vector.name, vector.verdict.word, cell(vector.auc, 2), _strongest(vector)) for vector in vectors]
    return Table("", ("vector", "verdict", "AUC", "strongest side effect"), rows)


def _strongest(vector: ConceptVector) -> str:
    worst = vector.diagnostics.strongest_side_effect
    if worst is None:
        return ""
    if abs(worst.shift) < _SMALL:
        return "almost no side effects"
    return f"also {'adds' if worst.shift > 0 else 'takes away'} {worst.concept}: {worst.shift:+.2f} sd"


def _all_side_effects(vectors: Sequence[ConceptVector]) -> list[Part]:
    """How far each vector moves each concept, as one table."""
    moved = [({shift.concept: shift.shift for shift in vector.diagnostics.shifts}, vector.name) for vector in vectors]
    concepts = list(dict.fromkeys(sorted(concept for shifts, _ in moved for concept in shifts)))
    rows = [
        (name, *(f"{shifts[concept]:+.2f}" if concept in shifts else "" for concept in concepts))
        for shifts, name in moved
        if shifts
    ]
    return [Table(_EFFECTS, ("an edit by +1 of", *concepts), rows)] if rows else []


def _cosines(vectors: Sequence[ConceptVector]) -> Table:
    rows = [(vector.name, *(f"{vector.cosine(other):+.2f}" for other in vectors)) for vector in vectors]
    return Table("", ("vector", *(vector.name for vector in vectors)), rows)


def _vector(data: VectorReportData, vector: ConceptVector) -> list[Part]:
    measured = vector.diagnostics
    facts = [
        f"Method: {vector.method}",
        f"measured on {measured.measured_on}" if measured.measured_on else "",
        f"threshold at projection {vector.threshold:+.2f}",
        f"balanced {measured.balanced}" if measured.balanced else "",
        f"few images in {'; '.join(measured.thin)}" if measured.thin else "",
        f"{measured.kept:.0%} of its length left after making it orthogonal" if measured.kept < 1 else "",
        f"shrunk to {measured.dimensions} leading dimensions" if measured.dimensions else "",
    ]
    parts: list[Part] = [Remarks([Remark("note", vector.advice)])] if vector.advice else []
    parts.append(f"{'; '.join(filter(None, facts))}.")
    parts += _strips(data, vector)
    if vector.scores is not None and len(vector.scores.shows):
        parts += [*_histogram(vector.scores), *_roc(vector.scores)]
    return parts + _side_effects(vector)


def _roc(scores: Scores) -> list[Chart]:
    """True against false positives: of the projection and of the discriminant."""

    def rates(values: np.ndarray) -> tuple[list[float], list[float]]:
        cuts = np.quantile(values, np.linspace(1, 0, _POINTS))
        kinds = (~scores.shows, scores.shows)
        false, true = ([0.0, *((values[kind] >= cut).mean() for cut in cuts)] for kind in kinds)
        return [float(x) for x in false], [float(y) for y in true]

    lines = [Line("projection", *rates(scores.projection)), Line("LDA", *rates(scores.discriminant))]
    return curves(lines, "ROC: true positives over false positives", "false positives", "")


def _histogram(scores: Scores) -> list[Chart]:
    kinds = [(name, scores.projection[kind]) for name, kind in (("with", scores.shows), ("without", ~scores.shows))]
    title = "Projections of images with and without: share of each"
    return histogram([(name, found.tolist()) for name, found in kinds], _BINS, title, "projection, latent units")


_EFFECTS = (
    "How far an edit moves each concept, in its within-class standard deviations: images are edited, decoded, encoded "
    "again and scored by a discriminant of the concept."
)


def _side_effects(vector: ConceptVector) -> list[Part]:
    """What balancing and orthogonalising changed; the shifts themselves are in the table of all vectors."""
    rows = [
        (shift.concept, f"{shift.shift:+.2f}", f"{shift.before:+.2f}")
        for shift in vector.diagnostics.shifts
        if shift.before is not None
    ]
    caption = "Effects of edits by strength 1, and what they were without balancing and orthogonalising."
    return [Table(caption, ("concept", "shift, sd", "before"), rows)] if rows else []


def _strips(data: VectorReportData, vector: ConceptVector) -> list[Part]:
    first, last, _ = _STRENGTHS
    drawn = data.geometry.drawn
    random = drawn[0] - drawn[1]
    random *= np.linalg.norm(vector.direction) / max(float(np.linalg.norm(random)), 1e-9)
    kind = data.kind
    directions = {
        f"{kind} at strengths {first:g} to {last:g} of {vector.name}": vector.direction,
        f"the same {kind} as far in a random direction": random,
    }
    return [
        Picture(_strip(data, data.z, direction, _STRENGTHS), words, f"{words[0].upper()}{words[1:]}.", beside=True)
        for words, direction in directions.items()
    ]


def _strip(
    data: VectorReportData, z: np.ndarray, direction: np.ndarray, strengths: tuple[float, float, int]
) -> Image.Image:
    """A row for each latent z (n, latent_dim), moved along a direction."""
    steps = np.linspace(*strengths, dtype=np.float32)[:, None]
    moved = (z[:, None] + steps * direction).reshape(-1, len(direction))
    return sheet(to_pictures(data.model.decode(moved)), columns=len(steps))
