"""Concept vectors of a model by name, and captions and notes for edits along them."""

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from latentcli.concepts import axes
from latentcli.concepts.axes import Axis
from latentcli.concepts.edit import EditRequest, Strength, describe
from latentcli.concepts.vector import ConceptVector, load_all
from latentcli.errors import ConfigError, ModelMismatch, OutputExists, UsageError
from latentcli.events import Event, Note
from latentcli.figures.sheet import Captions
from latentcli.model.modelfile import LoadedModel
from latentcli.storage import catalog


def load_vector(entry: catalog.ModelEntry, model: LoadedModel, request: catalog.VectorRequest) -> ConceptVector:
    """A saved vector, or an axis such as z0 or pc1, which every model has.

    Raises ModelMismatch when another model made the vector, UsageError for an axis that this model does not have.
    """
    if request.is_axis and request.reference not in catalog.vectors_of(entry):
        axis = axes.numbered(request.reference, model.geometry)
        return axes.as_vector(axis, model.geometry, model.model_id)
    vector = ConceptVector.load(catalog.vector_file(entry, request))
    if vector.model_id != model.model_id or len(vector.direction) != model.config.latent_dim:
        raise ModelMismatch(
            f"{request.reference} was made with model {vector.model_id}, but {model.name} is {model.model_id}; "
            f"{catalog.make_again(request.reference, model.name)}"
        )
    return vector


def load_vectors(entry: catalog.ModelEntry, model: LoadedModel, strengths: Sequence[Strength]) -> list[ConceptVector]:
    """The vectors of an edit. Raises what `load_vector` does."""
    return [load_vector(entry, model, strength.wanted) for strength in strengths]


def vectors_of(entry: catalog.ModelEntry, model: LoadedModel) -> tuple[list[ConceptVector], list[str]]:
    """The model's vectors, sorted by name, and a message for each file that cannot be read."""
    vectors, unreadable = load_all(entry)
    return [vector for vector in vectors if vector.model_id == model.model_id], unreadable


def noted_vectors(entry: catalog.ModelEntry, model: LoadedModel) -> Generator[Event, None, list[ConceptVector]]:
    """The model's vectors, sorted by name; yields a note on each file that cannot be read."""
    vectors, unreadable = vectors_of(entry, model)
    yield from (Note(f"left out: {message}") for message in unreadable)
    return vectors


def check_known(model: str, names: Iterable[str], vectors: Collection[str]) -> None:
    """Raises ConfigError for a name that is not among the names of the model's vectors."""
    missing = [name for name in names if name not in vectors]
    if missing:
        raise ConfigError(f"{model} has no vector {missing[0]!r}; it has {', '.join(vectors) or 'none'}")


def no_vectors(model: str) -> ConfigError:
    """The error where a model without vectors is asked for them."""
    return ConfigError(f"{model} has no vectors; make one with: latentcli vectors fit, or vectors discover")


def check_new(entry: catalog.ModelEntry, name: str, force: bool) -> Path:
    """The file for a new vector. Raises OutputExists when the name is taken, ConfigError when it cannot be a name."""
    target = catalog.new_vector_file(entry, name)
    if not force and name in catalog.vectors_of(entry):
        raise OutputExists(
            f"model {entry.name} has a vector {name!r}; add `force` to replace it, or choose another name"
        )
    return target


def named_axis(entry: catalog.ModelEntry, model: LoadedModel, name: str) -> Axis:
    """The axis that `z0`, `pc1`, `random`, a saved vector or its file names. Raises UsageError for other names."""
    if name == axes.RANDOM:
        return axes.at_random(model.geometry)
    saved, request = catalog.vectors_of(entry), catalog.VectorRequest(name, None)
    if request.is_axis and name not in saved:
        return axes.numbered(name, model.geometry)
    if name not in saved and not request.is_file:
        vectors = f", and the vectors {', '.join(saved)}" if saved else ""
        raise UsageError(f"{entry.name} has no axis {name!r}; it has z0, pc1 and so on{vectors}")
    return axes.of_vector(load_vector(entry, model, request), model.geometry)


def captions(request: EditRequest) -> Captions:
    """Strengths of the versions of an image: above the columns of a strip, on a sheet also beside the rows."""
    words = [[f"{version.label} {version.strength:+.3g}" for version in row] for row in request.varied()]
    return Captions(rows=words[0] if len(words) > 1 else (), columns=words[-1] if words else ())


def distances(
    model: LoadedModel, before: list[np.ndarray], request: EditRequest, vectors: Sequence[ConceptVector]
) -> Iterator[Note]:
    """Notes on how far latents were moved, in each unit; none for strips, whose strengths were given."""
    if before and not request.rows:
        typical = model.geometry if request.stay_typical else None
        yield from map(Note, describe(np.concatenate(before), vectors, request.vectors, typical))
