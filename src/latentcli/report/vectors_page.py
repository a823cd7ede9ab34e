"""Report of a model's concept vectors: diagnostics, side effects on other concepts, and edited pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentcli.concepts.diagnostics import Scores
from latentcli.concepts.vector import ConceptVector, vector_table
from latentcli.figures.sheet import sheet
from latentcli.images import to_pictures
from latentcli.model.modelfile import LoadedModel
from latentcli.model.prior import Geometry
from latentcli.report.page import Chart, Line, Part, Picture, Remark, Remarks, Section, curves, page
from latentcli.table import Table, cell

_STRENGTHS = (-1.0, 2.0, 7)  # of the strips: from, to, pictures
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
    sections = [
        Section("overview", "Overview", _overview(vectors)),
        Section("cosines", "Cosines", [_cosines(vectors)] if len(vectors) > 1 else []),
        *(Section(f"vector-{n}", vector.name, _vector(data, vector)) for n, vector in enumerate(vectors)),
    ]
    introduction = (
        f"{len(vectors)} concept vectors of the model {name}. Strength 1 goes from the mean of the "
        "images without a concept to the mean of those with it. Edited pictures are synthetic."
    )
    return page(f"{name}: concept vectors", introduction, sections)


def _overview(vectors: Sequence[ConceptVector]) -> list[Part]:
    advice = [Remark("note", vector.advice, vector.name) for vector in vectors if vector.advice]
    return [vector_table(vectors), *([Remarks(advice)] if advice else [])]


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
    if vector.scores is not None and len(vector.scores.shows):
        parts += [*_roc(vector.scores), *_histogram(vector.scores)]
    return parts + _side_effects(vector) + _strips(data, vector)


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
    values = scores.projection
    edges = np.linspace(values.min(), values.max() + 1e-9, _BINS + 1)
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    lines = []
    for name, kind in (("with", scores.shows), ("without", ~scores.shows)):
        share = np.histogram(values[kind], edges)[0] / max(1, int(kind.sum()))
        lines.append(Line(name, middles, share.tolist()))
    return curves(lines, "Projections of images with and without: share of each", "projection, latent units", "")


def _side_effects(vector: ConceptVector) -> list[Part]:
    shifts = vector.diagnostics.shifts
    rows = [(shift.concept, f"{shift.shift:+.2f}", cell(shift.before)) for shift in shifts]
    caption = (
        "Effects of edits by strength 1: images are edited, decoded, encoded again and scored by a discriminant of "
        "each concept. Shifts are in its within-class standard deviations; before: without balancing and "
        "orthogonalising."
    )
    return [Table(caption, ("concept", "shift, sd", "before"), rows)] if rows else []


def _strips(data: VectorReportData, vector: ConceptVector) -> list[Part]:
    first, last, count = _STRENGTHS
    drawn = data.geometry.drawn
    random = drawn[0] - drawn[1]
    random *= np.linalg.norm(vector.direction) / max(float(np.linalg.norm(random)), 1e-9)
    kind = data.kind
    directions = {
        f"{kind} at strengths {first:g} to {last:g} of {vector.name}": vector.direction,
        f"the same {kind} as far in a random direction": random,
    }
    strengths = np.linspace(first, last, count, dtype=np.float32)[:, None]
    parts: list[Part] = []
    for words, direction in directions.items():
        z = (data.z[:, None] + strengths * direction).reshape(-1, len(direction))
        strip = sheet(to_pictures(data.model.decode(z)), columns=count)
        parts.append(Picture(strip, words, f"{words[0].upper()}{words[1:]}."))
    return parts
