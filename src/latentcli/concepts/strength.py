"""How far to push latents along concept vectors: relative, in standard deviations, or to an absolute place."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentcli.concepts.vector import ConceptVector
from latentcli.config import MOST_STRENGTH
from latentcli.errors import ConfigError, UsageError
from latentcli.model.prior import Geometry

_PLACES = re.compile(r"p(\d{1,2}|100)|positive|negative")


@dataclass(frozen=True, slots=True)
class Amount:
    """How far; one of the three."""

    strength: float | None = 1.0  # class gaps
    sigma: float | None = None  # within-class standard deviations
    to: str | None = None  # `p90`, a percentile of the labelled latents, or the mean of the `positive` or `negative`

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.strength, self.sigma, self.to)) != 1:
            raise UsageError("give one of --strength, --sigma and --to")
        far = next((value for value in (self.strength, self.sigma) if value is not None), 0.0)
        if not abs(far) <= MOST_STRENGTH:
            raise UsageError(f"strengths go up to {MOST_STRENGTH:g}, got {far:g}")
        if self.to is not None and not _PLACES.fullmatch(self.to):
            raise UsageError(f"--to takes p0 to p100, positive or negative, got {self.to!r}")

    def tag(self) -> str:
        """As it stands in a file's name: `+1.5`, `+2sd`, `-p90`."""
        if self.to is not None:
            return f"-{self.to}"
        return f"{self.strength:+g}" if self.strength is not None else f"{self.sigma:+g}sd"

    def strengths(self, vector: ConceptVector, z: Tensor) -> Tensor:
        """For each latent (n, latent_dim) in class gaps: (n,)."""
        if self.strength is not None:
            return torch.full((len(z),), self.strength)
        length = float(vector.direction.norm())
        if self.sigma is not None:
            if not vector.sigma > 0:
                raise ConfigError(f"{vector.name} knows no deviation (too few images); give --strength")
            return torch.full((len(z),), self.sigma * vector.sigma / length)
        assert self.to is not None
        way = (vector.projection_of(self.to) - vector.score(z)) / length
        upwards = self.to == "positive" or (self.to != "negative" and int(self.to[1:]) >= 50)
        return way.clamp(min=0) if upwards else way.clamp(max=0)  # who is beyond it already stays


Move = tuple[ConceptVector, Amount]


def move(z: Tensor, moves: Sequence[Move], typical: Geometry | None = None) -> Tensor:
    """Latents (n, latent_dim) moved along the vectors one after the other; with `typical`, no farther than that."""
    moved = z
    for vector, strengths in _steps(z, moves):
        moved = moved + strengths[:, None] * vector.direction
    return moved if typical is None else typical.stay_typical(z, moved)


def _steps(z: Tensor, moves: Sequence[Move]) -> Iterator[tuple[ConceptVector, Tensor]]:
    """Each vector with the strength of each latent, (n,), once those before it have been added."""
    for vector, amount in moves:
        strengths = amount.strengths(vector, z)
        yield vector, strengths
        z = z + strengths[:, None] * vector.direction


def describe(z: Tensor, moves: Sequence[Move], typical: Geometry | None = None) -> list[str]:
    """How far latents are moved along each vector, in each unit; means where there are several."""
    moved = move(z, moves, typical)
    unlimited = (move(z, moves) - z).norm(dim=1).clamp_min(1e-12)
    share = (moved - z).norm(dim=1) / unlimited  # of the way, where it would lead too far out
    lines = []
    for vector, strengths in _steps(z, moves):
        strength = float((strengths * share).mean())
        sigma = strength * float(vector.direction.norm()) / max(vector.sigma, 1e-12)
        from_, to = (vector.percentile(vector.score(latents)).mean() for latents in (z, moved))
        lines.append(
            f"{vector.name}: {'on average ' if len(z) > 1 else ''}strength {strength:+.2f} = {sigma:+.2f} sd, "
            f"from p{float(from_):.0f} to p{float(to):.0f} of the images it was fitted on"
        )
    return lines
