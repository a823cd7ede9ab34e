"""Honeycombs: pictures cut to hexagons, each between its neighbours, as on plat's canvas."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from latentcli.figures.sheet import BACKGROUND, GAP, INK, caption_font, check_pixels, enlarged, line_height, shortened
from latentcli.imaging.images import plain

_FINER = 4  # times that the mask is drawn larger, for smooth edges


def honeycomb_size(count: int, columns: int, size: tuple[int, int], scale: int) -> tuple[int, int]:
    """Pixels of a honeycomb without its title."""
    width, height = _pitch(size, scale)
    rows = -(-count // columns)
    return math.ceil((columns + 0.5) * width), math.ceil(rows * height + size[1] * scale / 4)


def honeycomb(pictures: Sequence[Image.Image], columns: int, scale: int, title: str) -> Image.Image:
    """Pictures of one size row by row; every second row is shifted to the right by half a picture.

    Raises UsageError for one that is too large to be written.
    """
    cell = pictures[0].width * scale, pictures[0].height * scale
    width, height = _pitch(pictures[0].size, scale)
    total = honeycomb_size(len(pictures), columns, pictures[0].size, scale)
    margin = GAP * scale
    font = caption_font(cell[1], 1.5)
    above = margin + (line_height(font) + margin if title else 0)
    check_pixels(total[0] + 2 * margin, total[1] + above + margin)
    page = Image.new("RGB", (total[0] + 2 * margin, total[1] + above + margin), BACKGROUND)
    if title:
        ImageDraw.Draw(page).text((margin, margin), shortened(title, font, total[0]), INK, font)
    mask = _mask(cell)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        middle = margin + (column + 0.5 + row % 2 / 2) * width
        spot = round(middle - cell[0] / 2), round(above + row * height)
        page.paste(plain(enlarged(picture, scale)).convert("RGB"), spot, mask)
    return page


def _pitch(size: tuple[int, int], scale: int) -> tuple[float, float]:
    """From cell to cell, across and down, with the gap between their edges."""
    gap = GAP * scale / 2
    return size[0] * scale * math.sqrt(3) / 2 + gap, size[1] * scale * 0.75 + gap


def _mask(cell: tuple[int, int]) -> Image.Image:
    """A hexagon that stands on a corner and is as high as the cell."""
    width, height = (side * _FINER for side in cell)
    half = width * math.sqrt(3) / 4
    corners = [
        (width / 2, 0), (width / 2 + half, height / 4), (width / 2 + half, height * 3 / 4), (width / 2, height),
        (width / 2 - half, height * 3 / 4), (width / 2 - half, height / 4),
    ]  # fmt: skip
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    return mask.resize(cell, Image.Resampling.BOX)
