"""Edit requests (concept vectors with strengths, crop boxes, merge mode), and moving latents as an edit requests."""

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
_OUTERMOST = 1  # projections below this percentile of the measured images, or above the 99th, decode to artefacts
_FRAMES = 13  # pictures of an animation from the photo to the edited photo
_MOST_STEPS = 100  # strengths in a row of a strip or grid
_MOST_VERSIONS = 2500  # versions of an image on a sheet
_MOST_VECTORS, _MOST_BOXES = 100, 1000  # limits of one edit
_LONGEST_TEXT = 1 << 20  # characters of the edit record in a photo's file
_MOST_FPS = 1000.0  # frames per second
_KEY = "latentcli"  # key of the edit record that holds the program's version

Row = tuple[float, float, int]  # evenly spaced strengths: first, last, count


@dataclass(frozen=True, slots=True)
class Strength:
    """A concept vector and how far an edit moves latents along it, by exactly one of `strength`, `sigma` and `to`."""

    name: str  # name of a saved vector, or path of its file
    digest: str = ""  # hash of its direction; "" until the vector is loaded
    strength: float | None = None  # in class gaps: 1 is the distance between the class means
    sigma: float | None = None  # in within-class standard deviations
    to: str | None = None  # target: `p90`, a percentile of the measured images, or a class mean, `positive`/`negative`

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
        """Name and strength as a request, by which the catalog finds the vector's file."""
        return VectorRequest(self.name, self.strength)

    def tag(self) -> str:
        """Tag for file names that tells how far the edit goes: `+1.5`, `+2sd`, `-p90`, or "" for `to="positive"`."""
        if self.to is not None:
            return "" if self.to == POSITIVE else f"-{self.to}"
        return f"{self.strength:+g}" if self.strength is not None else f"{self.sigma:+g}sd"

    def gaps(self, vector: ConceptVector, z: np.ndarray) -> np.ndarray:
        """Strengths (n,) at which to move each latent of `z` (n, latent_dim) along `vector`; 1 spans the class means.

        Latents already beyond the target `to` get 0. Raises ConfigError for `sigma` if the vector has no deviation.
        """
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
    """A `Strength` for each vector: its own, else the shared `strength`, `sigma` or `to`, by default `to="positive"`.

    Raises UsageError if two of the three are given, or one although every vector has its own strength.
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
    """First strength, last strength and count from the text `FROM:TO:COUNT`. Raises UsageError, naming `option`.

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
    """Settings of one edit, stored as JSON in the edited photo's metadata, from which `rerun` repeats the edit.

    Model, digests and original are filled in when the edit is made; names have no folders, as photos may be moved.
    """

    model: str = ""
    model_id: str = ""
    vectors: tuple[Strength, ...] = ()
    boxes: tuple[Box, ...] = ()  # parts of the photo to edit; if empty, faces or the centre are found
    original: str = ""  # name of the photo's file
    original_sha256: str = ""
    face: int = 1  # which face to edit, counted from the largest; for models of faces
    every_face: bool = False
    align: bool = True  # find the face; False takes the centre of the photo
    given: bool = False  # whether `boxes` were given by the user, not found
    rows: tuple[Row, ...] = ()  # strengths of the first vectors: one row makes a strip of each image, two make a sheet
    fps: float | None = None  # of an animation of the strip's pictures, or, without rows, from the photo to its edit
    merge: Merge = "residual"  # add the decodings' difference; "ratio" multiplies, "decode" pastes the decoding
    detail: float = DETAIL  # share of the photo's own detail that stays where the edit redraws: 0 none, 1 all
    refine: bool = False  # optimise the latent of each image before the edit
    compare: bool = False  # output the photo, its reconstruction and the edit side by side
    stay_typical: bool = False  # limit the latents to the region of 99.5 % of the model's samples
    earlier: dict[str, Any] | None = None  # edit record of the photo, if it was itself edited

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
        """Number of columns of the strip or sheet that shows one image edited at several strengths, else 1."""
        return self.rows[-1][2] if self.rows else 1

    @property
    def count(self) -> int:
        """Number of versions of each image: cells of the strip or sheet, frames of an animation, else 1."""
        return math.prod(row[2] for row in self.rows) if self.rows or self.fps is None else _FRAMES

    def varied(self) -> list[list[Strength]]:
        """For each range in `rows`, its evenly spaced strengths, each with the name of the vector of that range."""
        return [
            [Strength(vector.name, strength=strength) for strength in np.linspace(*row).tolist()]
            for vector, row in zip(self.vectors, self.rows, strict=False)
        ]

    def tag(self) -> str:
        """Tag for the edited file's name, with vectors and strengths, like `-smile+1.5`."""
        tags = [f"{first:+g}..{last:g}x{count}" for first, last, count in self.rows]
        tags += [vector.tag() for vector in self.vectors[len(tags) :]]
        moves = "".join(f"-{vector.label}{tag}" for vector, tag in zip(self.vectors, tags, strict=True))
        return moves + "-typical" * self.stay_typical + "-compared" * self.compare

    def versions(self, vectors: Sequence[ConceptVector], typical: Geometry | None, z: np.ndarray) -> np.ndarray:
        """Edited copies of latents `z`, one per cell of a strip or sheet, or per frame: (versions, n, latent_dim)."""
        if self.fps is not None and not self.rows:
            shares = np.linspace(0, 1, _FRAMES, dtype=np.float32)[:, None, None]
            return np.asarray(z + shares * (move(z, vectors, self.vectors, typical) - z))
        constant = self.vectors[len(self.rows) :]
        return np.stack([move(z, vectors, [*varied, *constant], typical) for varied in product(*self.varied())])

    def made_with(self, model: str, model_id: str, vectors: Sequence[ConceptVector]) -> Self:
        """A copy of the request with the model's name and id and the names and digests of `vectors` filled in."""
        named = tuple(
            replace(strength, name=vector.name, digest=direction_digest(vector.direction))
            for strength, vector in zip(self.vectors, vectors, strict=True)
        )
        return replace(self, model=model, model_id=model_id, vectors=named)

    def to_json(self) -> dict[str, Any]:
        """The request as a dictionary of JSON types."""
        return asdict(self) | {
            "vectors": [
                {key: value for key, value in asdict(vector).items() if value is not None} for vector in self.vectors
            ],
            "boxes": [box.text() for box in self.boxes],
            "rows": [f"{first:.15g}:{last:.15g}:{count}" for first, last, count in self.rows],
        }

    def text(self) -> str:
        """The edit record for a photo's metadata: the request and the program's version, as one line of ASCII JSON."""
        return json.dumps({_KEY: __version__, "edited": True} | self.to_json())

    @classmethod
    def parse(cls, text: str) -> Self:
        """The request in an edit record, as the method `text` writes it. Raises ValueError if it is not valid."""
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
    """First twelve hex digits of the SHA-256 of a direction in float32."""
    return hashlib.sha256(direction.astype(np.float32).tobytes()).hexdigest()[:12]


def move(
    z: np.ndarray, vectors: Sequence[ConceptVector], amounts: Sequence[Strength], typical: Geometry | None = None
) -> np.ndarray:
    """Latents `z` (n, latent_dim) moved along each vector by its amount; with `typical`, kept in its 99.5 % region."""
    moved, _ = _moved(z, vectors, amounts)
    return moved if typical is None else typical.stay_typical(z, moved)


def _moved(
    z: np.ndarray, vectors: Sequence[ConceptVector], amounts: Sequence[Strength]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Latents `z` (n, latent_dim) moved along each vector in turn; and, for each vector, the strengths (n,) used."""
    strengths = []
    for vector, amount in zip(vectors, amounts, strict=True):
        strengths.append(amount.gaps(vector, z))
        z = z + strengths[-1][:, None] * vector.direction
    return z, strengths


def describe(
    z: np.ndarray, vectors: Sequence[ConceptVector], amounts: Sequence[Strength], typical: Geometry | None = None
) -> list[str]:
    """Lines of text on how far `z` moves along each vector on average: class gaps, standard deviations, percentiles."""
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
            "measured on"
        )
        low, high = vector.percentiles[_OUTERMOST], vector.percentiles[-1 - _OUTERMOST]
        if (strength > 0 and after.mean() > high) or (strength < 0 and after.mean() < low):
            enough = float(Strength(vector.name, to=POSITIVE).gaps(vector, z).mean())
            other = f"; {enough:+.2f} goes as far as images that show it" if vector.positives and strength > 0 else ""
            lines.append(f"{vector.name}: {sigma:+.1f} sd is more than such images have: expect artefacts{other}")
    return lines
