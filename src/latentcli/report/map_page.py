"""HTML page of a map of the latent space: thumbnails at 2-D points, to be zoomed and moved; one self-contained file."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from latentcli.figures.scatter import Groups
from latentcli.imaging.images import plain
from latentcli.report.page import templates
from latentcli.text import shown

_MOST_ATLAS = 16_000_000  # pixels of the atlas, the picture of all thumbnails, which browsers decode whole
_LARGEST, _SMALLEST = 64, 16  # pixels of a thumbnail's longer side
_DIGITS = 4  # decimals of a coordinate between 0 and 1


def thumbnail_size(count: int, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of thumbnails of images of `size`, so that `count` of them fit into one atlas picture."""
    longer = max(_SMALLEST, min(_LARGEST, max(size), math.isqrt(_MOST_ATLAS // count)))
    width, height = (max(1, round(side * longer / max(size))) for side in size)
    return width, height


def build(
    title: str,
    thumbnails: Sequence[Image.Image],
    names: Sequence[str],
    members: Sequence[str],
    placed: np.ndarray,
    columns: int | None,
) -> str:
    """HTML of a page with a map of images; `members` names the group of each image.

    `placed` are points (n, 2) in 0 to 1 or, if `columns` is given, cell numbers (n,) of a grid with that many columns.
    """
    width, height = thumbnails[0].size
    across = math.ceil(math.sqrt(len(thumbnails) * height / width))
    atlas = Image.new("RGB", (across * width, -(-len(thumbnails) // across) * height), "white")
    for number, thumbnail in enumerate(thumbnails):
        atlas.paste(plain(thumbnail).convert("RGB"), (number % across * width, number // across * height))
    if columns is None:
        points, size = placed * (1, -1) + (0, 1), 0.0
    else:
        points = np.stack([placed % columns + 0.5, (placed // columns + 0.5) * height / width], axis=1) / columns
        size = 1 / columns
    groups = Groups.of(members)
    data = {
        "width": width,
        "height": height,
        "across": across,
        "size": size,  # width of a cell in the units of the points; 0 without a grid
        "points": points.round(_DIGITS).tolist(),
        "names": [shown(name) for name in names],
        "groups": [shown(member) for member in members],
        "colours": list(groups.colours),
    }
    legend = [(shown(name), colour) for name, colour in groups.legend]
    return templates.get_template("map.html.j2").render(title=shown(title), data=data, atlas=atlas, legend=legend)
