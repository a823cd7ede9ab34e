"""Encoders of animations, by file suffix: looping GIF, WebP and APNG by Pillow, MP4 and WebM videos by PyAV."""

import importlib.util
import io
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latentcli.errors import LatentCLIError, UsageError, missing_extra
from latentcli.imaging.images import encode_picture, on_checks


class _ByPillow:
    """Encoder of GIF, WebP or APNG by Pillow, which keeps all pictures in memory until `finish`."""

    def __init__(self, suffix: str, fps: float, **options: object) -> None:
        self._suffix, self._pictures = suffix, list[Image.Image]()
        self._options = options | {"save_all": True, "loop": 0, "duration": 1000 / fps}

    def add(self, picture: Image.Image) -> None:
        """Append a picture, mode L or RGB; all pictures of an animation must have one size."""
        self._pictures.append(picture)

    def finish(self) -> bytes:
        """Bytes of the finished file. Raises LatentCLIError when encoding fails."""
        first, *others = self._pictures
        return encode_picture(first, self._suffix, **self._options, append_images=others)


_CODECS: Mapping[str, tuple[str, dict[str, str]]] = {  # codec and its options for good quality, by suffix of a video
    ".mp4": ("libx264", {"crf": "18", "preset": "medium"}),
    ".webm": ("libvpx-vp9", {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}),
}


class _ByPyAV:
    """Encoder of MP4 or WebM by PyAV, which encodes each picture at once and keeps only the file in memory."""

    def __init__(self, suffix: str, fps: float, **_: object) -> None:
        import av

        codec, options = _CODECS[suffix]
        self._av: Any = av
        self._suffix, self._file = suffix, io.BytesIO()
        self._container: Any = self._av.open(self._file, "w", format=suffix.removeprefix("."))
        rate = Fraction(fps).limit_denominator(1001)
        self._stream: Any = self._container.add_stream(codec, rate=rate, options=options)
        self._stream.pix_fmt = "yuv420p"  # the pixel format that browsers play
        self._is_empty = True

    def add(self, picture: Image.Image) -> None:
        """Encode a picture, mode L or RGB, as the next frame; all pictures of a video must have one size."""
        across, down = picture.width % 2, picture.height % 2  # videos need an even number of rows and columns
        pixels = np.pad(np.asarray(picture.convert("RGB")), ((0, down), (0, across), (0, 0)), mode="edge")
        if self._is_empty:
            self._stream.height, self._stream.width = pixels.shape[:2]
            self._is_empty = False
        self._mux(self._av.VideoFrame.from_ndarray(pixels, format="rgb24"))

    def finish(self) -> bytes:
        """Bytes of the finished file. Raises LatentCLIError when encoding fails."""
        self._mux(None)
        self._container.close()
        return self._file.getvalue()

    def _mux(self, frame: object) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except self._av.FFmpegError as error:
            raise LatentCLIError(f"cannot write {self._suffix}: {error}; write a .webp instead") from error


Animation = _ByPillow | _ByPyAV
SUFFIXES = (".gif", ".webp", ".apng", *_CODECS)
_OLD = {".png": ".apng"}  # suffixes that stand for another one where an animation is asked for


def is_animation(path: Path) -> bool:
    """Whether the suffix of `path` is that of an animation or a video; `.png` counts as a still picture."""
    return path.suffix.lower() in SUFFIXES


def is_video(path: Path) -> bool:
    """Whether the suffix of `path` is that of a video, `.mp4` or `.webm`."""
    return path.suffix.lower() in _CODECS


def check_animation(path: Path) -> None:
    """Raise UsageError if no animation has the suffix of `path`, ConfigError if its encoder is not installed."""
    if not is_animation(path) and path.suffix.lower() not in _OLD:
        raise UsageError(f"animations are {', '.join(SUFFIXES)}, got {path}")
    if is_video(path) and importlib.util.find_spec("av") is None:
        raise missing_extra(path.suffix, "video", "write a .webp")


def open_animation(suffix: str, fps: float, **options: object) -> Animation:
    """Encoder of the type `suffix` at `fps` pictures a second; `options` go to Pillow, and are ignored for videos."""
    suffix = _OLD.get(suffix.lower(), suffix.lower())
    return (_ByPyAV if suffix in _CODECS else _ByPillow)(suffix, fps, **options)


def encode_animation(pictures: Iterable[Image.Image], suffix: str, fps: float, **options: object) -> bytes:
    """Bytes of an animation of `pictures`, `fps` a second; transparent pictures are laid on a checkerboard."""
    animation = open_animation(suffix, fps, **options)
    for picture in pictures:
        animation.add(on_checks(picture))  # GIF knows no half-transparent pixel, and video no transparency
    return animation.finish()
