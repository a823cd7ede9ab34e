"""Plan of a sharpening (further training of a model's decoder), made before the images are decoded."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from latentcli.config import Device, Precision, SharpConfig
from latentcli.data.dataset import split
from latentcli.data.fingerprint import Fingerprints
from latentcli.data.sources import held_out_then, open_source, scan
from latentcli.errors import ConfigError, FileFormatError, ImageError
from latentcli.model.device import choose_device
from latentcli.model.modelfile import read_config
from latentcli.presets import train_config
from latentcli.storage.catalog import ModelEntry, find_model
from latentcli.storage.history import SharpMetrics, TrainingSummary
from latentcli.storage.names import MODEL_FILE, PLAIN_FILE, SHARP_RESUME_FILE
from latentcli.training import checkpoint
from latentcli.training.checkpoint import Checkpoint, Options, Position
from latentcli.training.plan import Choice

_BATCH_SIZES = (16, 64)  # least and most images per step


@dataclass(frozen=True, slots=True)
class SharpenRequest:
    """Options of a sharpening as the user gave them; None leaves the choice to latentcli."""

    minutes: float | None = None
    precision: Precision = "auto"
    seed: int = 0
    device: Device = "auto"
    threads: int | None = None  # processor threads; None: all, or one while another program slows them down


@dataclass(kw_only=True, slots=True)
class SharpPosition(Position):
    """Progress of a sharpening, as its checkpoint stores it."""

    precision: str  # "fp32" or "bf16"
    weight: float = 1.0  # of all terms of the loss except the pixel loss
    before: SharpMetrics  # of the decoder before sharpening
    best: SharpMetrics | None = None  # of the decoder to store; None while no decoder is better than before sharpening


@dataclass(frozen=True, slots=True)
class SharpPlan:
    """Plan of a sharpening, with the checkpoint to resume from if there is one."""

    folder: Path  # of the model
    model: Path  # file of the model to sharpen, in `folder`
    choice: Choice  # images and network of the training
    config: SharpConfig
    device: torch.device
    options: Options  # a checkpoint is resumed only with equal options
    resumed: Checkpoint[SharpPosition] | None = None  # None for a new sharpening
    finished: bool = False  # whether the model is sharpened already, or no better decoder was found


def prepare(entry: ModelEntry, data: Path | None, request: SharpenRequest) -> SharpPlan:
    """Plan the sharpening of a model on the images in `data`; None stands for the folder of its training images.

    Raises ConfigError if that folder is gone, ImageError if no images are there, and the errors of `plan_for`.
    """
    training = _trained(entry)
    return plan_for(entry, _choose(entry, training, data, request), request)


def plan_for(entry: ModelEntry, choice: Choice, request: SharpenRequest) -> SharpPlan:
    """Plan the sharpening of a model on the images in `choice`; an interrupted sharpening is resumed.

    Raises ConfigError if the model cannot be sharpened, or the interrupted sharpening has other options.
    """
    training, start = _trained(entry), _start(entry)
    held_out = held_out_then(choice.train.listing.names, training)
    choice = choice.trained_on(np.flatnonzero(~held_out).astype(np.int32))
    options = {
        "files": Fingerprints.of(choice.listings).digest,
        "weights": start.header.network_id,
        "minutes": request.minutes,
        "seed": request.seed,
        "precision": request.precision,
    }
    config, device = _configure(training, request), choose_device(request.device)
    plan = SharpPlan(entry.path.parent, start.path, choice, config, device, options)
    if start.header.training and start.header.training.sharpening:
        return replace(plan, finished=True)
    resumed = _resumed(plan)
    in_vain = resumed is not None and resumed.position.has_ended and not resumed.position.best
    return replace(plan, resumed=resumed, finished=in_vain)


def _start(entry: ModelEntry) -> ModelEntry:
    """The model to sharpen: `entry`, or its unsharpened copy if a sharpening was killed while it wrote results."""
    plain, unfinished = entry.path.with_name(PLAIN_FILE), entry.path.with_name(SHARP_RESUME_FILE)
    training = entry.header.training
    is_cut_short = training and training.sharpening and unfinished.exists() and plain.exists()
    return find_model(str(plain)) if is_cut_short else entry


def _trained(entry: ModelEntry) -> TrainingSummary:
    """Training summary of the model `entry`. Raises ConfigError if the model cannot be sharpened."""
    if entry.header.bundled:
        raise ConfigError(f"{entry.name} comes with latentcli and stays as it is; train a model of your own")
    if entry.path.name != MODEL_FILE:
        raise ConfigError(f"{entry.path} is not the {MODEL_FILE} of a model's folder; name the folder")
    if entry.header.training is None:
        raise ConfigError(f"{entry.path} does not say how it was trained; only what train made can be sharpened")
    return entry.header.training


def _choose(entry: ModelEntry, training: TrainingSummary, data: Path | None, request: SharpenRequest) -> Choice:
    """Choice with the model's network and the images in `data` (None: of its training), split in the same shares."""
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


def _resumed(plan: SharpPlan) -> Checkpoint[SharpPosition] | None:
    """Checkpoint of an interrupted sharpening of the same weights, or None. Raises ConfigError for other options."""
    path = plan.folder / SHARP_RESUME_FILE
    if not path.exists():
        return None
    resumed = checkpoint.read(path, SharpPosition)
    if resumed.options.get("weights") != plan.options["weights"]:
        return None
    differences = resumed.differences(plan.options, besides=("files",))
    if resumed.options.get("files") != plan.options["files"]:
        differences.append("the images have changed")
    if differences:
        raise ConfigError(
            f"{plan.folder} is being sharpened with other options ({'; '.join(differences)}); "
            f"repeat them, or remove {path}"
        )
    return resumed
