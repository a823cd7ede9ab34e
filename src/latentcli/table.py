"""Tables of numbers, the same on the terminal, in reports and on model cards."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under column names; all columns but the first hold numbers."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def cell(value: float | int | None, decimals: int | None = None) -> str:
    """A number as a cell shows it: with as many decimals as are asked for, else as many as it needs.

    >>> cell(None), cell(19015.23), cell(27.1422), cell(0.98214), cell(12, 0)
    ('-', '19,015.2', '27.14', '0.982', '12')
    """
    if value is None:
        return "-"
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"


def markdown(table: Table) -> str:
    """The table in Markdown, without its caption.

    >>> print(markdown(Table("", ("on 5 images", "PSNR, dB"), [("this model", "27.14")])))
    | on 5 images | PSNR, dB |
    |---|---:|
    | this model | 27.14 |
    """
    lines = [table.columns, *table.rows]
    drawn = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([drawn[0], f"|---|{'---:|' * (len(table.columns) - 1)}", *drawn[1:]])
