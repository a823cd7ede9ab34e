"""Choice of the model for a command: one rule for all of them.

The named model; else one that has the named vectors, or that made the named latents; among several, where pictures are
given, the user's latest if it knows such pictures, else whichever explains them best; else the user's latest; else a
bundled one. A model explains a picture as well as its decoding of it is near to it.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from latentcli.config import EngineName
from latentcli.data.sources import find_images
from latentcli.defaults import PHOTO_MEGAPIXELS
from latentcli.errors import FileFormatError, ImageError, LatentCLIError
from latentcli.evaluation.record import Record
from latentcli.imaging.faces import find_faces
from latentcli.imaging.images import as_float, model_box, open_picture, plain, to_model_size, upright
from latentcli.model.modelfile import LoadedModel, open_model
from latentcli.photo.locate import is_face_crop
from latentcli.storage import catalog, tensorfile
from latentcli.storage.catalog import DEFAULT_MODEL, Choice, ModelEntry, VectorRequest
from latentcli.storage.latents import KIND as LATENTS

_LOOKED_AT = 3  # pictures of those that are given
_SIDE = 1024  # pixels of the longer side, at which they are looked at
_MOST_OWN = 10  # models of the user that are compared, the latest
# Measured by benchmarks/choice.py. A face crop in which no face is found may be something else: its error counts so
# many times for a model of faces.
_NO_FACE = 3.0
_SHARPER = 3.0  # times a face model's limit that a photo may reach in which a face was found: sharp ones reach 1.8


@dataclass(frozen=True, slots=True)
class _Fit:
    """How well a model explains some pictures."""

    entry: ModelEntry
    error: float  # mean squared error of decodings, of the range 0 to 1; infinite where a face is missing
    limit: float | None  # 99th percentile of that of held-out images; None where the model does not say
    has_face: bool = False  # found, as a model of faces needs it

    @property
    def knows(self) -> bool:
        """Whether the pictures are like the images the model was trained on; a model that does not say may know any."""
        return np.isfinite(self.error) and (self.limit is None or self.error <= self.limit)


def choose(
    wanted: str | None,
    vectors: Sequence[VectorRequest],
    subjects: Sequence[str | Path],
    bundled: str = DEFAULT_MODEL,
    engine: EngineName = "auto",
) -> Choice:
    """The model of a command that was given these pictures, folders, latents files or samples.

    `bundled` names the one of the bundled models that is taken where nothing else decides. Raises what
    `catalog.candidates` does.
    """
    entries = [replace(entry, engine=engine) for entry in catalog.candidates(wanted, vectors, bundled)]
    makers = _makers(subjects)
    if wanted is None and (made := [entry for entry in entries if entry.model_id in makers]):
        return Choice(made[0], "made these latents")
    pictures, name = _pictures(subjects)
    if not pictures:
        return catalog.choose(wanted, vectors, bundled, engine)
    comparison = _Comparison(pictures, name)
    if len(entries) > 1:
        chosen, why = comparison.best(entries)
    else:
        chosen, why = comparison.fit(entries[0]), catalog.choose(wanted, vectors).why
    return Choice(chosen.entry, why, tuple(comparison.unlike(chosen)))


def unlike(entry: ModelEntry, picture: Image.Image, name: str) -> list[str]:
    """A note where a model does not know a picture, which names one that does better; else none."""
    comparison = _Comparison([picture], name)
    return list(comparison.unlike(comparison.fit(entry)))


def _makers(subjects: Sequence[str | Path]) -> set[str]:
    """Ids of the models that made the latents among the subjects."""
    found = set()
    for subject in subjects:
        path = str(subject).partition("#")[0]
        if path.endswith(".safetensors"):
            with contextlib.suppress(FileFormatError):  # the command refuses it
                found.add(str(tensorfile.read_header(Path(path), LATENTS).get("model_id")))
    return found


def _pictures(subjects: Sequence[str | Path]) -> tuple[list[Image.Image], str]:
    """A few of the pictures that can be read, and what to call them."""
    paths: list[Path] = []
    name = ""
    for path in map(Path, subjects):
        if os.path.exists(path) and ".safetensors" not in path.name:
            name = name or str(path)
            with contextlib.suppress(ImageError):  # the command says what is wrong with it
                paths += find_images(path) if os.path.isdir(path) else [path]
    found = []
    for path in paths[:: max(1, len(paths) // _LOOKED_AT)][:_LOOKED_AT]:
        with contextlib.suppress(ImageError):
            found.append(_read(path))
    return found, name


def _read(path: Path) -> Image.Image:
    with open_picture(path, megapixels=PHOTO_MEGAPIXELS) as picture:
        if picture.format == "JPEG":
            picture.draft(None, (2 * _SIDE, 2 * _SIDE))
        whole = upright(picture)
    whole.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return whole


class _Comparison:
    """How well models explain a few pictures; each model is measured once."""

    def __init__(self, pictures: Sequence[Image.Image], name: str) -> None:
        self._pictures, self._name = pictures, name
        self._measured: dict[Path, _Fit] = {}

    def fit(self, entry: ModelEntry) -> _Fit:
        """That of one model."""
        if entry.path not in self._measured:
            self._measured[entry.path] = _fit(entry, self._pictures)
        return self._measured[entry.path]

    def _fits(self, entries: Sequence[ModelEntry]) -> list[_Fit]:
        own = [entry for entry in entries if not entry.bundled][:_MOST_OWN]
        with ThreadPoolExecutor(max_workers=2) as pool:
            return list(pool.map(self.fit, own + [entry for entry in entries if entry.bundled]))

    def best(self, entries: Sequence[ModelEntry]) -> tuple[_Fit, str]:
        """The user's latest if it knows the pictures, else the one that explains them best; and why."""
        if not entries[0].bundled and (latest := self.fit(entries[0])).knows:
            return latest, f"is your latest, and knows {self._name}"
        fits = self._fits(entries)
        return min(fits, key=lambda fit: fit.error), f"explains {self._name} best of {len(fits)}"

    def unlike(self, chosen: _Fit) -> Iterator[str]:
        """A note where the chosen model does not know the pictures, which names one that does better."""
        if chosen.limit is None or chosen.error <= chosen.limit * (_SHARPER if chosen.has_face else 1):
            return
        others = [entry for entry in catalog.candidates(None) if entry.model_id != chosen.entry.model_id]
        better = min(self._fits(others), key=lambda fit: fit.error, default=None)
        if better is not None and better.error < chosen.error:
            yield f"{self._name} is unlike the images of {chosen.entry.name}; {better.entry.name} explains it better"
        else:
            yield f"{self._name} is unlike the images of {chosen.entry.name}, and of every other model: expect little"


def _fit(entry: ModelEntry, pictures: Sequence[Image.Image]) -> _Fit:
    """How well a model explains some pictures; the entry then holds the model."""
    try:
        model = open_model(entry)
        found = [_error(model, picture) for picture in pictures]
    except LatentCLIError:  # damaged: the command says so if it is the only one
        return _Fit(entry, np.inf, 0.0)
    error = float(np.median([one for one, _ in found]))
    return _Fit(replace(entry, loaded=model), error, _limit(entry), all(has_face for _, has_face in found))


def _limit(entry: ModelEntry) -> float | None:
    record = Record.of(entry.path.parent, entry.header.weights_id)
    if record is None or record.evaluation.on_training or not record.evaluation.errors:
        return None
    return record.evaluation.errors[99]


def _error(model: LoadedModel, picture: Image.Image) -> tuple[float, bool]:
    """Mean squared error of the decoding of what the model sees of a picture, and whether that is a face it found."""
    config = model.config
    seen = picture if config.has_alpha else plain(picture, config.background)
    faces = find_faces(seen) if config.crop == "face" else []
    place = faces[0].place(config.framing) if faces else model_box(*picture.size, config)
    doubt = 1.0
    if config.crop == "face" and not faces:
        doubt = _NO_FACE if is_face_crop(picture.size, config) else np.inf
    x = as_float(to_model_size(seen, config, place)[None])
    decoded = np.rint(model.decode(model.encode_float(x)) * 255) / 255
    return doubt * float(np.square(decoded - x).mean()), bool(faces)
