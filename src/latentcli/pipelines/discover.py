"""Unsupervised directions: principal components of the latents, or those that change decoded images most."""

from collections.abc import Generator, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from latentcli.concepts import axes
from latentcli.concepts.axes import Axis
from latentcli.concepts.diagnostics import Diagnostics, Shift
from latentcli.concepts.vector import DISCOVERY, ConceptVector, Discovered, unlabelled
from latentcli.config import Discovery
from latentcli.errors import UsageError
from latentcli.events import Event, Progress, Wrote
from latentcli.figures.sheet import Look
from latentcli.imaging.images import check_writable
from latentcli.model.modelfile import LoadedModel, open_model
from latentcli.pipelines.inputs import keyframe
from latentcli.pipelines.outputs import draw_rows
from latentcli.pipelines.vectors import check_new, noted_vectors
from latentcli.storage import catalog
from latentcli.storage.files import output_file

_NAMES: dict[Discovery, str] = {"latents": "pc", "pictures": "jac"}  # first part of names like pc1 and jac1
_AROUND = 16  # samples at which the decoder's Jacobian is measured
_MOVED = 24  # samples on which the effects of a direction are measured
_STEP = 0.1  # of the finite differences for the Jacobian, in standard deviations
_MOST = 100  # largest number of directions


def discover(
    entry: catalog.ModelEntry, n: int, by: Discovery, look: Look, output: Path | None, force: bool
) -> Iterator[Event | ConceptVector]:
    """Save the `n` leading directions as concept vectors, yield the vectors, and draw a row of images for each.

    Raises OutputExists for a vector's name that is taken.
    """
    if not 1 <= n <= _MOST:
        raise UsageError(f"`n` takes 1 to {_MOST}, got {n}")
    model = open_model(entry)
    count = min(n, model.config.latent_dim)
    targets = [check_new(entry, f"{_NAMES[by]}{rank}", force) for rank in range(1, count + 1)]
    sheet = check_writable(output_file(output, Path(f"{entry.name}-{_NAMES[by]}.png"), force))
    if by == "latents":
        directions = axes.components(model.geometry, count)
    else:
        directions = yield from directions_of_pictures(model, count)

    # Effects of a step along each direction: on pixels, and on the scores of the vectors fitted to labels.
    saved = yield from noted_vectors(entry, model)
    concepts = [vector for vector in saved if vector.positives]
    probes = np.array([vector.probe for vector in concepts])
    z = model.prior.sample(range(_MOVED))
    images = model.decode(z)
    reencoded = model.encode_float(images)
    total = float(np.trace(model.geometry.covariance))
    vectors, rows = [], []
    for rank, axis in enumerate(directions, start=1):
        moved = model.decode(z + axis.step)
        change = float(np.sqrt(np.square(moved - images).mean()))
        variance = float(np.square(axis.step.astype(np.float64)).sum()) / total
        shifts: list[Shift] = []
        if concepts:
            means = ((model.encode_float(moved) - reencoded) @ probes.T).mean(axis=0).tolist()
            shifts = [Shift(vector.name, shift) for vector, shift in zip(concepts, means, strict=True)]
        recipe = {"discover": asdict(Discovered(by, rank, variance, change))}
        vector = unlabelled(axis.name, axis.step, DISCOVERY[by], recipe, model.geometry, model.model_id)
        diagnostics = Diagnostics(measured_on=f"{_MOVED} samples", side_effects=tuple(shifts))
        vectors.append(replace(vector, diagnostics=diagnostics))
        note = f"{100 * variance:.1f} %" if by == "latents" else f"{255 * change:.0f} levels"
        rows.append(replace(axis, note=note))
        yield Progress("measuring", rank, count)

    for vector, target in zip(vectors, targets, strict=True):
        vector.save(target)
        yield Wrote(target)
        yield vector
    rows.append(axes.at_random(model.geometry))
    yield from draw_rows(model, rows, keyframe(model, None), look, sheet)


def directions_of_pictures(model: LoadedModel, count: int) -> Generator[Event, None, list[Axis]]:
    """Axes along which one standard deviation changes decoded images most, the largest change first.

    The axes are eigenvectors of the mean of J'J over samples; J is the decoder's Jacobian in whitened latents.
    Wang and Ponce 2021, "The geometry of deep generative image models and its applications", section 3.
    """
    variances, components = np.linalg.eigh(model.geometry.covariance.astype(np.float64))
    steps = (components * np.sqrt(np.maximum(variances, 0))).T.astype(np.float32)  # (latent_dim, latent_dim), whitened
    metric = np.zeros((len(steps), len(steps)))
    z = model.prior.sample(range(_AROUND))
    for done, (latent, image) in enumerate(zip(z, model.decode(z), strict=True), start=1):
        moved = model.decode(latent + np.float32(_STEP) * steps)
        jacobian = ((moved - image) / _STEP).reshape(len(steps), -1).astype(np.float64)
        metric += jacobian @ jacobian.T / _AROUND
        yield Progress("differentiating", done, _AROUND)
    _, whitened = np.linalg.eigh(metric)
    directions = [axes.oriented(whitened[:, -rank] @ steps) for rank in range(1, count + 1)]
    return [
        Axis(f"{_NAMES['pictures']}{rank}", axes.along(direction, model.geometry))
        for rank, direction in enumerate(directions, start=1)
    ]
