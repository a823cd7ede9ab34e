"""Crop boxes, which may be tilted and may reach beyond the picture, and the cropping of pictures."""

import math
from dataclasses import astuple, dataclass
from typing import Self

import numpy as np
from PIL import Image

from latentcli.errors import UsageError
from latentcli.text import finite

_ABOVE = 4  # oversampling of tilted crops: the largest multiple of the wanted size at which they are rotated


@dataclass(frozen=True, slots=True)
class Box:
    """Crop box in pixels of an upright picture, rotated about its middle by `roll` degrees."""

    x: float  # left edge before the rotation
    y: float  # upper edge before the rotation
    width: float
    height: float
    roll: float = 0.0  # degrees of rotation about the middle, clockwise

    @classmethod
    def about(cls, x: float, y: float, side: float, roll: float = 0.0) -> Self:
        """Square box, `side` pixels wide, with its middle at (x, y)."""
        return cls(x - side / 2, y - side / 2, side, side, roll)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Box from text, `x,y,width,height` or `x,y,width,height,roll`, rounded to hundredths. Raises UsageError.

        >>> Box.parse("170,72,101,101,-12").roll
        -12.0
        """
        numbers = list(map(finite, text.split(",")))
        if len(numbers) not in (4, 5) or not all(map(math.isfinite, numbers)) or min(numbers[2:4]) < 1:
            raise UsageError(f"`box` takes x,y,width,height or x,y,width,height,roll, got {text!r}")
        return cls(*numbers).rounded()

    def rounded(self) -> Self:
        """Box with its numbers rounded to hundredths of a pixel and of a degree, as `text` writes them."""
        return type(self)(*(round(number, 2) for number in astuple(self)))

    @property
    def middle(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def axes(self) -> tuple[float, float]:
        """Cosine and sine of `roll`: the direction of the box's x axis in the picture."""
        return math.cos(math.radians(self.roll)), math.sin(math.radians(self.roll))

    def turned(self, x: float, y: float) -> tuple[float, float]:
        """Convert (x, y), measured from the box's middle along its rotated axes, to pixels of the picture."""
        cosine, sine = self.axes
        return self.middle[0] + x * cosine - y * sine, self.middle[1] + x * sine + y * cosine

    def bounds(self) -> tuple[int, int, int, int]:
        """Smallest unrotated box around this one: left, top, right, bottom in whole pixels.

        >>> Box(10, 10, 20, 20, roll=45).bounds()
        (5, 5, 35, 35)
        """
        cosine, sine = map(abs, self.axes)
        across = (self.width * cosine + self.height * sine) / 2
        down = (self.width * sine + self.height * cosine) / 2
        x, y = self.middle
        return math.floor(x - across), math.floor(y - down), math.ceil(x + across), math.ceil(y + down)

    def region(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Part of `bounds` that lies in a picture of `size` (width, height): left, top, right, bottom in pixels."""
        left, top, right, bottom = self.bounds()
        return max(0, left), max(0, top), min(size[0], right), min(size[1], bottom)

    def is_inside(self, size: tuple[int, int]) -> bool:
        """Whether `bounds` lie completely in a picture of `size` (width, height)."""
        return self.region(size) == self.bounds()

    def text(self) -> str:
        """Text of the box, `x,y,width,height` and, if tilted, `,roll`, which `parse` reads.

        >>> Box(1, 2, 30, 30).text(), Box(1.5, 2, 30, 30, -7.25).text()
        ('1,2,30,30', '1.5,2,30,30,-7.25')
        """
        numbers = [self.x, self.y, self.width, self.height, *([self.roll] if self.roll else [])]
        return ",".join(f"{number:.2f}".rstrip("0").rstrip(".") for number in numbers)


def cut(picture: Image.Image, box: Box, size: tuple[int, int]) -> Image.Image:
    """Crop `box` out of a picture, upright and resized to `size` (width, height); outside, edge pixels are repeated.

    Resizing is by Lanczos; a tilted box is first rotated, bicubically, at up to four times `size`.
    """
    is_inside = box.is_inside(picture.size)
    if is_inside and not box.roll:
        edges = (box.x, box.y, box.x + box.width, box.y + box.height)
        return picture.resize(size, Image.Resampling.LANCZOS, box=edges)
    bounds = box.bounds()
    around = picture.crop(bounds) if is_inside else _with_border(picture, bounds)
    scale = min(1.0, _ABOVE * max(size[0] / box.width, size[1] / box.height))
    if scale < 1:
        smaller = max(1, round(around.width * scale)), max(1, round(around.height * scale))
        around = around.resize(smaller, Image.Resampling.LANCZOS)
    across, down = around.width / (bounds[2] - bounds[0]), around.height / (bounds[3] - bounds[1])
    cosine, sine = box.axes
    x, y = (box.middle[0] - bounds[0]) * across, (box.middle[1] - bounds[1]) * down
    width, height = box.width * across, box.height * down
    upright_size = max(1, round(width)), max(1, round(height))
    steps = width / upright_size[0], height / upright_size[1]  # pixels of `around` for a pixel of the upright box
    matrix = (
        cosine * steps[0], -sine * steps[1], x - cosine * width / 2 + sine * height / 2,
        sine * steps[0], cosine * steps[1], y - sine * width / 2 - cosine * height / 2,
    )  # fmt: skip
    upright = around.transform(upright_size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return upright.resize(size, Image.Resampling.LANCZOS)


def _with_border(picture: Image.Image, bounds: tuple[int, int, int, int]) -> Image.Image:
    """Crop `bounds` (left, top, right, bottom) out of a picture; its edge pixels are repeated outside it."""
    left, top, right, bottom = bounds
    columns = np.clip(np.arange(left, right), 0, picture.width - 1)
    rows = np.clip(np.arange(top, bottom), 0, picture.height - 1)
    inside = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    pixels = np.asarray(picture.crop(inside))[rows[:, None] - inside[1], columns - inside[0]]
    return Image.frombytes(picture.mode, (len(columns), len(rows)), pixels.tobytes())  # keeps premultiplied modes
