"""Fitting of concept vectors: labelled images are encoded once, then every concept is fitted and measured."""

import contextlib
import os
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from latentcli import typed
from latentcli.concepts import perturb, vector
from latentcli.concepts.diagnostics import MIN_HELD_OUT, SMALL, Shift
from latentcli.concepts.fit import Examples, FitSettings, find
from latentcli.concepts.labels import LACKS, NEITHER, SHOWS, Concept, Labels
from latentcli.concepts.vector import ConceptVector
from latentcli.config import VectorMethod
from latentcli.data.sources import HELD_OUT_NEEDS, held_out_then
from latentcli.errors import ConfigError, ImageError
from latentcli.events import Event, Note, Progress, Wrote
from latentcli.model.modelfile import LoadedModel, open_model
from latentcli.pipelines.inputs import encode_all
from latentcli.pipelines.vectors import check_known, check_new, load_vector, vectors_of
from latentcli.storage import catalog
from latentcli.storage.latents import Latents

_EDITED = 200  # images, at most, on which side effects are measured
_MIN_EDITED = 20  # held-out images; with fewer, side effects are measured on all labelled images
_MIN_PROBED = 20  # images of each class, at least, that a discriminant is fitted to
_MIN_BETWEEN = 10  # images between the thresholds, on each side of the middle, that join the labelled ones
_SAME = 0.9  # absolute cosine from which two vectors count as one concept


def fit(
    entry: catalog.ModelEntry, labels: Labels, settings: FitSettings, force: bool, save: bool = True
) -> Iterator[Event | ConceptVector]:
    """Fit a vector for each labelled concept, save the vectors with the model if `save`, and yield the vectors.

    Raises ConfigError for unusable labels, OutputExists if the model has a vector with a concept's name.
    """
    counts = Counter(concept.name.casefold() for concept in labels.concepts)
    for concept in labels.concepts:
        concept.check()
        if counts[concept.name.casefold()] > 1:
            raise ConfigError(f"two concepts are called {concept.name}; rename a column or folder")
    targets = {concept.name: check_new(entry, concept.name, force) for concept in labels.concepts if save}
    for event in _compute(entry, labels, settings):
        if save and isinstance(event, ConceptVector):
            event.save(targets[event.name])
            yield Wrote(targets[event.name])
        yield event


def _compute(entry: catalog.ModelEntry, labels: Labels, settings: FitSettings) -> Iterator[Event | ConceptVector]:
    """Encode the labelled images once, fit a vector to each concept, measure side effects, and yield the vectors.

    Images are held out by the hash of their names and the share that training used, so an image held out in training
    is held out here too if the labels contain the image under the same relative path.
    """
    model = open_model(entry)
    others = {other.name: other for other in vectors_of(entry, model)[0]}
    check_known(model.name, settings.orthogonal_to, others)
    settings = replace(settings, others=[others[name].direction.astype(np.float64) for name in settings.orthogonal_to])
    yield from map(Note, labels.notes)
    held_out = _held_out(model, labels)
    z, rows = yield from _encoded(model, labels, held_out)
    labels, held_out = labels.take(rows), held_out[rows]
    fitted = yield from _fitted(model, labels, z, held_out, settings)

    chosen = np.flatnonzero(held_out) if held_out.sum() >= _MIN_EDITED else np.arange(len(z))
    edited = z[chosen[:: -(-len(chosen) // _EDITED)]]
    unedited = model.encode_float(model.decode(edited))
    for concept, examples, new in fitted:
        cosines = {name: other.cosine(new) for name, other in others.items() if name != new.name}
        for name, cosine in cosines.items():
            if abs(cosine) >= _SAME and model.config.latent_dim > SMALL:
                relation = "the same concept as" if cosine > 0 else "the opposite of"
                yield Note(f"{new.name} is {relation} {name} (cosine {cosine:+.2f})")
        if min(new.positives, new.negatives) < _MIN_PROBED:  # of so few images, discriminants would be noise
            yield new
            continue
        probes = {new.name: new.probe.astype(np.float64)}
        for name, cosine in cosines.items():
            if others[name].positives and abs(cosine) < _SAME:
                probes[name] = others[name].probe.astype(np.float64)
        probes |= _probes(concept, labels, z, held_out)
        directions: list[np.ndarray] = [new.direction]
        if examples.cells or settings.orthogonal_to:  # also measure a fit without balancing and orthogonalising
            plain = find(Examples(examples.z, examples.shows), FitSettings(settings.method), model.geometry).v
            directions.append(plain.astype(np.float32))
        scored = np.stack(list(probes.values())).astype(np.float32)
        # Latents moved by strength 1 are decoded and encoded again, and the scores of all concepts compared.
        moved = [model.encode_float(model.decode(edited + direction)) - unedited for direction in directions]
        shifts = [(move @ scored.T).mean(axis=0).tolist() for move in moved]
        own, *side_effects = (Shift(*shift) for shift in zip(probes, *shifts, strict=True))
        yield replace(new, diagnostics=replace(new.diagnostics, own_shift=own, side_effects=tuple(side_effects)))


def _fitted(
    model: LoadedModel, labels: Labels, z: np.ndarray, held_out: np.ndarray, settings: FitSettings
) -> Generator[Event, None, list[tuple[Concept, Examples, ConceptVector]]]:
    """Each concept with the examples that its vector is fitted to, and the vector; yields progress and notes."""
    fitted: list[tuple[Concept, Examples, ConceptVector]] = []
    for concept in labels.concepts:
        yield Progress("fitting", len(fitted), len(labels.concepts))
        usable, notes = _usable(concept, labels, z)
        yield from map(Note, notes)
        examples, measured = _split(concept, labels, z, usable, held_out)
        recipe = concept.recipe | vars(_Recipe.of(labels.take(usable), concept.values[usable], settings))
        between, each = _between(concept, z, held_out, len(measured) > 0)
        new = vector.fit(
            concept.name, examples, measured, settings, model.geometry, model.model_id, recipe, between, each
        )
        fitted.append((concept, examples, new))
    return fitted


def _probes(concept: Concept, labels: Labels, z: np.ndarray, held: np.ndarray) -> dict[str, np.ndarray]:
    """LDA discriminants (latent_dim,) by name, to measure side effects on other concepts and on columns to balance by.

    A column's discriminant separates the highest class from the lowest. All are fitted within the classes of
    `concept`, to exclude correlation with `concept`, and without the held-out images `held`, (n,) bool.
    """
    classes = {other.name: other.values for other in labels.concepts}
    for column, codes in labels.cells.items():
        ends = codes.max(), codes[codes >= 0].min()
        classes[column] = np.select([codes == end for end in ends], [SHOWS, LACKS], NEITHER)
    probes = {}
    for name, values in classes.items():
        chosen = (values != NEITHER) & (concept.values != NEITHER) & ~held
        shows = values[chosen] == SHOWS
        if name != concept.name and min(shows.sum(), (~shows).sum()) >= _MIN_PROBED:
            cells = {concept.name: concept.values[chosen].astype(np.int64)}
            with contextlib.suppress(ConfigError):  # raised where the classes are the same as those of `concept`
                probes[name] = vector.probe(Examples(z[chosen].astype(np.float64), shows, cells))
    return probes


def _encoded(
    model: LoadedModel, labels: Labels, held_out: np.ndarray
) -> Generator[Event, None, tuple[np.ndarray, np.ndarray]]:
    """Latents (n, latent_dim) of the readable labelled images, and the images' positions in `labels`, (n,).

    Of images whose labels lie between the thresholds of the classes only held-out ones count as labelled.
    """
    columns = [concept.values != NEITHER for concept in labels.concepts]
    columns += [held_out & (concept.between != NEITHER) for concept in labels.concepts if concept.between is not None]
    wanted = np.flatnonzero(np.any(columns, axis=0))
    if (latents := labels.latents) is not None:
        latents.require_model(model.model_id, "the latents file", model.name, model.config.latent_dim)
        if latents.names == labels.names:
            return latents.z[wanted], wanted
        row_of = {name: row for row, name in enumerate(latents.names)}
        available = np.array([position for position in wanted if labels.names[position] in row_of], dtype=np.int64)
        if not len(available):
            raise ConfigError(f"the latents file has none of the labelled images; its first is {latents.names[0]}")
        if len(available) < len(wanted):
            yield Note(f"{len(wanted) - len(available)} labelled images are not in the latents file and were left out")
        return latents.z[[row_of[labels.names[position]] for position in available]], available
    paths = [labels.root / labels.names[position] for position in wanted]
    count = len(paths) // 2 if labels.augment else len(paths)
    change = perturb.parse(labels.augment) if labels.augment else None
    encoded = yield from encode_all(model, paths[:count], change)
    if encoded is None:
        raise ImageError(f"none of the {len(paths)} labelled images can be read; check `root` or the folders")
    positions, z = encoded.positions, encoded.mean
    if labels.augment is not None:  # the changed images, then the same images unchanged
        plain = yield from encode_all(model, [paths[position] for position in positions])
        assert plain is not None, "they could be read before"
        positions, z = [*positions, *(position + count for position in positions)], np.concatenate([z, plain.mean])
    return z, wanted[positions]


def _held_out(model: LoadedModel, labels: Labels) -> np.ndarray:
    """Mask (n,) of the images held out to measure vectors, pairs as a whole; all False below HELD_OUT_NEEDS images."""
    names: Sequence[str] = labels.names
    if labels.pairs is not None:
        first = dict(zip(labels.pairs[::-1].tolist(), labels.names[::-1], strict=True))
        names = [first[number] for number in labels.pairs.tolist()]
    held_out = held_out_then(map(os.fsencode, names), model.header.training)
    return held_out if len(names) >= HELD_OUT_NEEDS else np.zeros_like(held_out)


def _usable(concept: Concept, labels: Labels, z: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Mask (n,) of the images that `concept` can be fitted to, and notes on labelled images that were left out.

    Left out are images in both classes, without a class in a column to balance by, or in a pair without its other half.
    """
    notes = []
    usable, shows = concept.values != NEITHER, concept.values == SHOWS
    for column, codes in labels.cells.items():
        unknown = usable & (codes < 0)
        if unknown.any():
            notes.append(f"{int(unknown.sum())} images have no usable {column} and were left out of {concept.name}")
        usable &= ~unknown
    pixels = np.ascontiguousarray(z).view(f"V{z.itemsize * z.shape[1]}").reshape(-1)
    both = np.intersect1d(pixels[usable & shows], pixels[usable & ~shows])
    if len(both):
        twice = usable & np.isin(pixels, both)
        notes.append(f"{int(twice.sum())} images of {concept.name} are the same in both classes and were left out")
        usable &= ~twice
    if (pairs := labels.pairs) is not None:
        usable &= np.isin(pairs, np.intersect1d(pairs[usable & shows], pairs[usable & ~shows]))
    return usable, notes


def _split(
    concept: Concept, labels: Labels, z: np.ndarray, usable: np.ndarray, held_out: np.ndarray
) -> tuple[Examples, Examples]:
    """Examples to fit `concept` on, and held-out examples to measure; the latter are empty if a class is too small."""
    shows = concept.values == SHOWS
    classes = usable & shows, usable & ~shows
    if any((members & held_out).sum() < MIN_HELD_OUT or not (members & ~held_out).any() for members in classes):
        held_out = np.zeros_like(held_out)
    everything = Examples(z.astype(np.float64), shows, labels.cells, labels.pairs)
    return everything.take(usable & ~held_out), everything.take(usable & held_out)


def _between(
    concept: Concept, z: np.ndarray, held_out: np.ndarray, has_measured: bool
) -> tuple[Examples | None, float]:
    """Held-out images between the thresholds of the concept's classes, and how many of the measured each stands for.

    That is 1 if the measured are held out as well, and the inverse of the held-out share if they are all labelled
    images. None if there are too few of one class.
    """
    if concept.between is None:
        return None, 1.0
    chosen = held_out & (concept.between != NEITHER)
    shows = concept.between[chosen] == SHOWS
    if min(shows.sum(), (~shows).sum()) < _MIN_BETWEEN:
        return None, 1.0
    labelled = concept.values != NEITHER
    each = 1.0 if has_measured else labelled.sum() / max(1, (labelled & held_out).sum())
    return Examples(z[chosen].astype(np.float64), shows), float(each)


def combine(
    entry: catalog.ModelEntry, name: str, requests: Sequence[catalog.VectorRequest], force: bool
) -> Iterator[Event | ConceptVector]:
    """Save the weighted sum of the requested vectors as a new vector. Raises ConfigError if the sum is zero."""
    target = check_new(entry, name, force)
    model = open_model(entry)
    vectors = [load_vector(entry, model, request) for request in requests]
    weights = [1.0 if request.strength is None else request.strength for request in requests]
    combined = vector.combine(name, list(zip(vectors, weights, strict=True)), model.geometry)
    combined.save(target)
    yield Wrote(target)
    yield combined


def refit(
    entry: catalog.ModelEntry, old: ConceptVector, root: Path | None, latents: Path | None, force: bool
) -> Iterator[Event | ConceptVector]:
    """Fit the concept of `old`, another model's vector, for the model `entry`, to images below `root` or to latents.

    Images, labels and settings come from the recipe in `old`. Raises ConfigError for a recipe that cannot be used.
    """
    if old.combined:
        saved = catalog.vectors_of(entry)
        missing = [name for name, _ in old.combined if name not in saved]
        if missing:
            raise ConfigError(f"{old.name} is a combination; refit {', '.join(missing)} first")
        requests = [catalog.VectorRequest(name, strength) for name, strength in old.combined]
        yield from combine(entry, old.name, requests, force)
        return
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
    origin = {name: value for name, value in old.recipe.items() if name not in vars(recipe)}
    concept = Concept(old.name, np.array(recipe.labels, dtype=np.int8), origin)
    cells = {column: np.array(codes) for column, codes in (recipe.cells or {}).items()}
    pairs = None if recipe.pairs is None else np.array(recipe.pairs)
    encoded = None if latents is None else Latents.load(latents)
    labels = Labels(root or Path(), recipe.images, (concept,), cells, (), pairs, recipe.augment, encoded)
    yield from fit(entry, labels, FitSettings(recipe.method, recipe.orthogonal_to, recipe.whitened), force)


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    """Images (relative paths), labels and settings of a fit, as stored in a vector's file."""

    method: VectorMethod = "mean"
    orthogonal_to: tuple[str, ...] = ()
    whitened: bool = True
    images: tuple[str, ...]
    labels: tuple[int, ...]
    cells: dict[str, tuple[int, ...]] | None = None
    pairs: tuple[int, ...] | None = None
    augment: str | None = None

    @classmethod
    def of(cls, labels: Labels, values: np.ndarray, settings: FitSettings) -> Self:
        """Recipe of a fit with `settings` to the images of `labels`, whose classes are `values`, (n,) int8."""
        return cls(
            method=settings.method,
            orthogonal_to=settings.orthogonal_to,
            whitened=settings.whitened,
            images=labels.names,
            labels=tuple(values.tolist()),
            cells={column: tuple(codes.tolist()) for column, codes in labels.cells.items()},
            pairs=None if labels.pairs is None else tuple(labels.pairs.tolist()),
            augment=labels.augment,
        )

    def __post_init__(self) -> None:
        columns = [self.labels, *(self.cells or {}).values(), *([] if self.pairs is None else [self.pairs])]
        if any(len(column) != len(self.images) for column in columns):
            raise ValueError("its columns are of different lengths")
        if not set(self.labels) <= {SHOWS, LACKS, NEITHER}:
            raise ValueError("its labels are of no known kind")
