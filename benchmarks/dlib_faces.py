"""Faces in a photo and the tilt of each head, found by dlib's frontal detector: what BlazeFace is compared with.

dlib has five detectors: three see heads that are upright, two see heads tilted by some 27 degrees. Which one answers,
over a few rotations of the photo, tells the tilt.
"""

import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from latentcli.imaging.box import Box, cut
from latentcli.imaging.faces import Face

_SIDES = (640, 1280, 2560)  # pixels of the photo's longer side while searching; dlib sees faces from 80 pixels up
_ROTATIONS = (0, -20, 20)  # degrees, while searching
_FAR_ROTATIONS = (-50, 50, -80, 80)  # where that finds nothing
_CLOSE_ROTATIONS = (-30, -20, -10, 0, 10, 20, 30)  # degrees about the tilt found first
_TILTS = {3: -27.0, 4: 27.0}  # degrees: the heads the fourth and the fifth detector see
_CLOSE_SIDES = (100, 125)  # pixels of a face that is looked at closely
_AROUND = 2.2  # face boxes that are cut out for that
_WORTH_A_LOOK, _CLEAR, _PERHAPS = -0.5, 0.0, -0.3  # scores of the detector: searching, then looking closely
_FEW, _MOST = 4, 50  # places worth a closer look, and those that are clear ones
_ONE, _ANOTHER = 0.04, 0.35  # mean scores of a closer look: the surest face of a photo, and each other one
_ONE_AT_A_TIME = threading.Lock()  # the detector keeps the picture it works on
_SAME = 0.5  # of a face's side: detections nearer than that are one face


def find_faces(picture: Image.Image, at_least: int = 1) -> list[Face]:
    """The faces of a picture, largest first; smaller ones are searched for until there are `at_least` so many."""
    detector = _detector()
    gray = picture.convert("L")
    found: list[Face] = []
    for side in _SIDES:
        scale = side / max(gray.size)
        if side > _SIDES[0] and scale > 1:
            break  # nothing smaller is to be seen
        small = _scaled(gray, scale)
        for rotations in (_ROTATIONS, _FAR_ROTATIONS)[: 1 if side == _SIDES[-1] else 2]:
            seen = [face for rotation in rotations for face in _detect(detector, small, rotation, _WORTH_A_LOOK)]
            found = _sure(detector, gray, found + [_moved(face, 1 / scale) for face in seen])
            if found:
                break
        if len(found) >= at_least:
            break
    return sorted(found, key=lambda face: -face.side)


def _sure(detector: Any, gray: Image.Image, faces: list[Face]) -> list[Face]:
    """Those that stay faces under a closer look; where one is seen, others must be seen clearly."""
    worth = [face for rank, face in enumerate(_merged(faces)[:_MOST]) if rank < _FEW or face.score > _CLEAR]
    closer = _merged([_look_closely(detector, gray, face) for face in worth])
    return [face for rank, face in enumerate(closer) if face.score >= (_ANOTHER if rank else _ONE)]


@cache
def _detector() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


def _scaled(gray: Image.Image, scale: float) -> Image.Image:
    size = max(1, round(gray.width * scale)), max(1, round(gray.height * scale))
    return gray.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _detect(detector: Any, gray: Image.Image, rotation: float, least: float) -> Iterator[Face]:
    """Faces seen once the picture is turned counter-clockwise, in pixels of the picture as it was."""
    turned = gray.rotate(rotation, Image.Resampling.BILINEAR, expand=True) if rotation else gray
    with _ONE_AT_A_TIME:
        boxes, scores, which = detector.run(np.asarray(turned), 0, least)
    sine, cosine = math.sin(math.radians(rotation)), math.cos(math.radians(rotation))
    for box, score, part in zip(boxes, scores, which, strict=True):
        x = (box.left() + box.right() + 1 - turned.width) / 2
        y = (box.top() + box.bottom() + 1 - turned.height) / 2
        middle = gray.width / 2 + x * cosine - y * sine, gray.height / 2 + x * sine + y * cosine
        yield Face(*middle, float(box.width()), rotation + _TILTS.get(part, 0.0), score)


def _moved(face: Face, scale: float, x: float = 0.0, y: float = 0.0) -> Face:
    return Face(x + face.x * scale, y + face.y * scale, face.side * scale, face.roll, face.score)


def _merged(faces: list[Face]) -> list[Face]:
    """One face where several detections lie on each other: the surest."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(math.hypot(face.x - other.x, face.y - other.y) > _SAME * max(face.side, other.side) for other in kept):
            kept.append(face)
    return kept


def _look_closely(detector: Any, gray: Image.Image, face: Face) -> Face:
    """The same face with place, size and tilt as means over many rotations, weighed by the scores."""
    around = Box.about(face.x, face.y, _AROUND * face.side)
    seen: list[Face] = []
    for length in _CLOSE_SIDES:
        side = round(_AROUND * length)
        close = cut(gray, around, (side, side))
        for rotation in _CLOSE_ROTATIONS:
            found = _detect(detector, close, face.roll + rotation, _PERHAPS)
            here = [_moved(one, around.width / side, around.x, around.y) for one in found]
            here = [one for one in here if math.hypot(one.x - face.x, one.y - face.y) < _SAME * face.side]
            seen += sorted(here, key=lambda one: -one.score)[:1]
    if not seen:
        return replace(face, score=_PERHAPS)
    score = sum(max(one.score, 0.0) for one in seen) / (len(_CLOSE_SIDES) * len(_CLOSE_ROTATIONS))
    values = np.array([(one.x, one.y, one.side, one.roll) for one in seen])
    weights = np.array([one.score - _PERHAPS for one in seen]) ** 2 + 1e-6
    x, y, length, roll = np.average(values, axis=0, weights=weights).tolist()
    return Face(x, y, length, roll, score)
