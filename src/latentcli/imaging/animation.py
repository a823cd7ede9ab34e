"""Animations that repeat for ever: GIF, WebP and APNG by Pillow, MP4 and WebM by PyAV; one encoder for each suffix."""

import importlib.util
import io
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from latentcli.errors import LatentCLIError, UsageError, missing_extra
from latentcli.imaging.images import encode_picture, on_checks


class Animation(Protocol):
    """An animation in the making."""

    def add(self, picture: Image.Image) -> None:
        """The next picture, mode L or RGB, of the same size as those before."""

    def finish(self) -> bytes:
        """The bytes of its file. Raises LatentCLIError where they cannot be made."""


class _ByPillow:
    """Keeps all pictures until the end."""

    def __init__(self, suffix: str, fps: float, **options: object) -> None:
        self._suffix, self._pictures = suffix, list[Image.Image]()
        self._options = options | {"save_all": True, "loop": 0, "duration": 1000 / fps}

    def add(self, picture: Image.Image) -> None:
        self._pictures.append(picture)

    def finish(self) -> bytes:
        first, *others = self._pictures
        return encode_picture(first, self._suffix, **self._options, append_images=others)


_CODECS: Mapping[str, tuple[str, dict[str, str]]] = {  # of videos, and how good they are to look
    ".mp4": ("libx264", {"crf": "18", "preset": "medium"}),
    ".webm": ("libvpx-vp9", {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}),
}


class _ByPyAV:
    """Encodes each picture at once, so that a film of any length takes the memory of its file."""

    def __init__(self, suffix: str, fps: float, **_: object) -> None:
        import av

        codec, options = _CODECS[suffix]
        self._av: Any = av
        self._suffix, self._file = suffix, io.BytesIO()
        self._container: Any = self._av.open(self._file, "w", format=suffix.removeprefix("."))
        self._stream: Any = self._container.add_stream(
            codec, rate=Fraction(fps).limit_denominator(1001), options=options
        )
        self._stream.pix_fmt = "yuv420p"  # what browsers play
        self._size: tuple[int, int] | None = None

    def add(self, picture: Image.Image) -> None:
        if self._size is None:
            self._size = picture.width + picture.width % 2, picture.height + picture.height % 2
            self._stream.width, self._stream.height = self._size
        self._mux(self._av.VideoFrame.from_image(_padded(picture.convert("RGB"), self._size)))

    def finish(self) -> bytes:
        self._mux(None)
        self._container.close()
        return self._file.getvalue()

    def _mux(self, frame: object) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except self._av.FFmpegError as error:
            raise LatentCLIError(f"cannot write {self._suffix}: {error}; write a .webp instead") from error


def _padded(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """With its last row or column twice, where the size is larger by one: video has an even number of both."""
    if picture.size == size:
        return picture
    page = Image.new("RGB", size)
    page.paste(picture, (size[0] - picture.width, size[1] - picture.height))
    page.paste(picture, (0, 0))
    return page


ENCODERS: dict[str, Callable[..., Animation]] = {
    **{suffix: partial(_ByPillow, suffix) for suffix in (".gif", ".webp", ".apng")},
    **{suffix: partial(_ByPyAV, suffix) for suffix in _CODECS},
}
_OLD = {".png": ".apng"}  # spellings that an animated edit takes besides


def is_animation(path: Path) -> bool:
    """Whether a name is that of an animation; `.png` is a still picture."""
    return path.suffix.lower() in ENCODERS


def is_video(path: Path) -> bool:
    """Whether a name is that of a video, which is encoded picture by picture."""
    return path.suffix.lower() in _CODECS


def check_animation(path: Path) -> None:
    """Raises UsageError for a name that no animation can have, ConfigError where its encoder is not installed."""
    if not is_animation(path) and path.suffix.lower() not in _OLD:
        raise UsageError(f"animations are {', '.join(ENCODERS)}, got {path}")
    if is_video(path) and importlib.util.find_spec("av") is None:
        raise missing_extra(path.suffix, "video", "write a .webp")


def open_animation(suffix: str, fps: float, **options: object) -> Animation:
    """An animation of `fps` pictures a second; `options` are those of `images.encode_picture`, and videos take none."""
    return ENCODERS[_OLD.get(suffix.lower(), suffix.lower())](fps, **options)


def encode_animation(pictures: Iterable[Image.Image], suffix: str, fps: float, **options: object) -> bytes:
    """The bytes of an animation of all pictures; what is transparent lies on a checkerboard."""
    animation = open_animation(suffix, fps, **options)
    for picture in pictures:
        animation.add(on_checks(picture))  # GIF knows no half-transparent pixel, and video no transparency
    return animation.finish()
