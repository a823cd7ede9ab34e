"""HTML page of sections: text, tables, pictures and charts, drawn by the templates. It has no script and loads nothing.

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

_QUALITY = 80  # of WebP
_SHOWN_WIDTH = 900  # pixels, up to which small pictures are shown larger
_TICKS = 4


@dataclass(frozen=True, slots=True)
class Remark:
    """A line of advice with a colour."""

    grade: str  # its class in the style sheet: good, note or problem
    text: str
    label: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture inside the page, with a description for those who do not see it."""

    image: Image.Image
    description: str
    caption: str
    beside: bool = False  # another picture may stand beside it, where the window is wide

    @property
    def scale(self) -> int:
        """Factor by which a small picture is shown larger."""
        return max(1, _SHOWN_WIDTH // self.image.width)


@dataclass(frozen=True, slots=True)
class Entry:
    """A vector in an overview: its verdict, and a picture of what it does."""

    name: str
    remark: Remark
    picture: Picture
    section: str  # the id of the section that holds more


@dataclass(frozen=True, slots=True)
class Line:
    """A named curve."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Chart:
    """Curves or bars over axes; points, widths and heights are in units of the drawing."""

    title: str
    description: str
    x_name: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    lines: Sequence[tuple[str, Sequence[tuple[float, float]]]] = ()  # name, points
    bars: Sequence[tuple[str, Sequence[tuple[float, float, float]]]] = ()  # name; left end, width, height of each

    width, height = 640, 266
    left, right, top, base = 78, 628, 12, 226  # of the frame


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of the page. It is left out without parts, and folded inside another section."""

    id: str
    title: str
    parts: Sequence["Part"]

    @property
    def shown(self) -> list["Part"]:
        """Its parts without empty sections."""
        return [part for part in self.parts if not isinstance(part, Section) or part.shown]


Part = str | Table | Picture | list[Remark] | Chart | Entry | Section


def page(title: str, introduction: str, sections: Sequence[Section]) -> str:
    """The whole document."""
    shown = [section for section in sections if section.shown]
    return templates.get_template("page.html.j2").render(title=title, introduction=introduction, sections=shown)


def curves(lines: Sequence[Line], title: str, x_name: str, unit: str) -> list[Chart]:
    """Curves over a common axis, distinct by dashes as well as by colour; no chart when there is no curve to draw."""
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
    """A bar for each value, in the order given; no chart when there are none."""
    if not values:
        return []
    high = max([*values, 1e-9])
    description = f"{len(values)} bars, from {_short(max(values))} to {_short(min(values))} {unit}"
    return [Chart(title, description, x_name, (1, len(values)), (0.0, high), bars=[("", _bars(values, high))])]


def histogram(kinds: Sequence[tuple[str, Sequence[float]]], count: int, title: str, x_name: str) -> list[Chart]:
    """Shares of the values of each kind in `count` bins, one kind behind the other; every kind has values."""
    low, high = _range([value for _, values in kinds for value in values])
    shares = [(name, np.histogram(values, count, (low, high))[0] / len(values)) for name, values in kinds]
    most = max(float(share.max()) for _, share in shares)
    drawn = [(name, _bars(share.tolist(), most)) for name, share in shares]
    middles = "; ".join(f"{name} around {_short(float(np.median(values)))}" for name, values in kinds)
    return [Chart(title, middles, x_name, (low, high), (0.0, most), bars=drawn)]


def _bars(values: Sequence[float], high: float) -> list[tuple[float, float, float]]:
    """Left end, width and height of bars over the whole axis; a bar of `high` fills the frame."""
    step, full = (Chart.right - Chart.left) / len(values), Chart.base - Chart.top
    return [
        (Chart.left + index * step, max(0.5, 0.85 * step), max(0.0, value / high * full))
        for index, value in enumerate(values)
    ]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(values: tuple[float, float], start: float, end: float) -> list[tuple[float, str]]:
    """Positions of the ticks of an axis from start to end, and labels with as many digits as distinguish them.

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
    """A number in a description.

    >>> _short(19015.2), _short(0.1234), _short(-0.0)
    ('19,015', '0.123', '0')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value + 0.0:.3g}"


def _webp(picture: Image.Image) -> str:
    """The picture as a WebP file in base64."""
    return base64.b64encode(encode_picture(picture, ".webp", quality=_QUALITY)).decode()


def _marked(text: str) -> str:
    """The text as HTML, with the names of parameters, which stand in backticks, as code.

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
