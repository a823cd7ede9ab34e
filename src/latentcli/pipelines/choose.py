"""Choice of the model for a command: one rule for all commands.

The named model; else one that has the named vectors, or that made the named latents. Among several, where pictures are
given, the user's latest if it knows such pictures, else whichever explains them best; else the user's latest; else a
bundled one. The smaller the difference between a picture and its decoding, the better a model explains it.
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

_COMPARED = 3  # pictures of those that are given
_SIDE = 1024  # pixels of the longer side of the pictures that are compared
_MOST_OWN = 10  # models of the user that are compared, the latest
# Measured by benchmarks/choice.py. A face crop in which no face is found may be something else: a model of faces counts
# its error this many times.
_NO_FACE = 3.0
_SHARPER = 3.0  # times a face model's limit that a photo with a face may reach: sharp photos reach 1.8


@dataclass(frozen=True, slots=True)
class _Fit:
    """How well a model explains some pictures."""

    entry: ModelEntry
    error: float  # median of the mean squared errors, pixels in 0 to 1; infinite where a face is missing
    limit: float | None  # 99th percentile of the errors of held-out images; None where it was not measured
    has_face: bool = False  # the model needs faces, and found one in each picture

    @property
    def knows(self) -> bool:
        """Whether the pictures are like the training images. A model without a limit may know any picture."""
        return np.isfinite(self.error) and (self.limit is None or self.error <= self.limit)


def choose(
    wanted: str | None,
    vectors: Sequence[VectorRequest],
    subjects: Sequence[str | Path],
    bundled: str = DEFAULT_MODEL,
    engine: EngineName = "auto",
) -> Choice:
    """The model of a command that was given these pictures, folders, latents files or samples.

    `bundled` names the bundled model that is taken where nothing else decides. Raises what `catalog.candidates` does.
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
    """A note where a model does not know a picture, with the name of a model that explains it better; else none."""
    comparison = _Comparison([picture], name)
    return comparison.unlike(comparison.fit(entry))


def _makers(subjects: Sequence[str | Path]) -> set[str]:
    """Ids of the models that made the latents among the subjects."""
    ids = set()
    for subject in subjects:
        path = str(subject).partition("#")[0]
        if path.endswith(".safetensors"):
            with contextlib.suppress(FileFormatError):  # the command refuses it
                ids.add(str(tensorfile.read_header(Path(path), LATENTS).get("model_id")))
    return ids


def _pictures(subjects: Sequence[str | Path]) -> tuple[list[Image.Image], str]:
    """A few of the pictures that can be read, and a name for them."""
    paths: list[Path] = []
    name = ""
    for path in map(Path, subjects):
        if os.path.exists(path) and ".safetensors" not in path.name:
            name = name or str(path)
            with contextlib.suppress(ImageError):  # the command says what is wrong with it
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
    """How well models explain a few pictures; each model is measured once."""

    def __init__(self, pictures: Sequence[Image.Image], name: str) -> None:
        self._pictures, self._name = pictures, name
        self._measured: dict[Path, _Fit] = {}

    def fit(self, entry: ModelEntry) -> _Fit:
        """The fit of one model, whose entry then holds the loaded model."""
        if entry.path not in self._measured:
            try:
                model = open_model(entry)
                errors, faces = zip(*(_error(model, picture) for picture in self._pictures), strict=True)
                fit = _Fit(replace(entry, loaded=model), float(np.median(errors)), _limit(entry), all(faces))
            except LatentCLIError:  # damaged: the command says so if it is the only one
                fit = _Fit(entry, np.inf, 0.0)
            self._measured[entry.path] = fit
        return self._measured[entry.path]

    def fits(self, entries: Sequence[ModelEntry]) -> list[_Fit]:
        """The fits of the bundled models and of the user's latest ones."""
        own = [entry for entry in entries if not entry.header.bundled][:_MOST_OWN]
        with ThreadPoolExecutor(max_workers=2) as pool:
            return list(pool.map(self.fit, own + [entry for entry in entries if entry.header.bundled]))

    def unlike(self, chosen: _Fit) -> list[str]:
        """A note where the chosen model does not know the pictures, with the name of a better model; else none."""
        if chosen.limit is None or chosen.error <= chosen.limit * (_SHARPER if chosen.has_face else 1):
            return []
        others = [entry for entry in catalog.candidates(None) if entry.model_id != chosen.entry.model_id]
        better = min(self.fits(others), key=lambda fit: fit.error, default=None)
        unlike = f"{self._name} is unlike the images of {chosen.entry.name}"
        if better is not None and better.error < chosen.error:
            return [f"{unlike}; {better.entry.name} explains it better"]
        return [f"{unlike}, and of every other model: expect little"]


def _limit(entry: ModelEntry) -> float | None:
    """99th percentile of the errors of held-out images; None where these were not measured."""
    record = Record.of(entry.path.parent, entry.header.weights_id)
    if record is None or record.evaluation.on_training or not record.evaluation.errors:
        return None
    return record.evaluation.errors[99]


def _error(model: LoadedModel, picture: Image.Image) -> tuple[float, bool]:
    """Mean squared error of the decoding of a picture's crop, and whether the crop is a face that was found."""
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
