"""Tables on the terminal, and concept vectors in lines and in JSON."""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from latentcli.cli.console import Console
from latentcli.cli.options import as_typed

if TYPE_CHECKING:
    from latentcli.concepts.diagnostics import Shift
    from latentcli.concepts.vector import ConceptVector
    from latentcli.evaluation.diagnosis import Finding
    from latentcli.figures.table import Table


def show_vectors(console: Console, events: Iterable[object], what: str) -> None:
    """Follow events, and describe the new vectors among them: one in a few lines, several in a table."""
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
        console.table(table.rows, table.columns, sys.stderr)
    if any(vector.positives for vector in vectors):
        console.say(f"all figures, with pictures: latentcli vectors report --model {console.facts['model']}")


def verdict_table(vectors: Iterable["ConceptVector"]) -> "Table":
    """How good each vector is, one a row."""
    from latentcli.figures.table import Table, cell

    rows = [(vector.name, cell(vector.auc), vector.verdict.word) for vector in vectors]
    return Table("", ("vector", "AUC", "verdict"), rows)


def _discovered_table(vectors: Iterable["ConceptVector"]) -> "Table":
    """What each direction that was found without labels changes, one a row."""
    from latentcli.figures.table import Table

    rows = []
    for vector in vectors:
        way, moved = vector.discovered, vector.diagnostics.strongest_side_effect
        assert way is not None
        rows.append(
            (vector.name, f"{way.variance:.1%}", f"{255 * way.change:.0f} of 255", _shift(moved) if moved else "-")
        )
    return Table("", ("vector", "variance", "pixel change", "moves most"), rows)


def _in_short(vector: "ConceptVector") -> Iterator[str]:
    """What a user needs to know of a new vector."""
    if not vector.positives:
        yield from describe(vector)
        return
    verdict, where = vector.verdict, vector.diagnostics.measured_on.rpartition(": ")[2]
    yield f"{vector.name}: {vector.positives} with, {vector.negatives} without"
    if vector.auc is not None:
        yield f"  AUC {vector.auc:.3f} on {where}{'' if verdict.advice else f': {verdict.word}'}"
    if verdict.advice:
        yield f"  {verdict.advice}"


def describe(vector: "ConceptVector") -> Iterator[str]:
    """Figures of a vector, and advice."""
    if way := vector.discovered:
        yield (
            f"{vector.name}: {vector.method}, {way.variance:.1%} of the latents' variance; strength 1 is 1 sd and "
            f"changes images by {255 * way.change:.1f} of 255 levels"
        )
        yield from _side_effects(vector)
        return
    if not vector.positives:
        parts = ", ".join(f"{name}={strength:g}" for name, strength in vector.combined)
        yield f"{vector.name}: {parts}; strength 1 is {vector.gap_in_sigma:.2f} sd of the images"
        return
    found = vector.diagnostics
    auc, auc_lda = ("-" if value is None else f"{value:.3f}" for value in (found.auc, found.auc_lda))
    yield (
        f"{vector.name}: {vector.positives} with, {vector.negatives} without; strength 1 is {vector.gap_in_sigma:.2f} "
        f"within-class sd; AUC {auc} (LDA {auc_lda}) on {found.measured_on}"
    )
    if found.steadiness is not None:
        fewer = f", shrunk to {found.dimensions} leading dimensions" if found.dimensions else ""
        yield f"  expected cosine with the vector from unlimited images: {found.steadiness:.2f}{fewer}"
    if found.chance is not None:
        yield f"  threshold {vector.threshold:+.2f}; vectors of shuffled labels reach AUC {found.chance:.2f}"
    if found.balanced:
        yield f"  balanced {found.balanced}"
    if found.thin:
        yield f"  few images in {len(found.thin)} cells: {'; '.join(found.thin[:3])}"
    if found.kept < 1:
        yield f"  orthogonal: {found.kept:.0%} of its length is left"
    yield from _side_effects(vector)
    if vector.advice:
        yield f"  {vector.advice}"


def _side_effects(vector: "ConceptVector") -> Iterator[str]:
    if vector.diagnostics.shifts:
        yield f"  shifts by edits of +1: {', '.join(map(_shift, vector.diagnostics.shifts))}"


def _shift(shift: "Shift") -> str:
    before = "" if shift.before is None else f" (before {shift.before:+.2f})"
    return f"{shift.concept} {shift.shift:+.2f} sd{before}"


def summary(vector: "ConceptVector", others: Sequence["ConceptVector"] = ()) -> dict[str, object]:
    """A vector's figures, for --json."""
    return {
        "name": vector.name,
        "method": vector.method,
        "positives": vector.positives,
        "negatives": vector.negatives,
        "gap_in_sigma": vector.gap_in_sigma if math.isfinite(vector.gap_in_sigma) else None,
        "threshold": vector.threshold,
        **vector.diagnostics.to_json(),
        "steadiness": vector.diagnostics.steadiness,
        "cosines": {other.name: vector.cosine(other) for other in others if other is not vector},
        "advice": as_typed(vector.advice),
    }


def findings_as_typed(findings: "Iterable[Finding]") -> list[dict[str, str]]:
    """Findings, for --json."""
    return [{key: as_typed(text) for key, text in finding.to_json().items()} for finding in findings]


def draw_table(console: Console, table: "Table") -> None:
    """A table on stdout, without its caption."""
    console.table(table.rows, table.columns)
