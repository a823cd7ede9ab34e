"""Concept vectors from labelled images."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from latentcli import catalog, concepts
from latentcli.concepts import ConceptVector, Labelled
from latentcli.config import HELD_OUT_NEEDS, HELD_OUT_SHARE
from latentcli.data.dataset import is_held_out
from latentcli.errors import ImageError, OutputExists
from latentcli.labels import Labels
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.pipelines.encoding import encode_all
from latentcli.pipelines.events import Event, Note, Wrote
from latentcli.sources import name_hashes

_ENOUGH = 100  # images of a kind; a vector from fewer is unsteady


@dataclass(frozen=True, slots=True)
class Fitted:
    """The vector is computed."""

    vector: ConceptVector


def fit(entry: catalog.ModelEntry, name: str, labels: Labels, force: bool) -> Iterator[Event | Fitted]:
    """Fit a vector and keep it with its model.

    Raises ConfigError for unusable labels, OutputExists when the model has a vector of that name.
    """
    labels.check()
    target = check_new(entry, name, force)
    model = load_model(entry.path)
    return _fit_and_save(model, name, labels, target)


def check_new(entry: catalog.ModelEntry, name: str, force: bool) -> Path:
    """The file for a new vector. Raises OutputExists when the name is taken, ConfigError when it is no name."""
    target = catalog.new_vector_file(entry, name)
    if not force and name in catalog.vectors_of(entry):
        raise OutputExists(
            f"model {entry.name} has a vector {name!r}; add --force to replace it, or choose another name"
        )
    return target


def _fit_and_save(model: LoadedModel, name: str, labels: Labels, target: Path) -> Iterator[Event | Fitted]:
    for event in compute(model, name, labels):
        if isinstance(event, Fitted):
            event.vector.save(target)
            yield Wrote(target)
        yield event


def compute(model: LoadedModel, name: str, labels: Labels) -> Iterator[Event | Fitted]:
    """Encode the labelled images and fit: ends with Fitted.

    The model's own share of the images is held out by the same hash, so that a training folder's held-out images are
    held out here too when the labels' names start where the training's did.
    """
    paths = [labels.root / image for image in labels.names]
    encoded = yield from encode_all(model, paths)
    if encoded is None:
        raise ImageError(f"none of the {len(paths)} labelled images can be read; check --root or the folders")
    positions, z = encoded.positions, encoded.mean
    held = _held_out(model, labels, positions)
    train, held_out = (_part(z, positions, labels, held, wanted) for wanted in (False, True))
    recipe = labels.recipe | {"images": [labels.names[position] for position in positions if _used(labels, position)]}
    recipe |= {"labels": [labels.values[position] for position in positions if _used(labels, position)]}
    vector = concepts.fit(name, train, held_out, model.model_id, recipe)
    fewest = min(vector.positives, vector.negatives)
    if fewest < _ENOUGH:
        yield Note(f"{name} comes from {fewest} images of a kind; {_ENOUGH} or more of each make a steadier vector")
    yield Fitted(vector)


def _held_out(model: LoadedModel, labels: Labels, positions: list[int]) -> list[bool]:
    """Which of the images the vector is measured on; none when that would leave a kind without images to fit on."""
    share = model.header.get("training", {}).get("held_out_share") or HELD_OUT_SHARE
    held = is_held_out(name_hashes(os.fsencode(labels.names[position]) for position in positions), share).tolist()
    fitted = {labels.values[position] for position, is_held in zip(positions, held, strict=True) if not is_held}
    return held if {True, False} <= fitted and len(positions) >= HELD_OUT_NEEDS else [False] * len(positions)


def _used(labels: Labels, position: int) -> bool:
    return labels.values[position] is not None


def _part(z: torch.Tensor, positions: list[int], labels: Labels, held: list[bool], wanted: bool) -> Labelled:
    rows = [row for row, is_held in enumerate(held) if is_held is wanted]
    return Labelled(z[rows], tuple(labels.values[positions[row]] for row in rows))
