"""Choice of the model that a command uses, by one rule for all commands.

The model that the user names; else, among models that have the named vectors, the one that made the given latents.
Else, for pictures, the user's latest model if it decodes the pictures nearly as well as its held-out images, or the
model that decodes the pictures with the smallest error. Else the user's latest model; else a bundled one.
"""

import contextlib
import os
from collections.abc import Sequence
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

_COMPARED = 3  # given pictures, at most, on which models are compared
_SIDE = 1024  # pixels, at most, of the longer side of a picture on which models are compared
_MOST_OWN = 10  # models of the user, at most and the latest, that are compared
# Both factors are measured by benchmarks/choice.py.
_NO_FACE = 3.0  # on a face model's error for a square, small picture without a face that is found: it may be no face
_SHARPER = 3.0  # on a face model's error limit for a photo with a face: sharp photos reach 1.8 times the limit


@dataclass(frozen=True, slots=True)
class _Fit:
    """Reconstruction error of a model on some pictures, and the limit above which a picture is unfamiliar."""

    entry: ModelEntry
    error: float  # median of the mean squared errors, pixels in 0 to 1; infinite where a face is missing
    limit: float | None  # 99th percentile of the errors of held-out images; None where it was not measured
    has_face: bool = False  # the model needs faces, and found one in each picture

    @property
    def knows(self) -> bool:
        """Whether the pictures resemble the training images: `error` is finite, and at most `limit` if known."""
        return np.isfinite(self.error) and (self.limit is None or self.error <= self.limit)


def choose(
    wanted: str | None,
    vectors: Sequence[VectorRequest],
    subjects: Sequence[str | Path],
    bundled: str = DEFAULT_MODEL,
    engine: EngineName = "auto",
) -> Choice:
    """Choose the model for `subjects` (pictures, folders, latents files or samples), with reason and notes.

    `wanted` is the model's name if the user gives one, `bundled` that of the bundled model used if nothing else
    decides. Raises ConfigError, ModelMismatch or FileFormatError if no model has the `vectors`.
    """
    entries = [replace(entry, engine=engine) for entry in catalog.candidates(wanted, vectors, bundled)]
    makers = _makers(subjects)
    if wanted is None and (made := [entry for entry in entries if entry.model_id in makers]):
        return Choice(made[0], "made these latents")
    pictures, name = _pictures(subjects)
    if not pictures:
        return catalog.choose(wanted, vectors, bundled, engine)
    comparison = _Comparison(pictures, name)
    if len(entries) == 1:
        chosen, why = comparison.fit(entries[0]), catalog.choose(wanted, vectors).why
    elif not entries[0].header.bundled and (latest := comparison.fit(entries[0])).knows:
        chosen, why = latest, f"is your latest, and knows {name}"
    else:
        fits = comparison.fits(entries)
        chosen, why = min(fits, key=lambda fit: fit.error), f"explains {name} best of {len(fits)}"
    return Choice(chosen.entry, why, tuple(comparison.unlike(chosen)))


def unlike(entry: ModelEntry, picture: Image.Image, name: str) -> list[str]:
    """A note if the picture called `name` is unlike the model's images, naming a better model if any; else []."""
    comparison = _Comparison([picture], name)
    return comparison.unlike(comparison.fit(entry))


def _makers(subjects: Sequence[str | Path]) -> set[str]:
    """Ids of the models that made the latents files among `subjects`."""
    ids = set()
    for subject in subjects:
        path = str(subject).partition("#")[0]
        if path.endswith(".safetensors"):
            with contextlib.suppress(FileFormatError):  # the command itself will report the damaged file
                ids.add(str(tensorfile.read_header(Path(path), LATENTS).get("model_id")))
    return ids


def _pictures(subjects: Sequence[str | Path]) -> tuple[list[Image.Image], str]:
    """Up to 3 pictures from `subjects`, 1024 pixels a side at most, and the path of the first picture or folder."""
    paths: list[Path] = []
    name = ""
    for path in map(Path, subjects):
        if os.path.exists(path) and ".safetensors" not in path.name:
            name = name or str(path)
            with contextlib.suppress(ImageError):  # the command itself will report the problem
                paths += find_images(path) if os.path.isdir(path) else [path]
    pictures = []
    for path in paths[:: max(1, len(paths) // _COMPARED)][:_COMPARED]:
        with contextlib.suppress(ImageError), open_picture(path, megapixels=PHOTO_MEGAPIXELS) as picture:
            if picture.format == "JPEG":
                picture.draft(None, (2 * _SIDE, 2 * _SIDE))
            whole = upright(picture)
            whole.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            pictures.append(whole)
    return pictures, name


class _Comparison:
    """Reconstruction errors of models on the same pictures; each model is loaded and measured once."""

    def __init__(self, pictures: Sequence[Image.Image], name: str) -> None:
        self._pictures, self._name = pictures, name
        self._measured: dict[Path, _Fit] = {}

    def fit(self, entry: ModelEntry) -> _Fit:
        """Reconstruction error of one model on the pictures, with the loaded model; infinite for a damaged model."""
        if entry.path not in self._measured:
            try:
                model = open_model(entry)
                errors, faces = zip(*(_error(model, picture) for picture in self._pictures), strict=True)
                fit = _Fit(replace(entry, loaded=model), float(np.median(errors)), _limit(entry), all(faces))
            except LatentCLIError:  # a damaged model: the command itself reports it if there is no other model
                fit = _Fit(entry, np.inf, 0.0)
            self._measured[entry.path] = fit
        return self._measured[entry.path]

    def fits(self, entries: Sequence[ModelEntry]) -> list[_Fit]:
        """Reconstruction errors on the pictures: of the user's latest ten and all bundled models among `entries`."""
        own = [entry for entry in entries if not entry.header.bundled][:_MOST_OWN]
        with ThreadPoolExecutor(max_workers=2) as pool:
            return list(pool.map(self.fit, own + [entry for entry in entries if entry.header.bundled]))

    def unlike(self, chosen: _Fit) -> list[str]:
        """A note if the pictures are unlike the chosen model's images, naming a better model if any; else []."""
        if chosen.limit is None or chosen.error <= chosen.limit * (_SHARPER if chosen.has_face else 1):
            return []
        others = [entry for entry in catalog.candidates(None) if entry.model_id != chosen.entry.model_id]
        better = min(self.fits(others), key=lambda fit: fit.error, default=None)
        unlike = f"{self._name} is unlike the images of {chosen.entry.name}"
        if better is not None and better.error < chosen.error:
            return [f"{unlike}; {better.entry.name} explains it better"]
        return [f"{unlike}, and of every other model: expect little"]


def _limit(entry: ModelEntry) -> float | None:
    """99th percentile of the model's mean squared errors on held-out images; None without a stored evaluation."""
    record = Record.of(entry.path.parent, entry.header.network_id)
    if record is None or record.evaluation.on_training or not record.evaluation.errors:
        return None
    return record.evaluation.errors[99]


def _error(model: LoadedModel, picture: Image.Image) -> tuple[float, bool]:
    """Mean squared error of a picture's crop and its decoding, and whether a face was found for the crop.

    Where a face model finds no face, the error is tripled for a square, small picture, and infinite for any other.
    """
    config = model.config
    seen = picture if config.has_alpha else plain(picture, config.background)
    faces = find_faces(seen) if config.crop == "face" else []
    box = faces[0].place(config.framing) if faces else model_box(*picture.size, config)
    factor = 1.0
    if config.crop == "face" and not faces:
        factor = _NO_FACE if is_face_crop(picture.size, config) else np.inf
    x = as_float(to_model_size(seen, config, box)[None])
    decoded = np.rint(model.decode(model.encode_float(x)) * 255) / 255
    return factor * float(np.square(decoded - x).mean()), bool(faces)
