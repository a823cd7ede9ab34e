"""Concept vectors of a model, loaded by name; captions and notes for edits along concept vectors."""

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
    """Load a saved vector, or make one for an axis that needs no saving, such as z0 or pc1.

    Raises ModelMismatch for a vector of another model, UsageError for an axis that the model does not have.
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
    """Load the vector that each of `strengths` names, in order. Raises the errors of `load_vector`."""
    return [load_vector(entry, model, strength.wanted) for strength in strengths]


def vectors_of(entry: catalog.ModelEntry, model: LoadedModel) -> tuple[list[ConceptVector], list[str]]:
    """Saved vectors made with the model, sorted by name, and a message for each vector file that cannot be read."""
    vectors, unreadable = load_all(entry)
    return [vector for vector in vectors if vector.model_id == model.model_id], unreadable


def noted_vectors(entry: catalog.ModelEntry, model: LoadedModel) -> Generator[Event, None, list[ConceptVector]]:
    """Saved vectors made with the model, sorted by name; yields a note for each vector file that cannot be read."""
    vectors, unreadable = vectors_of(entry, model)
    yield from (Note(f"left out: {message}") for message in unreadable)
    return vectors


def check_known(model: str, names: Iterable[str], vectors: Collection[str]) -> None:
    """Raise ConfigError for any of `names` that is not in `vectors`, the names of the model's vectors."""
    missing = [name for name in names if name not in vectors]
    if missing:
        raise ConfigError(f"{model} has no vector {missing[0]!r}; it has {', '.join(vectors) or 'none'}")


def no_vectors(model: str) -> ConfigError:
    """Error for a command that needs concept vectors, but whose model has none."""
    return ConfigError(f"{model} has no vectors; make one with: latentcli vectors fit, or vectors discover")


def check_new(entry: catalog.ModelEntry, name: str, force: bool) -> Path:
    """Path for a new vector's file. Raises OutputExists for a name that is taken, ConfigError for an unusable name."""
    target = catalog.new_vector_file(entry, name)
    if not force and name in catalog.vectors_of(entry):
        raise OutputExists(
            f"model {entry.name} has a vector {name!r}; add `force` to replace it, or choose another name"
        )
    return target


def named_axis(entry: catalog.ModelEntry, model: LoadedModel, name: str) -> Axis:
    """Axis for a name: z0, pc1, random, a saved vector or a vector's file. Raises UsageError for an unknown name."""
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
    """Captions such as "smile +0.5" of images with varied strengths: above columns; for two vectors, also at rows."""
    words = [[f"{version.label} {version.strength:+.3g}" for version in row] for row in request.varied()]
    return Captions(rows=words[0] if len(words) > 1 else (), columns=words[-1] if words else ())


def distances(
    model: LoadedModel, before: list[np.ndarray], request: EditRequest, vectors: Sequence[ConceptVector]
) -> Iterator[Note]:
    """Notes on how far an edit moves the latents in `before` along each vector; none if a vector's strength varies."""
    if before and not request.rows:
        typical = model.geometry if request.stay_typical else None
        yield from map(Note, describe(np.concatenate(before), vectors, request.vectors, typical))
