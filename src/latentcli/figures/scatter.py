"""Scatters: thumbnails at their points, or in their cells, framed in the colours of their groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from latentcli.figures.sheet import BACKGROUND, INK, Look, caption_font, check_pixels, line_height, shortened
from latentcli.imaging.images import plain

# Okabe and Ito's colours, which people who see few colours can tell apart, and more for more groups.
COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442", "#8c564b", "#7f7f7f", "#17becf",
    "#9467bd", "#2f4f4f",
)  # fmt: skip
OTHER = "#bbbbbb"  # of what is in no group, and of groups beyond the colours
_RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))  # viridis, for numbers
_SIDE = 1400  # pixels of a map
_SMALLEST, _LARGEST = 10, 96  # pixels of a thumbnail
_FILLED = 0.75  # of the map's side by thumbnails side by side
_FRAME = 0.06  # of a thumbnail


@dataclass(frozen=True)
class Groups:
    """Colours of images, and the words of the legend."""

    colours: Sequence[str]  # one an image; none where nothing is known
    legend: Sequence[tuple[str, str]] = ()  # words and their colour

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Groups":
        """By text, the most frequent first; numbers of more values than colours are shaded from low to high."""
        names = sorted(set(texts) - {""}, key=lambda name: (-texts.count(name), name)) if len(set(texts)) > 1 else []
        numbers = _numbers(names)
        if len(names) > len(COLOURS) and numbers is not None:
            low, high = min(numbers.values()), max(numbers.values())
            shades = {name: _shade((value - low) / max(high - low, 1e-12)) for name, value in numbers.items()}
            ends = [(f"{low:g}", _shade(0.0)), (f"{high:g}", _shade(1.0))]
            return cls([shades.get(text, OTHER) for text in texts], ends)
        colour_of = dict(zip(names, COLOURS, strict=False))
        legend = list(colour_of.items())
        if len(names) > len(COLOURS):
            legend.append((f"{len(names) - len(COLOURS)} others", OTHER))
        return cls([colour_of.get(text, OTHER) for text in texts] if names else [], legend)


def _numbers(names: Sequence[str]) -> dict[str, float] | None:
    try:
        found = {name: float(name) for name in names}
    except ValueError:
        return None
    return found if all(map(math.isfinite, found.values())) else None


def _shade(share: float) -> str:
    place = share * (len(_RAMP) - 1)
    low = min(int(place), len(_RAMP) - 2)
    mixed = (round(a + (place - low) * (b - a)) for a, b in zip(_RAMP[low], _RAMP[low + 1], strict=True))
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def thumbnail_side(count: int, grid: bool) -> int:
    """Pixels of a thumbnail on a map of so many images, before it is enlarged."""
    filled = 1.0 if grid else _FILLED
    return max(_SMALLEST, min(_LARGEST, round(_SIDE * filled / math.sqrt(max(1, count)))))


def map_size(count: int, columns: int | None, thumbnail: tuple[int, int], look: Look) -> tuple[int, int]:
    """Pixels of a map without its words: a square, or a grid of so many columns."""
    if columns is None:
        return _SIDE * look.scale, _SIDE * look.scale
    rows = -(-count // columns)
    return columns * thumbnail[0], rows * thumbnail[1]


def draw(
    thumbnails: Sequence[Image.Image], points: np.ndarray, groups: Groups, columns: int | None, look: Look
) -> Image.Image:
    """A map of thumbnails of one size at points (n, 2) in 0 to 1, or, with columns, in the cells (n,) of a grid."""
    width, height = thumbnails[0].size
    size = map_size(len(thumbnails), columns, (width, height), look)
    text = 16 * look.scale
    font, heading = caption_font(9 * text), caption_font(9 * text, 1.5)
    line, margin = line_height(font), text
    above = margin + (line_height(heading) + margin // 2 if look.title else 0)
    words = groups.legend if look.labels else ()
    total = size[0] + 2 * margin, above + size[1] + margin + (line + margin) * bool(words)
    check_pixels(*total)
    page = Image.new("RGB", total, BACKGROUND)
    pen = ImageDraw.Draw(page)
    if look.title:
        pen.text((margin, margin), shortened(look.title, heading, size[0]), INK, heading)
    frame = max(1, round(_FRAME * min(width, height)))
    for number, picture in enumerate(thumbnails):
        if columns is None:
            x, y = points[number].tolist()
            left, top = margin + round(x * (size[0] - width)), above + round((1 - y) * (size[1] - height))
        else:
            row, column = divmod(int(points[number]), columns)
            left, top = margin + column * width, above + row * height
        page.paste(plain(picture).convert("RGB"), (left, top))
        if groups.colours:
            pen.rectangle((left, top, left + width - 1, top + height - 1), None, groups.colours[number], frame)
    across = float(margin)
    for name, colour in words:
        spot = above + size[1] + margin
        pen.rectangle((across, spot, across + line * 0.6, spot + line * 0.6), colour)
        word = shortened(name, font, size[0] / 4)
        pen.text((across + line * 0.9, spot - line * 0.15), word, INK, font)
        across += line * 1.6 + font.getlength(word)
        if across > size[0]:
            break
    return page
