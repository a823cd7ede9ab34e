"""Changes that can be made to any image, so that a vector can be fitted to before and after without a label."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from latentcli.errors import UsageError

Change = Callable[[Image.Image], Image.Image]


def _hue(picture: Image.Image, degrees: float) -> Image.Image:
    if picture.mode == "L":
        raise UsageError("--augment hue needs a model of colour images")
    hue, *rest = picture.convert("HSV").split()
    turned = np.asarray(hue).astype(np.int64) + round(degrees / 360 * 256)
    return Image.merge("HSV", (Image.fromarray((turned % 256).astype(np.uint8)), *rest)).convert("RGB")


def _rotate(picture: Image.Image, degrees: float) -> Image.Image:
    """Counter-clockwise; what comes in from outside repeats the border."""
    width, height = picture.size
    margin = max(width, height) // 2
    pixels = np.asarray(picture)
    around = [(margin, margin), (margin, margin), *[(0, 0)] * (pixels.ndim - 2)]
    wide = Image.fromarray(np.pad(pixels, around, mode="edge"))
    turned = wide.rotate(degrees, Image.Resampling.BICUBIC)
    return turned.crop((margin, margin, margin + width, margin + height))


def _zoom(picture: Image.Image, factor: float) -> Image.Image:
    width, height = picture.size
    left, top = width / 2 * (1 - 1 / factor), height / 2 * (1 - 1 / factor)
    return picture.resize(picture.size, Image.Resampling.BICUBIC, (left, top, width - left, height - top))


_KINDS: dict[str, tuple[float, float, float, Callable[[Image.Image, float], Image.Image]]] = {
    # its usual, smallest and largest amount, and what it does
    "blur": (1.5, 0.1, 50, lambda picture, radius: picture.filter(ImageFilter.GaussianBlur(radius))),
    "brightness": (1.3, 0, 10, lambda picture, factor: ImageEnhance.Brightness(picture).enhance(factor)),
    "contrast": (1.3, 0, 10, lambda picture, factor: ImageEnhance.Contrast(picture).enhance(factor)),
    "hue": (20, -180, 180, _hue),
    "rotate": (8, -180, 180, _rotate),
    "zoom": (1.15, 1, 10, _zoom),
}


def parse(text: str) -> Change:
    """A change from `blur` or `blur=2`: in pixels, factors or degrees. Raises UsageError.

    >>> parse("zoom=2")(Image.new("L", (8, 8), 5)).getpixel((0, 0))
    5
    """
    kind, equals, number = text.partition("=")
    if kind not in _KINDS:
        raise UsageError(f"--augment takes {', '.join(_KINDS)}, with =AMOUNT or without, got {text!r}")
    usual, least, most, change = _KINDS[kind]
    try:
        amount = float(number) if equals else usual
    except ValueError:
        amount = float("nan")
    if not least <= amount <= most:
        raise UsageError(f"--augment {kind} takes {least:g} to {most:g}, got {number!r}")
    return lambda picture: change(picture, amount)


def changed(pixels: np.ndarray, change: Change) -> np.ndarray:
    """uint8 (height, width, channels) changed."""
    gray = pixels.shape[2] == 1
    picture = change(Image.fromarray(pixels[:, :, 0] if gray else pixels))
    return np.asarray(picture).reshape(pixels.shape)
