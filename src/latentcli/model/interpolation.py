"""Interpolation: walks through keyframes, their pace, and grids between keyframes.

Methods are those of White 2016, "Sampling generative networks", section 2, and a cubic spline. A leg of a walk runs
from one keyframe to the next; position 1.5 on a walk is halfway along its second leg.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from latentcli.config import InterpolationMethod

Decode = Callable[[np.ndarray], np.ndarray]  # latents (n, latent_dim) to images (n, ...)
Line = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # ends a and b (d,), t (n,) to (n, d)

_PARALLEL = 1e-4  # sine of the angle below which two latents span no plane for slerp
_FARTHEST = 8.0  # standard deviations, beyond which the normal CDF cannot be inverted
_INTERVALS = 24  # parts of a leg, over each of which the change of the decoded images is measured


def lerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Points of the straight line from a (d,) to b (d,) at each t in [0, 1]: (len(t), d).

    >>> lerp(np.zeros(2), np.ones(2), np.array([0.0, 0.25]))
    array([[0.  , 0.  ],
           [0.25, 0.25]])
    """
    t = t[:, None]
    return np.asarray(np.where(t < 0.5, a + t * (b - a), b - (1 - t) * (b - a)))  # exact at both ends


def slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Spherical interpolation from a (d,) to b (d,) at each t in [0, 1]: (len(t), d).

    Parallel, opposite and zero vectors span no great circle and are interpolated linearly.
    """
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    angle = np.arccos(np.clip(a @ b / lengths, -1, 1)) if lengths else np.float32(0)
    sine = np.sin(angle)
    if sine < _PARALLEL:
        return lerp(a, b, t)
    t = t[:, None]
    return np.asarray((np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / sine)


def gaussian(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Interpolation from a (d,) to b (d,), linear in the normal CDF of each dimension, at each t: (len(t), d)."""
    from scipy.special import ndtr, ndtri

    near_a, near_b = (np.clip(end.astype(np.float64), -_FARTHEST, _FARTHEST) for end in (a, b))
    beyond = lerp(a - near_a, b - near_b, t)
    # Values of the CDF near 1 lose digits, values near 0 do not: positive latents are mirrored.
    sign = np.where(near_a + near_b > 0, -1.0, 1.0)
    quantiles = lerp(ndtr(sign * near_a), ndtr(sign * near_b), t)
    return np.asarray(sign * ndtri(quantiles) + beyond)


METHODS: dict[InterpolationMethod, Line] = {"lerp": lerp, "slerp": slerp, "gaussian": gaussian}


@dataclass(frozen=True)
class Walk:
    """Path through `keyframes` (k, latent_dim), k at least 2; `loop` adds a last leg back to the first keyframe."""

    keyframes: np.ndarray
    method: InterpolationMethod = "lerp"
    loop: bool = False

    @property
    def legs(self) -> int:
        """Number of legs, the stretches of the walk from one keyframe to the next."""
        return len(self.keyframes) - (not self.loop)

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Latents (n, latent_dim) float32 on the walk at `positions` (n,) from 0 to `legs`; i is keyframe i."""
        # The keyframe at each whole position: (legs + 1, latent_dim).
        stops = np.concatenate([self.keyframes, self.keyframes[:1]]) if self.loop else self.keyframes
        if self.method == "spline" and (self.loop or self.legs > 1):
            from scipy.interpolate import CubicSpline

            spline = CubicSpline(np.arange(len(stops)), stops, bc_type="periodic" if self.loop else "natural")
            return np.asarray(spline(positions), dtype=np.float32)
        line = METHODS.get(self.method, lerp)  # a spline through two keyframes is a line
        leg = np.clip(np.ceil(positions).astype(int) - 1, 0, self.legs - 1)
        latents = np.empty((len(positions), stops.shape[1]), dtype=np.float32)
        for number in np.unique(leg):
            on_leg = leg == number
            latents[on_leg] = line(stops[number], stops[number + 1], positions[on_leg] - number)
        return latents


@dataclass(frozen=True, slots=True)
class Pace:
    """Options for the number and spacing of pictures along a walk, a path in latent space through keyframes."""

    steps: int  # pictures per leg, both ends included
    total: int | None = None  # pictures of the whole walk; replaces `steps`
    even: bool = False  # space pictures so that the decoded images change equally from each to the next
    ease: bool = False  # slow down near keyframes
    hold: int = 0  # extra repetitions of each keyframe

    def positions(self, walk: Walk, decode: Decode) -> np.ndarray:
        """Positions (pictures,) along `walk`, where i is keyframe i; a loop does not end with its first picture."""
        grid = np.linspace(0, 1, _INTERVALS + 1)
        lengths = _arc_lengths(walk, grid, decode) if self.even else np.tile(grid, (walk.legs, 1))
        moving = walk.legs * (self.steps - 1)  # pictures besides the last one and repeated keyframes
        if self.total is not None:
            moving = self.total - len(walk.keyframes) * self.hold - (not walk.loop)
        positions: list[np.ndarray] = []
        for leg, (length, steps) in enumerate(zip(lengths, _shared(moving, lengths[:, -1]), strict=True)):
            share = np.arange(steps) / max(1, steps)
            share = share * share * (3 - 2 * share) if self.ease else share
            within = np.interp(share * length[-1], length, grid) if length[-1] > 0 else share
            positions += [np.full(self.hold, float(leg)), leg + within]
        if not walk.loop:
            positions.append(np.full(self.hold + 1, float(walk.legs)))
        return np.concatenate(positions)


def _arc_lengths(walk: Walk, grid: np.ndarray, decode: Decode) -> np.ndarray:
    """RMS change of decoded images, summed from the start of each leg to each position in `grid`: (legs, points)."""
    lengths = np.zeros((walk.legs, len(grid)))
    for leg in range(walk.legs):
        images = decode(walk.at(leg + grid))
        change = np.diff(images.reshape(len(images), -1), axis=0)
        lengths[leg, 1:] = np.cumsum(np.sqrt(np.square(change).mean(axis=1)))
    return lengths


def _shared(count: int, lengths: np.ndarray) -> list[int]:
    """Split `count` into whole numbers in proportion to `lengths`, each at least 1 if `count` allows.

    >>> _shared(10, np.array([3.0, 1.0, 0.0]))
    [7, 2, 1]
    """
    ends = np.cumsum(lengths) if lengths.sum() > 0 else np.arange(1, len(lengths) + 1, dtype=float)
    numbers = np.diff(np.rint(ends / ends[-1] * count), prepend=0).astype(int)
    while numbers.min() < 1 < numbers.max():
        numbers[np.argmin(numbers)] += 1
        numbers[np.argmax(numbers)] -= 1
    return [int(number) for number in numbers]


def mesh(anchors: np.ndarray, steps: int, method: InterpolationMethod) -> np.ndarray:
    """Grid of latents interpolated between `anchors` (rows, columns, latent_dim): White's MINE grid.

    Rows are interpolated first, then every column; from anchor to anchor there are `steps` latents, both included.
    """

    def line(stops: np.ndarray) -> np.ndarray:
        legs = len(stops) - 1
        return Walk(stops, method).at(np.linspace(0, legs, legs * (steps - 1) + 1)) if legs else stops

    rows = np.stack([line(row) for row in anchors])
    return np.stack([line(column) for column in rows.swapaxes(0, 1)], axis=1)


def analogy(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Corners [[a, b], [c, d]] of White's J-diagram, where d - c = b - a: (2, 2, latent_dim).

    >>> analogy(np.array([0.0, 0.0]), np.array([1.0, 0.0]), np.array([0.0, 2.0]))[1, 1]
    array([1., 2.])
    """
    return np.stack([np.stack([a, b]), np.stack([c, b + c - a])])


def chain(stops: Sequence[np.ndarray], rows: int, columns: int) -> np.ndarray:
    """Anchors (rows, columns, latent_dim) of a grid: `stops` are the top row, then the rest of the left column.

    Each remaining anchor is the analogy left + above - corner of three neighbours (left, above, and diagonally between
    both), scaled to the mean norm of the neighbours.
    """
    anchors = np.empty((rows, columns, len(stops[0])), dtype=np.float32)
    anchors[0] = stops[:columns]
    anchors[1:, 0] = stops[columns:]
    for row, column in itertools.product(range(1, rows), range(1, columns)):
        left, above, corner = anchors[row, column - 1], anchors[row - 1, column], anchors[row - 1, column - 1]
        anchor = left + above - corner
        norm = float(np.mean([np.linalg.norm(neighbour) for neighbour in (left, above, corner)]))
        anchors[row, column] = anchor * (norm / max(float(np.linalg.norm(anchor)), 1e-12))
    return anchors
