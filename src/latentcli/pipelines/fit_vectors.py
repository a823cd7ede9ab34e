"""Fitting of concept vectors: labelled images are encoded once, then every concept is fitted and measured."""

import contextlib
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from latentcli import typed
from latentcli.concepts import perturb, vector
from latentcli.concepts.diagnostics import MIN_HELD_OUT, SMALL, Shift
from latentcli.concepts.fit import Examples, FitSettings, find
from latentcli.concepts.labels import LACKS, NEITHER, SHOWS, Concept, Labels
from latentcli.concepts.vector import ConceptVector
from latentcli.config import Augmentation, VectorMethod
from latentcli.data.sources import HELD_OUT_NEEDS, held_out_then
from latentcli.errors import ConfigError, ImageError
from latentcli.events import Event, Note, Progress, Wrote
from latentcli.model.modelfile import LoadedModel, open_model
from latentcli.pipelines.inputs import encode_all
from latentcli.pipelines.vectors import check_known, check_new, load_vector, vectors_of
from latentcli.storage import catalog
from latentcli.storage.latents import Latents

_EDITED = 200  # images that side effects are measured on
_MIN_EDITED = 20  # held-out images; with fewer others are edited, too
_MIN_PROBED = 20  # images of each class that a discriminant is fitted on
_SAME = 0.9  # cosine from which another vector counts as the same concept


def fit(
    entry: catalog.ModelEntry, labels: Labels, settings: FitSettings, force: bool, model: LoadedModel | None = None
) -> Iterator[Event | ConceptVector]:
    """Fit a vector for each concept, keep them with the model, which may be loaded already, and yield them.

    Raises ConfigError for unusable labels, OutputExists when the model has a vector of that name.
    """
    names = [concept.name.casefold() for concept in labels.concepts]
    for concept in labels.concepts:
        concept.check()
        if names.count(concept.name.casefold()) > 1:
            raise ConfigError(f"two concepts are called {concept.name}; rename a column or folder")
    targets = {concept.name: check_new(entry, concept.name, force) for concept in labels.concepts}
    model = model or open_model(entry)
    return _saved(compute(model, entry, labels, settings), targets)


def _saved(events: Iterator[Event | ConceptVector], targets: Mapping[str, Path]) -> Iterator[Event | ConceptVector]:
    for event in events:
        if isinstance(event, ConceptVector):
            event.save(targets[event.name])
            yield Wrote(targets[event.name])
        yield event


def compute(
    model: LoadedModel, entry: catalog.ModelEntry, labels: Labels, settings: FitSettings
) -> Iterator[Event | ConceptVector]:
    """Encode the labelled images once, fit every concept to them, and yield the vectors.

    The model's own share of the images is held out by the same hash, so that a training folder's held-out images are
    held out here too when the labels' names start where the training's did.
    """
    others = {known.name: known for known in vectors_of(entry, model)[0]}
    check_known(model.name, settings.orthogonal_to, others)
    settings = replace(settings, others=[others[name].direction.astype(np.float64) for name in settings.orthogonal_to])
    yield from map(Note, labels.notes)
    z, rows = yield from _encoded(model, labels)
    labels = labels.take(rows)
    held, where = _held_out(model, labels), model.geometry
    fitted: list[tuple[Concept, Examples, ConceptVector]] = []
    for concept in labels.concepts:
        yield Progress("fitting", len(fitted), len(labels.concepts))
        usable, notes = _usable(concept, labels, z)
        yield from map(Note, notes)
        examples, held_out = _split(concept, labels, z, usable, held)
        recipe = _recipe(concept, labels.take(usable), concept.values[usable], settings)
        found = vector.fit(concept.name, examples, held_out, settings, where, model.model_id, recipe)
        fitted.append((concept, examples, found))
    edited = np.flatnonzero(held) if held.sum() >= _MIN_EDITED else np.arange(len(z))
    some = z[edited[:: -(-len(edited) // _EDITED)]]
    again = _reencoded(model, some)
    for concept, examples, found in fitted:
        for known in others.values() if model.config.latent_dim > SMALL else ():
            if known.name != found.name and abs(known.cosine(found)) >= _SAME:
                how = "the same concept as" if known.cosine(found) > 0 else "the opposite of"
                yield Note(f"{found.name} is {how} {known.name} (cosine {known.cosine(found):+.2f})")
        if min(found.positives, found.negatives) < _MIN_PROBED:  # discriminants would be noise
            yield found
            continue
        probes = {
            name: known.probe.astype(np.float64)
            for name, known in others.items()
            if known.positives and abs(known.cosine(found)) < _SAME
        }
        probes |= _probes(concept, labels, z, held)
        names = [found.name, *(name for name in probes if name != found.name)]
        probes[found.name] = found.probe.astype(np.float64)
        scored = np.stack([probes[name] for name in names]).astype(np.float32)
        directions: list[np.ndarray] = [found.direction]
        if examples.cells or settings.orthogonal_to:
            plain = find(Examples(examples.z, examples.shows), FitSettings(settings.method), where).v
            directions.append(plain.astype(np.float32))
        shifts = [((_reencoded(model, some + v) - again) @ scored.T).mean(axis=0).tolist() for v in directions]
        own, *side_effects = (Shift(*shift) for shift in zip(names, *shifts, strict=True))
        diagnostics = replace(found.diagnostics, own_shift=own, side_effects=tuple(side_effects))
        yield replace(found, diagnostics=diagnostics)


def _reencoded(model: LoadedModel, z: np.ndarray) -> np.ndarray:
    """Latents (n, latent_dim) decoded and encoded again."""
    return model.encode_float(model.decode(z))


def _probes(concept: Concept, labels: Labels, z: np.ndarray, held: np.ndarray) -> dict[str, np.ndarray]:
    """Discriminants of all other concepts of the labels, fitted within the classes of this one.

    Otherwise what correlates with the concept would count for the others. Of a column to balance by it is the highest
    class against the lowest.
    """
    known = {other.name: other.values for other in labels.concepts}
    for column, codes in labels.cells.items():
        ends = codes.max(), codes[codes >= 0].min()
        known[column] = np.select([codes == end for end in ends], [SHOWS, LACKS], NEITHER)
    found = {}
    for name, values in known.items():
        chosen = (values != NEITHER) & (concept.values != NEITHER) & ~held
        shows = values[chosen] == SHOWS
        if name != concept.name and min(shows.sum(), (~shows).sum()) >= _MIN_PROBED:
            cells = {concept.name: concept.values[chosen].astype(np.int64)}
            with contextlib.suppress(ConfigError):  # the same concept under another name
                found[name] = vector.probe(Examples(z[chosen].astype(np.float64), shows, cells))
    return found


def _encoded(model: LoadedModel, labels: Labels) -> Generator[Event, None, tuple[np.ndarray, np.ndarray]]:
    """Latents (n, latent_dim) of the labelled images that are available, and their positions in the labels: (n,)."""
    wanted = np.flatnonzero(np.any([concept.values != NEITHER for concept in labels.concepts], axis=0))
    if labels.latents is not None:
        return (yield from _from_latents(model, labels, labels.latents, wanted))
    paths = [labels.root / labels.names[position] for position in wanted]
    count = len(paths) // 2 if labels.augment else len(paths)
    change = perturb.parse(labels.augment) if labels.augment else None
    encoded = yield from encode_all(model, paths[:count], change)
    if encoded is None:
        raise ImageError(f"none of the {len(paths)} labelled images can be read; check `root` or the folders")
    positions, z = encoded.positions, encoded.mean
    if labels.augment is not None:  # the changed images, then as they were
        plain = yield from encode_all(model, [paths[position] for position in positions])
        assert plain is not None, "they could be read before"
        positions, z = [*positions, *(position + count for position in positions)], np.concatenate([z, plain.mean])
    return z, wanted[positions]


def _from_latents(
    model: LoadedModel, labels: Labels, known: Latents, wanted: np.ndarray
) -> Generator[Event, None, tuple[np.ndarray, np.ndarray]]:
    known.require_model(model.model_id, "the latents file", model.name, model.config.latent_dim)
    if known.names == labels.names:
        return known.z[wanted], wanted
    row_of = {name: row for row, name in enumerate(known.names)}
    found = np.array([position for position in wanted if labels.names[position] in row_of], dtype=np.int64)
    if not len(found):
        raise ConfigError(f"the latents file has none of the labelled images; its first is {known.names[0]}")
    if len(found) < len(wanted):
        yield Note(f"{len(wanted) - len(found)} labelled images are not in the latents file and were left out")
    return known.z[[row_of[labels.names[position]] for position in found]], found


def _held_out(model: LoadedModel, labels: Labels) -> np.ndarray:
    """Images the vectors are measured on: (n,) bool. Both images of a pair are on the same side."""
    names: Sequence[str] = labels.names
    if labels.pairs is not None:
        first = dict(zip(labels.pairs[::-1].tolist(), labels.names[::-1], strict=True))
        names = [first[number] for number in labels.pairs.tolist()]
    held = held_out_then(map(os.fsencode, names), model.training)
    return held if len(names) >= HELD_OUT_NEEDS else np.zeros_like(held)


def _usable(concept: Concept, labels: Labels, z: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Images with a label and with cells to balance by, (n,) bool; and notes on the others."""
    notes = []
    usable, shows = concept.values != NEITHER, concept.values == SHOWS
    for column, codes in labels.cells.items():
        unknown = usable & (codes < 0)
        if unknown.any():
            notes.append(f"{int(unknown.sum())} images have no usable {column} and were left out of {concept.name}")
        usable &= ~unknown
    if labels.pairs is not None:
        pairs = labels.pairs
        usable &= np.isin(pairs, np.intersect1d(pairs[usable & shows], pairs[usable & ~shows]))
    pixels = np.ascontiguousarray(z).view(f"V{z.itemsize * z.shape[1]}").reshape(-1)
    both = np.intersect1d(pixels[usable & shows], pixels[usable & ~shows])
    if len(both):
        twice = usable & np.isin(pixels, both)
        notes.append(f"{int(twice.sum())} images of {concept.name} are the same in both classes and were left out")
        usable &= ~twice
    return usable, notes


def _split(
    concept: Concept, labels: Labels, z: np.ndarray, usable: np.ndarray, held: np.ndarray
) -> tuple[Examples, Examples]:
    """Examples to fit on and to measure on; none of these where they would be too few, or all of a class."""
    shows = concept.values == SHOWS
    classes = [usable & (shows == kind) for kind in (True, False)]
    if any((kind & held).sum() < MIN_HELD_OUT or not (kind & ~held).any() for kind in classes):
        held = np.zeros_like(held)
    everything = Examples(z.astype(np.float64), shows, labels.cells, labels.pairs)
    return everything.take(usable & ~held), everything.take(usable & held)


def _recipe(concept: Concept, used: Labels, values: np.ndarray, settings: FitSettings) -> dict[str, object]:
    """Everything to fit the vector again, without absolute paths."""
    return {
        **concept.recipe,
        **settings.to_json(),
        "images": list(used.names),
        "labels": values.tolist(),
        "cells": {column: codes.tolist() for column, codes in used.cells.items()},
        "pairs": None if used.pairs is None else used.pairs.tolist(),
        "augment": used.augment,
    }


def combine(
    entry: catalog.ModelEntry, name: str, parts: Sequence[catalog.VectorRequest], force: bool
) -> Iterator[Event | ConceptVector]:
    """Keep a sum of vectors as a new one. Raises ConfigError when they cancel."""
    target = check_new(entry, name, force)
    model = open_model(entry)
    weighted = [(load_vector(entry, model, part), 1.0 if part.strength is None else part.strength) for part in parts]
    return _saved(iter([vector.combine(name, weighted, model.geometry)]), {name: target})


def refit(
    entry: catalog.ModelEntry, old: ConceptVector, root: Path | None, latents: Path | None, force: bool
) -> Iterator[Event | ConceptVector]:
    """Fit a vector of another model again for this one, by its recipe. The images are taken from `root`.

    Raises ConfigError when the recipe is incomplete.
    """
    if old.combined:
        parts = [catalog.VectorRequest(name, strength) for name, strength in old.combined]
        missing = [part.reference for part in parts if part.reference not in catalog.vectors_of(entry)]
        if missing:
            raise ConfigError(f"{old.name} is a combination; refit {', '.join(missing)} first")
        return combine(entry, old.name, parts, force)
    if old.discovered:
        raise ConfigError(f"{old.name} was found without labels; find those of this model: latentcli vectors discover")
    if root is None and latents is None:
        raise ConfigError(f"{old.name} was fitted to images; name their folder with `root`, or `latents` FILE")
    try:
        recipe = typed.read(_Recipe, old.recipe, "recipe")
    except ValueError as error:
        raise ConfigError(f"the recipe of {old.name} cannot be used ({error}); fit it again from its labels") from error
    if len(set(recipe.images)) < len(recipe.images) and not recipe.augment:
        raise ConfigError(f"{old.name} was fitted to latents files, which do not identify its images; fit it again")
    known = Latents.load(latents) if latents is not None else None
    kept = {name: value for name, value in old.recipe.items() if name not in _REWRITTEN}
    concept = Concept(old.name, np.array(recipe.labels, dtype=np.int8), kept)
    cells = {column: np.array(codes) for column, codes in (recipe.cells or {}).items()}
    pairs = None if recipe.pairs is None else np.array(recipe.pairs)
    labels = Labels(
        root or Path(), recipe.images, (concept,), cells, pairs=pairs, augment=recipe.augment, latents=known
    )
    return fit(entry, labels, FitSettings(recipe.method, recipe.orthogonal_to, recipe.whitened), force)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What a vector was fitted to, and how."""

    images: tuple[str, ...]
    labels: tuple[int, ...]
    cells: dict[str, tuple[int, ...]] | None = None
    pairs: tuple[int, ...] | None = None
    augment: Augmentation | None = None
    method: VectorMethod = "mean"
    orthogonal_to: tuple[str, ...] = ()
    whitened: bool = True

    def __post_init__(self) -> None:
        columns = [self.labels, *(self.cells or {}).values(), *([] if self.pairs is None else [self.pairs])]
        if any(len(column) != len(self.images) for column in columns):
            raise ValueError("its columns are of different lengths")
        if not set(self.labels) <= {SHOWS, LACKS, NEITHER}:
            raise ValueError("its labels are of no known kind")


_REWRITTEN = {"images", "labels", "cells", "pairs", "augment", *FitSettings().to_json()}
