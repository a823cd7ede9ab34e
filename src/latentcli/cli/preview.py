"""Preview of a picture in the terminal: an inline image if the terminal supports one, else coloured half blocks.

Inline images need the optional package textual-image, which asks the terminal for kitty's protocol or Sixel (which
iTerm2 supports). Half blocks need only rich.
"""

import contextlib
import importlib.util
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from PIL import Image
    from rich.text import Text

_WIDEST, _LONGEST = 80, 24  # columns and lines that a preview may fill
_ROW = 8  # height of a row of pictures, in lines of text
_BLOCK = "▀"
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".apng", ".tif", ".tiff", ".bmp")
_MEGAPIXELS = 50.0  # larger pictures take too long for a preview


def show(path: Path, asked: bool) -> None:
    """Draw the picture file on stdout if stdout is a terminal with colours; do nothing for other kinds of files.

    `asked` draws on any terminal, even if the environment variables CI, NO_COLOR or TERM=dumb are set.
    """
    if path.suffix.lower() not in _SUFFIXES or not (is_seen(sys.stdout) or (asked and sys.stdout.isatty())):
        return

    from latentcli.errors import ImageError
    from latentcli.imaging.images import PILLOW_ERRORS, on_checks, open_picture

    with contextlib.suppress(ImageError, *PILLOW_ERRORS), open_picture(path, megapixels=_MEGAPIXELS) as opened:
        picture = on_checks(opened if opened.mode in ("L", "LA", "RGB", "RGBA") else opened.convert("RGBA"))
        _draw(picture.convert("RGB"))


def is_seen(stream: TextIO) -> bool:
    """Whether a stream goes to a terminal with colours: not if CI, NO_COLOR or TERM=dumb is set."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("CI") or os.environ.get("TERM", "dumb") == "dumb"
    return stream.isatty() and not is_plain


def row(pictures: Sequence["Image.Image"], columns: int) -> "Text":
    """Pictures of one size side by side, as text of coloured half blocks; pictures beyond `columns` are left out."""
    from PIL import Image

    from latentcli.imaging.images import on_checks

    width, height = pictures[0].size
    across = max(1, min(columns, round(2 * _ROW * width / height)))
    shown = pictures[: columns // across]
    page = Image.new("RGB", (across * len(shown), 2 * _ROW))
    for index, picture in enumerate(shown):
        page.paste(on_checks(picture).convert("RGB").resize((across, 2 * _ROW)), (across * index, 0))
    return _half_blocks(page)


def _draw(picture: "Image.Image") -> None:
    from rich.console import Console

    console = Console(width=None, highlight=False)
    across, down = _cells(picture.size, (console.width, console.height))
    if importlib.util.find_spec("textual_image") is not None and sys.stdin and sys.stdin.isatty():
        logging.getLogger("textual_image").setLevel(logging.CRITICAL)  # silent on what a terminal lacks
        with contextlib.suppress(Exception):  # a terminal may give any answer to the queries of textual_image
            from textual_image.renderable import Image as Inline

            with console.capture() as drawn:
                console.print(Inline(picture, width=across, height=down))
            sys.stdout.write(drawn.get())
            return
    if console.encoding.startswith("utf"):
        console.print(_half_blocks(picture.resize((across, 2 * down))))


def _cells(size: tuple[int, int], screen: tuple[int, int]) -> tuple[int, int]:
    """(columns, lines) that a picture of `size` pixels fills, undistorted, on a `screen` of (columns, lines)."""
    width, height = size
    widest, longest = min(_WIDEST, screen[0]), min(_LONGEST, max(1, screen[1] - 4))
    scale = min(widest / width, 2 * longest / height)
    return max(1, round(width * scale)), max(1, round(height * scale / 2))


def _half_blocks(picture: "Image.Image") -> "Text":
    """Picture as coloured text in which a half block stands for two pixels: foreground above, background below."""
    import numpy as np
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    pixels = np.asarray(picture).tolist()
    text = Text(no_wrap=True, end="")
    for row in range(0, picture.height - 1, 2):
        for column in range(picture.width):
            upper, lower = (Color.from_rgb(*pixels[row + one][column]) for one in (0, 1))
            text.append(_BLOCK, Style(color=upper, bgcolor=lower))
        text.append("\n")
    return text
