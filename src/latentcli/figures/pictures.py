"""Pictures of the Python API: paths, PIL images or arrays as input, sheets of PIL images as output."""

import io
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from latentcli.config import ModelConfig
from latentcli.data.sources import find_images
from latentcli.errors import ConfigError, ImageError
from latentcli.figures.sheet import sheet
from latentcli.imaging.images import encode_picture, fit_given, open_picture, write_picture

Picture = str | os.PathLike[str] | Image.Image | np.ndarray


class Sheet(list[Image.Image]):
    """A list of PIL images that shows and saves itself as a contact sheet.

    Attributes:
        columns: Pictures in a row.
    """

    def __init__(self, pictures: Iterable[Image.Image], columns: int | None = None) -> None:
        super().__init__(pictures)
        self.columns = columns or max(1, math.ceil(math.sqrt(len(self))))

    def picture(self) -> Image.Image:
        """One image of all pictures, row by row.

        Raises:
            ConfigError: The sheet is empty.
        """
        if not self:
            raise ConfigError("the sheet is empty; there is nothing to draw")
        return sheet(self, self.columns)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the sheet as one file, whole; the type follows the suffix. An existing file is replaced.

        Raises:
            LatentCLIError: The file cannot be written, or its type is unknown.
        """
        write_picture(self.picture(), Path(path))

    def _repr_png_(self) -> bytes | None:
        return encode_picture(self.picture(), ".png") if self else None


def pictures_of(pictures: Picture | Iterable[Picture]) -> Iterator[Picture]:
    """Pictures one by one: a single picture, the members of a batch or iterable, or all image files below a folder."""
    if isinstance(pictures, Image.Image) or (isinstance(pictures, np.ndarray) and pictures.ndim < 4):
        yield pictures
    elif isinstance(pictures, str | os.PathLike):
        path = Path(pictures)
        yield from find_images(path) if path.is_dir() else [path]
    else:
        yield from pictures


def picture_file(picture: Picture) -> tuple[Path, bytes | None]:
    """Path and content of a picture for `images.open_picture`: a file's path and None, or "picture.png" and its bytes.

    Arrays are (height, width[, 1, 3 or 4]) of uint8, or float in [0, 1]. Raises ImageError for other arrays.
    """
    if isinstance(picture, str | os.PathLike):
        return Path(picture), None
    if isinstance(picture, np.ndarray):
        array = picture[:, :, 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture
        if np.issubdtype(array.dtype, np.floating):
            array = (np.clip(array, 0, 1) * 255).round().astype(np.uint8)
        if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
            raise ImageError(f"an array must be (height, width, 3) of uint8 or float, got {array.shape} {array.dtype}")
        picture = Image.fromarray(array)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return Path("picture.png"), buffer.getvalue()


def model_pixels(picture: Picture, config: ModelConfig) -> np.ndarray:
    """Pixels of a picture, cropped and resized for a model: uint8 (height, width, channels)."""
    with open_picture(*picture_file(picture)) as opened:
        return fit_given(opened, config)


def picture_names(pictures: Sequence[Picture]) -> tuple[str, ...]:
    """Name of each picture: that of its file, or `<number>.png`; a repeated name gets the picture's number in front."""
    names = [
        Path(picture).name if isinstance(picture, str | os.PathLike) else f"{number}.png"
        for number, picture in enumerate(pictures)
    ]
    return tuple(f"{number}-{name}" if names.count(name) > 1 else name for number, name in enumerate(names))
