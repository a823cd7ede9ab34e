"""Faces in a photo and the tilt of each head, found by BlazeFace on ONNX Runtime.

BlazeFace (Bazarevsky et al. 2019, arXiv 1907.05047) gives a box, a score and landmarks; eyes and mouth tell the tilt.
Each face that a search finds is looked at again, upright and at the size the network sees best; in the end a second,
smaller network is asked as well.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latentcli.imaging.box import Box
from latentcli.runtime import open_session

_SIDE = 256  # pixels of a window of the search, and of a closer look
_SIDE_OF_CHECK = 128  # pixels of what the smaller network is asked
_GRIDS = ((16, 2), (8, 6))  # cells along a side of the networks' two maps, and boxes of each cell
_LEVELS = (1, 2, 4)  # windows along the photo's longer side, while searching
_TURNS = {90: Image.Transpose.ROTATE_90, -90: Image.Transpose.ROTATE_270}  # where no upright face is found
_SMALLEST = 128  # pixels of the photo in a window: nothing smaller is to be seen
_WORTH_A_LOOK = 0.3  # score of a detection
_LOOKS = ((0.33,), (0.28, 0.38))  # views of a closer look, by the share of the face's box: first, then for the result
_SHARES_OF_CHECK = (0.3, 0.45)
_PERHAPS, _SURE = 0.45, 0.66  # scores: of the looks, and of the smaller network in the end
_MOST = 50  # faces
_SAME = 0.5  # of a face's side: detections nearer than that are one face
# dlib's box, fitted to faces of the data set: its side over that of BlazeFace's box (within 4 %), and the place of its
# middle on the way from the eyes to the mouth.
_BOX, _DOWN = 0.993, 0.475

Halved = Callable[[int], Image.Image]  # the photo, halved so many times


@dataclass(frozen=True, slots=True)
class Face:
    """A face in pixels of the upright photo."""

    x: float  # its middle
    y: float
    side: float  # of its square box, as dlib's frontal detector would draw it
    roll: float  # degrees by which the head is tilted, clockwise
    score: float  # of the detector, 0 to 1: above 0.66

    def place(self, framing: tuple[float, float, float]) -> Box:
        """Its crop: so many times the side of the box, the box's middle at this share of width and height."""
        scale, across, down = framing
        side = scale * self.side
        x, y = (0.5 - across) * side, (0.5 - down) * side
        cosine, sine = math.cos(math.radians(self.roll)), math.sin(math.radians(self.roll))
        middle = self.x + x * cosine - y * sine, self.y + x * sine + y * cosine
        return Box.about(*middle, side, self.roll).rounded()  # so that it can be said again


class NoFace(Exception):
    """No face was found where one is needed; `images` makes an ImageError of it, which names the picture."""


def find_faces(picture: Image.Image, at_least: int = 1) -> list[Face]:
    """The faces of a picture, largest first; smaller ones are searched for until there are `at_least` so many."""
    rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    halved = cache(lambda times: rgb.reduce(2**times) if times else rgb)
    found: list[Face] = []
    for level in _LEVELS:
        if level > 1 and max(rgb.size) / level < _SMALLEST:
            break
        found = _merged(found + _looked_at(halved, _elsewhere(_search(rgb, level), found)))
        if not found and level == 1:
            found = _looked_at(halved, [face for turn in _TURNS for face in _search(rgb, 1, turn)])
        if len(found) >= at_least:
            break
    return sorted(found, key=lambda face: -face.side)


def _elsewhere(faces: Iterable[Face], known: Sequence[Face]) -> list[Face]:
    """Faces that lie on none of the known ones."""
    return [face for face in faces if all(_apart(face, other) for other in known)]


def _apart(a: Face, b: Face) -> bool:
    return math.hypot(a.x - b.x, a.y - b.y) > _SAME * max(a.side, b.side)


def _search(rgb: Image.Image, level: int, turn: int = 0) -> list[Face]:
    """Faces seen in windows that overlap by half, `level` of them along the longer side.

    With `turn` the photo is searched turned by so many degrees, counter-clockwise.
    """
    scale = level * _SIDE / max(rgb.size)
    size = max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale))
    small = rgb.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    pixels = np.asarray(small.transpose(_TURNS[turn]) if turn else small)
    found = []
    for x, y in product(_starts(pixels.shape[1]), _starts(pixels.shape[0])):
        part = pixels[y : y + _SIDE, x : x + _SIDE]
        window = np.zeros((_SIDE, _SIDE, 3), dtype=np.uint8)  # black around a narrow photo
        window[: part.shape[0], : part.shape[1]] = part
        for face in _detect(window):
            place = _turned_back(x + face.x, y + face.y, size, turn)
            found.append(Face(place[0] / scale, place[1] / scale, face.side / scale, face.roll + turn, face.score))
    return found


def _turned_back(x: float, y: float, size: tuple[int, int], turn: int) -> tuple[float, float]:
    """A place of a photo that was turned, in the photo of (width, height)."""
    return {0: (x, y), 90: (size[0] - y, x), -90: (y, size[1] - x)}[turn]


def _starts(length: int) -> range:
    """Where windows begin along a side."""
    return range(0, max(1, length - _SIDE // 2), _SIDE // 2)


def _looked_at(halved: Halved, faces: list[Face]) -> list[Face]:
    """Those that are faces under a closer look, with place, size and tilt as means over it."""
    for shares in _LOOKS:
        found = (_look(halved, face, shares) for face in _merged(faces)[:_MOST])
        faces = [face for face in found if face and face.score >= _PERHAPS]
    return [face for face in map(partial(_checked, halved), _merged(faces)) if face.score >= _SURE]


def _look(halved: Halved, face: Face, shares: Sequence[float]) -> Face | None:
    """The face as views of it show it, whose side it takes up these shares of; None where it is in none."""
    found = []
    for share in shares:
        box = Box.about(face.x, face.y, face.side / share, face.roll)
        nearest = _nearest(_detect(_view(halved, box, _SIDE)))
        found += [_from_view(nearest, box)] if nearest else []
    if not found:
        return None
    x, y, side, roll, score = np.mean([(f.x, f.y, f.side, f.roll, f.score) for f in found], axis=0).tolist()
    return Face(x, y, side, roll, score * len(found) / len(shares))


def _checked(halved: Halved, face: Face) -> Face:
    """The face with the score that the smaller network gives it and its mirror image, in views of two sizes.

    What deceives one network, or one view, seldom deceives them all.
    """
    scores = []
    for share in _SHARES_OF_CHECK:
        box = Box.about(face.x, face.y, face.side / share, face.roll)
        view = _view(halved, box, _SIDE_OF_CHECK)
        scores += [_score_in_the_middle(one) for one in (view, view[:, ::-1])]
    return replace(face, roll=(face.roll + 180) % 360 - 180, score=float(np.mean(scores)))


def _score_in_the_middle(view: np.ndarray) -> float:
    points, scores = _run(view)
    off = np.linalg.norm(points[:, 0] - len(view) / 2, axis=1)
    return float(scores[off < _SAME * points[:, 1, 0]].max(initial=0.0))


def _view(halved: Halved, box: Box, side: int) -> np.ndarray:
    """A box of the photo as (side, side, 3), turned upright; black where it leaves the photo.

    It is sampled from a halved copy with one to two pixels for each of the view's.
    """
    times = max(0, int(math.log2(box.width / side)))
    copy, step = halved(times), box.width * 2.0**-times / side
    cosine, sine = (step * axis for axis in box.axes)
    x, y = (middle * 2.0**-times for middle in box.middle)
    half = side / 2
    matrix = cosine, -sine, x - half * (cosine - sine), sine, cosine, y - half * (cosine + sine)
    return np.asarray(copy.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC))


def _nearest(faces: list[Face]) -> Face | None:
    """The face in the middle of a view."""
    middle = _SIDE / 2
    here = [face for face in faces if math.hypot(face.x - middle, face.y - middle) < _SAME * face.side]
    return max(here, key=lambda face: face.score, default=None)


def _from_view(face: Face, box: Box) -> Face:
    """A face of a view as it lies in the photo that the view was cut from."""
    scale = box.width / _SIDE
    cosine, sine = box.axes
    x, y = (face.x - _SIDE / 2) * scale, (face.y - _SIDE / 2) * scale
    middle = box.middle[0] + x * cosine - y * sine, box.middle[1] + x * sine + y * cosine
    return Face(*middle, face.side * scale, box.roll + face.roll, face.score)


def _merged(faces: list[Face]) -> list[Face]:
    """One face where several detections lie on each other: the surest."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        kept += _elsewhere([face], kept)
    return kept


def _detect(window: np.ndarray) -> list[Face]:
    """What is worth a look in a window, uint8 (side, side, 3), in its pixels; those that lie on each other are one."""
    points, scores = _run(window)
    rows = np.flatnonzero(scores >= _WORTH_A_LOOK)
    return _merged([_face(face, float(score)) for face, score in zip(points[rows], scores[rows], strict=True)])


def _run(window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle, size and landmarks (896, 8, 2) in pixels, and scores (896,); the window's side says which network."""
    images = np.ascontiguousarray((window.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None])
    boxes, logits = _session(len(window)).run(None, {"images": images})
    points = boxes[0].reshape(-1, 8, 2)
    points[:, [0, *range(2, 8)]] += _anchors(len(window))[:, None]
    return points, 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -80, 80)))


def _face(points: np.ndarray, score: float) -> Face:
    """From middle, size and landmarks, (8, 2), to the box that dlib would draw."""
    eyes, mouth = points[2:4], points[5]
    across, down = eyes[1] - eyes[0], mouth - eyes.mean(axis=0)
    axis = across / np.linalg.norm(across) + np.array([down[1], -down[0]]) / np.linalg.norm(down)
    roll = math.degrees(math.atan2(axis[1], axis[0]))
    middle = eyes.mean(axis=0) + _DOWN * down
    return Face(float(middle[0]), float(middle[1]), _BOX * float(points[1, 0]), roll, score)


@cache
def _anchors(side: int) -> np.ndarray:
    """The middle of the cell that each box belongs to, in pixels: (896, 2)."""
    middles = []
    for cells, boxes in _GRIDS:
        along = (np.arange(cells) + 0.5) * side / cells
        grid = np.stack(np.meshgrid(along, along), axis=2).reshape(-1, 2)
        middles.append(np.repeat(grid, boxes, axis=0))
    return np.concatenate(middles).astype(np.float32)


@cache
def _session(side: int) -> Any:
    return open_session(Path(__file__).parent / "blazeface" / f"{side}.onnx")
