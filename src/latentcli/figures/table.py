"""Tables, the same on the terminal, in reports and on model cards."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

_GAP = 2  # spaces between columns
_SHORT = 16  # characters of a cell that stays on one line


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under column names."""

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


def blocks(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None
) -> Iterator[tuple[list[str], list[str]]]:
    """The table as text: lines of column names and lines of cells.

    Nothing is cut: cells wrap between words, and columns that do not fit beside the others follow in a block of their
    own, behind the first column.

    >>> for names, cells in blocks(["vector", "AUC", "verdict"], [["smile", "0.981", "confounded with old"]], 27):
    ...     print(*names, *cells, sep="\\n")
    vector    AUC  verdict
    smile   0.981  confounded
                   with old
    """
    cells = list(zip(*filter(None, (columns, *rows)), strict=True))  # by column
    least = [
        max([*map(len, name.split()), *map(_least, column)])
        for name, *column in zip(columns or rows[0], *rows, strict=True)
    ]
    for block in _side_by_side(least, width):
        wanted = [max(map(len, cells[number])) for number in block]
        widths = _widened([least[number] for number in block], wanted, width)
        right = [number > 0 and all(is_number(row[number]) for row in rows) for number in block]
        drawn = [_lines([row[number] for number in block], widths, right) for row in (columns, *rows) if row]
        names = drawn.pop(0) if columns else []
        yield names, [line for lines in drawn for line in lines]


def _least(cell: str) -> int:
    """Width that a cell cannot go below: all of a short one, the longest word of a text."""
    return len(cell) if len(cell) <= _SHORT else max(map(len, cell.split()), default=0)


def _side_by_side(least: Sequence[int], width: int | None) -> Iterator[list[int]]:
    """The numbers of the columns of each block; the first column is in all of them."""
    block = [0]
    for number in range(1, len(least)):
        if width is not None and len(block) > 1 and _total([least[each] for each in [*block, number]]) > width:
            yield block
            block = [0]
        block.append(number)
    yield block


def _widened(widths: list[int], wanted: Sequence[int], width: int | None) -> list[int]:
    """Columns that share the room that is left, as far as they want it."""
    while width is None or _total(widths) < width:
        column = min(range(len(widths)), key=lambda column: (widths[column] >= wanted[column], widths[column]))
        if widths[column] >= wanted[column]:
            break
        widths[column] += 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _lines(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    """A row of cells, each wrapped between words."""
    wrapped = [
        textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False)
        for cell, width in zip(cells, widths, strict=True)
    ]
    return [
        (" " * _GAP)
        .join(
            part.rjust(width) if at_right else part.ljust(width)
            for part, width, at_right in zip(parts, widths, right, strict=True)
        )
        .rstrip()
        for parts in zip_longest(*wrapped, fillvalue="")
    ]


def is_number(cell: str) -> bool:
    """Whether a cell holds a number or nothing: columns of such cells stand at the right.

    >>> [is_number(cell) for cell in ("-1,234.5", "+12 %", "-", "", "12 images")]
    [True, True, True, True, False]
    """
    return cell.lstrip("+-").replace(",", "").replace(".", "").rstrip(" %").isdecimal() or cell in ("", "-")


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
