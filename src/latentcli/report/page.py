"""HTML pages of sections with text, tables, pictures and charts, from templates; without scripts or external files.

Charts are SVG, which scales to a phone, prints and follows the dark mode; each has a description in words.
"""

import base64
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from latentcli.figures.table import Table, is_number
from latentcli.imaging.images import encode_picture

_QUALITY = 80  # of pictures in WebP
_SHOWN_WIDTH = 900  # pixels: smaller pictures are scaled up by a whole factor as far as this width allows
_TICKS = 4  # intervals between the ticks of an axis


@dataclass(frozen=True, slots=True)
class Remark:
    """A finding in a coloured line: an optional label, text, and optional advice."""

    grade: str  # class in the style sheet, which sets the colour: good, note or problem
    text: str
    label: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture embedded in the page."""

    image: Image.Image
    description: str  # alternative text
    caption: str
    beside: bool = False  # whether another picture may stand beside this one in a wide window

    @property
    def scale(self) -> int:
        """Whole factor by which the page enlarges the picture; 1 for pictures wider than 450 pixels."""
        return max(1, _SHOWN_WIDTH // self.image.width)


@dataclass(frozen=True, slots=True)
class Entry:
    """Row of an overview of concept vectors: name, verdict, and a picture of edits along the vector."""

    name: str
    remark: Remark
    picture: Picture
    section: str  # id of the section with the vector's details


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of a chart: its name in the legend and its points."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Chart:
    """A chart of curves or bars; points and bars are in coordinates of the SVG drawing, ranges in units of the data."""

    title: str
    description: str  # alternative text
    x_name: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    lines: Sequence[tuple[str, Sequence[tuple[float, float]]]] = ()  # curves: name, points
    bars: Sequence[tuple[str, Sequence[tuple[float, float, float]]]] = ()  # groups: name; left, width, height of bars

    width, height = 640, 266  # of the drawing
    left, right, top, base = 78, 628, 12, 226  # edges of the frame inside the drawing


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of the page; the page omits empty sections and folds sections inside sections."""

    id: str
    title: str
    parts: Sequence["Part"]

    @property
    def shown(self) -> list["Part"]:
        """The section's parts, except subsections that are empty."""
        return [part for part in self.parts if not isinstance(part, Section) or part.shown]


Part = str | Table | Picture | list[Remark] | Chart | Entry | Section


def page(title: str, introduction: str, sections: Sequence[Section]) -> str:
    """HTML document with a title, an introduction and the non-empty sections."""
    shown = [section for section in sections if section.shown]
    return templates.get_template("page.html.j2").render(title=title, introduction=introduction, sections=shown)


def curves(lines: Sequence[Line], title: str, x_name: str, unit: str) -> list[Chart]:
    """One chart with the lines of two or more points on common axes; an empty list if no line has two points."""
    lines = [line for line in lines if len(line.x) > 1]
    if not lines:
        return []
    x_range = _range([x for line in lines for x in line.x])
    y_range = _range([y for line in lines for y in line.y])
    drawn = []
    for line in lines:
        across = np.interp(line.x, x_range, (Chart.left, Chart.right)).tolist()
        down = np.interp(line.y, y_range, (Chart.base, Chart.top)).tolist()
        drawn.append((line.name, list(zip(across, down, strict=True))))
    ends = "; ".join(f"{line.name} from {_short(line.y[0])} to {_short(line.y[-1])} {unit}" for line in lines)
    return [Chart(title, ends, x_name, x_range, y_range, lines=drawn)]


def bars(values: Sequence[float], title: str, x_name: str, unit: str) -> list[Chart]:
    """One bar chart with a bar for each value, in the given order; an empty list if there are no values."""
    if not values:
        return []
    high = max([*values, 1e-9])
    description = f"{len(values)} bars, from {_short(max(values))} to {_short(min(values))} {unit}"
    return [Chart(title, description, x_name, (1, len(values)), (0.0, high), bars=[("", _bars(values, high))])]


def histogram(kinds: Sequence[tuple[str, Sequence[float]]], count: int, title: str, x_name: str) -> list[Chart]:
    """One chart that overlays a histogram of `count` bins for each kind, given as (name, values, not empty)."""
    low, high = _range([value for _, values in kinds for value in values])
    shares = [(name, np.histogram(values, count, (low, high))[0] / len(values)) for name, values in kinds]
    most = max(float(share.max()) for _, share in shares)
    drawn = [(name, _bars(share.tolist(), most)) for name, share in shares]
    middles = "; ".join(f"{name} around {_short(float(np.median(values)))}" for name, values in kinds)
    return [Chart(title, middles, x_name, (low, high), (0.0, most), bars=drawn)]


def _bars(values: Sequence[float], high: float) -> list[tuple[float, float, float]]:
    """(left end, width, height) in the drawing of a bar for each value; a bar for the value `high` fills the frame."""
    step, full = (Chart.right - Chart.left) / len(values), Chart.base - Chart.top
    return [
        (Chart.left + index * step, max(0.5, 0.85 * step), max(0.0, value / high * full))
        for index, value in enumerate(values)
    ]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(values: tuple[float, float], start: float, end: float) -> list[tuple[float, str]]:
    """Positions, from `start` to `end`, and labels of an axis's ticks, with enough decimals to tell them apart.

    >>> _ticks((-2, 6), 0, 100)
    [(0.0, '-2.0'), (25.0, '0.0'), (50.0, '2.0'), (75.0, '4.0'), (100.0, '6.0')]
    >>> _ticks((18800, 19200), 0, 100)[1][1], _ticks((11.9, 12.0), 0, 100)[1][1], _ticks((1, 1), 0, 100)[1][1]
    ('18,900', '11.925', '1.0')
    """
    low, span = values[0], values[1] - values[0]
    decimals = min(6, max(0, 1 - math.floor(math.log10(span / _TICKS)))) if span > 0 else 1
    shares = [tick / _TICKS for tick in range(_TICKS + 1)]
    return [(start + share * (end - start), f"{low + share * span + 0.0:,.{decimals}f}") for share in shares]


def _short(value: float) -> str:
    """A number rounded to three digits, or, from 1000 on, to a whole number, for descriptions.

    >>> _short(19015.2), _short(0.1234), _short(-0.0)
    ('19,015', '0.123', '0')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value + 0.0:.3g}"


def _webp(picture: Image.Image) -> str:
    """Base64 text of the picture as a WebP file."""
    return base64.b64encode(encode_picture(picture, ".webp", quality=_QUALITY)).decode()


def _marked(text: str) -> str:
    """HTML of a plain text, with parameter names in backticks marked up as code.

    >>> _marked("`beta` 1 & more")
    '<code>beta</code> 1 &amp; more'
    """
    return re.sub("`([a-z_]+)`", r"<code>\1</code>", escape(text))


templates = Environment(
    loader=PackageLoader("latentcli.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters |= {
    "decimals": "{:.1f}".format,
    "number_columns": lambda table: [all(map(is_number, column)) for column in zip(*table.rows, strict=True)],
    "marked": _marked,
    "ticks": _ticks,
    "webp": _webp,
}
