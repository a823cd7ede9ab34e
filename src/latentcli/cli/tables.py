"""Tables on the terminal, and concept vectors in lines and in JSON."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from latentcli.cli.console import Console

if TYPE_CHECKING:
    from latentcli.concepts.diagnostics import Shift
    from latentcli.concepts.vector import ConceptVector
    from latentcli.table import Table


def show_vectors(console: Console, events: Iterable[object], what: str) -> None:
    """Follow events, and describe each new vector among them."""
    from latentcli.concepts.vector import ConceptVector

    for vector in console.follow(events, what):
        assert isinstance(vector, ConceptVector)
        console.facts["vector"] = summary(vector)
        console.facts.setdefault("vectors", []).append(console.facts["vector"])
        for line in describe(vector):
            console.say(line)


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
        "advice": vector.advice,
    }


def draw_table(console: Console, table: "Table") -> None:
    """A table on stdout, without its caption."""
    console.table(table.rows, table.columns)
