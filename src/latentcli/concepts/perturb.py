"""Image changes like blur or rotation; a vector fitted to images before and after a change needs no labels."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from latentcli.errors import UsageError
from latentcli.imaging.images import WITH_ALPHA
from latentcli.text import finite

Change = Callable[[np.ndarray], np.ndarray]  # image to changed image, uint8 (height, width, channels)

_MODES = {1: "L", 2: "La", 3: "RGB", 4: "RGBa"}  # Pillow mode by number of channels; alpha is premultiplied


def _hue(picture: Image.Image, degrees: float) -> Image.Image:
    if picture.mode == "L":
        raise UsageError("`augment` hue needs a model of colour images")
    hue, *rest = picture.convert("HSV").split()
    turned = np.asarray(hue).astype(np.int64) + round(degrees / 360 * 256)
    return Image.merge("HSV", (Image.fromarray((turned % 256).astype(np.uint8)), *rest)).convert("RGB")


def _rotate(picture: Image.Image, degrees: float) -> Image.Image:
    """The picture turned counter-clockwise at the same size, with edge pixels repeated into the corners."""
    width, height = picture.size
    margin = max(width, height) // 2
    pixels = np.asarray(picture)
    around = [(margin, margin), (margin, margin), *[(0, 0)] * (pixels.ndim - 2)]
    wider = np.pad(pixels, around, mode="edge")
    wide = Image.frombytes(picture.mode, (wider.shape[1], wider.shape[0]), wider.tobytes())
    turned = wide.rotate(degrees, Image.Resampling.BICUBIC)
    return turned.crop((margin, margin, margin + width, margin + height))


def _zoom(picture: Image.Image, factor: float) -> Image.Image:
    width, height = picture.size
    left, top = width / 2 * (1 - 1 / factor), height / 2 * (1 - 1 / factor)
    return picture.resize(picture.size, Image.Resampling.BICUBIC, (left, top, width - left, height - top))


_KINDS: dict[str, tuple[float, float, float, Callable[[Image.Image, float], Image.Image]]] = {
    # by name: default, smallest and largest amount, and the function that changes a picture by an amount
    "blur": (1.5, 0.1, 50, lambda picture, radius: picture.filter(ImageFilter.GaussianBlur(radius))),
    "brightness": (1.3, 0, 10, lambda picture, factor: ImageEnhance.Brightness(picture).enhance(factor)),
    "contrast": (1.3, 0, 10, lambda picture, factor: ImageEnhance.Contrast(picture).enhance(factor)),
    "hue": (20, -180, 180, _hue),
    "rotate": (8, -180, 180, _rotate),
    "zoom": (1.15, 1, 10, _zoom),
}
_OF_COLOURS = ("brightness", "contrast", "hue")  # changes that apply to the colours and leave alpha as it is


def parse(text: str) -> Change:
    """Function that changes an image, from text like `blur` or `blur=2` (pixels, factor or degrees).

    Images are uint8 (height, width, channels), with premultiplied alpha. Raises UsageError for other text.

    >>> parse("brightness=2")(np.full((1, 1, 3), 5, np.uint8)).tolist()
    [[[10, 10, 10]]]
    """
    kind, equals, number = text.partition("=")
    if kind not in _KINDS:
        raise UsageError(f"`augment` takes {', '.join(_KINDS)}, with =AMOUNT or without, got {text!r}")
    default, least, most, change = _KINDS[kind]
    amount = finite(number) if equals else default
    if not least <= amount <= most:
        raise UsageError(f"`augment` {kind} takes {least:g} to {most:g}, got {number!r}")

    def changed(pixels: np.ndarray) -> np.ndarray:
        height, width, channels = pixels.shape
        picture = Image.frombytes(_MODES[channels], (width, height), pixels.tobytes())
        if kind in _OF_COLOURS and channels in WITH_ALPHA:
            straight = picture.convert(picture.mode.upper())
            colours = change(straight.convert(straight.mode.removesuffix("A")), amount)
            colours.putalpha(straight.getchannel("A"))
            picture = colours.convert(picture.mode)
        else:
            picture = change(picture, amount)
        return np.asarray(picture).reshape(pixels.shape)

    return changed
