"""Session of the explorer: its model, the photos that were opened, and every picture the page asks for."""

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
_PREVIEW = 768  # pixels of the longer side of a photo while it is edited
_KEPT, _MOST_KEPT = 8, 256 << 20  # previews, and bytes of photos, in memory
_STRIP = 5  # pictures of a strip
_LEAST_PILE = 2  # pictures of a pile that a vector is fitted to
TYPICAL = (1, 99)  # percentiles of the latents' projections
_JPEG = 90  # quality of previews


@dataclass(frozen=True, slots=True)
class Shown:
    """A file for the page."""

    content: bytes
    media_type: str
    name: str = ""  # for a download


@dataclass(frozen=True, slots=True)
class Opened:
    """A photo that the page edits."""

    name: str
    content: bytes  # the bytes of its file, which are decoded at full size for a download only
    size: tuple[int, int]  # pixels at full size
    preview: Photo
    boxes: list[Box]  # in the preview
    notes: list[str]


class Session:
    """Answers to the page. Calls may come from several threads, but one after the other, as `server.Queue` does it."""

    def __init__(self, entry: catalog.ModelEntry, images: Path | None = None) -> None:
        """Raises what `load_model` does, ImageError for a folder without images."""
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
        """Read the saved vectors; a principal component of the same name gives way."""
        saved = {vector.name: vector for vector in vectors_of(self.entry, self.model)[0]}
        self._vectors = saved | {vector.name: vector for vector in self._components if vector.name not in saved}

    @property
    def vectors(self) -> list[ConceptVector]:
        """The vectors with a slider: saved ones, then principal components."""
        return list(self._vectors.values())

    def describe(self) -> dict[str, Any]:
        """The model and its axes, for the page."""
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
        """Keep a photo; returns its key, name and size. Raises ImageError for a file that is no photo."""
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
        """The photo of a key, with its face found or not. Raises ConfigError when it is no longer kept."""
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
        """Vectors and strengths of a state. Raises UsageError for a vector that the model does not have."""
        missing = [name for name in state.moves if name not in self._vectors]
        if missing:
            raise UsageError(f"{self.model.name} has no vector {missing[0]!r}; load the page again")
        vectors = [self._vectors[name] for name in state.moves]
        return vectors, tuple(Strength(name, strength=strength) for name, strength in state.moves.items())

    def _start(self, state: State) -> np.ndarray:
        """The latent (1, latent_dim) that a state starts from."""
        if state.seed is not None:
            return self.model.prior.sample([state.seed], self.model.prior.temperature)
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
        """The latent (1, latent_dim) of a state, moved along its vectors."""
        return move(self._start(state), *self._moves(state))

    def latents(self, state: State) -> Shown:
        """The latent of a picture as a file for the command line."""
        z = self._latent(state)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "latent.safetensors")
            Latents(z.astype(np.float32), ("explored.png",), self.model.model_id).save(path)
            return Shown(path.read_bytes(), "application/octet-stream", f"explored{SUFFIX}")

    def picture(self, state: State, full_size: bool = False) -> Shown:
        """The decoded image of a state, or its edited photo: a preview, or the very file that `command` writes."""
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
        """Pictures at a few strengths of one vector, over its typical range."""
        if name not in self._vectors:
            raise UsageError(f"{self.model.name} has no vector {name!r}")
        low, high = self._range(self._start(state), self._vectors[name])
        z = self._latent(replace(state, moves={other: state.moves[other] for other in state.moves if other != name}))
        steps = np.linspace(low, high, _STRIP, dtype=np.float32)[:, None]
        pictures = to_pictures(self.model.decode(z + steps * self._vectors[name].direction))
        return Shown(encode_picture(sheet(pictures, _STRIP), ".png"), "image/png")

    def start(self, state: State) -> dict[str, Any]:
        """The range of typical strengths of each vector, and notes on what was found in a photo."""
        z = self._start(state)
        ranges = {name: self._range(z, vector) for name, vector in self._vectors.items()}
        notes = [] if state.photo is None else self._opened(state.photo, state.align).notes
        return {"ranges": ranges, "notes": notes}

    def _range(self, z: np.ndarray, vector: ConceptVector) -> tuple[float, float]:
        """Strengths between which a latent (1, latent_dim) stays as typical as the images are; 0 is among them."""
        length, score = float(np.linalg.norm(vector.direction)), float(vector.score(z)[0])
        low, high = ((float(vector.percentiles[percent]) - score) / length for percent in TYPICAL)
        return min(low, 0.0), max(high, 0.0)

    def command(self, state: State) -> str:
        """The command line that writes the file of a download; "" where there is none."""
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
        """The model's name, or its folder where the name stands for another model or for none."""
        with contextlib.suppress(LatentCLIError):
            if catalog.find_model(self.model.name).path.resolve() == self.entry.path.resolve():
                return self.model.name
        return str(self.entry.path.parent)

    def fit(self, name: str, piles: Sequence[Sequence[State]], force: bool) -> dict[str, Any]:
        """Fit a vector to two piles of pictures, with the concept and without it, and save it, as `vectors fit` does.

        Raises ConfigError for piles that are too small, OutputExists when the name is taken.
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
        """Name of a download, without suffix."""
        if state.walk is not None:
            return "walk"
        start = f"seed{state.seed}" if state.seed is not None else self.images[state.image or 0].stem
        return start + "".join(f"-{name}{strength:+g}" for name, strength in state.moves.items())


def describe_vector(vector: ConceptVector) -> dict[str, Any]:
    """Figures of a vector, for the page."""
    sigma = float(vector.gap_in_sigma)
    return {
        "name": vector.name,
        "labelled": vector.positives > 0 or bool(vector.combined),
        "sigma": sigma if np.isfinite(sigma) else None,  # within-class standard deviations of strength 1
        "auc": vector.auc,
        "advice": vector.advice,
    }
