"""What else edits by a concept vector change: images are edited, decoded, encoded again, and judged."""

import contextlib
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentcli import catalog
from latentcli.concepts import fit as fitting
from latentcli.concepts import perturb, vector
from latentcli.concepts.diagnostics import MIN_HELD_OUT, Shift
from latentcli.concepts.fit import Examples, FitSettings
from latentcli.concepts.labels import LACKS, NEITHER, SHOWS, Concept, Labels
from latentcli.concepts.vector import ConceptVector
from latentcli.config import HELD_OUT_NEEDS, VectorMethod
from latentcli.data.dataset import held_out_then
from latentcli.errors import ConfigError, FileFormatError, ImageError, ModelMismatch, OutputExists
from latentcli.events import Event, Note, Progress, Wrote
from latentcli.latents import Latents
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.model.prior import Geometry, mean_and_covariance
from latentcli.pipelines.encode import encode_all

_EDITED = 200  # images that leaks are measured on
_FEWEST_JUDGED = 20  # images of each kind that a discriminant is fitted on
_FEWEST_EDITED = 20  # held-out ones, else others are edited, too


@dataclass(frozen=True, slots=True)
class FittedConcept:
    """One concept: what it is fitted to, and what came out."""

    concept: Concept
    examples: Examples
    how: FitSettings
    vector: ConceptVector


def judges(work: FittedConcept, labels: Labels, z: Tensor, rows: np.ndarray, held: np.ndarray) -> dict[str, np.ndarray]:
    """Discriminants of everything else that the labels tell, fitted within the cells of the concept that is judged.

    Otherwise a smile would count as a sign of whom it goes along with. Of a column to balance by it is the highest
    class against the lowest.
    """
    own = work.concept.values[rows]
    known = {concept.name: concept.values[rows] for concept in labels.concepts}
    for column, codes in labels.cells.items():
        ends = codes.max(), codes[codes >= 0].min()
        known[column] = np.select([codes[rows] == end for end in ends], [SHOWS, LACKS], NEITHER)
    found = {}
    for name, values in known.items():
        chosen = (values != NEITHER) & (own != NEITHER) & ~held
        shows = values[chosen] == SHOWS
        if name != work.concept.name and min(shows.sum(), (~shows).sum()) >= _FEWEST_JUDGED:
            cells = {work.concept.name: own[chosen].astype(np.int64)}
            with contextlib.suppress(ConfigError):  # the same concept under another name
                found[name] = vector.probe(Examples(z[torch.from_numpy(chosen)].double().numpy(), shows, cells))
    return found


@dataclass(frozen=True, slots=True)
class Reencoded:
    """Images to edit, and what the encoder makes of them once they are decoded: (n, latent_dim) each."""

    z: Tensor
    again: Tensor

    @classmethod
    def of(cls, model: LoadedModel, z: Tensor, held: np.ndarray) -> "Reencoded":
        """Some of the held-out images; of others where those are too few."""
        rows = np.flatnonzero(held) if held.sum() >= _FEWEST_EDITED else np.arange(len(z))
        some = z[torch.from_numpy(rows[:: -(-len(rows) // _EDITED)])]
        return cls(some, _seen_again(model, some))


def with_leaks(
    model: LoadedModel, work: FittedConcept, where: Geometry, seen: Reencoded, probes: Mapping[str, np.ndarray]
) -> ConceptVector:
    """Edit images by +1, decode, encode again, and see what moved; nothing where discriminants would be noise."""
    if min(work.vector.positives, work.vector.negatives) < _FEWEST_JUDGED:
        return work.vector
    names = [work.vector.name, *(name for name in probes if name != work.vector.name)]
    own_probe = {work.vector.name: work.vector.probe.double().numpy()}
    scored = torch.from_numpy(np.stack([(dict(probes) | own_probe)[name] for name in names])).float()

    def shifts(direction: Tensor) -> list[float]:
        moved = _seen_again(model, seen.z + direction) - seen.again
        return [float(shift) for shift in (moved @ scored.T).mean(dim=0)]

    after = shifts(work.vector.direction)
    before: Sequence[float | None] = [None] * len(names)
    if work.examples.cells or work.how.orthogonal_to:
        plain = Examples(work.examples.z, work.examples.shows)
        unbalanced = fitting.find(plain, FitSettings(work.how.method), where).v
        before = shifts(torch.from_numpy(unbalanced).float())
    own, *leaks = (Shift(*shift) for shift in zip(names, after, before, strict=True))
    return work.vector.with_leaks(own, leaks)


def _seen_again(model: LoadedModel, z: Tensor) -> Tensor:
    """Latents (n, latent_dim) of what latents decode to."""
    return model.encode_float(model.decode(z))


_SAME = 0.9  # cosine from which another vector is taken for the same concept
_DRAWN = 2000  # latents of the prior that stand for the training images


@dataclass(frozen=True, slots=True)
class FitOptions:
    """FitOptions vectors are to be fitted, besides what their labels say."""

    method: VectorMethod = "mean"
    orthogonal_to: tuple[str, ...] = ()  # vectors of the model
    whitened: bool = True
    latents: Path | None = None  # a latents file that has the images already

    def to_json(self) -> dict[str, object]:
        """For a vector's recipe."""
        return {"method": self.method, "orthogonal_to": list(self.orthogonal_to), "whitened": self.whitened}


@dataclass(frozen=True, slots=True)
class Fitted:
    """The vector is computed."""

    vector: ConceptVector


def fit(entry: catalog.ModelEntry, labels: Labels, how: FitOptions, force: bool) -> Iterator[Event | Fitted]:
    """Fit a vector for each concept and keep them with the model.

    Raises ConfigError for unusable labels, OutputExists when the model has a vector of that name.
    """
    for concept in labels.concepts:
        concept.check()
    names = [concept.name.casefold() for concept in labels.concepts]
    twice = [concept.name for concept in labels.concepts if names.count(concept.name.casefold()) > 1]
    if twice:
        raise ConfigError(f"two concepts are called {twice[0]}; rename a column or folder")
    targets = {concept.name: check_new(entry, concept.name, force) for concept in labels.concepts}
    return _fit_and_save(load_model(entry.path), entry, labels, how, targets)


def check_new(entry: catalog.ModelEntry, name: str, force: bool) -> Path:
    """The file for a new vector. Raises OutputExists when the name is taken, ConfigError when it is no name."""
    target = catalog.new_vector_file(entry, name)
    if not force and name in catalog.vectors_of(entry):
        raise OutputExists(
            f"model {entry.name} has a vector {name!r}; add --force to replace it, or choose another name"
        )
    return target


def _fit_and_save(
    model: LoadedModel, entry: catalog.ModelEntry, labels: Labels, how: FitOptions, targets: Mapping[str, Path]
) -> Iterator[Event | Fitted]:
    for event in compute(model, entry, labels, how):
        if isinstance(event, Fitted):
            event.vector.save(targets[event.vector.name])
            yield Wrote(targets[event.vector.name])
        yield event


def geometry(model: LoadedModel) -> Geometry:
    """Where the model's latents lie, by its fitted prior."""
    mean, covariance = mean_and_covariance(model.prior, model.config.latent_dim)
    return Geometry(mean, covariance, model.prior.sample(range(_DRAWN), 1.0))


def compute(model: LoadedModel, entry: catalog.ModelEntry, labels: Labels, how: FitOptions) -> Iterator[Event | Fitted]:
    """Encode the labelled images once and fit every concept to them; yields Fitted for each.

    The model's own share of the images is held out by the same hash, so that a training folder's held-out images are
    held out here too when the labels' names start where the training's did.
    """
    others = _known_vectors(entry, model)
    missing = [name for name in how.orthogonal_to if name not in others]
    if missing:
        raise ConfigError(f"{model.name} has no vector {missing[0]!r}; it has {', '.join(others) or 'none'}")
    for note in labels.notes:
        yield Note(note)
    z, rows = yield from _encoded(model, labels, how.latents)
    held = _held_out(model, labels, rows)
    where = geometry(model)
    orthogonal = tuple(others[name].direction.double().numpy() for name in how.orthogonal_to)
    recipe = FitSettings(how.method, orthogonal, how.whitened)
    work: list[FittedConcept] = []
    for concept in labels.concepts:
        yield Progress("fitting", len(work), len(labels.concepts))
        usable, notes = _usable(concept, labels, z, rows)
        yield from map(Note, notes)
        examples, held_out = _split(concept, labels, z, rows, usable, held)
        told = _recipe(concept, labels, rows[usable], how)
        fitted = vector.fit(concept.name, examples, held_out, recipe, where, model.model_id, told)
        work.append(FittedConcept(concept, examples, recipe, fitted))
    seen = Reencoded.of(model, z, held)
    for each in work:
        stored = {
            name: known.probe.double().numpy()
            for name, known in others.items()
            if known.positives and abs(known.cosine(each.vector)) < _SAME
        }
        yield Fitted(with_leaks(model, each, where, seen, stored | judges(each, labels, z, rows, held)))


def load_vector(entry: catalog.ModelEntry, model: LoadedModel, request: catalog.VectorRequest) -> ConceptVector:
    """A vector that the model has. Raises ModelMismatch when another model made it."""
    found = ConceptVector.load(catalog.vector_file(entry, request))
    if found.model_id != model.model_id or len(found.direction) != model.config.latent_dim:
        raise ModelMismatch(
            f"{request.reference} was made with model {found.model_id}, but {model.name} is {model.model_id}; "
            "fit it again"
        )
    return found


def _known_vectors(entry: catalog.ModelEntry, model: LoadedModel) -> dict[str, ConceptVector]:
    """The model's own vectors, as far as they can be read."""
    found = {}
    for name, path in catalog.vectors_of(entry).items():
        try:
            known = ConceptVector.load(path)
        except FileFormatError:
            continue
        if known.model_id == model.model_id:
            found[name] = known
    return found


def _encoded(
    model: LoadedModel, labels: Labels, latents: Path | None
) -> Generator[Event, None, tuple[Tensor, np.ndarray]]:
    """Latents (n, latent_dim) of the labelled images that can be had, and their places among the labels: (n,)."""
    wanted = np.zeros(len(labels.names), dtype=bool)
    for concept in labels.concepts:
        wanted |= concept.values != NEITHER
    places = np.flatnonzero(wanted)
    if labels.latents is not None:
        labels.latents.require_model(model.model_id, "the latents", model.name, model.config.latent_dim)
        return labels.latents.z[places], places
    if latents is not None:
        known = Latents.load(latents)
        known.require_model(model.model_id, str(latents), model.name, model.config.latent_dim)
        at = {name: row for row, name in enumerate(known.names)}
        found = np.array([place for place in places if labels.names[place] in at], dtype=np.int64)
        if not len(found):
            raise ConfigError(f"{latents} has none of the labelled images; its first is {known.names[0]}")
        if len(found) < len(places):
            yield Note(f"{len(places) - len(found)} labelled images are not in {latents} and were left out")
        return known.z[[at[labels.names[place]] for place in found]], found
    paths = [labels.root / labels.names[place] for place in places]
    if labels.augment is None:
        encoded = yield from encode_all(model, paths)
    else:
        encoded = yield from encode_all(model, paths[: len(paths) // 2], perturb.parse(labels.augment))
    if encoded is None:
        raise ImageError(f"none of the {len(paths)} labelled images can be read; check --root or the folders")
    if labels.augment is not None:  # the changed images, then as they were
        plain = yield from encode_all(model, [paths[position] for position in encoded.positions])
        assert plain is not None, "they could be read before"
        both = places[[*encoded.positions, *(position + len(paths) // 2 for position in encoded.positions)]]
        return torch.cat([encoded.mean, plain.mean]), both
    return encoded.mean, places[encoded.positions]


def _held_out(model: LoadedModel, labels: Labels, rows: np.ndarray) -> np.ndarray:
    """Which of the images the vectors are measured on: (n,) bool. Both images of a pair are on the same side."""
    names = [labels.names[row] for row in rows]
    if labels.pairs is not None:
        first = dict(zip(labels.pairs[::-1].tolist(), labels.names[::-1], strict=True))
        names = [first[int(labels.pairs[row])] for row in rows]
    held = held_out_then(map(os.fsencode, names), model.training)
    return held if len(rows) >= HELD_OUT_NEEDS else np.zeros_like(held)


def _usable(concept: Concept, labels: Labels, z: Tensor, rows: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Which of the encoded images have a label, and cells to balance by: (n,) bool; and what to say of the others."""
    notes = []
    usable = concept.values[rows] != NEITHER
    for column, codes in labels.cells.items():
        unknown = usable & (codes[rows] < 0)
        if unknown.any():
            notes.append(f"{int(unknown.sum())} images have no usable {column} and were left out of {concept.name}")
        usable &= ~unknown
    shows = concept.values[rows] == SHOWS
    if labels.pairs is not None:
        pairs = labels.pairs[rows]
        usable &= np.isin(pairs, np.intersect1d(pairs[usable & shows], pairs[usable & ~shows]))
    pixels = np.ascontiguousarray(z.numpy()).view(f"V{z.element_size() * z.shape[1]}").reshape(-1)
    both = np.intersect1d(pixels[usable & shows], pixels[usable & ~shows])
    if len(both):
        twice = usable & np.isin(pixels, both)
        notes.append(f"{int(twice.sum())} images of {concept.name} are the same in both kinds and were left out")
        usable &= ~twice
    return usable, notes


def _split(
    concept: Concept, labels: Labels, z: Tensor, rows: np.ndarray, usable: np.ndarray, held: np.ndarray
) -> tuple[Examples, Examples]:
    """What to fit on, and what to measure on; nothing of that when it would be too little, or all of a kind."""
    shows = concept.values[rows] == SHOWS
    kinds = [usable & (shows == kind) for kind in (True, False)]
    if any((kind & held).sum() < MIN_HELD_OUT or not (kind & ~held).any() for kind in kinds):
        held = np.zeros_like(held)
    cells = {column: codes[rows] for column, codes in labels.cells.items()}
    everything = Examples(z.double().numpy(), shows, cells, None if labels.pairs is None else labels.pairs[rows])
    return everything.take(usable & ~held), everything.take(usable & held)


def _recipe(concept: Concept, labels: Labels, rows: np.ndarray, how: FitOptions) -> dict[str, object]:
    """FitOptions to make the vector again, without absolute paths."""
    return {
        **concept.recipe,
        **how.to_json(),
        "images": [labels.names[row] for row in rows],
        "labels": concept.values[rows].tolist(),
        "cells": {column: codes[rows].tolist() for column, codes in labels.cells.items()},
        "pairs": None if labels.pairs is None else labels.pairs[rows].tolist(),
        "augment": labels.augment,
    }


def combine(
    entry: catalog.ModelEntry, name: str, parts: Sequence[catalog.VectorRequest], force: bool
) -> Iterator[Event | Fitted]:
    """Keep a sum of vectors as a new one. Raises ConfigError when they cancel."""
    target = check_new(entry, name, force)
    model = load_model(entry.path)
    weighted = [(load_vector(entry, model, part), 1.0 if part.strength is None else part.strength) for part in parts]
    found = vector.combine(name, weighted, geometry(model))

    def kept() -> Iterator[Event | Fitted]:
        found.save(target)
        yield Wrote(target)
        yield Fitted(found)

    return kept()


def refit(
    entry: catalog.ModelEntry, old: ConceptVector, root: Path | None, how: FitOptions, force: bool
) -> Iterator[Event | Fitted]:
    """Make a vector of another model again on this one, by its recipe. The images are taken from `root`.

    Raises ConfigError when the recipe does not say enough.
    """
    recipe = old.recipe
    if "combine" in recipe:
        try:
            parts = [catalog.VectorRequest(str(name), float(strength)) for name, strength in recipe["combine"]]
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the recipe of {old.name} cannot be read; combine it again") from error
        missing = [part.reference for part in parts if part.reference not in catalog.vectors_of(entry)]
        if missing:
            raise ConfigError(f"{old.name} is a combination; refit {', '.join(missing)} first")
        return combine(entry, old.name, parts, force)
    if root is None and how.latents is None:
        raise ConfigError(f"{old.name} was fitted to images; name their folder with --root, or --latents FILE")
    try:
        names = tuple(str(name) for name in recipe["images"])
        values = np.array(recipe["labels"], dtype=np.int8)
        cells = {column: np.array(codes) for column, codes in (recipe.get("cells") or {}).items()}
        pairs = None if recipe.get("pairs") is None else np.array(recipe["pairs"])
        kept = {name: value for name, value in recipe.items() if name not in _MADE_ANEW}
        orthogonal = tuple(recipe.get("orthogonal_to", ()))
        again = FitOptions(recipe.get("method", "mean"), orthogonal, recipe.get("whitened", True), how.latents)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"the recipe of {old.name} lacks {error}; fit it again from its labels") from error
    if len(set(names)) < len(names) and not recipe.get("augment"):
        raise ConfigError(f"{old.name} was fitted to latents files, which do not tell its images; fit it again")
    concept = Concept(old.name, values, kept)
    labels = Labels(root or Path(), names, (concept,), cells, pairs=pairs, augment=recipe.get("augment"))
    return fit(entry, labels, again, force)


_MADE_ANEW = {"images", "labels", "cells", "pairs", "augment", *FitOptions().to_json()}
