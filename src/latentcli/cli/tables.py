"""Concept vectors, and findings of an evaluation, as lines of text, tables and JSON."""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from latentcli.cli.console import Console
from latentcli.cli.options import as_typed
from latentcli.figures.table import Table, cell

if TYPE_CHECKING:
    from latentcli.concepts.diagnostics import Shift
    from latentcli.concepts.vector import ConceptVector
    from latentcli.evaluation.diagnosis import Finding


def show_vectors(console: Console, events: Iterable[object], what: str) -> None:
    """Show the events of the job `what`, then its new concept vectors: one in a few lines, several in a table."""
    from latentcli.concepts.vector import ConceptVector

    vectors = [event for event in console.follow(events, what) if isinstance(event, ConceptVector)]
    if vectors:
        console.facts.setdefault("vectors", []).extend(map(summary, vectors))
    if len(vectors) == 1:
        console.facts["vector"] = console.facts["vectors"][-1]
        for line in _in_short(vectors[0]):
            console.say(line)
    elif vectors:
        table = _discovered_table(vectors) if all(vector.discovered for vector in vectors) else verdict_table(vectors)
        console.table(table, sys.stderr)
    if any(vector.positives for vector in vectors):
        console.say(f"all figures, with pictures: latentcli vectors report --model {console.facts['model']}")


def verdict_table(vectors: Iterable["ConceptVector"]) -> Table:
    """Table of concept vectors with the AUC and the verdict of each."""
    rows = [(vector.name, cell(vector.auc), vector.verdict.word) for vector in vectors]
    return Table("", ("vector", "AUC", "verdict"), rows)


def _discovered_table(vectors: Iterable["ConceptVector"]) -> Table:
    """Table of unsupervised directions: share of the latents' variance, pixel change at strength 1, side effect."""
    rows = []
    for vector in vectors:
        found, side_effect = vector.discovered, vector.diagnostics.strongest_side_effect
        assert found is not None
        moves = _shift(side_effect) if side_effect else "-"
        rows.append((vector.name, f"{found.variance:.1%}", f"{255 * found.change:.0f} of 255", moves))
    return Table("", ("vector", "variance", "pixel change", "moves most"), rows)


def _in_short(vector: "ConceptVector") -> Iterator[str]:
    """Lines on a new vector: numbers of images, AUC, advice or verdict; without labels, the lines of `describe`."""
    if not vector.positives:
        yield from describe(vector)
        return
    verdict, images = vector.verdict, vector.diagnostics.measured_on.rpartition(": ")[2]
    yield f"{vector.name}: {vector.positives} with, {vector.negatives} without"
    if vector.auc is not None:
        everyone = vector.diagnostics.auc_all
        between = "" if everyone is None else f", {everyone:.3f} with those between the thresholds"
        yield f"  AUC {vector.auc:.3f} on {images}{between}{'' if verdict.advice else f': {verdict.word}'}"
        yield f"  gap {vector.gap_in_words} within-class sd"
    if verdict.advice:
        yield f"  {verdict.advice}"


def describe(vector: "ConceptVector") -> Iterator[str]:
    """Lines with all diagnostics of a vector: numbers of images, AUC, shifts of concepts by edits, advice and more."""
    figures = vector.diagnostics
    if found := vector.discovered:
        yield (
            f"{vector.name}: {vector.method}, {found.variance:.1%} of the latents' variance; strength 1 is 1 sd and "
            f"changes images by {255 * found.change:.1f} of 255 levels"
        )
    elif not vector.positives:
        terms = ", ".join(f"{name}={strength:g}" for name, strength in vector.combined)
        yield f"{vector.name}: {terms}; strength 1 is {vector.length_in_sigma:.2f} sd of the images"
        return
    else:
        auc, auc_lda = ("-" if value is None else f"{value:.3f}" for value in (figures.auc, figures.auc_lda))
        everyone = "" if figures.auc_all is None else f", {figures.auc_all:.3f} with the images between the thresholds"
        yield (
            f"{vector.name}: {vector.positives} with, {vector.negatives} without; gap {vector.gap_in_words} "
            f"within-class sd; AUC {auc}{everyone} (LDA {auc_lda}) on {figures.measured_on}"
        )
    cosine, chance = figures.cosine, figures.chance_in_words
    lines = [
        f"labels: {vector.origin}" if vector.origin else "",
        "" if cosine is None else f"expected cosine with the vector from unlimited images: {cosine:.2f}",
        f"threshold {vector.threshold:+.2f}; {chance}" if chance else "",
        f"balanced {figures.balanced}" if figures.balanced else "",
        f"few images in {len(figures.thin)} cells: {'; '.join(figures.thin[:3])}" if figures.thin else "",
        f"orthogonal: {figures.kept:.0%} of its length is left" if figures.kept < 1 else "",
        f"shifts by edits of +1: {', '.join(map(_shift, figures.shifts))}" if figures.shifts else "",
        vector.advice,
    ]
    yield from (f"  {line}" for line in lines if line)


def _shift(shift: "Shift") -> str:
    before = "" if shift.before is None else f" (before {shift.before:+.2f})"
    return f"{shift.concept} {shift.shift:+.2f} sd{before}"


def summary(vector: "ConceptVector", others: Sequence["ConceptVector"] = ()) -> dict[str, object]:
    """Diagnostics of a vector as a JSON object for `--json`, with its cosines with the vectors in `others`."""
    return {
        "name": vector.name,
        "method": vector.method,
        "positives": vector.positives,
        "negatives": vector.negatives,
        "labels": vector.origin,
        "gap_in_sigma": vector.gap_in_sigma if math.isfinite(vector.gap_in_sigma) else None,
        "threshold": vector.threshold,
        **asdict(vector.diagnostics),
        "steadiness": vector.diagnostics.cosine,
        "cosines": {other.name: vector.cosine(other) for other in others if other is not vector},
        "advice": as_typed(vector.advice),
    }


def findings_as_typed(findings: "Iterable[Finding]") -> list[dict[str, str]]:
    """Findings of an evaluation as JSON objects for `--json`, with parameters like `held_out` replaced by options."""
    return [{key: as_typed(text) for key, text in asdict(finding).items()} for finding in findings]
