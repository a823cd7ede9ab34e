"""Which part of a photo an edit is for: a given box, a face, or the centre."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latentcli.box import Box
from latentcli.config import ModelConfig
from latentcli.errors import ConfigError, ImageError
from latentcli.faces import Face, find_faces, require_dlib
from latentcli.images import model_box, open_picture, upright_size
from latentcli.photo.photo import Photo

PhotoFile = tuple[Path, bytes | None]  # its name, and its bytes where they are not on the disk

_MOST_TIMES = 2  # the photo's longer side: no tilted box is larger
_DOUBTFUL = 0.15  # score of a face below which it may be none
_CROP_TIMES = 4  # the model's size, up to which a square picture may be a face crop


@dataclass(frozen=True, slots=True)
class Aim:
    """Which part of a photo to edit."""

    places: tuple[Box, ...] = ()  # given, not found
    face: int = 1  # of a model of faces: which, from the largest
    every_face: bool = False
    align: bool = True  # or take the centre, as for other models
    found: bool = False  # the places were found when the edit was made first


def check_aim(aim: Aim, photos: Sequence[PhotoFile], config: ModelConfig, megapixels: float) -> None:
    """Raises ConfigError for a place that is not in the photo, or without dlib where faces are to be found."""
    if aim.places:
        ((path, content),) = photos
        with open_picture(path, content, megapixels) as picture:
            size = upright_size(picture)
        for place in aim.places:
            _check_place(size, place, config)
    elif config.crop == "face" and aim.align:
        try:
            require_dlib()
        except ConfigError:
            if not all(_is_face_crop(_size(photo), config) for photo in photos):
                raise


def find_boxes(photo: Photo, path: Path, config: ModelConfig, aim: Aim) -> tuple[list[Box], list[str]]:
    """The parts of a photo to edit, and what to say of them. Raises ImageError when it has no such face."""
    if aim.places:
        return list(aim.places), []
    centre = model_box(*photo.size, config)
    if config.crop != "face":
        return [centre], _told_crop(photo, centre, config)
    if not aim.align:
        return [centre], [f"took the centred {centre.width:g}x{centre.height:g} pixels for a face"]
    try:
        faces = find_faces(photo.picture, at_least=2 if aim.every_face else aim.face)
    except ConfigError as error:
        if _is_face_crop(photo.size, config):
            return [centre], [f"took {path} for a face crop ({error})"]
        raise
    if not faces and _is_face_crop(photo.size, config):
        return [centre], [f"took {path} for a face crop (no face was found)"]
    if not faces:
        raise ImageError(f"{path} shows no face that can be found; give --box x,y,width,height or --no-align")
    if aim.face > len(faces):
        raise ImageError(f"{path} shows {len(faces)} face{'s' * (len(faces) > 1)}; there is no --face {aim.face}")
    chosen = faces if aim.every_face else [faces[aim.face - 1]]
    return [face.place(config.framing) for face in chosen], _told_faces(chosen, faces, aim, config)


def _told_faces(chosen: list[Face], faces: list[Face], aim: Aim, config: ModelConfig) -> list[str]:
    boxes = " and ".join(f"--box {face.place(config.framing).text()}" for face in chosen)
    several = f"; face {aim.face} of {len(faces)} by size, others with --face or --all-faces"
    lines = [f"edited the face{'s' * (len(chosen) > 1)} at {boxes}{several if len(faces) > len(chosen) else ''}"]
    if any(face.score < _DOUBTFUL for face in chosen):
        lines.append("it may be no face, or one that is hard to see: look at the result, or give --box")
    return lines


def _is_face_crop(size: tuple[int, int], config: ModelConfig) -> bool:
    """A small square picture may be a face crop already, as training pictures are."""
    return size[0] == size[1] <= _CROP_TIMES * config.width


def _size(photo: PhotoFile) -> tuple[int, int]:
    try:
        with open_picture(*photo) as picture:
            return picture.size
    except ImageError:
        return 0, 0  # told when its turn comes


def _told_crop(photo: Photo, place: Box, config: ModelConfig) -> list[str]:
    """The model sees only a part of a photo of another shape: say which."""
    size, seen = photo.size, (round(place.width), round(place.height))
    if size == seen or config.crop == "none":
        return []
    parts = f"{seen[0]}x{seen[1]} of {size[0]}x{size[1]} pixels"
    return [f"edited the centred {parts}; for another part give --box x,y,width,height"]


def _check_place(size: tuple[int, int], place: Box, config: ModelConfig) -> None:
    """Raises ConfigError when a given place is not in the photo or has another shape than a cropping model sees."""
    width, height = size
    x, y = place.middle
    if max(place.width, place.height) > _MOST_TIMES * max(size):
        raise ConfigError(f"--box {place.text()} is far larger than the photo of {width}x{height}")
    if not place.roll and not place.is_inside(size):
        raise ConfigError(f"--box {place.text()} does not lie inside the photo of {width}x{height}")
    if not (0 <= x < width and 0 <= y < height):
        raise ConfigError(f"the middle of --box {place.text()} does not lie in the photo of {width}x{height}")
    skew = abs(place.width * config.height - place.height * config.width)
    if config.crop != "none" and skew > max(config.width, config.height):
        shape = f"{place.width:g}x{place.height:g}"
        raise ConfigError(f"--box must have the model's shape {config.width}:{config.height}, got {shape}")
