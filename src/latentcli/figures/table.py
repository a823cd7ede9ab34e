"""Tables of text for the terminal, for reports and for model cards."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

_GAP = 2  # spaces between columns
_SHORT = 16  # characters of a cell that still stays on one line


@dataclass(frozen=True, slots=True)
class Table:
    """Table of text: a caption, column names, and rows of cells."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def cell(value: float | int | None, decimals: int | None = None) -> str:
    """Text of a number, with `decimals` decimal places or as many as its size needs; "-" for None.

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
    """Lay out a table as blocks of text up to `width` characters wide: lines of column names, and lines of cells.

    Cells wrap between words and are never cut. Columns that do not fit follow in a further block, which begins with the
    first column again.

    >>> for names, cells in blocks(["vector", "AUC", "verdict"], [["smile", "0.981", "confounded with old"]], 27):
    ...     print(*names, *cells, sep="\\n")
    vector    AUC  verdict
    smile   0.981  confounded
                   with old
    """
    least, wanted = list[int](), list[int]()  # width of each column: without broken words, and without wrapping
    signs = list[str]()  # alignment of each column
    for name, *cells in zip(columns or rows[0], *rows, strict=True):
        words = [*name.split(), *(word for cell in cells for word in ([cell] if len(cell) <= _SHORT else cell.split()))]
        least.append(max(map(len, words), default=0))
        wanted.append(max(map(len, [name, *cells])))
        signs.append(">" if signs and all(map(is_number, cells)) else "<")
    room = math.inf if width is None else width
    groups = [[0]]  # the columns of each block
    for column in range(1, len(least)):
        if len(groups[-1]) > 1 and _total([least[each] for each in [*groups[-1], column]]) > room:
            groups.append([0])
        groups[-1].append(column)
    for group in groups:
        widths = _widened([least[column] for column in group], [wanted[column] for column in group], room)
        aligned = [signs[column] for column in group]
        drawn = [_lines([row[column] for column in group], widths, aligned) for row in (columns, *rows) if row]
        names = drawn.pop(0) if columns else []
        yield names, [line for lines in drawn for line in lines]


def _widened(widths: list[int], wanted: Sequence[int], room: float) -> list[int]:
    """Widen columns to fill `room` characters: a space at a time for the narrowest column below its wanted width."""
    while _total(widths) < room:
        narrow = [column for column in range(len(widths)) if widths[column] < wanted[column]]
        if not narrow:
            break
        widths[min(narrow, key=widths.__getitem__)] += 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _lines(cells: Sequence[str], widths: Sequence[int], signs: Sequence[str]) -> list[str]:
    """Lines of text for a row of a table: cells wrapped between words to `widths`, aligned by `signs`, `<` or `>`."""
    wrapped = [
        textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False)
        for cell, width in zip(cells, widths, strict=True)
    ]
    lines = []
    for texts in zip_longest(*wrapped, fillvalue=""):
        aligned = [f"{text:{sign}{width}}" for text, width, sign in zip(texts, widths, signs, strict=True)]
        lines.append((" " * _GAP).join(aligned).rstrip())
    return lines


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, "-" or nothing; a column of only these cells is aligned to the right.

    >>> [is_number(cell) for cell in ("-1,234.5", "+12 %", "1.2 ± 0.3", "-", "", "12 images")]
    [True, True, True, True, True, False]
    """
    digits = cell.lstrip("+-").rstrip(" %").replace(" ± ", "")
    return digits.replace(",", "").replace(".", "").isdecimal() or cell in ("", "-")


def markdown(table: Table) -> str:
    """Markdown text of a table, without the caption.

    >>> print(markdown(Table("", ("on 5 images", "PSNR, dB"), [("this model", "27.14")])))
    | on 5 images | PSNR, dB |
    |---|---:|
    | this model | 27.14 |
    """
    lines = [table.columns, *table.rows]
    drawn = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([drawn[0], f"|---|{'---:|' * (len(table.columns) - 1)}", *drawn[1:]])
