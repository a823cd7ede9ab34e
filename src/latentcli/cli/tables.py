"""What is said of concept vectors: in lines, in a table, and in JSON."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from latentcli.cli.console import Console, print_table

if TYPE_CHECKING:
    from latentcli.table import Table


def tell_vector(console: Console, fitted: Any) -> None:
    """Say what a new vector is worth."""
    vector = fitted.vector
    console.facts["vector"] = summary(vector)
    console.facts.setdefault("vectors", []).append(console.facts["vector"])
    for line in describe(vector):
        console.say(line)


def describe(vector: Any) -> Iterator[str]:
    """What is known of a vector, and what is off."""
    if not vector.positives:
        told = ", ".join(f"{name}={strength:g}" for name, strength in vector.recipe.get("combine", ()))
        yield f"{vector.name}: {told}; strength 1 is {vector.gap_in_sigma:.2f} sd of the images"
        return
    trust = vector.trust
    known = f"AUC {_number(trust.auc)} (LDA {_number(trust.auc_lda)}) on {trust.measured_on}"
    yield (
        f"{vector.name}: {vector.positives} with, {vector.negatives} without; strength 1 is {vector.gap_in_sigma:.2f} "
        f"within-class sd; {known}"
    )
    if trust.steadiness is not None:
        fewer = f", shrunk to {trust.dimensions} leading dimensions" if trust.dimensions else ""
        yield f"  expected cosine with the vector from unlimited images: {trust.steadiness:.2f}{fewer}"
    if trust.chance is not None:
        yield f"  threshold {vector.threshold:+.2f}; vectors of shuffled labels reach AUC {trust.chance:.2f}"
    if trust.balanced:
        yield f"  balanced {trust.balanced}"
    if trust.thin:
        yield f"  few images in {len(trust.thin)} cells: {'; '.join(trust.thin[:3])}"
    if trust.kept < 1:
        yield f"  orthogonal: {trust.kept:.0%} of its length is left"
    shifts = [shift for shift in (trust.own_shift, *trust.leaks) if shift]
    if shifts:
        yield f"  edited by +1 and seen again: {', '.join(map(_shift, shifts))}"
    if vector.advice:
        yield f"  {vector.advice}"


def _shift(shift: Any) -> str:
    before = "" if shift.before is None else f" (before {shift.before:+.2f})"
    return f"{shift.concept} {shift.shift:+.2f} sd{before}"


def summary(vector: Any, others: Sequence[Any] = ()) -> dict[str, Any]:
    """A vector's figures, for --json."""
    return {
        "name": vector.name,
        "method": vector.method,
        "positives": vector.positives,
        "negatives": vector.negatives,
        "gap_in_sigma": vector.gap_in_sigma if math.isfinite(vector.gap_in_sigma) else None,
        "threshold": vector.threshold,
        **vector.trust.to_json(),
        "steadiness": vector.trust.steadiness,
        "cosines": {other.name: vector.cosine(other) for other in others if other is not vector},
        "advice": vector.advice,
    }


def print_vectors(vectors: list[Any]) -> None:
    """The vectors on stdout, one a row."""
    from latentcli.concepts.vector import vector_table

    draw_table(vector_table(vectors))


def draw_table(table: "Table") -> None:
    """A table on stdout, without its caption."""
    from rich.table import Table as RichTable

    first, *others = table.columns
    drawn = RichTable(first, box=None)
    for name in others:
        drawn.add_column(name, justify="right")
    for row in table.rows:
        drawn.add_row(*row)
    print_table(drawn)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
