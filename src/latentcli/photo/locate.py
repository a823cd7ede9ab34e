"""Crop boxes, the parts of a photo that a model edits: given boxes, a face, every face, or the centre."""

from collections.abc import Sequence
from pathlib import Path

from latentcli.concepts.edit import EditRequest
from latentcli.config import ModelConfig
from latentcli.errors import ConfigError, ImageError
from latentcli.imaging.box import Box
from latentcli.imaging.faces import find_faces
from latentcli.imaging.images import model_box
from latentcli.photo.photo import Photo

_MOST_TIMES = 2  # longest side of a box, in multiples of the photo's longer side
_DOUBTFUL = 0.73  # below this score a detected face may be none
_CROP_TIMES = 4  # largest side of a square picture that may be a face crop, in multiples of the model's width


def check_boxes(boxes: Sequence[Box], size: tuple[int, int], config: ModelConfig) -> None:
    """Raise ConfigError if a box is outside a photo of `size` or, for a model that crops, has another aspect ratio."""
    width, height = size
    for box in boxes:
        x, y = box.middle
        skew = abs(box.width * config.height - box.height * config.width)
        if max(box.width, box.height) > _MOST_TIMES * max(size):
            raise ConfigError(f"`box` {box.text()} is far larger than the photo of {width}x{height}")
        if not box.roll and not box.is_inside(size):
            raise ConfigError(f"`box` {box.text()} does not lie inside the photo of {width}x{height}")
        if not (0 <= x < width and 0 <= y < height):
            raise ConfigError(f"the middle of `box` {box.text()} does not lie in the photo of {width}x{height}")
        if config.crop != "none" and skew > max(config.width, config.height):
            shape = f"{box.width:g}x{box.height:g}"
            raise ConfigError(f"`box` must have the model's shape {config.width}:{config.height}, got {shape}")


def find_boxes(photo: Photo, path: Path, config: ModelConfig, request: EditRequest) -> tuple[list[Box], list[str]]:
    """Crop boxes of the faces, or of the region, that `request` asks for, and notes on how they were found.

    Raises ImageError if the photo at `path` has no face where one is needed, or fewer faces than `request.face`.
    """
    if request.boxes:
        return list(request.boxes), []
    centre = model_box(*photo.size, config)
    if config.crop != "face":
        width, height = round(centre.width), round(centre.height)
        if photo.size == (width, height) or config.crop == "none":
            return [centre], []
        crop = f"{width}x{height} of {photo.size[0]}x{photo.size[1]} pixels"
        return [centre], [f"edited the centred {crop}; for another part give `box` x,y,width,height"]
    if not request.align:
        return [centre], [f"treating the centred {centre.width:g}x{centre.height:g} pixels as a face"]
    faces = find_faces(photo.picture, at_least=2 if request.every_face else request.face)
    if not faces and is_face_crop(photo.size, config):
        return [centre], [f"treating {path} as a face crop (no face was found)"]
    if not faces:
        raise ImageError(f"{path} shows no face that can be found; give `box` x,y,width,height or `align=False`")
    if request.face > len(faces):
        raise ImageError(f"{path} shows {len(faces)} face{'s' * (len(faces) > 1)}; there is no `face` {request.face}")
    chosen = faces if request.every_face else [faces[request.face - 1]]
    boxes = [face.place(config.framing) for face in chosen]
    listed = " and ".join(f"`box` {box.text()}" for box in boxes)
    others = f"; face {request.face} of {len(faces)} by size, others with `face` or `all_faces`"
    notes = [f"edited the face{'s' * (len(chosen) > 1)} at {listed}{others if len(faces) > len(chosen) else ''}"]
    if any(face.score < _DOUBTFUL for face in chosen):
        notes.append("it may not be a face, or be hard to see; check the result, or give `box`")
    return boxes, notes


def is_face_crop(size: tuple[int, int], config: ModelConfig) -> bool:
    """Whether a picture of `size` is square and small, and so may already be a crop of a face."""
    return size[0] == size[1] <= _CROP_TIMES * config.width
