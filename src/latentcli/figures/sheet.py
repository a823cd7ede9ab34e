"""Sheets: pictures in rows and columns with captions, and the look that all figures share.

The font is Pillow's own, so the same figure has the same bytes on any machine with the same versions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from latentcli.defaults import MEGAPIXELS
from latentcli.errors import UsageError
from latentcli.imaging.images import on_checks
from latentcli.text import shown

GAP = 2  # pixels between pictures, times the scale
TITLE = 1.5  # size of a title's letters over the size of a caption's letters
BACKGROUND, INK, FAINT = "#ffffff", "#222222", "#767676"  # colours of the page, of titles, of captions
_PIXEL_ART_UP_TO = 32  # pixels a side: larger pictures are enlarged smoothly
_SMALLEST_TEXT, _LARGEST_TEXT = 10, 28  # pixels of a caption's letters
_LINES_ON_PICTURE = 9  # lines of captions that would cover the height of a picture
_LEAST_ROOM, _ROOM = 300.0, 4.0  # widths of a row's caption, at most: pixels, or widths of a picture if larger
_MOST_SCALE = 32  # largest factor by which pictures are enlarged

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Captions:
    """Captions of a sheet below its pictures, beside its rows and above its columns; empty captions take no room."""

    below: Sequence[str] = ()  # one caption for each picture
    rows: Sequence[str] = ()  # one caption for each row, at the left
    columns: Sequence[str] = ()  # one caption for each column, at the top


@dataclass(frozen=True, slots=True)
class Look:
    """Settings of a figure's appearance: enlargement, number of columns, captions and title."""

    scale: int = 1  # factor by which pictures are enlarged; 4 shows each pixel of 32 px images
    columns: int | None = None  # pictures in a row; None leaves the number to the figure
    labels: bool = False  # whether pictures, rows or columns have captions
    title: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.scale <= _MOST_SCALE:
            raise UsageError(f"`scale` takes 1 to {_MOST_SCALE}, got {self.scale}")
        if self.columns is not None and self.columns < 1:
            raise UsageError(f"`columns` takes 1 or more, got {self.columns}")

    def check(self, count: int, columns: int, size: tuple[int, int]) -> None:
        """Raise UsageError if a sheet of `count` pictures of `size` (width, height) is too large to be written."""
        check_pixels(columns * (size[0] + GAP) * self.scale, -(-count // columns) * (size[1] + GAP) * self.scale)

    def draw(self, pictures: Sequence[Image.Image], columns: int, captions: Captions | None = None) -> Image.Image:
        """Draw a sheet of pictures with this look; `captions` are drawn only if `labels` is set."""
        return sheet(pictures, columns, captions if self.labels else None, self.scale, self.title)


PLAIN = Look()


def check_pixels(width: int, height: int) -> None:
    """Raise UsageError if a figure of `width` x `height` pixels is too large to be written."""
    if width * height > MEGAPIXELS * 1_000_000:
        raise UsageError(
            f"the figure would have {width:,} x {height:,} pixels, above {MEGAPIXELS:g} megapixels; "
            "ask for fewer images or a smaller `scale`"
        )


def enlarged(picture: Image.Image, scale: int) -> Image.Image:
    """Picture `scale` times as large: with repeated pixels up to 32 pixels a side, smoothly for larger pictures."""
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
    """Draw pictures of one size row by row, `gap` times `scale` white pixels apart; transparent parts show checks.

    Raises UsageError for a sheet that is too large to be written.
    """
    captions = captions or Captions()
    width, height = pictures[0].width * scale, pictures[0].height * scale
    gap *= scale
    font, heading = caption_font(height), caption_font(height, TITLE)
    line = line_height(font)
    row_captions = [shortened(text, font, max(_LEAST_ROOM, _ROOM * width)) for text in captions.rows]
    margin = max(gap, line // 2) if any((captions.below, captions.rows, captions.columns, title)) else 0
    left = margin + (math.ceil(max(map(font.getlength, row_captions)) + line / 2) if row_captions else 0)
    above = margin + (line_height(heading) + margin // 2 if title else 0) + (line if captions.columns else 0)
    across, down = width + gap, height + gap + (line if captions.below else 0)
    rows = -(-len(pictures) // columns)
    size = left + columns * across - gap + margin, above + rows * down - gap + margin
    mode = "L" if all(picture.mode in ("L", "LA") for picture in pictures) else "RGB"
    page = titled_page(size, title, heading, margin, mode)
    pen = ImageDraw.Draw(page)
    corners = [(left + index % columns * across, above + index // columns * down) for index in range(len(pictures))]
    for picture, corner in zip(pictures, corners, strict=True):
        page.paste(on_checks(enlarged(picture, scale)), corner)
    for text, (x, y) in zip(captions.below, corners, strict=False):
        pen.text((x + width / 2, y + height), shortened(text, font, width), FAINT, font, anchor="ma")
    for column, text in enumerate(captions.columns):
        middle = left + column * across + width / 2
        pen.text((middle, above - line), shortened(text, font, width + gap), FAINT, font, anchor="ma")
    for row, text in enumerate(row_captions):
        pen.text((left - line / 2, above + row * down + height / 2), text, FAINT, font, anchor="rm")
    return page


def titled_page(size: tuple[int, int], title: str, heading: Font, margin: int, mode: str = "RGB") -> Image.Image:
    """Empty page of `size` with a title in the upper left corner. Raises UsageError for a page too large to write."""
    check_pixels(*size)
    page = Image.new(mode, size, BACKGROUND)
    if title:
        room = size[0] - 2 * margin
        ImageDraw.Draw(page).text((margin, margin), shortened(title, heading, room), INK, heading)
    return page


@cache
def caption_font(height: int, factor: float = 1.0) -> Font:
    """Font of captions beside pictures of `height` pixels; `factor` scales the size of its letters."""
    size = min(_LARGEST_TEXT, max(_SMALLEST_TEXT, height // _LINES_ON_PICTURE))
    return ImageFont.load_default(round(factor * size))


def line_height(font: Font) -> int:
    """Distance in pixels from one line of text to the next."""
    return round(1.5 * font.getbbox("0")[3])


def shortened(text: str, font: Font, width: float) -> str:
    """Text on one line, cut with an ellipsis to about `width` pixels."""
    text = shown(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
