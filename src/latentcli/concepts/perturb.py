"""Perturbations: changes of any image, so that a vector can be fitted to images before and after without labels."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from latentcli.errors import UsageError

Change = Callable[[Image.Image], Image.Image]

_PREMULTIPLIED = {2: "La", 4: "RGBa"}  # modes of images with alpha, by channels


def _hue(picture: Image.Image, degrees: float) -> Image.Image:
    if picture.mode == "L":
        raise UsageError("`augment` hue needs a model of colour images")
    hue, *rest = picture.convert("HSV").split()
    turned = np.asarray(hue).astype(np.int64) + round(degrees / 360 * 256)
    return Image.merge("HSV", (Image.fromarray((turned % 256).astype(np.uint8)), *rest)).convert("RGB")


def _rotate(picture: Image.Image, degrees: float) -> Image.Image:
    """The picture turned counter-clockwise; beyond it the border is repeated."""
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
    # the default, smallest and largest amount, and the change
    "blur": (1.5, 0.1, 50, lambda picture, radius: picture.filter(ImageFilter.GaussianBlur(radius))),
    "brightness": (1.3, 0, 10, lambda picture, factor: ImageEnhance.Brightness(picture).enhance(factor)),
    "contrast": (1.3, 0, 10, lambda picture, factor: ImageEnhance.Contrast(picture).enhance(factor)),
    "hue": (20, -180, 180, _hue),
    "rotate": (8, -180, 180, _rotate),
    "zoom": (1.15, 1, 10, _zoom),
}
_OF_COLOURS = ("brightness", "contrast", "hue")  # are made to the colours under the alpha, which stays


def parse(text: str) -> Change:
    """A change from `blur` or `blur=2`: in pixels, factors or degrees. Raises UsageError.

    >>> parse("zoom=2")(Image.new("L", (8, 8), 5)).getpixel((0, 0))
    5
    """
    kind, equals, number = text.partition("=")
    if kind not in _KINDS:
        raise UsageError(f"`augment` takes {', '.join(_KINDS)}, with =AMOUNT or without, got {text!r}")
    default, least, most, change = _KINDS[kind]
    try:
        amount = float(number) if equals else default
    except ValueError:
        amount = float("nan")
    if not least <= amount <= most:
        raise UsageError(f"`augment` {kind} takes {least:g} to {most:g}, got {number!r}")

    def changed_picture(picture: Image.Image) -> Image.Image:
        if kind not in _OF_COLOURS or picture.mode not in _PREMULTIPLIED.values():
            return change(picture, amount)
        straight = picture.convert(picture.mode.upper())
        colours = change(straight.convert(straight.mode.removesuffix("A")), amount)
        colours.putalpha(straight.getchannel("A"))
        return colours.convert(picture.mode)

    return changed_picture


def changed(pixels: np.ndarray, change: Change) -> np.ndarray:
    """The changed image, uint8 (height, width, channels); with alpha, colours are premultiplied."""
    height, width, channels = pixels.shape
    mode = _PREMULTIPLIED.get(channels) or ("L" if channels == 1 else "RGB")
    picture = change(Image.frombytes(mode, (width, height), pixels.tobytes()))
    return np.asarray(picture).reshape(pixels.shape)
