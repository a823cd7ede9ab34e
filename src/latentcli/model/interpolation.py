"""Interpolation: walks through keyframes, their speed, and grids between keyframes.

The paths are those of White 2016, "Sampling generative networks", section 2, and a cubic spline. A position on a walk
is a number from 0 to its legs: position 1.5 is halfway from the second keyframe to the third.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from latentcli.config import InterpolationMethod

Decode = Callable[[np.ndarray], np.ndarray]  # latents (n, latent_dim) to images (n, ...)
Line = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # of two ends (d,), at positions (n,): (n, d)

_PARALLEL = 1e-4  # sine of the angle below which slerp has no plane to turn in
_FARTHEST = 8.0  # standard deviations, beyond which the normal CDF cannot be inverted
_PARTS = 24  # of a leg, whose lengths in images are measured


def lerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The straight line from a (d,) to b (d,) at each t in [0, 1]: (len(t), d).

    >>> lerp(np.zeros(2), np.ones(2), np.array([0.0, 0.25]))
    array([[0.  , 0.  ],
           [0.25, 0.25]])
    """
    t = t[:, None]
    return np.asarray(np.where(t < 0.5, a + t * (b - a), b - (1 - t) * (b - a)))  # exact at both ends


def slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The great circle from a (d,) to b (d,) at each t: (len(t), d).

    The ends keep their lengths; where they are parallel, opposite or zero there is no circle, and the line is taken.
    """
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    angle = np.arccos(np.clip(a @ b / lengths, -1, 1)) if lengths else np.float32(0)
    sine = np.sin(angle)
    if sine < _PARALLEL:
        return lerp(a, b, t)
    t = t[:, None]
    return np.asarray((np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / sine)


def gaussian(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The line between the quantiles of a (d,) and b (d,) under N(0, I), at each t: (len(t), d)."""
    from scipy.special import ndtr, ndtri

    near = [np.clip(end.astype(np.float64), -_FARTHEST, _FARTHEST) for end in (a, b)]
    beyond = lerp(a - near[0], b - near[1], t)
    # Quantiles near 1 lose digits, those near 0 do not: the upper half is computed as the mirrored lower one.
    sign = np.where(near[0] + near[1] > 0, -1.0, 1.0)
    quantiles = lerp(ndtr(sign * near[0]), ndtr(sign * near[1]), t)
    return np.asarray(sign * ndtri(quantiles) + beyond)


METHODS: dict[InterpolationMethod, Line] = {"lerp": lerp, "slerp": slerp, "gaussian": gaussian}


@dataclass(frozen=True)
class Walk:
    """A path from keyframe to keyframe (k, latent_dim), k at least 2; with `loop` one more leg leads back."""

    keyframes: np.ndarray
    method: InterpolationMethod = "lerp"
    loop: bool = False

    @property
    def stops(self) -> np.ndarray:
        """The keyframe at each whole position: (legs + 1, latent_dim)."""
        return np.concatenate([self.keyframes, self.keyframes[:1]]) if self.loop else self.keyframes

    @property
    def legs(self) -> int:
        """Ways between two keyframes."""
        return len(self.stops) - 1

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Latents (n, latent_dim) float32 at positions (n,) from 0 to `legs`."""
        if self.method == "spline":
            return self._spline(positions)
        leg = np.clip(np.ceil(positions).astype(int) - 1, 0, self.legs - 1)
        found = np.empty((len(positions), self.keyframes.shape[1]), dtype=np.float32)
        for number in np.unique(leg):
            here = leg == number
            ends = self.stops[number], self.stops[number + 1]
            found[here] = METHODS[self.method](*ends, positions[here] - number)
        return found

    def _spline(self, positions: np.ndarray) -> np.ndarray:
        """A natural cubic spline through all keyframes, or a closed one."""
        from scipy.interpolate import CubicSpline

        if len(self.keyframes) == 2 and not self.loop:
            return lerp(self.keyframes[0], self.keyframes[1], positions).astype(np.float32)
        spline = CubicSpline(np.arange(self.legs + 1), self.stops, bc_type="periodic" if self.loop else "natural")
        return np.asarray(spline(positions), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Pace:
    """How pictures are spread over a walk."""

    steps: int  # pictures a leg, both ends included
    total: int | None = None  # pictures in all, instead
    even: bool = False  # the same change from picture to picture
    ease: bool = False  # slow at keyframes
    hold: int = 0  # times that a keyframe is shown again

    def positions(self, walk: Walk, decode: Decode) -> np.ndarray:
        """Position of each picture; the last of a loop stops short of the first. `decode` is needed to be even."""
        curves = _arc_lengths(walk, decode) if self.even else np.tile(np.linspace(0, 1, _PARTS + 1), (walk.legs, 1))
        stops = len(walk.keyframes)
        moving = (
            walk.legs * (self.steps - 1) if self.total is None else self.total - stops * self.hold - (not walk.loop)
        )
        found: list[np.ndarray] = []
        for leg, (curve, steps) in enumerate(zip(curves, _shared(moving, curves[:, -1]), strict=True)):
            done = np.arange(steps) / max(1, steps)
            done = done * done * (3 - 2 * done) if self.ease else done
            within = np.interp(done * curve[-1], curve, np.linspace(0, 1, _PARTS + 1)) if curve[-1] > 0 else done
            found += [np.full(self.hold, float(leg)), leg + within]
        if not walk.loop:
            found.append(np.full(self.hold + 1, float(walk.legs)))
        return np.concatenate(found)


def _arc_lengths(walk: Walk, decode: Decode) -> np.ndarray:
    """For each leg, the way from its start to each of its parts, in root mean square of images: (legs, parts + 1)."""
    rows = []
    for leg in range(walk.legs):
        images = decode(walk.at(leg + np.linspace(0, 1, _PARTS + 1)))
        change = np.diff(images.reshape(len(images), -1), axis=0)
        rows.append(np.concatenate([[0.0], np.cumsum(np.sqrt(np.square(change).mean(axis=1)))]))
    return np.stack(rows)


def _shared(count: int, lengths: np.ndarray) -> list[int]:
    """A whole number shared out in proportion to lengths, at least 1 each where that is possible.

    >>> _shared(10, np.array([3.0, 1.0, 0.0]))
    [7, 2, 1]
    """
    ends = np.cumsum(lengths) if lengths.sum() > 0 else np.arange(1, len(lengths) + 1, dtype=float)
    given = np.diff(np.rint(ends / ends[-1] * count), prepend=0).astype(int)
    while given.min() < 1 < given.max():
        given[np.argmin(given)] += 1
        given[np.argmax(given)] -= 1
    return [int(number) for number in given]


def mesh(anchors: np.ndarray, steps: int, method: InterpolationMethod) -> np.ndarray:
    """A grid between anchors (rows, columns, latent_dim): along the rows of anchors, then along every column.

    `steps` lie between two anchors, both included. White's MINE grid; with 2 x 2 anchors it is a grid of four corners.
    """
    across = np.stack([_line(row, steps, method) for row in anchors])
    return np.stack([_line(across[:, column], steps, method) for column in range(across.shape[1])], axis=1)


def _line(anchors: np.ndarray, steps: int, method: InterpolationMethod) -> np.ndarray:
    """All latents on the way through anchors (k, latent_dim), of which one may be alone."""
    if len(anchors) == 1:
        return anchors
    legs = len(anchors) - 1
    return Walk(anchors, method).at(np.linspace(0, legs, legs * (steps - 1) + 1))


def analogy(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Four corners (2, 2, latent_dim), of which the last is to c as b is to a. White's J-diagram.

    >>> analogy(np.array([0.0, 0.0]), np.array([1.0, 0.0]), np.array([0.0, 2.0]))[1, 1]
    array([1., 2.])
    """
    return np.stack([np.stack([a, b]), np.stack([c, b + c - a])])


def chain(stops: Sequence[np.ndarray], rows: int, columns: int) -> np.ndarray:
    """Anchors (rows, columns, latent_dim) that go on from a row and a column by analogy.

    The first `columns` stops are the top row, the others the rest of the left column. What an analogy gives is scaled
    to the mean length of the three latents it is made of.
    """
    anchors = np.empty((rows, columns, len(stops[0])), dtype=np.float32)
    anchors[0] = stops[:columns]
    anchors[1:, 0] = stops[columns:]
    for row, column in itertools.product(range(1, rows), range(1, columns)):
        known = anchors[row, column - 1], anchors[row - 1, column], anchors[row - 1, column - 1]
        found = known[0] + known[1] - known[2]
        length = float(np.mean([np.linalg.norm(one) for one in known]))
        anchors[row, column] = found * (length / max(float(np.linalg.norm(found)), 1e-12))
    return anchors
