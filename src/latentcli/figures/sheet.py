"""Sheets: pictures in rows and columns with captions. Every figure has this one look.

The font is the one that Pillow ships, so the same figure has the same bytes on any machine with the same versions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Self

from PIL import Image, ImageDraw, ImageFont

from latentcli.defaults import MEGAPIXELS
from latentcli.errors import UsageError
from latentcli.imaging.images import on_checks
from latentcli.text import shown

GAP = 2  # pixels between pictures, times the scale
BACKGROUND, INK, FAINT = "#ffffff", "#222222", "#767676"  # of the page, of titles, of captions
_PIXEL_ART_UP_TO = 32  # pixels a side: larger pictures are enlarged smoothly
_SMALLEST_TEXT, _LARGEST_TEXT = 10, 28  # pixels
_LINES_ON_PICTURE = 9  # lines of captions that would cover the height of a picture
_LEAST_ROOM, _ROOM = 300.0, 4.0  # pixels, and widths of a picture, for the caption of a row
_TITLE = 1.5  # size of a title's letters over those of captions
_MOST_SCALE = 32


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Captions:
    """Words beside the pictures of a sheet; empty ones take no room."""

    below: Sequence[str] = ()  # one a picture
    rows: Sequence[str] = ()  # one a row, at its left
    columns: Sequence[str] = ()  # one a column, above it


@dataclass(frozen=True, slots=True)
class Look:
    """How a sheet is drawn."""

    scale: int = 1  # times that pictures are enlarged
    columns: int | None = None  # the figure's own by default
    labels: bool = False  # a caption for each picture, row or column
    title: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.scale <= _MOST_SCALE:
            raise UsageError(f"`scale` takes 1 to {_MOST_SCALE}, got {self.scale}")
        if self.columns is not None and self.columns < 1:
            raise UsageError(f"`columns` takes 1 or more, got {self.columns}")

    def check(self, count: int, columns: int, size: tuple[int, int]) -> None:
        """Raises UsageError where a sheet of so many pictures of this size would be too large to be written."""
        check_pixels(*_area(count, columns, (size[0] * self.scale, size[1] * self.scale), GAP * self.scale))

    def draw(self, pictures: Sequence[Image.Image], columns: int, captions: Captions | None = None) -> Image.Image:
        """The sheet, row by row; captions are drawn where labels are asked for."""
        return sheet(pictures, columns, captions if self.labels else None, self.scale, self.title)


PLAIN = Look()


def check_pixels(width: int, height: int) -> None:
    """Raises UsageError for a figure that is too large to be written."""
    if width * height > MEGAPIXELS * 1_000_000:
        raise UsageError(
            f"the figure would have {width:,} x {height:,} pixels, above {MEGAPIXELS:g} megapixels; "
            "ask for fewer images or a smaller `scale`"
        )


def enlarged(picture: Image.Image, scale: int) -> Image.Image:
    """A picture `scale` times as large: by whole pixels up to 32 pixels a side, smoothly above."""
    if scale == 1:
        return picture
    is_pixel_art = max(picture.size) <= _PIXEL_ART_UP_TO
    size = picture.width * scale, picture.height * scale
    return picture.resize(size, Image.Resampling.NEAREST if is_pixel_art else Image.Resampling.LANCZOS)


def sheet(
    pictures: Sequence[Image.Image],
    columns: int,
    captions: Captions | None = None,
    scale: int = 1,
    title: str = "",
    gap: int = GAP,
) -> Image.Image:
    """Pictures of one size, row by row, with white gaps; what is transparent lies on a checkerboard.

    Raises UsageError for a sheet that is too large to be written.
    """
    words = captions or Captions()
    place = _Places.of(len(pictures), columns, pictures[0].size, words, scale, title, gap * scale)
    check_pixels(*place.size)
    mode = "L" if all(picture.mode in ("L", "LA") for picture in pictures) else "RGB"
    page = Image.new(mode, place.size, BACKGROUND)
    for index, picture in enumerate(pictures):
        page.paste(on_checks(enlarged(picture, scale)), place.corner(*divmod(index, columns)))
    _write(page, place, words, title)
    return page


@dataclass(frozen=True, slots=True)
class _Places:
    """Where pictures and words of a sheet are, in pixels."""

    columns: int
    rows: int
    cell: tuple[int, int]  # of a picture, enlarged
    gap: int
    margin: int
    line: int  # of a caption
    left: int  # of the first picture
    above: int

    @classmethod
    def of(
        cls, count: int, columns: int, size: tuple[int, int], words: Captions, scale: int, title: str, gap: int
    ) -> Self:
        cell = size[0] * scale, size[1] * scale
        font, heading = caption_font(cell[1]), caption_font(cell[1], _TITLE)
        line = line_height(font)
        has_words = any((words.below, words.rows, words.columns, title))
        margin = max(gap, line // 2) if has_words else 0
        longest = max((font.getlength(_row_caption(text, font, cell)) for text in words.rows), default=0.0)
        left = margin + (math.ceil(longest + line / 2) if words.rows else 0)
        above = margin + (line_height(heading) + margin // 2 if title else 0) + (line if words.columns else 0)
        return cls(columns, -(-count // columns), cell, gap, margin, line if words.below else 0, left, above)

    @property
    def size(self) -> tuple[int, int]:
        """Of the page."""
        right, bottom = self.corner(self.rows, self.columns)
        return right - self.gap + self.margin, bottom - self.gap + self.margin

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """The upper left one of a picture."""
        across, down = self.cell[0] + self.gap, self.cell[1] + self.gap + self.line
        return self.left + column * across, self.above + row * down


def _write(page: Image.Image, place: _Places, words: Captions, title: str) -> None:
    pen, (width, height) = ImageDraw.Draw(page), place.cell
    font, heading = caption_font(height), caption_font(height, _TITLE)
    line = line_height(font)
    if title:
        room = page.width - 2 * place.margin
        pen.text((place.margin, place.margin), shortened(title, heading, room), INK, heading)
    for index, text in enumerate(words.below):
        x, y = place.corner(*divmod(index, place.columns))
        pen.text((x + width / 2, y + height), shortened(text, font, width), FAINT, font, anchor="ma")
    for column, text in enumerate(words.columns):
        x, y = place.corner(0, column)
        pen.text((x + width / 2, y - line), shortened(text, font, width + place.gap), FAINT, font, anchor="ma")
    for row, text in enumerate(words.rows):
        x, y = place.corner(row, 0)
        pen.text((x - line / 2, y + height / 2), _row_caption(text, font, place.cell), FAINT, font, anchor="rm")


def _row_caption(text: str, font: Font, cell: tuple[int, int]) -> str:
    return shortened(text, font, max(_LEAST_ROOM, _ROOM * cell[0]))


def _area(count: int, columns: int, size: tuple[int, int], gap: int) -> tuple[int, int]:
    return columns * (size[0] + gap), -(-count // columns) * (size[1] + gap)


@cache
def caption_font(height: int, factor: float = 1.0) -> Font:
    """The font of captions beside pictures of this height, in pixels."""
    size = min(_LARGEST_TEXT, max(_SMALLEST_TEXT, height // _LINES_ON_PICTURE))
    return ImageFont.load_default(round(factor * size))


def line_height(font: Font) -> int:
    """Pixels from line to line."""
    return round(1.5 * font.getbbox("0")[3])


def shortened(text: str, font: Font, width: float) -> str:
    """A text on one line, as far as it fits."""
    text = shown(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
