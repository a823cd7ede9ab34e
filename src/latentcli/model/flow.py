"""Prior by flow matching: a velocity field that carries N(0, I) to the encoded training images, computed with NumPy.

Lipman et al. 2023, "Flow matching for generative modeling", with straight paths (section 4.1, sigma_min 0), from
x0 ~ N(0, I) at time 0 to x1 at time 1. It runs in turned and scaled latents (`training/flow.py`). The field is that of
a Gaussian mixture, which is known, plus what a residual network adds to it: with an untrained network it draws from the
mixture. Samples go farther in the direction that the network adds than it says (Karras et al. 2024, "Guiding a
diffusion model with a bad version of itself", eq. 5, where the bad version is the mixture). Where the network knows
parts of the training images, each sample is to belong to those of one of them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial

import numpy as np

from latentcli.defaults import FLOW_GUIDANCE, FLOW_TEMPERATURE
from latentcli.model.noise import uniform_and_normal

FREQUENCIES = 32  # of the time's sines and cosines, from 1 to 1,000
_STEPS = 12  # of the midpoint rule, two evaluations each
_AT_ONCE = 256  # latents
_EPSILON = 1e-5  # of the layer norm
_OF_PARTS = 2.0  # factor on what wanted parts change: with 1, half of the faces wanted with glasses wear some

Field = Callable[[np.ndarray, float], np.ndarray]


def frequencies() -> np.ndarray:
    """Of the sines and cosines that the network sees the time as: (FREQUENCIES,) float32."""
    return np.exp(np.linspace(0, math.log(1000), FREQUENCIES)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class MixturePaths:
    """Straight paths from N(0, I) to a Gaussian mixture of c components over k dimensions."""

    weights: np.ndarray  # (c,), sums to 1
    means: np.ndarray  # (c, k)
    variances: np.ndarray  # (c, k), along the directions
    directions: np.ndarray  # (c, k, k), orthonormal columns

    def velocity(self, x: np.ndarray, t: float) -> np.ndarray:
        """Mean velocity (n, k) of the paths that pass x (n, k) at time t.

        On the way a component is N(t m, (1 - t)^2 I + t^2 C), in which both ends of a path have means that are linear
        in x; components count by how likely they make x.
        """
        log_likelihoods, velocities = [], []
        for weight, mean, variances, directions in zip(
            self.weights, self.means, self.variances, self.directions, strict=True
        ):
            along = (x - t * mean) @ directions
            between = (1 - t) ** 2 + t**2 * variances
            log_likelihoods.append(np.log(weight) - 0.5 * (np.square(along) / between + np.log(between)).sum(axis=1))
            velocities.append(mean + ((t * variances - (1 - t)) / between * along) @ directions.T)
        shares = np.exp(np.stack(log_likelihoods) - np.max(log_likelihoods, axis=0))  # (c, n)
        shares /= shares.sum(axis=0)
        return np.asarray((shares[:, :, None] * np.stack(velocities)).sum(axis=0))

    def fits(self, k: int) -> bool:
        """Whether the arrays have the shapes of such paths."""
        c = self.weights.size
        expected = [(c,), (c, k), (c, k), (c, k, k)]
        return c > 0 and [array.shape for array in self.arrays().values()] == expected

    def arrays(self) -> dict[str, np.ndarray]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class FlowPrior:
    """A density over latents, as the model file holds it."""

    mean: np.ndarray  # (latent_dim,)
    basis: np.ndarray  # (k, latent_dim): what one unit of each of the flow's dimensions adds to the mean
    paths: MixturePaths
    weights: Mapping[str, np.ndarray]  # of the network
    temperature: float = FLOW_TEMPERATURE
    guidance: float = FLOW_GUIDANCE  # factor on what the network adds to the velocity of the mixture; 1 is the density
    like: tuple[int, ...] = ()  # the parts of the training images to draw from, which are rows of the network's table
    # The parts that some training images belong to, as rows of that table; -1 where there are fewer: (m, most).
    combinations: np.ndarray | None = None

    def sample(self, seeds: Sequence[int], temperature: float) -> np.ndarray:
        """One latent per seed: (len(seeds), latent_dim) float32. The temperature scales the noise at the start."""
        uniform, normal = uniform_and_normal(seeds, len(self.mean))
        noise = np.float32(temperature) * normal
        return self._to_latents(noise, noise, 0.0, self._wanted(uniform))

    def vary(self, z: np.ndarray, seeds: Sequence[int], spread: float) -> np.ndarray:
        """One variation of the latent z (latent_dim,) per seed: (len(seeds), latent_dim).

        It is carried back by the spread, from 0, which changes nothing, to 1, which is a sample; noise takes its place
        there; and the flow carries it forth (Meng et al. 2022, "SDEdit", in latents).
        """
        noise = uniform_and_normal(seeds, len(self.mean))[1]
        x = (1 - np.float32(spread)) * (z - self.mean) @ self._to_flow
        start = np.zeros_like(noise)
        start[:, self.is_active] = x + np.float32(spread) * noise[:, self.is_active]
        kept = np.float32(math.sqrt(1 - spread**2)) * z + np.float32(spread) * noise
        return self._to_latents(start, kept, 1.0 - spread, self._listed())

    def noise_of(self, z: np.ndarray) -> np.ndarray:
        """The noise (n, k) that the density's own flow, unguided, carries to latents z (n, latent_dim)."""
        density = replace(self, guidance=1.0)
        x = ((z - self.mean) @ self._to_flow).astype(np.float32)
        return _in_parts(lambda some, _: integrate(density.velocity, some, start=1.0, end=0.0), x)

    @cached_property
    def is_active(self) -> np.ndarray:
        """Which latent dimensions it is a density over; the others are N(0, 1): (latent_dim,) bool."""
        return np.asarray(self.basis.any(axis=0))

    @cached_property
    def _to_flow(self) -> np.ndarray:
        """(latent_dim, k): the reverse of the basis."""
        return np.linalg.pinv(self.basis.astype(np.float64)).astype(np.float32)

    def _listed(self) -> np.ndarray | None:
        """The parts to draw from as 1 in a row, (1, values) float32; None where any will do."""
        if not self.like:
            return None
        wanted = np.zeros((1, self.values), dtype=np.float32)
        wanted[0, list(self.like)] = 1
        return wanted

    def _wanted(self, uniform: np.ndarray) -> np.ndarray | None:
        """The parts that each sample is to belong to, those of a training image that has the wanted ones: (n, values).

        `uniform` (n,) in [0, 1) chooses the image. Where there is none, only the wanted parts count.
        """
        if self.combinations is None:
            return self._listed()
        rows = self.combinations.astype(np.int64)
        rows = rows[np.isin(rows, self.like).sum(axis=1) == len(self.like)]
        if not len(rows):
            return self._listed()
        chosen = rows[(uniform * len(rows)).astype(np.int64)]
        wanted = np.zeros((len(chosen), self.values + 1), dtype=np.float32)  # the last column is for what is not known
        np.put_along_axis(wanted, np.where(chosen < 0, self.values, chosen), 1, axis=1)
        return wanted[:, :-1]

    def _to_latents(self, noise: np.ndarray, others: np.ndarray, start: float, wanted: np.ndarray | None) -> np.ndarray:
        """Latents of noise (n, latent_dim) carried from a time to 1, with other numbers where nothing is carried.

        `wanted` are the parts to draw from, (n, values), or (1, values) for all.
        """

        def carried(some: np.ndarray, rows: slice) -> np.ndarray:
            parts = wanted if wanted is None or len(wanted) == 1 else wanted[rows]
            return integrate(partial(self.velocity, wanted=parts), some, start=start)

        x = _in_parts(carried, noise[:, self.is_active])
        return np.where(self.is_active, self.mean + x @ self.basis, others)

    def velocity(self, x: np.ndarray, t: float, wanted: np.ndarray | None = None) -> np.ndarray:
        """dx/dt at x (n, k) and the time t in [0, 1], towards the parts in rows of `wanted`."""
        added = self._added(x, self._moment(t))
        if wanted is not None:  # Ho & Salimans 2022, "Classifier-free diffusion guidance", eq. 6
            added = added + np.float32(_OF_PARTS) * (self._added(x, self._moment(t, wanted)) - added)
        return np.asarray(self.paths.velocity(x, t) + np.float32(self.guidance) * added)

    def _added(self, x: np.ndarray, moment: np.ndarray) -> np.ndarray:
        """What the network adds to the velocity of the mixture."""
        h = _linear(x, self.weights, "first")
        for block in range(self._blocks):
            scale, shift, gate = np.split(_linear(moment, self.weights, f"blocks.{block}.moment"), 3, axis=1)
            inner = _normed(h) * (1 + scale) + shift
            inner = _linear(
                _silu(_linear(inner, self.weights, f"blocks.{block}.up")), self.weights, f"blocks.{block}.down"
            )
            h = h + gate * inner
        return _linear(_normed(h), self.weights, "last")

    def _moment(self, t: float, wanted: np.ndarray | None = None) -> np.ndarray:
        """The time, and the parts in rows of `wanted`, as the blocks see them: a row, or as many as of parts."""
        angles = np.float32(t) * frequencies()
        seen = np.concatenate([np.sin(angles), np.cos(angles)])[None]
        moment = _linear(_silu(_linear(seen, self.weights, "time.0")), self.weights, "time.1")
        return _silu(moment if wanted is None else moment + wanted @ self.weights["parts.weight"])

    @property
    def values(self) -> int:
        """Of the parts of the training images that it knows."""
        return len(self.weights["parts.weight"]) if "parts.weight" in self.weights else 0

    @cached_property
    def _blocks(self) -> int:
        return sum(name.endswith(".up.weight") for name in self.weights)

    @property
    def fits(self) -> bool:
        """Whether the arrays have the shapes of such a prior."""
        k, latent_dim = self.basis.shape if self.basis.ndim == 2 else (0, 0)
        if self.mean.shape != (latent_dim,) or int(self.is_active.sum()) != k or not k or not self.paths.fits(k):
            return False
        x, wanted = np.zeros((1, k), dtype=np.float32), np.zeros((1, self.values), dtype=np.float32)
        try:
            is_right = self.velocity(x, 0.0, wanted if self.values else None).shape == (1, k)
        except (KeyError, ValueError, IndexError):
            return False
        return is_right and self._are_combinations()

    def _are_combinations(self) -> bool:
        """Whether they are rows of the network's table, where there are any."""
        rows = self.combinations
        if rows is None:
            return True
        return bool(rows.ndim == 2 and len(rows) and rows.min() >= -1 and rows.max() < self.values)

    def arrays(self) -> dict[str, np.ndarray]:
        """As the model file holds it."""
        parts = {"paths": self.paths.arrays(), "flow": self.weights}
        named = {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
        more = {} if self.combinations is None else {"combinations": self.combinations}
        return {"mean": self.mean, "basis": self.basis, **named, **more}


def integrate(velocity: Field, x: np.ndarray, start: float = 0.0, end: float = 1.0, steps: int = _STEPS) -> np.ndarray:
    """x (n, k) at the time `end`, from that at the time `start`, by the midpoint rule."""
    length = (end - start) / steps
    for step in range(steps):
        t = start + step * length
        half = x + np.float32(length / 2) * velocity(x, t)
        x = x + np.float32(length) * velocity(half, t + length / 2)
    return x


def _in_parts(function: Callable[[np.ndarray, slice], np.ndarray], x: np.ndarray) -> np.ndarray:
    """What a function makes of the rows of x, some at a time, and of which those are."""
    some = [slice(start, start + _AT_ONCE) for start in range(0, max(1, len(x)), _AT_ONCE)]
    return np.concatenate([function(x[rows], rows) for rows in some])


def _linear(x: np.ndarray, weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return np.asarray(x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])


def _silu(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # the exponential of a large number is infinite, and the quotient 0
        return np.asarray(x / (1 + np.exp(-x)))


def _normed(h: np.ndarray) -> np.ndarray:
    centred = h - h.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + np.float32(_EPSILON)))
