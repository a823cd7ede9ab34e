"""The page of a model's concept vectors: what each is worth, what else it changes, and what it looks like."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import torch
from torch import Tensor

from latentcli.concepts.diagnostics import Scores
from latentcli.concepts.vector import ConceptVector
from latentcli.images import grid, to_pictures
from latentcli.model.device import device_of
from latentcli.model.prior import Geometry
from latentcli.model.vae import VAE
from latentcli.report.page import Line, Section, curves, page, paragraph, picture, table

_STRENGTHS = (-1.0, 2.0, 7)  # of the strips: from, to, pictures
_POINTS = 100  # of a curve
_BINS = 30


@dataclass(frozen=True, slots=True)
class Subject:
    """What the strips are drawn of."""

    vae: VAE
    geometry: Geometry
    z: Tensor  # (n, latent_dim)
    what: str  # these are: held-out images, images or samples


def build(name: str, subject: Subject, vectors: Sequence[ConceptVector]) -> str:
    """The page as HTML."""
    sections = [Section("overview", "Overview", _overview(vectors)), Section("cosines", "Cosines", _cosines(vectors))]
    sections += [
        Section(f"vector-{place}", vector.name, _vector(subject, vector)) for place, vector in enumerate(vectors)
    ]
    introduction = paragraph(
        f"{len(vectors)} concept vectors of the model {name}. Strength 1 goes from the mean of the images without a "
        "concept to the mean of those with it. Edited pictures are synthetic."
    )
    return page(f"{name}: concept vectors", introduction, sections)


def _overview(vectors: Sequence[ConceptVector]) -> str:
    head = ("vector", "with", "without", "gap, sd", "AUC", "AUC of LDA", "AUC by chance", "expected cosine")
    rows = []
    for vector in vectors:
        trust = vector.trust
        numbers = (trust.auc, trust.auc_lda, trust.chance, trust.steadiness)
        counts = str(vector.positives), str(vector.negatives)
        rows.append((vector.name, *counts, f"{vector.gap_in_sigma:.2f}", *map(_number, numbers)))
    caption = (
        "AUC: how well projections onto the vector tell images apart that it was not fitted on; LDA shows what the "
        "latent space knows at all, chance what vectors of shuffled labels reach. The expected cosine is that with the "
        "vector from unlimited images."
    )
    advice = "".join(
        f"<li class='note'><span class='grade'>{escape(vector.name)}:</span> {escape(vector.advice)}.</li>"
        for vector in vectors
        if vector.advice
    )
    return table(caption, head, rows) + (f"<ul class='findings'>{advice}</ul>" if advice else "")


def _cosines(vectors: Sequence[ConceptVector]) -> str:
    rows = [(vector.name, *(f"{vector.cosine(other):+.2f}" for other in vectors)) for vector in vectors]
    return table("", ("vector", *(vector.name for vector in vectors)), rows) if len(vectors) > 1 else ""


def _vector(subject: Subject, vector: ConceptVector) -> str:
    trust = vector.trust
    facts = [f"Method: {vector.method}"]
    facts += [f"measured on {trust.measured_on}"] if trust.measured_on else []
    facts += [f"threshold at projection {vector.threshold:+.2f}"]
    facts += [f"balanced {trust.balanced}"] if trust.balanced else []
    facts += [f"few images in {'; '.join(trust.thin)}"] if trust.thin else []
    facts += [f"{trust.kept:.0%} of its length left after making it orthogonal"] if trust.kept < 1 else []
    facts += [f"shrunk to {trust.dimensions} leading dimensions"] if trust.dimensions else []
    advice = f"<ul class='findings'><li class='note'>{escape(vector.advice)}.</li></ul>" if vector.advice else ""
    drawn = _roc(vector.scores) + _histogram(vector) if vector.scores is not None and len(vector.scores.shows) else ""
    return advice + paragraph("; ".join(facts) + ".") + drawn + _leaks(vector) + _strips(subject, vector)


def _roc(scores: Scores) -> str:
    """True against false positives: of the projection and of the discriminant."""

    def rates(values: np.ndarray) -> tuple[list[float], list[float]]:
        cuts = np.quantile(values, np.linspace(1, 0, _POINTS))
        kinds = (~scores.shows, scores.shows)
        false, true = ([0.0, *((values[kind] >= cut).mean() for cut in cuts)] for kind in kinds)
        return [float(x) for x in false], [float(y) for y in true]

    lines = [Line("projection", *rates(scores.projection)), Line("LDA", *rates(scores.discriminant))]
    return curves(lines, "ROC: true positives over false positives", "false positives", "")


def _histogram(vector: ConceptVector) -> str:
    assert vector.scores is not None
    values = vector.scores.projection
    counts = []
    edges = np.linspace(values.min(), values.max() + 1e-9, _BINS + 1)
    for name, kind in (("with", vector.scores.shows), ("without", ~vector.scores.shows)):
        share = np.histogram(values[kind], edges)[0] / max(1, int(kind.sum()))
        counts.append(Line(name, ((edges[1:] + edges[:-1]) / 2).tolist(), share.tolist()))
    return curves(counts, "Projections of images with and without: share of each", "projection, latent units", "")


def _leaks(vector: ConceptVector) -> str:
    shifts = [shift for shift in (vector.trust.own_shift, *vector.trust.leaks) if shift]
    rows = [(shift.concept, f"{shift.shift:+.2f}", _number(shift.before)) for shift in shifts]
    caption = (
        "What edits by strength 1 change: images are edited, decoded, encoded again and scored by a discriminant of "
        "each concept; shifts in its within-class standard deviations, before: without balancing and orthogonalising."
    )
    return table(caption, ("concept", "shift, sd", "before"), rows)


@torch.inference_mode()
def _strips(subject: Subject, vector: ConceptVector) -> str:
    first, last, count = _STRENGTHS
    generator = torch.Generator().manual_seed(0)
    drawn = subject.geometry.drawn
    pair = torch.randint(len(drawn), (2,), generator=generator)
    random = drawn[pair[0]] - drawn[pair[1]]
    random *= vector.direction.norm() / random.norm().clamp_min(1e-9)
    what = subject.what
    words = {
        f"{what} at strengths {first:g} to {last:g} of {vector.name}": vector.direction,
        f"the same {what} as far in a random direction": random,
    }
    strengths = torch.linspace(first, last, count)
    pictures = []
    for told, direction in words.items():
        z = subject.z[:, None] + strengths[:, None] * direction  # (n, count, latent_dim)
        decoded = subject.vae.decode(z.flatten(0, 1).to(device_of(subject.vae))).cpu()
        pictures.append(picture(grid(to_pictures(decoded), columns=count), told, told[0].upper() + told[1:] + "."))
    return "".join(pictures)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
