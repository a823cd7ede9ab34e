"""Plan of a sharpening, settled before the first image is decoded, and its checkpoint."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from latentcli.config import Device, Precision, SharpConfig
from latentcli.data.dataset import split
from latentcli.data.fingerprint import Fingerprints
from latentcli.data.sources import open_source, scan
from latentcli.errors import ConfigError, FileFormatError, ImageError
from latentcli.model.device import choose_device, to_numpy
from latentcli.model.modelfile import read_config
from latentcli.presets import train_config
from latentcli.storage import tensorfile
from latentcli.storage.catalog import ModelEntry, find_model
from latentcli.storage.history import SharpMetrics, TrainingSummary
from latentcli.storage.names import MODEL_FILE, PLAIN_FILE, SHARP_RESUME_FILE
from latentcli.training.checkpoint import part
from latentcli.training.plan import Choice
from latentcli.training.sharp.step import SharpState

KIND = "sharpening"
_BATCH_SIZES = (16, 64)  # images, the least and the most


@dataclass(frozen=True, slots=True)
class SharpenRequest:
    """Options of a sharpening; None leaves the choice to latentcli."""

    minutes: float | None = None
    precision: Precision = "auto"
    seed: int = 0
    device: Device = "auto"
    threads: int | None = None  # of the processor


@dataclass(frozen=True, slots=True)
class SharpPosition:
    """Progress of a sharpening."""

    step: int
    steps: int
    precision: str  # what it computes in
    seconds: float  # so far
    weight: float  # of all but the error of pixels
    before: SharpMetrics
    kept: SharpMetrics | None = None  # of the decoder that would be stored; None where none is good enough

    @property
    def has_ended(self) -> bool:
        return self.step >= self.steps


@dataclass(frozen=True, slots=True)
class _Header:
    of: str  # the weights that it started from
    options: dict[str, Any]
    position: SharpPosition


@dataclass(frozen=True, slots=True)
class SharpPlan:
    """A sharpening, and its progress where it is resumed."""

    folder: Path  # of the model
    model: Path  # in it: the file to start from
    choice: Choice  # images and network
    config: SharpConfig
    device: torch.device
    weights_id: str  # of the model
    options: dict[str, Any]  # must be the same to resume it
    resumed: SharpPosition | None = None
    finished: bool = False  # nothing is left to do

    def restore(self, learner: SharpState) -> None:
        """Put the state of the checkpoint into a new learner, bit for bit."""
        path = self.folder / SHARP_RESUME_FILE
        _, arrays = tensorfile.read(path, KIND)
        try:
            for name, tensor in learner.tensors().items():
                tensor.copy_(torch.from_numpy(arrays[name]))
        except (KeyError, RuntimeError) as error:
            raise FileFormatError(f"{path} does not fit its model; remove it to sharpen anew") from error
        learner.best = part({name: torch.from_numpy(array) for name, array in arrays.items()}, "best.")

    def save(self, position: SharpPosition, learner: SharpState) -> None:
        """Write the checkpoint. Raises LatentCLIError when that fails."""
        tensors = learner.tensors() | {f"best.{name}": tensor for name, tensor in learner.best.items()}
        header = asdict(_Header(self.weights_id, self.options, position))
        tensorfile.write(self.folder / SHARP_RESUME_FILE, KIND, header, to_numpy(tensors))


def prepare(entry: ModelEntry, data: Path | None, request: SharpenRequest) -> SharpPlan:
    """List the images, which `data` None looks for where they were, and plan.

    Raises ConfigError for images that are gone, ImageError where there are none, and what `plan_for` raises.
    """
    training = _trained(entry)
    return plan_for(entry, _choose(entry, training, data, request), request)


def plan_for(entry: ModelEntry, choice: Choice, request: SharpenRequest) -> SharpPlan:
    """The sharpening of a model with images that are chosen, resumed where one was interrupted.

    Raises ConfigError for a model that cannot be sharpened, or other options than those of an interrupted sharpening.
    """
    training, start = _trained(entry), _start(entry)
    config = _configure(training, request)
    options = {
        "files": Fingerprints.of(choice.listings).digest,
        "minutes": request.minutes,
        "seed": request.seed,
        "precision": request.precision,
    }
    device, weights_id = choose_device(request.device), start.header.weights_id
    plan = SharpPlan(entry.path.parent, start.path, choice, config, device, weights_id, options)
    if start.training and start.training.sharpening:
        return replace(plan, finished=True)
    resumed = _resumed(plan)
    return replace(plan, resumed=resumed, finished=resumed is not None and resumed.has_ended and not resumed.kept)


def _start(entry: ModelEntry) -> ModelEntry:
    """The model to sharpen: that before, where a sharp one was written and not all that goes with it."""
    plain, unfinished = entry.path.with_name(PLAIN_FILE), entry.path.with_name(SHARP_RESUME_FILE)
    is_cut_short = entry.training and entry.training.sharpening and unfinished.exists() and plain.exists()
    return find_model(str(plain)) if is_cut_short else entry


def _trained(entry: ModelEntry) -> TrainingSummary:
    """How a model was trained that can be sharpened."""
    if entry.bundled:
        raise ConfigError(f"{entry.name} comes with latentcli and stays as it is; train a model of your own")
    if entry.path.name != MODEL_FILE:
        raise ConfigError(f"{entry.path} is not the {MODEL_FILE} of a model's folder; name the folder")
    if entry.training is None:
        raise ConfigError(f"{entry.path} does not say how it was trained; only what train made can be sharpened")
    return entry.training


def _choose(entry: ModelEntry, training: TrainingSummary, data: Path | None, request: SharpenRequest) -> Choice:
    """The images of the training, split as they were, and its network."""
    try:
        sources = [files.source for files in Fingerprints.load(entry.path.parent).listings]
    except FileFormatError:
        sources = []
    source = data or (Path(sources[0]) if sources else None)
    where = f"name their folder: latentcli sharpen {entry.name} FOLDER"
    if source is None:
        raise ConfigError(f"{entry.name} does not say where its images are; {where}")
    if data is None and not source.exists():
        raise ConfigError(f"the images that {entry.name} was trained on are no longer in {source}; {where}")
    listing = scan(open_source(source))
    share = training.held_out_share
    held_out = str(share) if share is not None else sources[1] if len(sources) > 1 else "0"
    train, measured = split(listing, held_out)
    if not len(train):
        raise ImageError(f"{source} holds no images to train on; {where}")
    model = read_config(entry.path)
    return Choice(model, train_config(model), train, measured, threads=request.threads)


def _configure(training: TrainingSummary, request: SharpenRequest) -> SharpConfig:
    least, most = _BATCH_SIZES
    return SharpConfig(
        minutes=request.minutes,
        batch_size=max(2, min(max(least, training.batch_size), most, training.images)),
        flip=training.flip,
        noise_scale=float(training.beta > 0),
        seed=request.seed,
        precision=request.precision,
    )


def _resumed(plan: SharpPlan) -> SharpPosition | None:
    """The progress of an interrupted sharpening of this model; one of its former weights is of no use."""
    path = plan.folder / SHARP_RESUME_FILE
    if not path.exists():
        return None
    found = tensorfile.parse(_Header, tensorfile.read_header(path, KIND), path)
    if found.of != plan.weights_id:
        return None
    differing = [
        f"{name} is {found.options.get(name)} there, {value} asked"
        for name, value in plan.options.items()
        if found.options.get(name) != value and name != "files"
    ]
    if found.options.get("files") != plan.options["files"]:
        differing.append("the images have changed")
    if differing:
        raise ConfigError(
            f"{plan.folder} is being sharpened with other options ({'; '.join(differing)}); "
            f"repeat them, or remove {path}"
        )
    return found.position
