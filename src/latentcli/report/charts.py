"""Charts as SVG: they scale to a phone, print, and say in words what they show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 640, 260  # units of the drawing
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 12, 12, 34
_TICKS = 4


@dataclass(frozen=True, slots=True)
class Line:
    """A named curve."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def curves(lines: Sequence[Line], title: str, x_name: str, unit: str) -> str:
    """Curves over a common axis, told apart by dashes as well as by colour; "" when there is no curve to draw."""
    lines = [line for line in lines if len(line.x) > 1]
    if not lines:
        return ""
    x_low, x_high = _range([value for line in lines for value in line.x])
    y_low, y_high = _range([value for line in lines for value in line.y])

    def at(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)
        down = _HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (_HEIGHT - _TOP - _BOTTOM)
        return across, down

    parts = [_axes((x_low, x_high), (y_low, y_high), x_name)]
    for number, line in enumerate(lines):
        points = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in zip(line.x, line.y, strict=True))
        parts.append(f'<polyline class="line line{number}" points="{points}"/>')
    ends = "; ".join(f"{line.name} from {_number(line.y[0])} to {_number(line.y[-1])} {unit}" for line in lines)
    legend = "".join(
        f'<li><svg width="34" height="10" aria-hidden="true"><line class="line line{number}" x1="0" y1="5" x2="34" '
        f'y2="5"/></svg> {escape(line.name)}</li>'
        for number, line in enumerate(lines)
    )
    return _figure(title, f"{title}: {ends}", "".join(parts), f'<ul class="legend">{legend}</ul>')


def bars(values: Sequence[float], title: str, x_name: str, unit: str) -> str:
    """One bar per value, in the order given; "" when there are none."""
    if not values:
        return ""
    high = max([*values, 1e-9])
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    step = inner_width / len(values)
    drawn = []
    for place, value in enumerate(values):
        height = max(0.0, value / high * inner_height)
        drawn.append(
            f'<rect class="bar" x="{_LEFT + place * step:.2f}" y="{_HEIGHT - _BOTTOM - height:.2f}" '
            f'width="{max(0.5, 0.85 * step):.2f}" height="{height:.2f}"/>'
        )
    words = f"{title}: {len(values)} bars, from {_number(max(values))} to {_number(min(values))} {unit}"
    return _figure(title, words, _axes((1, len(values)), (0.0, high), x_name) + "".join(drawn), "")


def _figure(title: str, words: str, drawing: str, legend: str) -> str:
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg class="chart" role="img" viewBox="0 0 {_WIDTH} '
        f'{_HEIGHT}" aria-label="{escape(words)}">{drawing}</svg>{legend}</figure>'
    )


def _axes(x: tuple[float, float], y: tuple[float, float], x_name: str) -> str:
    base, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for tick in range(_TICKS + 1):
        share = tick / _TICKS
        down = base - share * (base - _TOP)
        across = _LEFT + share * (right - _LEFT)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{down:.1f}" y2="{down:.1f}"/>')
        value = _tick(y[0] + share * (y[1] - y[0]), y[1] - y[0])
        parts.append(f'<text x="{_LEFT - 6}" y="{down + 4:.1f}" text-anchor="end">{value}</text>')
        value = _tick(x[0] + share * (x[1] - x[0]), x[1] - x[0])
        anchor = "end" if tick == _TICKS else "middle"
        parts.append(f'<text x="{across:.1f}" y="{base + 15}" text-anchor="{anchor}">{value}</text>')
    parts.append(f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(x_name)}</text>')
    return "".join(parts)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _tick(value: float, span: float) -> str:
    """As many digits as tell the ticks of an axis of this length apart.

    >>> _tick(19015.2, 400), _tick(11.925, 0.1), _tick(-0.0, 8), _tick(1, 0)
    ('19,015', '11.925', '0.0', '1.0')
    """
    decimals = 1 - math.floor(math.log10(span / _TICKS)) if span > 0 else 1
    return f"{value + 0.0:,.{min(6, max(0, decimals))}f}"


def _number(value: float) -> str:
    """Short, as words want it.

    >>> _number(19015.2), _number(0.1234), _number(-0.0)
    ('19,015', '0.123', '0')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value + 0.0:.3g}"
