"""Catalog: models and vectors by name. It reads headers only, so it needs no torch.

The user's own models are in `./models/`. Those shipped with latentcli say `bundled: true` in their headers and never
count as the user's own. Vectors are beside their model, the user's for a bundled model in the user's data folder.
"""

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import platformdirs

from latentcli.config import EngineName
from latentcli.defaults import MOST_STRENGTH
from latentcli.errors import ConfigError, FileFormatError, ModelMismatch, UsageError
from latentcli.storage import tensorfile
from latentcli.storage.history import ModelHeader, read_model_header
from latentcli.storage.names import MODEL_FILE, NUMBERED_AXIS, RESUME_FILE, VECTOR_SUFFIX, VECTORS_FOLDER
from latentcli.text import did_you_mean, finite

OWN_MODELS = Path("models")  # folder of the user's models, in the current folder
PHOTO_MODEL = "faces"  # the bundled model for photos that come through a pipe
DEFAULT_MODEL = "avatars"  # the bundled model where neither the user nor a picture decides
FREE_LICENCES = ("CC0 1.0", "CC BY 4.0", "CC BY-SA 3.0", "MIT")  # licences that allow every use
_NAME = re.compile(r"\w[\w.+-]*")
_LONGEST_NAME = 100  # characters of a model's or vector's name, at most
_ID = 12  # characters of a model_id
_LISTED = 12  # vectors that an error message names, at most


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """Model of the catalog: its name, its file, and the header of the file."""

    name: str
    path: Path  # path of the model file
    header: ModelHeader
    engine: EngineName = "auto"  # the engine to compute with
    loaded: Any = field(default=None, compare=False, repr=False)  # the model, if it was loaded in order to choose it

    @property
    def model_id(self) -> str:
        return self.header.model_id

    @property
    def is_restricted(self) -> bool:
        """Whether the model's licence forbids some uses."""
        return self.header.licence not in ("", *FREE_LICENCES)


@dataclass(frozen=True, slots=True)
class VectorRequest:
    """Vector that a user asks for as `NAME|FILE[=S]`, with S the strength."""

    reference: str  # NAME or FILE
    strength: float | None  # None without =S

    @property
    def is_file(self) -> bool:
        return self.reference.endswith(VECTOR_SUFFIX)

    @property
    def is_axis(self) -> bool:
        """Whether `reference` names a latent dimension (`z0`) or a principal component (`pc1`), which need no file."""
        return NUMBERED_AXIS.fullmatch(self.reference) is not None


def new_model_name(data: Path) -> str:
    """Model name made from the name of the training data; `my-` is put before the name of a bundled model.

    >>> new_model_name(Path("Photos (2020)"))
    'Photos-2020'
    >>> new_model_name(Path("faces"))
    'my-faces'
    """
    stem = data.resolve().name if os.path.isdir(data) or not data.suffix else data.stem
    name = re.sub(r"[^\w.+]+", "-", stem)[:_LONGEST_NAME].strip("-.+") or "model"
    return f"my-{name}" if name in {entry.name for entry in bundled_models()} else name


def check_name(name: str, what: str) -> str:
    """Return `name` if it is a safe file name, else raise ConfigError; its message names `what`, like "vector"."""
    if not _NAME.fullmatch(name) or name.endswith(VECTOR_SUFFIX):
        raise ConfigError(f"{what} {name[:_LONGEST_NAME]!r} cannot be a name; use letters, digits, -, _ and .")
    if len(name) > _LONGEST_NAME:
        raise ConfigError(f"{what} names have up to {_LONGEST_NAME} characters, got {len(name)}; take a shorter one")
    return name


def parse_vector(text: str) -> VectorRequest:
    """Request for a vector, from text: NAME, FILE, NAME=S or FILE=S. Raises UsageError for a bad strength S.

    >>> parse_vector("smile=1.5")
    VectorRequest(reference='smile', strength=1.5)
    >>> parse_vector("smile")
    VectorRequest(reference='smile', strength=None)
    """
    reference, equals, number = text.rpartition("=")
    if not equals:
        return VectorRequest(text, None)
    strength = finite(number)
    if not abs(strength) <= MOST_STRENGTH:
        raise UsageError(f"`vector` takes NAME or NAME=STRENGTH with strengths up to {MOST_STRENGTH:g}, got {text!r}")
    return VectorRequest(reference, strength)


def own_models() -> list[ModelEntry]:
    """Models of the user under `./models/`, the most recently trained first; unreadable files are left out."""
    entries = [entry for entry in _scan(OWN_MODELS)[0] if not entry.header.bundled]
    return sorted(entries, key=lambda entry: entry.header.finished_at, reverse=True)


def bundled_models(first: str = DEFAULT_MODEL) -> list[ModelEntry]:
    """Models that come with latentcli, sorted by name after the model called `first`."""
    package = Path(__file__).parents[1]
    entries = _scan(package / "bundled")[0] or _scan(package.parents[1] / "models")[0]  # the latter in a checkout
    entries = [entry for entry in entries if entry.header.bundled]
    return sorted(entries, key=lambda entry: (entry.name != first, entry.name))


def damaged_models() -> list[str]:
    """Error messages, one for each unreadable model file under `./models/`."""
    return _scan(OWN_MODELS)[1]


def unfinished_runs() -> list[str]:
    """Names of the trainings under `./models/` that have a checkpoint and no model file yet."""
    runs = sorted(path.parent for path in OWN_MODELS.glob(f"*/{RESUME_FILE}"))
    return [run.name for run in runs if not (run / MODEL_FILE).exists()]


def _scan(folder: Path) -> tuple[list[ModelEntry], list[str]]:
    """Models in the subfolders of `folder`, sorted by name, and an error message for each unreadable model file."""
    entries, messages = [], []
    for path in sorted(folder.glob(f"*/{MODEL_FILE}")):
        try:
            entries.append(ModelEntry(path.parent.name, path, read_model_header(path)))
        except FileFormatError as error:
            messages.append(str(error))
    return entries, messages


def candidates(
    wanted: str | None, vectors: Sequence[VectorRequest] = (), bundled: str = DEFAULT_MODEL
) -> list[ModelEntry]:
    """Models that a command may use: `wanted` alone, else those of the user, latest first, then the bundled ones.

    `bundled` names the first bundled model. Models that lack one of `vectors` are left out. Raises ConfigError,
    ModelMismatch or FileFormatError when no model is left.
    """
    models = [_named(wanted)] if wanted is not None else own_models() + bundled_models(bundled)
    suitable = [entry for entry in models if all(_has(entry, vector) for vector in vectors)]
    if suitable:
        return suitable
    if vectors and models:
        raise _no_such_vector(models, vectors, wanted)
    raise ConfigError("there is no model yet; train one: latentcli train FOLDER")


def find_model(wanted: str | None, vectors: Sequence[VectorRequest] = ()) -> ModelEntry:
    """First model of `candidates`: the wanted one, or the user's latest. Raises the errors of `candidates`."""
    return candidates(wanted, vectors)[0]


@dataclass(frozen=True, slots=True)
class Choice:
    """Model chosen for a command, the reason for it, and notes on pictures of a kind that the model does not know."""

    entry: ModelEntry
    why: str = ""  # continues a sentence after the model's name: "is your latest"; "" if the user named the model
    notes: tuple[str, ...] = ()


def choose(
    wanted: str | None,
    vectors: Sequence[VectorRequest] = (),
    bundled: str = DEFAULT_MODEL,
    engine: EngineName = "auto",
) -> Choice:
    """First model of `candidates` for a command that takes no pictures, with the reason. Raises their errors."""
    suitable = candidates(wanted, vectors, bundled)
    names = [vector.reference for vector in vectors if not vector.is_axis]
    why = "comes with latentcli" if suitable[0].header.bundled else "is your latest"
    if names and len(suitable) < len(candidates(wanted)):
        why = f"has the vector{'s' * (len(names) > 1)} {' and '.join(names)}"
    return Choice(replace(suitable[0], engine=engine), "" if wanted else why)


def _named(wanted: str) -> ModelEntry:
    """Model called `wanted`, or stored at the path `wanted`. Raises ConfigError when there is none."""
    own = OWN_MODELS / wanted / MODEL_FILE
    if _NAME.fullmatch(wanted) and os.path.isfile(own):
        return ModelEntry(wanted, own, read_model_header(own))
    for entry in bundled_models():
        if entry.name == wanted:
            return entry
    for path in (Path(wanted) / MODEL_FILE, Path(wanted)):
        if os.path.isfile(path):
            return ModelEntry(path.resolve().parent.name, path, read_model_header(path))
    if _NAME.fullmatch(wanted) and wanted in unfinished_runs():
        raise ConfigError(f"{OWN_MODELS / wanted} is not finished; run the same train command to resume it")
    names = [entry.name for entry in own_models() + bundled_models()]
    known = f"; known: {', '.join(names) or 'none yet'} (a path to a model folder works too)"
    raise ConfigError(f"there is no model {wanted!r}{did_you_mean(wanted, names) or known}")


def _has(entry: ModelEntry, vector: VectorRequest) -> bool:
    """Whether a model has the saved vector, latent dimension or principal component that `vector` names."""
    if vector.is_file:
        return _made_by(vector) == entry.model_id
    return vector.reference in vectors_of(entry) or vector.is_axis


def _made_by(vector: VectorRequest) -> str:
    """Id of the model that a vector was fitted for, read from the vector's file."""
    return str(tensorfile.read_header(Path(vector.reference), "vector").get("model_id"))[:_ID]


def _no_such_vector(
    entries: list[ModelEntry], vectors: Sequence[VectorRequest], wanted: str | None
) -> ConfigError | ModelMismatch:
    """Error that no model of `entries` has all `vectors`; adds the model a missing vector is for, or similar names."""
    missing = [vector for vector in vectors if not any(_has(entry, vector) for entry in entries)]
    if not missing:
        return ConfigError(f"no model has {' and '.join(vector.reference for vector in vectors)} together")
    model = wanted or entries[0].name
    for vector in missing:
        if vector.is_file:
            other = f"{wanted} is {entries[0].model_id}" if wanted else "no known model is that one"
            return ModelMismatch(
                f"{vector.reference} was made with model {_made_by(vector)}, but {other}; "
                f"{make_again(vector.reference, model)}"
            )
        for path in sorted(_user_vectors().glob("*/*")):
            if path.name == f"{vector.reference}{VECTOR_SUFFIX}":
                return ModelMismatch(
                    f"{vector.reference} was made with model {path.parent.name}, which is another or an earlier one; "
                    f"{make_again(str(path), model)}"
                )
    name, names = missing[0].reference, list(dict.fromkeys(name for entry in entries for name in vectors_of(entry)))
    advice = "; make it with: latentcli vectors fit NAME --positive DIR --negative DIR"
    if not wanted:
        return ConfigError(f"no model has the vector {name}{did_you_mean(name, names) or advice}")
    others = [entry.name for entry in own_models() + bundled_models() if name in vectors_of(entry)]
    if others:
        advice = f"; it is one of {' and '.join(others)}"
    listed = f"; it has {', '.join(names[:_LISTED]) or 'none'}{' …' * (len(names) > _LISTED)}"
    return ConfigError(f"{entries[0].name} has no vector {name}{did_you_mean(name, names) or listed + advice}")


def make_again(vector: str, model: str) -> str:
    """Advice for an error message: the command that fits `vector`, a name or file of another model, for `model`."""
    command = f"latentcli vectors refit {shlex.quote(vector)} --model {shlex.quote(model)} --root FOLDER"
    return f"make it again: {command}, where its images are"


def vectors_of(entry: ModelEntry) -> dict[str, Path]:
    """Files of a model's vectors by name, pc2 before pc10; vectors of the user hide bundled ones of the same name."""
    folders = (entry.path.parent / VECTORS_FOLDER, _user_vectors() / entry.model_id)
    paths = [path for folder in folders for path in folder.glob(f"*{VECTOR_SUFFIX}")]
    by_name = {path.name.removesuffix(VECTOR_SUFFIX): path for path in paths}

    def natural(name: str) -> list[tuple[int, str]]:  # numbers in names are sorted by their value
        return [(int(piece), "") if piece.isdecimal() else (0, piece) for piece in re.split(r"(\d+)", name)]

    return {name: by_name[name] for name in sorted(by_name, key=natural)}


def vector_file(entry: ModelEntry, vector: VectorRequest) -> Path:
    """File of the vector that `vector` names for the model. Raises ConfigError when the file is not found any more."""
    if vector.is_file:
        return Path(vector.reference)
    try:
        return vectors_of(entry)[vector.reference]
    except KeyError as error:
        raise ConfigError(f"the vector {vector.reference} of {entry.name} cannot be found; try again") from error


def new_vector_file(entry: ModelEntry, name: str) -> Path:
    """Path for a new vector called `name`: beside a model of the user, in the user's data folder for a bundled one."""
    check_name(name, "vector")
    folder = _user_vectors() / entry.model_id if entry.header.bundled else entry.path.parent / VECTORS_FOLDER
    return folder / f"{name}{VECTOR_SUFFIX}"


def _user_vectors() -> Path:
    """Folder of the vectors that the user made for bundled models, with a subfolder for each model."""
    return platformdirs.user_data_path("latentcli") / VECTORS_FOLDER
