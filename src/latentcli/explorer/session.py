"""Session of the explorer: its model, its opened photos, and the pictures that the browser page asks for."""

import contextlib
import functools
import hashlib
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latentcli.concepts import axes
from latentcli.concepts.edit import EditRequest, Strength, move
from latentcli.concepts.fit import FitSettings
from latentcli.concepts.labels import LACKS, SHOWS, Concept, Labels
from latentcli.concepts.vector import ConceptVector
from latentcli.data.sources import find_images
from latentcli.errors import ConfigError, LatentCLIError, UsageError
from latentcli.explorer.state import State
from latentcli.figures.sheet import sheet
from latentcli.imaging.box import Box
from latentcli.imaging.images import encode_picture, read_image, to_pictures
from latentcli.model.interpolation import lerp
from latentcli.model.modelfile import LoadedModel, open_model
from latentcli.photo.locate import find_boxes
from latentcli.photo.photo import Photo
from latentcli.pipelines import edit, fit_vectors
from latentcli.pipelines.choose import unlike
from latentcli.pipelines.inputs import Item
from latentcli.pipelines.vectors import vectors_of
from latentcli.storage import catalog
from latentcli.storage.latents import SUFFIX, Latents

COMPONENTS = 8  # principal components with a slider
_PREVIEW = 768  # pixels, at most, of the longer side of a photo's preview
_KEPT, _MOST_KEPT = 8, 256 << 20  # previews, and bytes of photo files, in memory, at most
_STRIP = 5  # pictures of a strip
_LEAST_PILE = 2  # pictures, at least, with the concept, and without it, to fit a vector
TYPICAL = (1, 99)  # percentiles of latents' projections on a vector, between which a latent is typical
_JPEG = 90  # quality of JPEG previews


@dataclass(frozen=True, slots=True)
class Shown:
    """Content of a file that the page shows or downloads."""

    content: bytes
    media_type: str
    name: str = ""  # file name of a download


@dataclass(frozen=True, slots=True)
class Opened:
    """A photo to be edited in the page, with its preview and crop boxes."""

    name: str
    content: bytes  # the bytes of the photo's file, which are decoded at full size for a download only
    size: tuple[int, int]  # pixels at full size
    preview: Photo
    boxes: list[Box]  # in pixels of the preview
    notes: list[str]  # on the boxes, and on a photo that is unlike the model's images


class Session:
    """Model, vectors and photos of a running explorer. Calls must not overlap; `server.Queue` ensures that."""

    def __init__(self, entry: catalog.ModelEntry, images: Path | None = None) -> None:
        """Load the model and list the folder `images`. Raises ImageError for a folder without images."""
        self.model: LoadedModel = open_model(entry)
        self.entry = replace(entry, loaded=self.model)
        self.images = find_images(images) if images is not None else []
        self._files: dict[str, tuple[str, bytes]] = {}  # names and contents of photos by their keys, the latest last
        self._opened = functools.lru_cache(_KEPT)(self._read_photo)
        geometry = self.model.geometry
        components = axes.components(geometry, COMPONENTS)
        self._components = [axes.as_vector(axis, geometry, self.model.model_id) for axis in components]
        self._vectors: dict[str, ConceptVector] = {}
        self._read_vectors()
        self.model.engine.prepare()

    def _read_vectors(self) -> None:
        """Read the saved vectors, and add the principal components whose names no saved vector has."""
        saved = {vector.name: vector for vector in vectors_of(self.entry, self.model)[0]}
        self._vectors = saved | {vector.name: vector for vector in self._components if vector.name not in saved}

    @property
    def vectors(self) -> list[ConceptVector]:
        """Vectors that have a slider: saved vectors, then principal components."""
        return list(self._vectors.values())

    def describe(self) -> dict[str, Any]:
        """Name, image size and vectors of the model, and the number of images, as JSON values for the page."""
        config = self.model.config
        return {
            "name": self.model.name,
            "width": config.width,
            "height": config.height,
            "faces": config.crop == "face",
            "images": len(self.images),
            "vectors": [describe_vector(vector) for vector in self._vectors.values()],
        }

    def open(self, name: str, content: bytes) -> dict[str, Any]:
        """Keep a photo in memory; returns its key, name and size. Raises ImageError if `content` is not a photo."""
        key = hashlib.sha256(content).hexdigest()[:16]
        safe = Path(name.replace("\\", "/")).name or "photo.png"
        self._files.pop(key, None)
        self._files[key] = safe, content
        while len(self._files) > 1 and sum(len(file) for _, file in self._files.values()) > _MOST_KEPT:
            del self._files[next(iter(self._files))]
            self._opened.cache_clear()
        opened = self._opened(key, False)
        return {"photo": key, "name": safe, "width": opened.size[0], "height": opened.size[1]}

    def _read_photo(self, key: str, align: bool) -> Opened:
        """Read the photo with this key and find its face if `align`. Raises ConfigError for a photo no longer kept."""
        if key not in self._files:
            raise ConfigError("the photo is no longer open; open it again")
        name, content = self._files[key]
        path = Path(name)
        photo = Photo.read(path, content)
        boxes, notes = find_boxes(photo, path, self.model.config, EditRequest(align=align))
        notes = unlike(self.entry, photo.visible(), name) + notes
        scale = min(1.0, _PREVIEW / max(photo.size))
        size = max(1, round(photo.size[0] * scale)), max(1, round(photo.size[1] * scale))
        alpha = photo.alpha and photo.alpha.resize(size, Image.Resampling.LANCZOS)
        preview = Photo(photo.picture.resize(size, Image.Resampling.LANCZOS), alpha)
        scaled = [
            replace(box, x=box.x * scale, y=box.y * scale, width=box.width * scale, height=box.height * scale)
            for box in boxes
        ]
        return Opened(name, content, photo.size, preview, scaled, notes)

    def _moves(self, state: State) -> tuple[list[ConceptVector], tuple[Strength, ...]]:
        """Vectors that a state moves along, and the strengths. Raises UsageError for a vector that the model lacks."""
        missing = [name for name in state.moves if name not in self._vectors]
        if missing:
            raise UsageError(f"{self.model.name} has no vector {missing[0]!r}; load the page again")
        vectors = [self._vectors[name] for name in state.moves]
        return vectors, tuple(Strength(name, strength=strength) for name, strength in state.moves.items())

    def _start(self, state: State) -> np.ndarray:
        """Latent (1, latent_dim) of a state's origin (seed, photo, image or walk), before its moves along vectors."""
        if state.seed is not None:
            return self.model.prior.sample([state.seed])
        if state.image is not None:
            if state.image >= len(self.images):
                raise UsageError("there is no such image in the folder")
            return self.model.encode(read_image(self.images[state.image], self.model.config)[None])
        if state.walk is not None:
            ends = [self._latent(end)[0] for end in state.walk[:2]]
            return lerp(ends[0], ends[1], np.clip([state.walk[2]], 0, 1, dtype=np.float32))
        assert state.photo is not None
        opened = self._opened(state.photo, state.align)
        return edit.edit_photo(self.model, opened.preview, EditRequest(), opened.boxes[:1], [])[1]

    def _latent(self, state: State) -> np.ndarray:
        """Latent (1, latent_dim) of a state, after its moves along vectors."""
        return move(self._start(state), *self._moves(state))

    def latents(self, state: State) -> Shown:
        """Latents file with the latent of a state, to be downloaded for use on the command line."""
        z = self._latent(state)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "latent.safetensors")
            Latents(z.astype(np.float32), ("explored.png",), self.model.model_id).save(path)
            return Shown(path.read_bytes(), "application/octet-stream", f"explored{SUFFIX}")

    def picture(self, state: State, full_size: bool = False) -> Shown:
        """Decoded image of a state, or its edited photo: a preview or, with `full_size`, at the photo's own size."""
        if state.photo is None:
            picture = to_pictures(self.model.decode(self._latent(state)))[0]
            return Shown(encode_picture(picture, ".png"), "image/png", f"{self._stem(state)}.png")
        opened = self._opened(state.photo, state.align)
        vectors, strengths = self._moves(state)
        request = EditRequest(vectors=strengths, align=state.align)
        if full_size and vectors:
            item = Item(Path(opened.name), opened.name, None, content=opened.content)
            content = edit.edited_bytes(self.model, request, vectors, item)
            name = f"{Path(opened.name).stem}{request.tag()}{edit.same_format(item)}"
            return Shown(content, "application/octet-stream", name)
        if full_size:
            return Shown(opened.content, "application/octet-stream", opened.name)
        versions, _ = edit.edit_photo(self.model, opened.preview, request, opened.boxes, vectors)
        preview = versions[-1].visible()
        if "A" in preview.getbands():
            return Shown(encode_picture(preview, ".png"), "image/png")
        return Shown(encode_picture(preview, ".jpg", quality=_JPEG), "image/jpeg")

    def strip(self, state: State, name: str) -> Shown:
        """Strip of 5 decoded images of a state, moved along the vector `name` from percentile 1 to percentile 99."""
        if name not in self._vectors:
            raise UsageError(f"{self.model.name} has no vector {name!r}")
        low, high = self._range(self._start(state), self._vectors[name])
        z = self._latent(replace(state, moves={other: state.moves[other] for other in state.moves if other != name}))
        steps = np.linspace(low, high, _STRIP, dtype=np.float32)[:, None]
        pictures = to_pictures(self.model.decode(z + steps * self._vectors[name].direction))
        return Shown(encode_picture(sheet(pictures, _STRIP), ".png"), "image/png")

    def start(self, state: State) -> dict[str, Any]:
        """`ranges`: strengths by vector that take a state's origin to percentiles 1 and 99; `notes` on its photo."""
        z = self._start(state)
        ranges = {name: self._range(z, vector) for name, vector in self._vectors.items()}
        notes = [] if state.photo is None else self._opened(state.photo, state.align).notes
        return {"ranges": ranges, "notes": notes}

    def _range(self, z: np.ndarray, vector: ConceptVector) -> tuple[float, float]:
        """Strengths that move `z` (1, latent_dim) to percentile 1 (at most 0) and 99 (at least 0) along `vector`."""
        length, score = float(np.linalg.norm(vector.direction)), float(vector.score(z)[0])
        low, high = ((float(vector.percentiles[percent]) - score) / length for percent in TYPICAL)
        return min(low, 0.0), max(high, 0.0)

    def command(self, state: State) -> str:
        """Command line that writes the picture of a state to a file; "" for a state that no one command makes."""
        moves = [f"--vector={name}={strength:.6g}" for name, strength in state.moves.items()]
        words = ["latentcli"]
        if state.seed is not None and moves:
            words += ["apply-vector", f"seed:{state.seed}", *moves]
        elif state.seed is not None:
            words += ["sample", "--n", "1", "--seed", str(state.seed)]
        elif state.image is not None and moves:
            words += ["apply-vector", str(self.images[state.image]), *moves]
        elif state.photo is not None and moves:
            name = self._opened(state.photo, state.align).name
            words += ["edit", name, *moves, *([] if state.align else ["--no-align"])]
        else:
            return ""
        return shlex.join([*words, "--model", self._reference()])

    def _reference(self) -> str:
        """Argument for the model on a command line: its name, or its folder if the name finds another model or none."""
        with contextlib.suppress(LatentCLIError):
            if catalog.find_model(self.model.name).path.resolve() == self.entry.path.resolve():
                return self.model.name
        return str(self.entry.path.parent)

    def fit(self, name: str, piles: Sequence[Sequence[State]], force: bool) -> dict[str, Any]:
        """Fit and save a vector for two piles of pictures, with and without a concept; returns its description.

        Raises ConfigError for a pile that is too small, OutputExists for a `name` that is taken, unless forced.
        """
        if any(len(pile) < _LEAST_PILE for pile in piles):
            raise ConfigError(f"put {_LEAST_PILE} or more pictures on each pile")
        kinds = ("with", "without")
        names = tuple(f"{kind}-{row}.png" for kind, pile in zip(kinds, piles, strict=True) for row in range(len(pile)))
        values = np.repeat([SHOWS, LACKS], list(map(len, piles))).astype(np.int8)
        origin = {"positive": f"with{SUFFIX}", "negative": f"without{SUFFIX}"}
        z = np.concatenate([self._latent(state) for pile in piles for state in pile])
        latents = Latents(z, names, self.model.model_id)
        labels = Labels(Path(), names, (Concept(name, values, origin),), latents=latents)
        events = fit_vectors.fit(self.entry, labels, FitSettings(), force)
        vector = next(event for event in events if isinstance(event, ConceptVector))
        self._read_vectors()
        return describe_vector(vector) | {"positives": vector.positives, "negatives": vector.negatives}

    def _stem(self, state: State) -> str:
        """File name, without suffix, for the download of a state's picture."""
        if state.walk is not None:
            return "walk"
        start = f"seed{state.seed}" if state.seed is not None else self.images[state.image or 0].stem
        return start + "".join(f"-{name}{strength:+g}" for name, strength in state.moves.items())


def describe_vector(vector: ConceptVector) -> dict[str, Any]:
    """Name, class gap, AUC and advice of a vector, as JSON values for the page."""
    sigma = float(vector.length_in_sigma)
    return {
        "name": vector.name,
        "labelled": vector.positives > 0 or bool(vector.combined),
        "sigma": sigma if np.isfinite(sigma) else None,  # within-class standard deviations of strength 1
        "auc": vector.auc,
        "advice": vector.advice,
    }
