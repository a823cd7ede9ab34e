"""Edit requests: concept vectors with strengths, the boxes to edit and how to merge; and the moves of latents."""

import hashlib
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np

from latentcli import __version__, typed
from latentcli.concepts.vector import ConceptVector
from latentcli.config import Merge
from latentcli.defaults import DETAIL, MOST_STRENGTH
from latentcli.errors import ConfigError, LatentCLIError, UsageError
from latentcli.imaging.box import Box
from latentcli.model.prior import Geometry
from latentcli.storage.catalog import VectorRequest
from latentcli.storage.names import VECTOR_SUFFIX

POSITIVE = "positive"  # the target of a vector without a strength: the mean of the images that show the concept
_TARGETS = re.compile(r"p(\d{1,2}|100)|positive|negative")
_OUTERMOST = 1  # percentile of the images a vector was fitted on; beyond it, and beyond 100 less it, are artefacts
_FRAMES = 13  # of an animation, from the photo to the edited photo
_MOST_STEPS = 100  # of a row
_MOST_VERSIONS = 2500  # of an image on a sheet
_MOST_VECTORS, _MOST_BOXES = 100, 1000  # of an edit
_LONGEST_TEXT = 1 << 20  # characters of an edit in a file
_MOST_FPS = 1000.0
_KEY = "latentcli"  # holds the version

Row = tuple[float, float, int]  # strengths: from, to, count


@dataclass(frozen=True, slots=True)
class Strength:
    """A vector of an edit, and how far to go along it: one of strength, sigma and to."""

    name: str  # of a saved vector, or its file
    digest: str = ""  # of its direction, once it is loaded
    strength: float | None = None  # class gaps
    sigma: float | None = None  # within-class standard deviations
    to: str | None = None  # `p90`, a percentile of the labelled latents, or the mean of the `positive` or `negative`

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.strength, self.sigma, self.to)) != 1:
            raise UsageError("give one of `strength`, `sigma` and `to`")
        if not abs(self.strength or self.sigma or 0.0) <= MOST_STRENGTH:
            raise UsageError(f"strengths go up to {MOST_STRENGTH:g}, got {self.strength or self.sigma:g}")
        if self.to is not None and not _TARGETS.fullmatch(self.to):
            raise UsageError(f"`to` takes p0 to p100, positive or negative, got {self.to!r}")

    @property
    def label(self) -> str:
        """The vector's name without folder and suffix, for captions and names of files."""
        return Path(self.name).name.removesuffix(VECTOR_SUFFIX)

    @property
    def wanted(self) -> VectorRequest:
        """The vector to look for in the catalog."""
        return VectorRequest(self.name, self.strength)

    def tag(self) -> str:
        """The strength in a file's name: `+1.5`, `+2sd`, `-p90`, and "" for the default, `positive`."""
        if self.to is not None:
            return "" if self.to == POSITIVE else f"-{self.to}"
        return f"{self.strength:+g}" if self.strength is not None else f"{self.sigma:+g}sd"

    def gaps(self, vector: ConceptVector, z: np.ndarray) -> np.ndarray:
        """Strength for each latent (n, latent_dim), in class gaps: (n,)."""
        if self.strength is not None:
            return np.full(len(z), self.strength, dtype=np.float32)
        length = float(np.linalg.norm(vector.direction))
        if self.sigma is not None:
            if not vector.sigma > 0:
                raise ConfigError(
                    f"{vector.name} has no within-class standard deviation (too few images); give `strength`"
                )
            return np.full(len(z), self.sigma * vector.sigma / length, dtype=np.float32)
        assert self.to is not None
        if self.to == POSITIVE and not vector.positives:  # nothing was labelled: there are no such images
            return np.ones(len(z), dtype=np.float32)
        distance = np.asarray((vector.projection_of(self.to) - vector.score(z)) / length)
        upwards = self.to == POSITIVE or (self.to != "negative" and int(self.to[1:]) >= 50)
        return np.maximum(distance, 0) if upwards else np.minimum(distance, 0)  # latents beyond the target stay


def strengths(
    vectors: Sequence[VectorRequest], strength: float | None = None, sigma: float | None = None, to: str | None = None
) -> tuple[Strength, ...]:
    """Each vector with its own strength, else with the shared one, by default the target `positive`.

    Raises UsageError for two shared measures, or for one when every vector has its own.
    """
    if (strength, sigma, to) == (None, None, None):
        to = POSITIVE
    elif all(vector.strength is not None for vector in vectors):
        raise UsageError("every vector has a strength of its own after =; leave out `strength`, `sigma` and `to`")
    shared = Strength("", strength=strength, sigma=sigma, to=to)
    return tuple(
        replace(shared, name=vector.reference)
        if vector.strength is None
        else Strength(vector.reference, strength=vector.strength)
        for vector in vectors
    )


def parse_row(text: str, option: str) -> Row:
    """A row of strengths. Raises UsageError.

    >>> parse_row("-1:2:7", "`strip`")
    (-1.0, 2.0, 7)
    """
    try:
        first, last, count = text.split(":")
        row = float(first), float(last), int(count)
    except ValueError:
        row = math.nan, 0.0, 0
    if not (abs(row[0]) <= MOST_STRENGTH and abs(row[1]) <= MOST_STRENGTH and 2 <= row[2] <= _MOST_STEPS):
        limits = f"strengths up to {MOST_STRENGTH:g}, a count of 2 to {_MOST_STEPS}"
        raise UsageError(f"{option} takes FROM:TO:COUNT, like -1:2:7 ({limits}), got {text!r}")
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRequest:
    """One edit: what is asked for, what the edited photo's metadata says, and what `rerun` reads.

    Model, digests and original are set once the edit is made. Names only, no folders: the file may be passed on.
    """

    model: str = ""
    model_id: str = ""
    vectors: tuple[Strength, ...] = ()
    boxes: tuple[Box, ...] = ()  # to edit; without them they are found
    original: str = ""  # name of the photo's file
    original_sha256: str = ""
    face: int = 1  # of a model of faces: which, from the largest
    every_face: bool = False
    align: bool = True  # find the face, or take the centre
    given: bool = False  # the boxes were given, not found
    rows: tuple[Row, ...] = ()  # of the first vectors: one makes a strip of each image, two a sheet
    fps: float | None = None  # of an animation: the strip one picture after the other, else the photo to its edit
    merge: Merge = "residual"  # add the difference; "ratio" multiplies by it, "decode" puts the decoding in
    detail: float = DETAIL  # of the photo's own, where it is redrawn: 0 none, 1 all of it, ghosts included
    refine: bool = False
    compare: bool = False  # before, reconstruction and after, instead of the edited photo
    stay_typical: bool = False
    earlier: dict[str, Any] | None = None  # the edit that the photo came from

    def __post_init__(self) -> None:
        if len(self.rows) > len(self.vectors):
            raise UsageError("more `strip` or `grid` ranges than vectors")
        if math.prod(row[2] for row in self.rows) > _MOST_VERSIONS:
            raise UsageError(f"a sheet takes up to {_MOST_VERSIONS:,} versions of an image; give smaller COUNTs")
        if len(self.vectors) > _MOST_VECTORS:
            raise UsageError(f"an edit takes up to {_MOST_VECTORS} vectors, got {len(self.vectors)}")
        if self.merge not in get_args(Merge):
            raise ConfigError(f"`merge` takes {', '.join(get_args(Merge))}, got {self.merge!r}")
        if not 0 <= self.detail <= 1:
            raise ConfigError(f"`detail` takes 0 to 1, got {self.detail:g}")
        if self.face < 1:
            raise ConfigError(f"`face` takes 1 or more, got {self.face}")
        if self.fps is not None and not 0 < self.fps <= _MOST_FPS:
            raise ConfigError(f"`fps` takes more than 0 to {_MOST_FPS:g}, got {self.fps:g}")

    @property
    def columns(self) -> int:
        """Columns of the sheet of an image's versions."""
        return self.rows[-1][2] if self.rows else 1

    @property
    def count(self) -> int:
        """Number of versions of an image."""
        return math.prod(row[2] for row in self.rows) if self.rows or self.fps is None else _FRAMES

    def varied(self) -> list[list[Strength]]:
        """The strengths of each row, those of the first vectors."""
        return [
            [Strength(vector.name, strength=strength) for strength in np.linspace(*row).tolist()]
            for vector, row in zip(self.vectors, self.rows, strict=False)
        ]

    def tag(self) -> str:
        """The vectors and their strengths in the name of the edited file."""
        tags = [f"{first:+g}..{last:g}x{count}" for first, last, count in self.rows]
        tags += [vector.tag() for vector in self.vectors[len(tags) :]]
        moves = "".join(f"-{vector.label}{tag}" for vector, tag in zip(self.vectors, tags, strict=True))
        return moves + "-typical" * self.stay_typical + "-compared" * self.compare

    def versions(self, vectors: Sequence[ConceptVector], typical: Geometry | None, z: np.ndarray) -> np.ndarray:
        """Latents (n, latent_dim) moved, once or for each strength of the strip or sheet: (versions, n, latent_dim)."""
        if self.fps is not None and not self.rows:
            shares = np.linspace(0, 1, _FRAMES, dtype=np.float32)[:, None, None]
            return np.asarray(z + shares * (move(z, vectors, self.vectors, typical) - z))
        constant = self.vectors[len(self.rows) :]
        return np.stack([move(z, vectors, [*varied, *constant], typical) for varied in product(*self.varied())])

    def made_with(self, model: str, model_id: str, vectors: Sequence[ConceptVector]) -> Self:
        """This request with the model's name and id and the vectors' names and digests."""
        named = tuple(
            replace(strength, name=vector.name, digest=direction_digest(vector.direction))
            for strength, vector in zip(self.vectors, vectors, strict=True)
        )
        return replace(self, model=model, model_id=model_id, vectors=named)

    def to_json(self) -> dict[str, Any]:
        """The edit in the types of JSON."""
        return asdict(self) | {
            "vectors": [
                {key: value for key, value in asdict(vector).items() if value is not None} for vector in self.vectors
            ],
            "boxes": [box.text() for box in self.boxes],
            "rows": [f"{first:.15g}:{last:.15g}:{count}" for first, last, count in self.rows],
        }

    def text(self) -> str:
        """One line of ASCII JSON, for the edited photo's metadata."""
        return json.dumps({_KEY: __version__, "edited": True} | self.to_json())

    @classmethod
    def parse(cls, text: str) -> Self:
        """The request that `text` wrote. Raises ValueError for anything else: the file may come from anybody."""
        if len(text) > _LONGEST_TEXT:
            raise ValueError(f"its edit takes more than {_LONGEST_TEXT:,} characters")
        try:
            edit = json.loads(text)
            if not edit[_KEY]:
                raise ValueError("no edit by latentcli")
            if len(edit["vectors"]) > _MOST_VECTORS or len(edit["boxes"]) > _MOST_BOXES:
                raise ValueError(f"more than {_MOST_VECTORS} vectors or {_MOST_BOXES:,} boxes")
            boxes = tuple(Box.parse(box) for box in edit["boxes"])
            rows = tuple(parse_row(row, "its strip") for row in edit.get("rows", ()))
            request = replace(typed.read(cls, edit | {"boxes": [], "rows": []}), boxes=boxes, rows=rows)
            if not (request.vectors and request.model_id and request.original_sha256):
                raise ValueError("no vectors, model or original")
            for name in (request.model, request.original, *(vector.name for vector in request.vectors)):
                if b"\0" in os.fsencode(name):
                    raise ValueError("a name with a zero in it")
        except (LatentCLIError, TypeError, AttributeError, LookupError, OverflowError, RecursionError) as error:
            raise ValueError(str(error)) from error
        return request


def direction_digest(direction: np.ndarray) -> str:
    """Twelve hex digits, the same for the same direction."""
    return hashlib.sha256(direction.astype(np.float32).tobytes()).hexdigest()[:12]


def move(
    z: np.ndarray, vectors: Sequence[ConceptVector], amounts: Sequence[Strength], typical: Geometry | None = None
) -> np.ndarray:
    """Latents (n, latent_dim) moved along one vector after the other; with `typical`, only as far as they stay so."""
    moved, _ = _moved(z, vectors, amounts)
    return moved if typical is None else typical.stay_typical(z, moved)


def _moved(
    z: np.ndarray, vectors: Sequence[ConceptVector], amounts: Sequence[Strength]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Latents (n, latent_dim) moved along one vector after the other, and for each vector their strengths (n,)."""
    strengths = []
    for vector, amount in zip(vectors, amounts, strict=True):
        strengths.append(amount.gaps(vector, z))
        z = z + strengths[-1][:, None] * vector.direction
    return z, strengths


def describe(
    z: np.ndarray, vectors: Sequence[ConceptVector], amounts: Sequence[Strength], typical: Geometry | None = None
) -> list[str]:
    """Lines on how far latents are moved along each vector, in each unit; means where there are several latents."""
    unlimited, strengths = _moved(z, vectors, amounts)
    moved = unlimited if typical is None else typical.stay_typical(z, unlimited)
    share = np.linalg.norm(moved - z, axis=1) / np.maximum(np.linalg.norm(unlimited - z, axis=1), 1e-12)
    lines = []
    for vector, amount, gaps in zip(vectors, amounts, strengths, strict=True):
        strength = float((gaps * share).mean())
        if strength == 0 and amount.to is not None:
            lines.append(f"{vector.name}: already there, so nothing is changed; give a strength to go on")
            continue
        sigma = strength * float(np.linalg.norm(vector.direction)) / max(vector.sigma, 1e-12)
        before, after = vector.score(z), vector.score(moved)
        lines.append(
            f"{vector.name}: {'on average ' if len(z) > 1 else ''}strength {strength:+.2f} = {sigma:+.2f} sd, from "
            f"p{vector.percentile(before).mean():.0f} to p{vector.percentile(after).mean():.0f} of the images it was "
            "fitted on"
        )
        low, high = vector.percentiles[_OUTERMOST], vector.percentiles[-1 - _OUTERMOST]
        if (strength > 0 and after.mean() > high) or (strength < 0 and after.mean() < low):
            enough = float(Strength(vector.name, to=POSITIVE).gaps(vector, z).mean())
            other = f"; {enough:+.2f} goes as far as images that show it" if vector.positives and strength > 0 else ""
            lines.append(f"{vector.name}: {sigma:+.1f} sd is more than such images have: expect artefacts{other}")
    return lines
