"""Animations: GIF, WebP and APNG that repeat for ever, one encoder for each suffix."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

from latentcli.errors import UsageError
from latentcli.images import encode_picture, on_checks

Encoder = Callable[..., bytes]  # of pictures, pictures a second, and options of the file type


def _by_pillow(suffix: str, pictures: list[Image.Image], fps: float, **options: object) -> bytes:
    motion = {"save_all": True, "append_images": pictures[1:], "loop": 0, "duration": 1000 / fps}
    return encode_picture(pictures[0], suffix, **options | motion)


ENCODERS: dict[str, Encoder] = {suffix: partial(_by_pillow, suffix) for suffix in (".gif", ".webp", ".apng")}
_OLD = {".png": ".apng"}  # spellings that `edit --animate` takes besides


def is_animation(path: Path) -> bool:
    """Whether a name is that of an animation; `.png` is a still picture."""
    return path.suffix.lower() in ENCODERS


def check_animation(path: Path) -> None:
    """Raises UsageError for a name that no animation can have."""
    if not is_animation(path) and path.suffix.lower() not in _OLD:
        raise UsageError(f"--animate writes {', '.join(ENCODERS)}, got {path}")


def encode_animation(pictures: list[Image.Image], suffix: str, fps: float, **options: object) -> bytes:
    """The bytes of an animation of `fps` pictures a second; what is transparent lies on a checkerboard.

    `options` are those of `images.encode_picture`.
    """
    shown = [on_checks(picture) for picture in pictures]  # GIF knows no half-transparent pixel
    return ENCODERS[_OLD.get(suffix.lower(), suffix.lower())](shown, fps, **options)
