"""Python interface of latentcli: load a model, sample it, edit photos, fit concept vectors, train.

Pictures come in as paths, PIL images or arrays and go out as PIL images; latents carry the id of their model.
"""

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from latentcli.concepts import labels
from latentcli.concepts.edit import EditRequest, Strength
from latentcli.concepts.fit import FitSettings
from latentcli.concepts.vector import ConceptVector
from latentcli.config import (
    Crop,
    Device,
    EngineName,
    InterpolationMethod,
    Likelihood,
    Merge,
    ModelConfig,
    Precision,
    Preset,
    PriorName,
    VectorMethod,
)
from latentcli.defaults import DETAIL, SAMPLES, SPREAD, WALK_STEPS
from latentcli.errors import ConfigError, ImageError
from latentcli.figures.pictures import Picture, Sheet, model_pixels, picture_file, picture_names, pictures_of
from latentcli.follow import ProgressOption, followed
from latentcli.imaging.box import Box
from latentcli.imaging.images import encode_picture, to_pictures
from latentcli.model import modelfile
from latentcli.model.interpolation import Pace, Walk
from latentcli.model.modelfile import LoadedModel
from latentcli.photo.locate import find_boxes
from latentcli.photo.photo import Photo
from latentcli.pipelines import edit, fit_vectors, sample
from latentcli.pipelines.inputs import keyframes
from latentcli.pipelines.vectors import check_known, load_vectors
from latentcli.runtime import let_threads_sleep
from latentcli.storage import catalog
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.latents import Latents

if TYPE_CHECKING:
    from latentcli.pipelines.evaluate import Evaluated

_SHOWN = 16  # samples that a notebook shows of a model


class Model:
    """A trained model on its device, as `latentcli.load` returns it.

    Attributes:
        name: Name of the model, as `load` takes it.
        model_id: Twelve hex digits of a hash of the network's weights, which latents and vectors carry too.
        config: Configuration of the network: size in pixels, channels, latent dimension and so on.
        loaded: Network, prior and header of the model file.
    """

    def __init__(self, entry: ModelEntry, loaded: LoadedModel) -> None:
        self._entry = replace(entry, loaded=loaded)
        self.name: str = entry.name
        self.model_id: str = loaded.model_id
        self.config: ModelConfig = loaded.config
        self.loaded: LoadedModel = loaded

    @property
    def device(self) -> str:
        """Name of the device that computes: "cpu", "cuda:0", "mps:0"."""
        return self.loaded.engine.device

    @property
    def vectors(self) -> dict[str, ConceptVector]:
        """Concept vectors saved with the model, by name. Raises FileFormatError for a damaged file."""
        return {name: ConceptVector.load(path) for name, path in catalog.vectors_of(self._entry).items()}

    def sample(
        self,
        n: int = SAMPLES,
        seed: int = 0,
        *,
        seeds: Sequence[int] | None = None,
        temperature: float | None = None,
        prior: PriorName | None = None,
        guidance: float | None = None,
        like: str | Sequence[str] = (),
        near: Picture | Latents | None = None,
        spread: float = SPREAD,
    ) -> Sheet:
        """Draw new images from the prior, or variations of one picture.

        Args:
            n: Number of images; the seed of each is one more than the one before, from `seed` on.
            seed: First seed. The same seed gives the same image in any call.
            seeds: One seed per image, instead of `n` and `seed`.
            temperature: Factor on the prior's standard deviation, 0 to 10; by default 1.
            prior: "fitted" (to the training latents) or "standard" (N(0, I)); by default fitted if the model has one.
            guidance: Weight of the difference between a fitted flow and a mixture; by default 1, the fitted density.
            like: Parts of the training images to draw from, such as "cats" or "smiling=yes".
            near: A picture, or the latents of one, to draw variations of.
            spread: Distance of the variations from `near`: 0 is the picture itself, 1 a new sample.

        Raises:
            ConfigError: A value is out of range, or the model lacks the prior.
            UsageError: The model does not know a part in `like`, or `near` is not one picture.
        """
        seeds = tuple(range(seed, seed + n) if seeds is None else seeds)
        if not seeds or min(seeds) < 0 or max(seeds) >= 2**63:
            raise ConfigError("sample takes one or more seeds from 0 to 2^63 - 1")
        parts = (like,) if isinstance(like, str) else tuple(like)
        request = sample.SampleRequest(seeds, prior, temperature, guidance, parts, spread=spread)
        draw = sample.drawing(self.loaded, request, None if near is None else self._keyframe(near))
        return self.decode(draw(seeds))

    def encode(self, pictures: Picture | Iterable[Picture]) -> Latents:
        """Encode pictures as their posterior means, without sampling noise.

        Args:
            pictures: Paths, PIL images, arrays (height, width, 3 or 4) of uint8 or float in [0, 1]; or a folder.

        Returns:
            Latents: z (n, latent_dim) float32, with a name for each row.

        Raises:
            ImageError: A picture cannot be read, or a folder holds none.
        """
        pictures = list(pictures_of(pictures))
        if not pictures:
            raise ImageError("encode takes one or more pictures, got none")
        pixels = np.stack([model_pixels(picture, self.config) for picture in pictures])
        return Latents(self.loaded.encode(pixels), picture_names(pictures), self.model_id)

    def decode(self, z: Latents | np.ndarray) -> Sheet:
        """Decode latents (n, latent_dim) into images of the model's size.

        Raises:
            ModelMismatch: The latents belong to another model.
            ConfigError: The shape is not (n, latent_dim).
        """
        return Sheet(to_pictures(self.loaded.decode(self._z(z))))

    def interpolate(
        self,
        *keyframes: Picture | Latents,
        steps: int = WALK_STEPS,
        method: InterpolationMethod = "lerp",
        loop: bool = False,
        even: bool = False,
    ) -> Sheet:
        """Decode images along a path through the latent space from keyframe to keyframe, as a sheet of one row.

        Args:
            keyframes: Pictures, `Latents` (each row is a keyframe), or texts like "seed:7".
            steps: Images from one keyframe to the next, both included.
            method: "lerp", "slerp", "gaussian" (between quantiles of N(0, I)) or "spline".
            loop: Return to the first keyframe.
            even: Space the images so that pixels change by the same amount from each image to the next.

        Raises:
            ConfigError: There are fewer than two keyframes or steps.
        """
        stops = [z for keyframe in keyframes for z in self._keyframe(keyframe)]
        if len(stops) < 2 or steps < 2:
            raise ConfigError("interpolate takes two or more keyframes, and two or more steps")
        path = Walk(np.stack(stops), method, loop)
        sheet = self.decode(path.at(Pace(steps, even=even).positions(path, self.loaded.decode)))
        sheet.columns = len(sheet)
        return sheet

    def edit(
        self,
        photo: Picture,
        vectors: Mapping[str, float] | None = None,
        *,
        box: str | None = None,
        face: int = 1,
        all_faces: bool = False,
        align: bool = True,
        merge: Merge = "residual",
        detail: float = DETAIL,
        **strengths: float,
    ) -> Image.Image:
        """Edit a photo with saved vectors and merge the change at the photo's own resolution.

        Args:
            photo: Path, PIL image or array.
            vectors: Strengths by the names of vectors; 1 is the distance between the two class means.
            box: Part to edit, "x,y,width,height[,roll]" in pixels and degrees clockwise.
            face: Face to edit, counted from the largest.
            all_faces: Edit all faces.
            align: Find the face and turn it upright; False edits the centre of the photo.
            merge: "residual" adds the change, "ratio" scales brightness, "decode" pastes the decoded image.
            detail: Share of the photo's own detail to keep where it is redrawn, 0 to 1.
            strengths: Vectors as keywords: `smile=1.5`.

        Raises:
            ConfigError: The model lacks a vector, or a value is out of range.
            ImageError: The photo cannot be read, or shows no face.
        """
        strengths = {**(vectors or {}), **strengths}
        if not strengths:
            raise ConfigError("edit takes at least one vector, like smile=1.5")
        check_known(self.name, strengths, catalog.vectors_of(self._entry))
        path, content = picture_file(photo)
        opened = Photo.read(path, content)
        request = EditRequest(
            vectors=tuple(Strength(name, strength=float(strength)) for name, strength in strengths.items()),
            boxes=(Box.parse(box),) if box else (), face=face, every_face=all_faces, align=align,
            merge=merge, detail=detail,
        )  # fmt: skip
        boxes, _ = find_boxes(opened, path, self.config, request)
        loaded = load_vectors(self._entry, self.loaded, request.vectors)
        versions, _ = edit.edit_photo(self.loaded, opened, request, boxes, loaded)
        return versions[-1].visible()

    def fit_vector(
        self,
        positive: str | os.PathLike[str],
        negative: str | os.PathLike[str],
        *,
        name: str | None = None,
        method: VectorMethod = "mean",
        paired: bool = False,
        save: bool = False,
        force: bool = False,
        progress: ProgressOption = False,
    ) -> ConceptVector:
        """Fit a concept vector to two folders of images, or two latents files.

        Args:
            positive: Images that show the concept.
            negative: Images that do not show the concept.
            name: Name of the vector; by default that of the folder `positive`.
            method: "mean" (difference of the class means), "lda", "logistic" or "svm".
            paired: Images with one file name in both folders are one subject with and without the concept.
            save: Keep the vector with the model.
            force: Replace a saved vector that has the name already.
            progress: True for a line on stderr, or a function of `Progress` events.

        Raises:
            ImageError: A folder is empty.
            ConfigError: The folders overlap, or one class is missing.
            OutputExists: A saved vector has the name already.
        """
        name = name or labels.vector_name(Path(positive).resolve().name.partition(".")[0])
        labelled = labels.from_folders(name, Path(positive), Path(negative), paired)
        settings = FitSettings(method)
        events = fit_vectors.fit(self._entry, labelled, settings, force, save)
        return [event for event in followed(events, progress) if isinstance(event, ConceptVector)][-1]

    def apply(self, z: Latents, vector: ConceptVector | str, strength: float = 1.0) -> Latents:
        """Move latents along a concept vector, given as an object or by its name.

        Args:
            z: Latents of this model.
            vector: Vector of this model.
            strength: 1 is the distance between the two class means.

        Raises:
            ModelMismatch: Latents and vector belong to different models.
            ConfigError: The model has no saved vector called `vector`.
        """
        if isinstance(vector, str):
            saved = catalog.vectors_of(self._entry)
            check_known(self.name, [vector], saved)
            vector = ConceptVector.load(saved[vector])
        return vector.apply(z, strength)

    def evaluate(self, data: str | os.PathLike[str], *, progress: ProgressOption = False) -> "Evaluated":
        """Measure the model, and baselines, on images that it was not trained on.

        Args:
            data: Folder, .zip or text file of paths; of the training folder only held-out images are measured.
            progress: True for a line on stderr, or a function of `Progress` events.

        Returns:
            Evaluated: metrics, baselines, samples and findings.

        Raises:
            ImageError: There are no readable images.
        """
        from latentcli.pipelines.evaluate import Evaluated, evaluate

        events = followed(evaluate(self._entry, Path(data)), progress)
        return next(event for event in events if isinstance(event, Evaluated))

    def __repr__(self) -> str:
        size = f"{self.config.width}x{self.config.height}x{self.config.channels}"
        return f"<Model {self.name} {self.model_id}: {size}, latent_dim {self.config.latent_dim}, {self.device}>"

    def _repr_html_(self) -> str:
        png = base64.b64encode(encode_picture(self.sample(_SHOWN).picture(), ".png")).decode()
        words = repr(self).strip("<>").replace("&", "&amp;").replace("<", "&lt;")
        return f'<p>{words}</p><img alt="{_SHOWN} samples" src="data:image/png;base64,{png}">'

    def _z(self, z: Latents | np.ndarray) -> np.ndarray:
        """Latents as an array (n, latent_dim). Raises ModelMismatch or ConfigError if they do not fit the model."""
        if isinstance(z, Latents):
            z.require_model(self.model_id, "the latents", self.name, self.config.latent_dim)
            return z.z
        array = np.asarray(z, dtype=np.float32)
        if array.ndim != 2 or array.shape[1] != self.config.latent_dim:
            raise ConfigError(f"latents must be (n, {self.config.latent_dim}), got {array.shape}")
        return array

    def _keyframe(self, keyframe: Picture | Latents) -> np.ndarray:
        """Latents (n, latent_dim) of a picture, of the samples that a text like "seed:0-3" names, or of `Latents`."""
        if isinstance(keyframe, Latents):
            return self._z(keyframe)
        if isinstance(keyframe, str | os.PathLike):
            return keyframes(self.loaded, os.fspath(keyframe))[0]
        return self.encode(keyframe).z


def load(model: str | os.PathLike[str] | None = None, device: Device = "auto", *, engine: EngineName = "auto") -> Model:
    """Load a model.

    Args:
        model: Name, folder or file; None takes your most recent model, else the bundled `avatars`.
        device: "cuda" and "mps" compute with PyTorch; "auto" is the CPU, or with engine="torch" the fastest device.
        engine: "onnx", "torch", or "auto": ONNX Runtime on the CPU, PyTorch on other devices.

    Raises:
        ConfigError: The model or the device is not there.
        FileFormatError: The model file is damaged.
    """
    entry = catalog.find_model(None if model is None else os.fspath(model))
    return Model(entry, modelfile.load_model(entry.path, engine, device))


def load_model(model: str | os.PathLike[str]) -> LoadedModel:
    """Load the network, prior and header of a model, to work with arrays; `model` and errors as for `load`."""
    return load(model).loaded


def train(
    data: str | os.PathLike[str],
    *,
    name: str | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    preset: Preset | None = None,
    size: int | tuple[int, int] | None = None,
    crop: Crop | None = None,
    aligned: bool = False,
    background: str | None = None,
    latent_dim: int | None = None,
    capacity: float | None = None,
    likelihood: Likelihood | None = None,
    beta: float | None = None,
    flip: bool | None = None,
    augment: bool | None = None,
    held_out: str | float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    precision: Precision | None = None,
    seed: int = 0,
    sharp: bool = False,
    start_from: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    device: Device = "auto",
    threads: int | None = None,
    progress: ProgressOption = False,
) -> Model:
    """Train a VAE on a folder of images, or resume an interrupted run of the same options.

    Args:
        data: Folder (sub-folders included), .zip, or text file of paths.
        name: Name of the model, which is kept in models/<name>/; by default the name of `data`.
        epochs: Passes over the images.
        minutes: Length of the training, instead of `epochs`.
        preset: "digits", "photo" or "book"; chosen from the images by default.
        size: Pixels a side, or (width, height); 16 to 256.
        crop: "centre", "none" or "face".
        aligned: The pictures are upright face crops already.
        background: Colour of transparent pixels; by default transparency is learned.
        latent_dim: Numbers per latent.
        capacity: Factor on the feature maps at the finer levels; 2 halves the speed.
        likelihood: "gaussian" or "bernoulli".
        beta: Weight of the KL; 0 is a classical autoencoder.
        flip: Mirror half of the images.
        augment: Move images a little, and change brightness and contrast of photos.
        held_out: Share of the images to measure on, or a folder.
        batch_size: Images per step.
        learning_rate: Peak learning rate.
        precision: "auto", "fp32" or "bf16".
        seed: Random seed (weights, shuffling, noise).
        sharp: Afterwards train the decoder alone against a discriminator, for crisp pictures.
        start_from: Model whose network, size and weights are taken over: its name, folder or file.
        labels: CSV table whose columns name parts of the images, for `like` of `Model.sample`, as sub-folders do.
        device: "auto", "cpu", "cuda" or "mps".
        threads: Threads of the processor; by default all, or one while another program takes the cores.
        progress: True for a line on stderr, or a function of `Progress` events.

    Raises:
        ImageError: There is nothing to train on.
        ConfigError: A value is invalid, or the folder of the model holds a run with other options.
    """
    let_threads_sleep()
    from latentcli.training.plan import TrainRequest, prepare
    from latentcli.training.run import run

    if sharp:
        from latentcli.training.sharp.run import train_and_sharpen

    folder = catalog.OWN_MODELS / (catalog.check_name(name, "model") if name else catalog.new_model_name(Path(data)))
    request = TrainRequest(
        preset=preset, size=(size, size) if isinstance(size, int) else size, latent_dim=latent_dim, capacity=capacity,
        likelihood=likelihood, epochs=epochs, minutes=minutes, beta=beta, flip=flip, augment=augment,
        held_out=None if held_out is None else str(held_out), batch_size=batch_size, learning_rate=learning_rate,
        seed=seed, precision=precision, crop=crop, aligned=aligned, background=background,
        start_from=catalog.find_model(os.fspath(start_from)).path if start_from is not None else None,
        labels=Path(labels) if labels is not None else None, device=device, threads=threads,
    )  # fmt: skip
    settled = prepare(folder, Path(data), request)
    for _ in followed(train_and_sharpen(settled) if sharp else run(settled), progress):
        pass
    return load(folder, device)
