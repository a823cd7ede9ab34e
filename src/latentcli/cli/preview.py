"""Preview of a picture in the terminal: inline where the terminal supports it, else in coloured half blocks.

Inline images need the extra package textual-image, which asks the terminal whether it knows kitty's protocol or Sixel
(as iTerm2 does). Half blocks need rich alone.
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

_WIDEST, _LONGEST = 80, 24  # cells
_ROW = 8  # lines of text that a row of pictures is high
_BLOCK = "▀"
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".apng", ".tif", ".tiff", ".bmp")
_MEGAPIXELS = 50.0  # larger pictures take too long for a preview


def show(path: Path, asked: bool) -> None:
    """Draw the picture in a file on the standard output if that is a terminal with colours.

    With `asked` the variables CI, NO_COLOR and TERM=dumb do not prevent it.
    """
    if path.suffix.lower() not in _SUFFIXES or not (is_seen(sys.stdout) or (asked and sys.stdout.isatty())):
        return

    from latentcli.errors import ImageError
    from latentcli.imaging.images import PILLOW_ERRORS, on_checks, open_picture

    with contextlib.suppress(ImageError, *PILLOW_ERRORS), open_picture(path, megapixels=_MEGAPIXELS) as opened:
        picture = on_checks(opened if opened.mode in ("L", "LA", "RGB", "RGBA") else opened.convert("RGBA"))
        _draw(picture.convert("RGB"))


def is_seen(stream: TextIO) -> bool:
    """Whether a stream goes to a terminal with colours that a person looks at."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("CI") or os.environ.get("TERM", "dumb") == "dumb"
    return stream.isatty() and not is_plain


def row(pictures: Sequence["Image.Image"], columns: int) -> "Text":
    """Pictures of one size side by side in half blocks, as many as fit into the columns of the terminal."""
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
        logging.getLogger("textual_image").setLevel(logging.CRITICAL)  # it logs what the terminal lacks
        with contextlib.suppress(Exception):  # terminals may answer its questions in any way
            from textual_image.renderable import Image as Inline

            with console.capture() as drawn:
                console.print(Inline(picture, width=across, height=down))
            sys.stdout.write(drawn.get())
            return
    if console.encoding.startswith("utf"):
        console.print(_half_blocks(picture.resize((across, 2 * down))))


def _cells(size: tuple[int, int], screen: tuple[int, int]) -> tuple[int, int]:
    """(columns, lines) of a picture of a size in pixels on a screen in cells; a cell is twice as high as wide."""
    width, height = size
    widest, longest = min(_WIDEST, screen[0]), min(_LONGEST, max(1, screen[1] - 4))
    scale = min(widest / width, 2 * longest / height)
    return max(1, round(width * scale)), max(1, round(height * scale / 2))


def _half_blocks(picture: "Image.Image") -> "Text":
    """A picture as text of two pixels a cell: the upper in the foreground colour, the lower in the background's."""
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
