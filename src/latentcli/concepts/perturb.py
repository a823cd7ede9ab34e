"""Changes that can be made to any image, so that a vector can be fitted to before and after without a label."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from latentcli.errors import UsageError

Change = Callable[[Image.Image], Image.Image]

_PREMULTIPLIED = {2: "La", 4: "RGBa"}  # modes of images with alpha, by channels


def _on_colours(change: Callable[[Image.Image, float], Image.Image]) -> Callable[[Image.Image, float], Image.Image]:
    """The change made to the colours of a premultiplied picture as they are under its alpha, which stays."""

    def changed_colours(picture: Image.Image, amount: float) -> Image.Image:
        if picture.mode not in _PREMULTIPLIED.values():
            return change(picture, amount)
        straight = picture.convert(picture.mode.upper())
        colours = change(straight.convert(straight.mode.removesuffix("A")), amount)
        colours.putalpha(straight.getchannel("A"))
        return colours.convert(picture.mode)

    return changed_colours


def _hue(picture: Image.Image, degrees: float) -> Image.Image:
    if picture.mode == "L":
        raise UsageError("`augment` hue needs a model of colour images")
    hue, *rest = picture.convert("HSV").split()
    turned = np.asarray(hue).astype(np.int64) + round(degrees / 360 * 256)
    return Image.merge("HSV", (Image.fromarray((turned % 256).astype(np.uint8)), *rest)).convert("RGB")


def _rotate(picture: Image.Image, degrees: float) -> Image.Image:
    """Counter-clockwise; what comes in from outside repeats the border."""
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
    # its usual, smallest and largest amount, and what it does
    "blur": (1.5, 0.1, 50, lambda picture, radius: picture.filter(ImageFilter.GaussianBlur(radius))),
    "brightness": (1.3, 0, 10, _on_colours(lambda picture, factor: ImageEnhance.Brightness(picture).enhance(factor))),
    "contrast": (1.3, 0, 10, _on_colours(lambda picture, factor: ImageEnhance.Contrast(picture).enhance(factor))),
    "hue": (20, -180, 180, _on_colours(_hue)),
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
        raise UsageError(f"`augment` takes {', '.join(_KINDS)}, with =AMOUNT or without, got {text!r}")
    usual, least, most, change = _KINDS[kind]
    try:
        amount = float(number) if equals else usual
    except ValueError:
        amount = float("nan")
    if not least <= amount <= most:
        raise UsageError(f"`augment` {kind} takes {least:g} to {most:g}, got {number!r}")
    return lambda picture: change(picture, amount)


def changed(pixels: np.ndarray, change: Change) -> np.ndarray:
    """uint8 (height, width, channels) changed; those with alpha are premultiplied."""
    height, width, channels = pixels.shape
    mode = _PREMULTIPLIED.get(channels) or ("L" if channels == 1 else "RGB")
    picture = change(Image.frombytes(mode, (width, height), pixels.tobytes()))
    return np.asarray(picture).reshape(pixels.shape)
