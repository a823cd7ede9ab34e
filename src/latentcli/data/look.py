"""What the pictures of a source are like, from a sample of them: enough to choose size, colour and preset."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from latentcli.data.dataset import Selection
from latentcli.errors import ImageError
from latentcli.images import has_colour, open_picture, walk
from latentcli.sources import Reader

_LOOKED_AT = 400  # pictures


@dataclass(frozen=True, slots=True)
class Look:
    """What a source's pictures are like, judged from at most 400 of them spread over it."""

    shorter_side: int  # pixels, median
    colour_share: float  # of the pictures, 0 to 1


def look(files: Selection) -> Look:
    """Sizes and colours of a sample of the pictures. Raises ImageError when none of the sample can be read."""
    there = files.rows[files.listing.sizes[files.rows] >= 0]
    sample = [files.listing.name(row) for row in there[:: max(1, -(-len(there) // _LOOKED_AT))]]
    with Reader(files.listing.source) as reader:
        found = [found for _, found in walk(sample, partial(_side_and_colour, reader))]
    seen = [facts for facts in found if not isinstance(facts, ImageError)]
    if not seen:
        raise ImageError(
            f"none of the {len(sample)} images looked at in {files.listing.source} can be read; check the files"
        )
    sides, colours = zip(*seen, strict=True)
    return Look(int(np.median(sides)), sum(colours) / len(colours))


def _side_and_colour(reader: Reader, name: str) -> tuple[int, bool]:
    with open_picture(*reader.locate(name)) as picture:
        return min(picture.size), has_colour(picture)
