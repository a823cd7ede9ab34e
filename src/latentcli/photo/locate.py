"""Boxes to edit in a photo: given ones, a face, every face, or the centre."""

from collections.abc import Sequence
from pathlib import Path

from latentcli.concepts.edit import EditRequest
from latentcli.config import ModelConfig
from latentcli.errors import ConfigError, ImageError
from latentcli.imaging.box import Box
from latentcli.imaging.faces import find_faces
from latentcli.imaging.images import model_box
from latentcli.photo.photo import Photo

_MOST_TIMES = 2  # the photo's longer side: no tilted box is larger
_DOUBTFUL = 0.73  # score of a face below which it may be none
_CROP_TIMES = 4  # the model's size, up to which a square picture may be a face crop


def check_boxes(boxes: Sequence[Box], size: tuple[int, int], config: ModelConfig) -> None:
    """Raise ConfigError for a box outside a photo of this size, or of another shape than a model that crops sees."""
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
    """The boxes to edit, and notes on how they were found. Raises ImageError when the photo has no such face."""
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
    """Whether a picture may be a face crop already, as training pictures are: it is square and small."""
    return size[0] == size[1] <= _CROP_TIMES * config.width
