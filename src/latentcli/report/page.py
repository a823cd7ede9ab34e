"""Charts as SVG: they scale to a phone, print, and say in words what they show."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image

from latentcli.images import encode_picture

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
    ends = "; ".join(
        f"{line.name} from {_short_number(line.y[0])} to {_short_number(line.y[-1])} {unit}" for line in lines
    )
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
    words = f"{title}: {len(values)} bars, from {_short_number(max(values))} to {_short_number(min(values))} {unit}"
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


def _short_number(value: float) -> str:
    """Short, as words want it.

    >>> _short_number(19015.2), _short_number(0.1234), _short_number(-0.0)
    ('19,015', '0.123', '0')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value + 0.0:.3g}"


_QUALITY = 90  # of WebP
_SHOWN_WIDTH = 600  # pixels, up to which small pictures are shown larger
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fff; --faint: #5c5c5c; --rule: #d0d0d0; --a: #0b57a4;
  --b: #a3420b; --good: #1a6b2c; --note: #6b5200; --problem: #a31919 }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --paper: #16181a; --faint: #a8a8a8; --rule: #3c4043;
  --a: #7db8f5; --b: #f2a56f; --good: #7fd491; --note: #e0c35a; --problem: #ff9a9a } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper) }
h1 { margin: 0 0 .2rem } h2 { margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--rule) }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1rem; padding: 0; list-style: none } a { color: var(--a) }
.scroll { overflow-x: auto } table { border-collapse: collapse; min-width: 60% }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; border-bottom: 1px solid var(--rule);
  vertical-align: top } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
figure { margin: 1rem 0 } figcaption { color: var(--faint) } img { max-width: 100%; height: auto }
img.pixels { image-rendering: pixelated } svg.chart { width: 100%; height: auto; max-width: 44rem }
svg text { font-size: 12px; fill: var(--faint) } .grid { stroke: var(--rule) } .bar { fill: var(--a) }
.line { fill: none; stroke-width: 2; stroke: var(--a) } .line1 { stroke: var(--b); stroke-dasharray: 7 4 }
.legend { display: flex; gap: 1.5rem; list-style: none; padding: 0; margin: 0 }
.findings { list-style: none; padding: 0 } .findings li { border-left: .3rem solid; padding: .2rem .8rem;
  margin: .6rem 0 } .findings .good { border-color: var(--good) } .findings .note { border-color: var(--note) }
.findings .problem { border-color: var(--problem) } .grade { font-weight: 600 } .good .grade { color: var(--good) }
.note .grade { color: var(--note) } .problem .grade { color: var(--problem) } .faint { color: var(--faint) }
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page; one without a body is left out."""

    id: str
    title: str
    body: str


def page(title: str, introduction: str, sections: Sequence[Section]) -> str:
    """The whole document."""
    shown = [section for section in sections if section.body]
    links = "".join(f'<li><a href="#{section.id}">{escape(section.title)}</a></li>' for section in shown)
    bodies = "\n".join(
        f'<section id="{section.id}" aria-labelledby="{section.id}-title"><h2 id="{section.id}-title">'
        f"{escape(section.title)}</h2>\n{section.body}</section>"
        for section in shown
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>{introduction}
<nav aria-label="Sections"><ul>{links}</ul></nav></header>
<main>
{bodies}
</main>
</body>
</html>
"""


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; all columns but the first hold numbers. "" without rows."""
    if not rows:
        return ""
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    first, *others = head
    top = f"<th scope='col'>{escape(first)}</th>" + "".join(
        f"<th scope='col' class='number'>{escape(name)}</th>" for name in others
    )
    lines = "".join(
        f"<tr><th scope='row'>{escape(row[0])}</th>"
        + "".join(f"<td class='number'>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<figure>{words}<div class="scroll" tabindex="0"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div></figure>"
    )


def picture(image: Image.Image, words: str, caption: str = "") -> str:
    """A picture inside the page; `words` say what it shows to those who do not see it."""
    data = base64.b64encode(encode_picture(image, ".webp", quality=_QUALITY)).decode()
    shown = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    times = max(1, _SHOWN_WIDTH // image.width)
    small = ' class="pixels"' if times > 1 else ""
    size = f'width="{times * image.width}" height="{times * image.height}"'
    return (
        f'<figure>{shown}<img{small} alt="{escape(words)}" {size} '
        f'loading="lazy" src="data:image/webp;base64,{data}"></figure>'
    )


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"
