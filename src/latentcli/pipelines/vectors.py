"""Concept vectors that commands are given, by their names, and what commands say of them."""

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from latentcli.concepts import axes
from latentcli.concepts.axes import Axis
from latentcli.concepts.edit import EditRequest, describe
from latentcli.concepts.vector import ConceptVector, load_all
from latentcli.errors import ConfigError, ModelMismatch, OutputExists, UsageError
from latentcli.events import Event, Note
from latentcli.figures.sheet import Captions
from latentcli.model.modelfile import LoadedModel
from latentcli.model.prior import Geometry
from latentcli.storage import catalog
from latentcli.storage.names import VECTOR_SUFFIX


def load_vector(entry: catalog.ModelEntry, model: LoadedModel, request: catalog.VectorRequest) -> ConceptVector:
    """A vector that the model has: a saved one, or an axis that every model has.

    Raises ModelMismatch when another model made it, UsageError for an axis that this one does not have.
    """
    if request.is_axis and request.reference not in catalog.vectors_of(entry):
        where = model.geometry
        return axes.as_vector(axes.numbered(request.reference, where), where, model.model_id)
    found = ConceptVector.load(catalog.vector_file(entry, request))
    if found.model_id != model.model_id or len(found.direction) != model.config.latent_dim:
        raise ModelMismatch(
            f"{request.reference} was made with model {found.model_id}, but {model.name} is {model.model_id}; "
            f"{catalog.make_again(request.reference, model.name)}"
        )
    return found


def load_vectors(entry: catalog.ModelEntry, model: LoadedModel, request: EditRequest) -> list[ConceptVector]:
    """The vectors of a request. Raises what `load_vector` does."""
    return [load_vector(entry, model, vector) for vector in request.wanted()]


def vectors_of(entry: catalog.ModelEntry, model: LoadedModel) -> tuple[list[ConceptVector], list[str]]:
    """The model's vectors, sorted by name, and a message for each file that cannot be read."""
    vectors, unreadable = load_all(entry)
    return [vector for vector in vectors if vector.model_id == model.model_id], unreadable


def noted_vectors(entry: catalog.ModelEntry, model: LoadedModel) -> Generator[Event, None, list[ConceptVector]]:
    """The model's vectors, with a note on each file that cannot be read."""
    vectors, unreadable = vectors_of(entry, model)
    yield from (Note(f"left out: {message}") for message in unreadable)
    return vectors


def check_known(model: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raises ConfigError for a name that none of the model's vectors has."""
    missing = [name for name in names if name not in known]
    if missing:
        raise ConfigError(f"{model} has no vector {missing[0]!r}; it has {', '.join(known) or 'none'}")


def no_vectors(model: str) -> ConfigError:
    """The error for a model without any."""
    return ConfigError(f"{model} has no vectors; make one with: latentcli vectors fit, or vectors discover")


def check_new(entry: catalog.ModelEntry, name: str, force: bool) -> Path:
    """The file for a new vector. Raises OutputExists when the name is taken, ConfigError when it is no name."""
    target = catalog.new_vector_file(entry, name)
    if not force and name in catalog.vectors_of(entry):
        raise OutputExists(
            f"model {entry.name} has a vector {name!r}; add `force` to replace it, or choose another name"
        )
    return target


def named_axis(entry: catalog.ModelEntry, model: LoadedModel, name: str) -> Axis:
    """The axis of a name: `z0`, `pc1`, or a saved vector or its file. Raises UsageError for none of these."""
    if name == axes.RANDOM:
        return axes.at_random(model.geometry)
    known, request = catalog.vectors_of(entry), catalog.VectorRequest(name, None)
    if request.is_axis and name not in known:
        return axes.numbered(name, model.geometry)
    if name not in known and not request.is_file:
        raise UsageError(
            f"{entry.name} has no axis {name!r}; it has z0, pc1 and so on"
            + (f", and the vectors {', '.join(known)}" if known else "")
        )
    return axes.of_vector(load_vector(entry, model, request), model.geometry)


def captions(request: EditRequest) -> Captions:
    """Strengths of the versions of an image: of a strip above its columns, of a sheet beside its rows, too."""
    names = [Path(vector.name).name.removesuffix(VECTOR_SUFFIX) for vector in request.vectors]
    words = [
        [f"{name} {strength:+.3g}" for strength in np.linspace(*row).tolist()]
        for name, row in zip(names, request.rows, strict=False)
    ]
    return Captions(rows=words[0] if len(words) > 1 else (), columns=words[-1] if words else ())


def distances(
    before: list[np.ndarray], request: EditRequest, vectors: Sequence[ConceptVector], typical: Geometry | None
) -> Iterator[Note]:
    """Notes on how far latents were moved, in each unit; none for strips, whose strengths were given."""
    if before and not request.rows:
        yield from map(Note, describe(np.concatenate(before), vectors, request.vectors, typical))
