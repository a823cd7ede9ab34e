"""Sheets: pictures in rows and columns with captions. Every figure has this one look.

The font is the one that Pillow ships, so the same figure has the same bytes on any machine with the same versions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from latentcli.config import MEGAPIXELS
from latentcli.errors import UsageError
from latentcli.images import on_checks
from latentcli.text import shown

GAP = 2  # pixels between pictures, times the scale
BACKGROUND, INK, FAINT = "#ffffff", "#222222", "#767676"  # of the page, of titles, of captions
_PIXEL_ART_UP_TO = 32  # pixels a side: larger pictures are enlarged smoothly
_SMALLEST_TEXT, _LARGEST_TEXT = 10, 28  # pixels
_LINES_ON_PICTURE = 9  # lines of captions that would cover the height of a picture
_TITLE = 1.5  # size of a title's letters over those of captions
_MOST_SCALE = 32


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
            raise UsageError(f"--scale takes 1 to {_MOST_SCALE}, got {self.scale}")
        if self.columns is not None and self.columns < 1:
            raise UsageError(f"--columns takes 1 or more, got {self.columns}")

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
            "ask for fewer images or a smaller --scale"
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
    captions = captions or Captions()
    width, height = (side * scale for side in pictures[0].size)
    gap *= scale
    rows = -(-len(pictures) // columns)
    font = caption_font(height)
    line = line_height(font)
    has_words = any((captions.below, captions.rows, captions.columns, title))
    margin = max(gap, line // 2) if has_words else 0
    below = line if captions.below else 0
    left = margin + (max(map(font.getlength, captions.rows), default=-line / 2) + line / 2) * bool(captions.rows)
    heading = caption_font(height, _TITLE)
    above = margin + (line_height(heading) + margin // 2 if title else 0) + (line if captions.columns else 0)
    across, down = width + gap, height + gap + below
    size = math.ceil(left) + columns * across - gap + margin, above + rows * down - gap + margin
    check_pixels(*size)
    mode = "L" if all(picture.mode in ("L", "LA") for picture in pictures) else "RGB"
    page = Image.new(mode, size, BACKGROUND)
    pen = ImageDraw.Draw(page)
    left = math.ceil(left)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        page.paste(on_checks(enlarged(picture, scale)), (left + column * across, above + row * down))
    if title:
        pen.text((margin, margin), shortened(title, heading, size[0] - 2 * margin), INK, heading)
    for index, text in enumerate(captions.below):
        row, column = divmod(index, columns)
        spot = left + column * across + width / 2, above + row * down + height
        pen.text(spot, shortened(text, font, width), FAINT, font, anchor="ma")
    for column, text in enumerate(captions.columns):
        spot = left + column * across + width / 2, above - line
        pen.text(spot, shortened(text, font, width + gap), FAINT, font, anchor="ma")
    for row, text in enumerate(captions.rows):
        pen.text((left - line / 2, above + row * down + height / 2), text, FAINT, font, anchor="rm")
    return page


def _area(count: int, columns: int, size: tuple[int, int], gap: int) -> tuple[int, int]:
    return columns * (size[0] + gap), -(-count // columns) * (size[1] + gap)


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


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
