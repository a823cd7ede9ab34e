"""The page around the sections: HTML that needs nothing else, and reads on a phone as on paper."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image

from latentcli.images import encode_picture

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
