"""Unsupervised directions: principal components of the latents, and of what the decoder makes of them."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from latentcli.concepts import axes
from latentcli.concepts.axes import Axis
from latentcli.concepts.diagnostics import Diagnostics, Shift
from latentcli.concepts.vector import DISCOVERY, ConceptVector, Discovered, unlabelled
from latentcli.config import Discovery
from latentcli.defaults import TRAVERSAL_ROWS
from latentcli.errors import UsageError
from latentcli.events import Event, Progress, Wrote
from latentcli.figures.sheet import Look
from latentcli.imaging.images import check_writable
from latentcli.model.modelfile import LoadedModel, open_model
from latentcli.pipelines.inputs import start
from latentcli.pipelines.outputs import draw_rows
from latentcli.pipelines.vectors import check_new, noted_vectors
from latentcli.storage import catalog
from latentcli.storage.files import output_file

_NAMES: dict[Discovery, str] = {"latents": "pc", "pictures": "jac"}  # of vectors, before their number
_AROUND = 16  # samples at which the decoder's Jacobian is measured
_MOVED = 24  # samples that effects are measured on
_STEP = 0.1  # of a standard deviation: a difference for a derivative
_MOST = 100


@dataclass(frozen=True, slots=True)
class DiscoverRequest:
    """How many directions, and what they are found by."""

    n: int = TRAVERSAL_ROWS
    by: Discovery = "latents"
    look: Look = field(default_factory=lambda: Look(labels=True))

    def __post_init__(self) -> None:
        if not 1 <= self.n <= _MOST:
            raise UsageError(f"`n` takes 1 to {_MOST}, got {self.n}")


def discover(
    entry: catalog.ModelEntry, request: DiscoverRequest, output: Path | None, force: bool
) -> Iterator[Event | ConceptVector]:
    """Keep the leading directions as vectors, yield them, and draw a row of images for each.

    Raises OutputExists when the model has vectors of these names.
    """
    model = open_model(entry)
    count = min(request.n, model.config.latent_dim)
    targets = [check_new(entry, f"{_NAMES[request.by]}{rank}", force) for rank in range(1, count + 1)]
    sheet = check_writable(output_file(output, Path(f"{entry.name}-{_NAMES[request.by]}.png"), force))
    return _discover(entry, model, request, targets, sheet)


def _discover(
    entry: catalog.ModelEntry, model: LoadedModel, request: DiscoverRequest, targets: list[Path], sheet: Path
) -> Iterator[Event | ConceptVector]:
    if request.by == "latents":
        found = axes.components(model.geometry, len(targets))
    else:
        found = yield from directions_of_pictures(model, len(targets))
    saved = yield from noted_vectors(entry, model)
    known = [vector for vector in saved if vector.positives]
    samples = _Samples.of(model)
    vectors = []
    for rank, axis in enumerate(found, start=1):
        vectors.append(_measured(model, known, samples, axis, request.by, rank))
        yield Progress("measuring", rank, len(found))
    for vector, target in zip(vectors, targets, strict=True):
        vector.save(target)
        yield Wrote(target)
        yield vector
    rows = [Axis(vector.name, vector.direction, _note(vector)) for vector in vectors]
    yield from draw_rows(model, [*rows, axes.at_random(model.geometry)], start(model, None), request.look, sheet)


def _note(vector: ConceptVector) -> str:
    found = vector.discovered
    if found is None:
        return ""
    return f"{100 * found.variance:.1f} %" if found.by == "latents" else f"{255 * found.change:.0f} levels"


def directions_of_pictures(model: LoadedModel, count: int) -> Generator[Event, None, list[Axis]]:
    """Directions that change decoded images most for a step of one standard deviation, the largest first.

    They are eigenvectors of the mean of J'J over samples, J being the decoder's Jacobian in whitened latents. Wang and
    Ponce 2021, "The geometry of deep generative image models and its applications", section 3.
    """
    variances, directions = np.linalg.eigh(model.geometry.covariance.astype(np.float64))
    steps = (directions * np.sqrt(np.maximum(variances, 0))).T.astype(np.float32)  # (d, latent_dim), whitened ones
    metric = np.zeros((len(steps), len(steps)))
    z = model.prior.sample(range(_AROUND), model.prior.temperature)
    for done, (one, image) in enumerate(zip(z, model.decode(z), strict=True), start=1):
        moved = model.decode(one + np.float32(_STEP) * steps)
        jacobian = ((moved - image) / _STEP).reshape(len(steps), -1).astype(np.float64)
        metric += jacobian @ jacobian.T / _AROUND
        yield Progress("differentiating", done, _AROUND)
    _, turns = np.linalg.eigh(metric)
    found = []
    for rank in range(1, count + 1):
        direction = axes.oriented(turns[:, -rank] @ steps)
        found.append(Axis(f"{_NAMES['pictures']}{rank}", axes.along(direction, model.geometry)))
    return found


@dataclass(frozen=True, slots=True)
class _Samples:
    """Samples before they are moved: their latents, images, and those encoded again."""

    z: np.ndarray
    images: np.ndarray
    reencoded: np.ndarray

    @classmethod
    def of(cls, model: LoadedModel) -> Self:
        z = model.prior.sample(range(_MOVED), model.prior.temperature)
        images = model.decode(z)
        return cls(z, images, model.encode_float(images))


def _measured(
    model: LoadedModel, known: Sequence[ConceptVector], samples: _Samples, axis: Axis, by: Discovery, rank: int
) -> ConceptVector:
    """The vector of an axis, with what a step along it changes in images and in the concepts that have names."""
    images = model.decode(samples.z + axis.step)
    change = float(np.sqrt(np.square(images - samples.images).mean()))
    length = float(np.square(axis.step.astype(np.float64)).sum())
    recipe = Discovered(by, rank, length / float(np.trace(model.geometry.covariance)), change)
    shifts: tuple[Shift, ...] = ()
    if known:
        moved = model.encode_float(images) - samples.reencoded
        probes = np.stack([vector.probe for vector in known])
        means = (moved @ probes.T).mean(axis=0).tolist()
        shifts = tuple(Shift(vector.name, shift) for vector, shift in zip(known, means, strict=True))
    vector = unlabelled(
        axis.name, axis.step, DISCOVERY[by], {"discover": asdict(recipe)}, model.geometry, model.model_id
    )
    return replace(vector, diagnostics=Diagnostics(measured_on=f"{_MOVED} samples", side_effects=shifts))
