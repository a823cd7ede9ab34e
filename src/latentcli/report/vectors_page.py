"""HTML report of concept vectors: for each a verdict and a strip of edited pictures; side effects; diagnostics."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from latentcli.concepts.diagnostics import Scores
from latentcli.concepts.vector import ConceptVector, vector_table
from latentcli.figures.sheet import sheet
from latentcli.figures.table import Table, cell
from latentcli.imaging.images import to_pictures
from latentcli.model.modelfile import LoadedModel
from latentcli.report.page import Entry, Line, Part, Picture, Remark, Section, curves, histogram, page

_OVERVIEW = (-1.0, 1.0, 5)  # strengths of the overview's strips: first, last, count
_STRENGTHS = (-1.0, 2.0, 7)  # strengths of the strips in a vector's own section: first, last, count
_SMALL = 0.2  # shift below which a side effect is not named: "small" in Cohen, Statistical Power Analysis, 1988
_POINTS = 100  # points of a ROC curve
_BINS = 30  # bins of a histogram


def build(model: LoadedModel, vectors: Sequence[ConceptVector], z: np.ndarray, kind: str) -> str:
    """HTML of the report on `vectors`, which edit latents `z` (n, latent_dim) of a `kind` like "held-out images"."""
    cosines = Table(
        "",
        ("vector", *(vector.name for vector in vectors)),
        [(vector.name, *(f"{vector.cosine(other):+.2f}" for other in vectors)) for vector in vectors],
    )
    figures = [
        Section("scores", "Scores", [vector_table(vectors)]),
        Section("cosines", "Cosines", [cosines] if len(vectors) > 1 else []),
    ]
    each = [
        Section(f"vector-{number}", vector.name, _vector(model, vector, z, kind))
        for number, vector in enumerate(vectors)
    ]
    sections = [
        Section("overview", "Overview", _overview(model, vectors, z, kind)),
        Section("effects", "Side effects", _side_effects(vectors)),
        Section("each", "Each vector", each),
        Section("figures", "Figures", figures),
    ]
    introduction = (
        f"{len(vectors)} concept vectors. Strength 1 goes from the mean of the images without a concept to the mean of "
        "those with it. Edited pictures are synthetic."
    )
    return page(f"Concept vectors of the model {model.name}", introduction, sections)


def _overview(model: LoadedModel, vectors: Sequence[ConceptVector], z: np.ndarray, kind: str) -> list[Part]:
    """Explanation, then an entry per vector: verdict, and edits of the latent in `z` that is nearest to the mean."""
    first, last, _ = _OVERVIEW
    one = kind.removesuffix("s")
    nearest = np.linalg.norm(z - model.geometry.mean, axis=1).argmin()
    entries: list[Part] = []
    for number, vector in enumerate(vectors):
        auc = f"AUC {vector.auc:.2f}" if vector.auc is not None else ""
        sum_of = ", ".join(f"{name}={strength:g}" for name, strength in vector.combined)
        summary = "; ".join(filter(None, (auc, sum_of, _strongest(vector))))
        grade = "good" if vector.verdict.word == "good" else "note"
        strip = _strip(model, z[nearest][None], vector.direction, _OVERVIEW)
        picture = Picture(strip, f"{one} at strengths {first:g} to {last:g} of {vector.name}", "")
        remark = Remark(grade, summary, vector.verdict.word)
        entries.append(Entry(vector.name, remark, picture, f"vector-{number}"))
    words = (
        f"One {one} at strengths {first:g} to {last:g} of each vector; the middle is the {one} itself. An AUC of 1 "
        "separates pictures with a concept from those without, one of 0.5 does not. Side effects are in standard "
        "deviations (sd) of images that do not differ in the concept."
    )
    return [words, *entries]


def verdicts(vectors: Sequence[ConceptVector]) -> Table:
    """Table with a row per vector: verdict, AUC and strongest side effect."""
    rows = [(vector.name, vector.verdict.word, cell(vector.auc, 2), _strongest(vector)) for vector in vectors]
    return Table("", ("vector", "verdict", "AUC", "strongest side effect"), rows)


def _strongest(vector: ConceptVector) -> str:
    """Description of a vector's strongest side effect; "" if none was measured."""
    worst = vector.diagnostics.strongest_side_effect
    if worst is None:
        return ""
    if abs(worst.shift) < _SMALL:
        return "almost no side effects"
    return f"also {'adds' if worst.shift > 0 else 'takes away'} {worst.concept}: {worst.shift:+.2f} sd"


def _side_effects(vectors: Sequence[ConceptVector]) -> list[Table]:
    """List with one table, of each concept's shift (column) by an edit along each vector (row); empty if unmeasured."""
    shifts = [{shift.concept: f"{shift.shift:+.2f}" for shift in vector.diagnostics.shifts} for vector in vectors]
    concepts = sorted(set().union(*shifts))
    rows = [
        (vector.name, *(shifted.get(concept, "") for concept in concepts))
        for vector, shifted in zip(vectors, shifts, strict=True)
        if shifted
    ]
    caption = (
        "How far an edit moves each concept, in its within-class standard deviations: images are edited, decoded, "
        "encoded again and scored by a discriminant of the concept."
    )
    return [Table(caption, ("an edit by +1 of", *concepts), rows)] if rows else []


def _vector(model: LoadedModel, vector: ConceptVector, z: np.ndarray, kind: str) -> list[Part]:
    """Contents of one vector's section: diagnostics, edits of `z`, charts, and shifts before and after balancing."""
    measured, scores = vector.diagnostics, vector.scores
    facts = [
        f"Method: {vector.method}",
        f"measured on {measured.measured_on}" if measured.measured_on else "",
        f"labels: {vector.origin}" if vector.origin else "",
        f"gap of {vector.gap_in_words} within-class standard deviations" if vector.positives else "",
        measured.chance_in_words,
        f"threshold at projection {vector.threshold:+.2f}",
        f"balanced {measured.balanced}" if measured.balanced else "",
        f"few images in {'; '.join(measured.thin)}" if measured.thin else "",
        f"{measured.kept:.0%} of its length left after making it orthogonal" if measured.kept < 1 else "",
    ]
    parts: list[Part] = [[Remark("note", vector.advice)]] if vector.advice else []
    parts.append(f"{'; '.join(filter(None, facts))}.")
    first, last, _ = _STRENGTHS
    random = model.geometry.drawn[0] - model.geometry.drawn[1]
    random *= np.linalg.norm(vector.direction) / max(float(np.linalg.norm(random)), 1e-9)
    for words, direction in (
        (f"{kind} at strengths {first:g} to {last:g} of {vector.name}", vector.direction),
        (f"the same {kind} as far in a random direction", random),
    ):
        strips = _strip(model, z, direction, _STRENGTHS)
        parts.append(Picture(strips, words, f"{words[0].upper()}{words[1:]}.", beside=True))
    if scores is not None and len(scores.shows):
        kinds = [("with", scores.projection[scores.shows]), ("without", scores.projection[~scores.shows])]
        title = "Projections of images with and without: share of each"
        values = [(name, projection.tolist()) for name, projection in kinds]
        parts += histogram(values, _BINS, title, "projection, latent units")
        lines = [_roc("projection", scores.projection, scores), _roc("LDA", scores.discriminant, scores)]
        parts += curves(lines, "ROC: true positives over false positives", "false positives", "")
    rows = [
        (shift.concept, f"{shift.shift:+.2f}", f"{shift.before:+.2f}")
        for shift in measured.shifts
        if shift.before is not None
    ]
    caption = "Effects of edits by strength 1, and what they were without balancing and orthogonalising."
    return [*parts, Table(caption, ("concept", "shift, sd", "before"), rows)] if rows else parts


def _roc(name: str, values: np.ndarray, scores: Scores) -> Line:
    """ROC curve of a classifier that scores images by `values` (n,): true over false positive rates."""
    thresholds = np.quantile(values, np.linspace(1, 0, _POINTS))
    false, true = (
        [0.0, *(float((values[kind] >= threshold).mean()) for threshold in thresholds)]
        for kind in (~scores.shows, scores.shows)
    )
    return Line(name, false, true)


def _strip(
    model: LoadedModel, z: np.ndarray, direction: np.ndarray, strengths: tuple[float, float, int]
) -> Image.Image:
    """Sheet with a row for each latent of `z` (n, latent_dim): decoded pictures at `strengths` along `direction`."""
    steps = np.linspace(*strengths, dtype=np.float32)[:, None]
    moved = (z[:, None] + steps * direction).reshape(-1, len(direction))
    return sheet(to_pictures(model.decode(moved)), columns=len(steps))
