"""Faces in a photo and the tilt of each head, found by BlazeFace on ONNX Runtime.

BlazeFace (Bazarevsky et al. 2019, arXiv 1907.05047) gives a box, a score and landmarks; eyes and mouth give the tilt.
Each face found by the search is detected again in views, upright crops in which it has the size that suits the network
best; in the end a second, smaller network scores it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latentcli.imaging.box import Box
from latentcli.runtime import open_session

_SIDE = 256  # pixels a side of the larger network's input: a window of the search, or a view of a face
_SIDE_OF_CHECK = 128  # pixels a side of the smaller network's input
_GRIDS = ((16, 2), (8, 6))  # the networks' two feature maps: cells along a side, and boxes predicted in each cell
_LEVELS = (1, 2, 4)  # windows along the photo's longer side, in each round of the search
_TURNS = {90: Image.Transpose.ROTATE_90, -90: Image.Transpose.ROTATE_270}  # tried on photos without an upright face
_SMALLEST = 128  # pixels of the photo along a window, at least: smaller windows show nothing new
_CANDIDATE = 0.3  # least score of a detection that is followed up
_VIEWS = ((0.33,), (0.28, 0.38))  # share of a view's side that the face takes, in the first and in the final round
_VIEWS_OF_CHECK = (0.3, 0.45)  # share of a view's side that the face takes, for the smaller network
_PERHAPS, _SURE = 0.45, 0.66  # least scores of a face: by the larger network in its views, and by the smaller network
_MOST = 50  # faces of a photo that are followed up, at most
_SAME = 0.5  # share of a face's side: detections with middles nearer than that are one face
# Conversion of BlazeFace's boxes to those of dlib's face detector, fitted to faces of the data set: factor of the side
# (within 4 %), and position of the middle on the way from the eyes (0) to the mouth (1).
_BOX, _DOWN = 0.993, 0.475

Halved = Callable[[int], Image.Image]  # from a number to the photo, halved that many times


@dataclass(frozen=True, slots=True)
class Face:
    """Face found in a photo, in pixels of the upright photo."""

    x: float  # middle of the box, from the left
    y: float  # middle of the box, from the top
    side: float  # side of the square box, as dlib's frontal detector would draw it
    roll: float  # degrees by which the head is tilted, clockwise
    score: float  # of a detector, 0 to 1: for the results of `find_faces` at least 0.66

    def place(self, framing: tuple[float, float, float]) -> Box:
        """Crop box for a model; `framing` is crop side over face side, and the face's (x, y) as shares of the crop."""
        scale, across, down = framing
        side = scale * self.side
        crop = Box.about(self.x, self.y, side, self.roll)
        x, y = crop.turned((0.5 - across) * side, (0.5 - down) * side)
        return Box.about(x, y, side, self.roll).rounded()  # the box's text then gives the same crop


class NoFace(Exception):
    """A picture shows no face where one is needed; `images.open_picture` raises an ImageError with the path instead."""


def find_faces(picture: Image.Image, at_least: int = 1) -> list[Face]:
    """Faces of a picture, largest first; while fewer than `at_least` are found, smaller faces are searched for."""
    rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    halved = cache(lambda times: rgb.reduce(2**times) if times else rgb)
    faces: list[Face] = []
    for level in _LEVELS:
        if level > 1 and max(rgb.size) / level < _SMALLEST:
            break
        faces = _merged(faces + _confirmed(halved, _elsewhere(_search(rgb, level), faces)))
        if not faces and level == 1:
            faces = _confirmed(halved, [face for turn in _TURNS for face in _search(rgb, 1, turn)])
        if len(faces) >= at_least:
            break
    return sorted(faces, key=lambda face: -face.side)


def _elsewhere(faces: Iterable[Face], others: Sequence[Face]) -> list[Face]:
    """Members of `faces` whose middles are not close to that of any face in `others`."""
    return [
        face
        for face in faces
        if all(math.hypot(face.x - a.x, face.y - a.y) > _SAME * max(face.side, a.side) for a in others)
    ]


def _merged(faces: list[Face]) -> list[Face]:
    """Distinct faces: of detections with middles close together, the one with the highest score."""
    distinct: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        distinct += _elsewhere([face], distinct)
    return distinct


def _search(rgb: Image.Image, level: int, turn: int = 0) -> list[Face]:
    """Faces detected in square windows that overlap by half and are 1 / `level` of the photo's longer side wide.

    The photo is searched rotated by `turn` degrees, counter-clockwise; the faces are in pixels of the unrotated photo.
    """
    scale = level * _SIDE / max(rgb.size)
    width, height = (max(1, round(side * scale)) for side in rgb.size)
    small = rgb.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    pixels = np.asarray(small.transpose(_TURNS[turn]) if turn else small)
    rows, columns = (range(0, max(1, length - _SIDE // 2), _SIDE // 2) for length in pixels.shape[:2])
    faces = []
    for left, top in product(columns, rows):
        window = np.zeros((_SIDE, _SIDE, 3), dtype=np.uint8)  # black around a narrow photo
        inside = pixels[top : top + _SIDE, left : left + _SIDE]
        window[: inside.shape[0], : inside.shape[1]] = inside
        for face in _detect(window):
            x, y = left + face.x, top + face.y
            x, y = {0: (x, y), 90: (width - y, x), -90: (y, height - x)}[turn]  # in the unrotated photo
            faces.append(Face(x / scale, y / scale, face.side / scale, face.roll + turn, face.score))
    return faces


def _confirmed(halved: Halved, faces: list[Face]) -> list[Face]:
    """Members of `faces` detected again in upright crops and confirmed by the smaller network, with refined boxes."""
    for shares in _VIEWS:
        viewed = (_viewed(halved, face, shares) for face in _merged(faces)[:_MOST])
        faces = [face for face in viewed if face and face.score >= _PERHAPS]
    return [face for face in (_checked(halved, face) for face in _merged(faces)) if face.score >= _SURE]


def _viewed(halved: Halved, face: Face, shares: Sequence[float]) -> Face | None:
    """Mean of the detections of `face` in upright crops, one for each share of the side that it fills; None if none."""
    detections = []
    for share in shares:
        box = Box.about(face.x, face.y, face.side / share, face.roll)
        middle, scale = _SIDE / 2, box.width / _SIDE
        seen = _detect(_view(halved, box, _SIDE))
        central = [other for other in seen if math.hypot(other.x - middle, other.y - middle) < _SAME * other.side]
        if central:
            best = max(central, key=lambda other: other.score)
            x, y = box.turned((best.x - middle) * scale, (best.y - middle) * scale)
            detections.append((x, y, best.side * scale, box.roll + best.roll, best.score))
    if not detections:
        return None
    x, y, side, roll, score = np.mean(detections, axis=0).tolist()
    return Face(x, y, side, roll, score * len(detections) / len(shares))


def _checked(halved: Halved, face: Face) -> Face:
    """Copy of `face` with a new score: the smaller network's mean over upright crops of two sizes, also mirrored.

    An object that deceives one network, or one crop, seldom deceives both networks in all crops.
    """
    scores = []
    for share in _VIEWS_OF_CHECK:
        view = _view(halved, Box.about(face.x, face.y, face.side / share, face.roll), _SIDE_OF_CHECK)
        for image in (view, view[:, ::-1]):
            points, each = _run(image)
            off = np.linalg.norm(points[:, 0] - _SIDE_OF_CHECK / 2, axis=1)
            scores.append(float(each[off < _SAME * points[:, 1, 0]].max(initial=0.0)))
    return replace(face, roll=(face.roll + 180) % 360 - 180, score=float(np.mean(scores)))


def _view(halved: Halved, box: Box, side: int) -> np.ndarray:
    """Crop `box` out of the photo, upright: uint8 (side, side, 3), black where the box leaves the photo.

    Pixels are sampled from a halved copy of the photo that has one to two pixels for each pixel of the crop.
    """
    times = max(0, int(math.log2(box.width / side)))
    copy, step = halved(times), box.width * 2.0**-times / side
    cosine, sine = (step * axis for axis in box.axes)
    x, y = (middle * 2.0**-times for middle in box.middle)
    half = side / 2
    matrix = cosine, -sine, x - half * (cosine - sine), sine, cosine, y - half * (cosine + sine)
    return np.asarray(copy.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC))


def _detect(window: np.ndarray) -> list[Face]:
    """Faces detected in a window, uint8 (side, side, 3), in pixels of the window, with boxes as dlib draws them."""
    points, scores = _run(window)
    faces = []
    for row in np.flatnonzero(scores >= _CANDIDATE):
        eyes, mouth = points[row, 2:4], points[row, 5]
        across, down = eyes[1] - eyes[0], mouth - eyes.mean(axis=0)
        axis = across / np.linalg.norm(across) + np.array([down[1], -down[0]]) / np.linalg.norm(down)
        x, y = (eyes.mean(axis=0) + _DOWN * down).tolist()
        roll = math.degrees(math.atan2(axis[1], axis[0]))
        faces.append(Face(x, y, _BOX * float(points[row, 1, 0]), roll, float(scores[row])))
    return _merged(faces)


def _run(window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle, size and six landmarks of BlazeFace's 896 boxes, (896, 8, 2) in pixels, and their scores (896,)."""
    session, anchors = _network(len(window))
    images = np.ascontiguousarray((window.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None])
    boxes, logits = session.run(None, {"images": images})
    points = boxes[0].reshape(-1, 8, 2)
    points[:, [0, *range(2, 8)]] += anchors[:, None]
    return points, 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -80, 80)))


@cache
def _network(side: int) -> tuple[Any, np.ndarray]:
    """BlazeFace for inputs of `side` pixels: ONNX Runtime session, and the middle of each box's cell, (896, 2)."""
    middles = []
    for cells, boxes in _GRIDS:
        along = (np.arange(cells) + 0.5) * side / cells
        grid = np.stack(np.meshgrid(along, along), axis=2).reshape(-1, 2)
        middles.append(np.repeat(grid, boxes, axis=0))
    session = open_session(Path(__file__).parent / "blazeface" / f"{side}.onnx")
    return session, np.concatenate(middles).astype(np.float32)
