"""Maps of pictures: thumbnails at points of a plane or in cells of a grid, with coloured frames; and honeycombs."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from latentcli.figures.sheet import GAP, INK, TITLE, Look, caption_font, enlarged, line_height, shortened, titled_page
from latentcli.imaging.images import plain

# Colours of groups: first Okabe and Ito's, which colour-blind people can tell apart.
COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442", "#8c564b", "#7f7f7f", "#17becf",
    "#9467bd", "#2f4f4f",
)  # fmt: skip
OTHER = "#bbbbbb"  # colour of images in no group, and of groups beyond the number of COLOURS
_RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))  # viridis, for groups of numbers
_SIDE = 1400  # pixels of a map's side
_SMALLEST, _LARGEST = 10, 96  # pixels of a thumbnail's side
_FILLED = 0.75  # share of the map's side that the thumbnails side by side would fill
_FRAME = 0.06  # width of a frame, as a share of a thumbnail's side
_FINER = 4  # times that the mask of a hexagon is drawn larger, for smooth edges


@dataclass(frozen=True)
class Groups:
    """Colours of a map's images, one colour per group, and the legend."""

    colours: Sequence[str]  # colour of each image; empty without groups
    legend: Sequence[tuple[str, str]] = ()  # text and colour of each entry

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Groups":
        """Groups of images with equal `texts`, most frequent first; many numbers are shaded from low to high."""
        names = sorted(set(texts) - {""}, key=lambda name: (-texts.count(name), name)) if len(set(texts)) > 1 else []
        if len(names) > len(COLOURS):
            with contextlib.suppress(ValueError):
                numbers = {name: float(name) for name in names}
                if all(map(math.isfinite, numbers.values())):
                    low, high = min(numbers.values()), max(numbers.values())
                    shades = {name: _shade((value - low) / max(high - low, 1e-12)) for name, value in numbers.items()}
                    legend = [(f"{low:g}", _shade(0.0)), (f"{high:g}", _shade(1.0))]
                    return cls([shades.get(text, OTHER) for text in texts], legend)
        colour_of = dict(zip(names, COLOURS, strict=False))
        legend = list(colour_of.items())
        if len(names) > len(COLOURS):
            legend.append((f"{len(names) - len(COLOURS)} others", OTHER))
        return cls([colour_of.get(text, OTHER) for text in texts] if names else [], legend)


def _shade(share: float) -> str:
    """Colour of viridis, as #rrggbb, at `share` of the way from dark (0) to light (1)."""
    place = share * (len(_RAMP) - 1)
    rgb = (round(float(np.interp(place, range(len(_RAMP)), channel))) for channel in zip(*_RAMP, strict=True))
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def thumbnail_side(count: int, grid: bool) -> int:
    """Side in pixels, before enlargement, of each of `count` thumbnails on a map; larger on a `grid`, without gaps."""
    filled = 1.0 if grid else _FILLED
    return max(_SMALLEST, min(_LARGEST, round(_SIDE * filled / math.sqrt(max(1, count)))))


def map_size(count: int, columns: int | None, thumbnail: tuple[int, int], look: Look) -> tuple[int, int]:
    """Width and height in pixels of a map without title and legend: a square, or, with `columns`, a grid."""
    if columns is None:
        return _SIDE * look.scale, _SIDE * look.scale
    rows = -(-count // columns)
    return columns * thumbnail[0], rows * thumbnail[1]


def draw(
    thumbnails: Sequence[Image.Image], points: np.ndarray, groups: Groups, columns: int | None, look: Look
) -> Image.Image:
    """Draw thumbnails of one size at `points` (n, 2) from 0 to 1, or, with `columns`, in the grid cells `points` (n,).

    Raises UsageError for a map that is too large to be written.
    """
    width, height = thumbnails[0].size
    size = map_size(len(thumbnails), columns, (width, height), look)
    margin = 16 * look.scale
    font, heading = caption_font(9 * margin), caption_font(9 * margin, TITLE)
    line = line_height(font)
    above = margin + (line_height(heading) + margin // 2 if look.title else 0)
    legend = groups.legend if look.labels else ()
    total = size[0] + 2 * margin, above + size[1] + margin + (line + margin) * bool(legend)
    page = titled_page(total, look.title, heading, margin)
    pen = ImageDraw.Draw(page)
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
    x, y = float(margin), above + size[1] + margin
    for name, colour in legend:
        pen.rectangle((x, y, x + line * 0.6, y + line * 0.6), colour)
        word = shortened(name, font, size[0] / 4)
        pen.text((x + line * 0.9, y - line * 0.15), word, INK, font)
        x += line * 1.6 + font.getlength(word)
        if x > size[0]:
            break
    return page


def honeycomb(pictures: Sequence[Image.Image], columns: int, scale: int, title: str) -> Image.Image:
    """Draw pictures of one size cut to hexagons, every second row shifted by half a picture, as the library plat does.

    Raises UsageError for a honeycomb that is too large to be written.
    """
    width, height = pictures[0].width * scale, pictures[0].height * scale
    margin = GAP * scale
    across = width * math.sqrt(3) / 2 + margin / 2  # from cell to cell
    down = height * 0.75 + margin / 2
    rows = -(-len(pictures) // columns)
    heading = caption_font(height, TITLE)
    above = margin + (line_height(heading) + margin if title else 0)
    bottom = above + math.ceil(rows * down + height / 4) + margin
    page = titled_page((math.ceil((columns + 0.5) * across) + 2 * margin, bottom), title, heading, margin)
    half = width * math.sqrt(3) / 4
    corners = [
        (width / 2, 0), (width / 2 + half, height / 4), (width / 2 + half, height * 3 / 4), (width / 2, height),
        (width / 2 - half, height * 3 / 4), (width / 2 - half, height / 4),
    ]  # fmt: skip
    large = Image.new("L", (width * _FINER, height * _FINER))
    ImageDraw.Draw(large).polygon([(x * _FINER, y * _FINER) for x, y in corners], fill=255)
    mask = large.resize((width, height), Image.Resampling.BOX)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        left = margin + (column + 0.5 + row % 2 / 2) * across - width / 2
        page.paste(plain(enlarged(picture, scale)).convert("RGB"), (round(left), round(above + row * down)), mask)
    return page
