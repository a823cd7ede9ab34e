"""Plan of a training: model, options and images, chosen before the images are decoded."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from latentcli.config import BOOK_SIZE, PRESETS, Crop, Device, Likelihood, ModelConfig, Preset, TrainConfig
from latentcli.data.dataset import Selection, split, survey
from latentcli.data.fingerprint import Fingerprints
from latentcli.data.sources import Listing, open_source, scan
from latentcli.defaults import HELD_OUT_SHARE
from latentcli.errors import ConfigError, FileFormatError, UsageError
from latentcli.evaluation.record import Record
from latentcli.imaging.images import parse_colour
from latentcli.model.device import choose_device
from latentcli.model.modelfile import read_config
from latentcli.presets import DIGITS_UP_TO, SIZES, default_epochs, for_few_images, model_config, train_config
from latentcli.storage.history import read_model_header
from latentcli.storage.names import MODEL_FILE, RESUME_FILE
from latentcli.training import checkpoint
from latentcli.training.checkpoint import Checkpoint, Options, Position
from latentcli.training.early_stop import LossCurve
from latentcli.training.prior import labels
from latentcli.training.prior.labels import Labelled
from latentcli.training.schedule import Stage

_STEPS_PER_EPOCH, _SMALL_BATCH = 8, 32  # steps per epoch that a batch is made smaller for, and the least batch then
_GOING_ON = 0.1  # factor on the learning rate when starting from a model: 1 cost 0.2 dB of PSNR on 300 faces
_COLOUR_SHARE = 0.01  # share of images with colour, above which a model gets three colour channels
_TRANSPARENT_SHARE = 0.05  # share of images with transparency, above which a model gets an alpha channel
_LENGTH = ("epochs", "minutes")  # options that may be raised to train a finished run further
_NAMED = 3  # options at most that an error message about differing options names


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """Options of a training as the user gave them; None leaves the choice to latentcli."""

    preset: Preset | None = None
    size: tuple[int, int] | None = None  # width, height in pixels
    latent_dim: int | None = None
    capacity: float | None = None  # factor on the number of feature maps of the preset
    likelihood: Likelihood | None = None
    epochs: int | None = None
    minutes: float | None = None
    beta: float | None = None
    flip: bool | None = None
    augment: bool | None = None  # whether to move images and change brightness and contrast a little, at random
    held_out: str | None = None  # a share of the images, or the folder of the held-out ones
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int | None = None
    precision: str | None = None
    crop: Crop | None = None
    aligned: bool = False  # whether the images are crops of faces already
    background: str | None = None  # colour, by name or number, that replaces transparency
    start_from: Path | None = None  # file of a model with the initial weights
    labels: Path | None = None  # CSV table with labels of the images for the prior; None: sub-folders are the labels
    device: Device = "auto"
    threads: int | None = None  # processor threads; None: all, or one while another program slows them down

    def __post_init__(self) -> None:
        if self.preset is not None and self.preset not in PRESETS:
            raise ConfigError(f"there is no preset {self.preset!r}; choose one of {', '.join(PRESETS)}")


@dataclass(frozen=True, slots=True)
class Choice:
    """Model, training options and images after latentcli chose what a `TrainRequest` leaves open."""

    model: ModelConfig
    config: TrainConfig
    train: Selection
    held_out: Selection | None
    start_from: Path | None = None  # file of a model with the initial weights
    labelled: Labelled | None = None  # labels that the prior is conditioned on; None: no labels
    threads: int | None = None  # processor threads; None: chosen while training

    @property
    def listings(self) -> tuple[Listing, ...]:
        """Listings (files of a source): of training images, then of held-out images if they are in another source."""
        first, last = self.train.listing, (self.held_out or self.train).listing
        return (first,) if last is first else (first, last)

    def trained_on(self, rows: np.ndarray) -> "Choice":
        """The choice with the images at `rows`, (n,) int32, to train on and the others held out, if of one source."""
        listing = self.train.listing
        if self.held_out is None or self.held_out.listing is not listing:
            return self
        others = np.setdiff1d(np.arange(len(listing), dtype=np.int32), rows)
        return replace(self, train=Selection(listing, rows), held_out=Selection(listing, others))

    def describe(self) -> str:
        """One line of text: preset, image size, latent dimension, beta and length of training."""
        model, config = self.model, self.config
        count, unit = (config.minutes, "minute") if config.minutes else (config.epochs, "epoch")
        length = f"{count:g} {unit}{'' if count == 1 else 's'}"
        augmented = ", augmented" if config.augment else ""
        return (
            f"preset {model.preset}, {model.width}x{model.height} {model.colours}, "
            f"latent dimension {model.latent_dim}, beta {config.beta:g}, {length}{augmented}"
        )


@dataclass(kw_only=True, slots=True)
class TrainingPosition(Position):
    """Progress of the training of a VAE, as its checkpoint stores it."""

    precision: str  # "fp32" or "bf16"
    images: str  # digest of the numbers of readable training images, which must not change
    flip: bool  # whether half of the images are mirrored
    augment: bool  # whether images are moved, and their brightness and contrast changed
    stage_start: int = 0  # first step of the current stage
    stage_number: int = 1  # more than 1 after a finished run was made longer
    curve: LossCurve | None = None  # held-out loss so far, for early stopping

    @property
    def stage(self) -> Stage:
        return Stage(self.stage_start, self.steps, self.stage_number)

    def begin_stage(self, end: int) -> None:
        """Begin another stage, a rise and fall of the learning rate, from the current step to step `end`."""
        self.stage_start, self.stage_number = self.step, self.stage_number + 1
        self.steps, self.stopped = end, False


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan of a training, with the checkpoint to resume from if there is one."""

    folder: Path  # of the model and all other files: models/<name>
    choice: Choice
    device: torch.device
    options: Options  # a checkpoint is resumed only with equal options; a finished run may get a greater length
    fingerprints: Fingerprints  # of the images, which must not change between sessions
    may_grow: bool  # `epochs` or `minutes` was given, so a finished run may be trained further
    resumed: Checkpoint[TrainingPosition] | None = None  # None for a new run
    grows: bool = False  # whether a finished run is trained further, in another stage
    finished: bool = False  # whether the model is complete already and nothing is left to do


def choose(source: Path, request: TrainRequest) -> Choice:
    """List the images of `source`, look at a sample, and choose the options that are None in `request`.

    Raises ImageError when there are no images to train on, ConfigError for invalid options.
    """
    if request.epochs is not None and request.minutes is not None:
        raise UsageError("give `epochs` or `minutes`, not both")
    listing = scan(open_source(source))
    train, held_out = split(listing, request.held_out or str(HELD_OUT_SHARE))
    if len(train) < 2 <= len(listing):
        raise ConfigError(f"all but {len(train)} of the {len(listing)} images of {source} are held out; hold out fewer")
    if len(train) < 2:
        raise ConfigError(f"{source} holds {len(train)} image to train on; two is the least, a few hundred a start")
    model = _choose_model(train, request)
    config = _choose_training(model, len(train), request)
    choice = Choice(model, config, train, held_out, request.start_from, threads=request.threads)
    if request.labels:
        return replace(choice, labelled=labels.of_table(request.labels, train, choice.listings))
    return replace(choice, labelled=labels.of_folders(train, choice.listings))


def prepare(folder: Path, source: Path, request: TrainRequest) -> Plan:
    """Plan a training in `folder`: options that are None are chosen, and an interrupted training there is resumed.

    Raises ImageError when there are no images to train on, ConfigError for options that are invalid or differ from
    those of the training in `folder`.
    """
    device = choose_device(request.device)
    choice = choose(source, request)
    may_grow = request.epochs is not None or request.minutes is not None
    fingerprints = Fingerprints.of(choice.listings)
    options = _options(choice) | {"files": fingerprints.digest}
    plan = Plan(folder, choice, device, options, fingerprints, may_grow)
    if not (folder / RESUME_FILE).exists() and (folder / MODEL_FILE).exists():
        raise ConfigError(f"{folder} holds a model that cannot be trained on; choose another `name`")
    return up_to_date(plan)


def up_to_date(plan: Plan) -> Plan:
    """`plan` with the checkpoint that its folder holds now, or unchanged if there is none.

    Raises ConfigError if the checkpoint has other options or images; the message names the differences.
    """
    file = plan.folder / RESUME_FILE
    if not file.exists():
        return plan
    resumed = checkpoint.read(file, TrainingPosition)
    stored, asked, position = resumed.options, plan.options, resumed.position
    if stored.get("files") != asked["files"]:
        raise ConfigError(
            f"the images have changed since {plan.folder} was started: "
            f"{plan.fingerprints.changes_since(plan.folder)}; "
            "put them back, or choose another `name` to train on them"
        )
    if differences := resumed.differences(asked, besides=_LENGTH):
        most = _NAMED if stored.get("preset") == asked["preset"] else 1  # a preset sets all others
        raise _other_options(plan, "; ".join(differences[:most]))
    # A run that was killed while its last files were written has all its steps and not their model or its evaluation.
    ended = position.has_ended and _finished_at_step(plan.folder) == position.step
    same_length = all(stored.get(name) == asked.get(name) for name in _LENGTH)
    is_longer = any(name in stored and asked.get(name, 0) > stored[name] for name in _LENGTH)
    grows = ended and plan.may_grow and is_longer
    if not same_length and not grows:
        raise _other_options(plan, f"{_length(stored)} there, {_length(asked)} asked")
    return replace(plan, resumed=resumed, grows=grows, finished=ended and same_length)


def _other_options(plan: Plan, differences: str) -> ConfigError:
    return ConfigError(
        f"{plan.folder} holds a run with other options ({differences}); repeat its options, or choose another `name`"
    )


def _finished_at_step(folder: Path) -> int | None:
    """Number of training steps of the model in `folder`; None if there is no model or its evaluation is missing."""
    try:
        header = read_model_header(folder / MODEL_FILE)
    except FileFormatError:
        return None
    training = header.training
    if training is None:
        return None
    # Only a finished model is sharpened.
    return training.steps if training.sharpening or Record.of(folder, header.network_id) else None


def _length(options: Options) -> str:
    return f"{options['minutes']:g} minutes" if "minutes" in options else f"{options.get('epochs')} epochs"


def _choose_model(train: Selection, request: TrainRequest) -> ModelConfig:
    seen = survey(train)
    if request.aligned and request.crop not in (None, "face"):
        raise ConfigError(f"`aligned` says that pictures are face crops, so it does not go with `crop` {request.crop}")
    first = read_config(request.start_from) if request.start_from else None
    side = max((size for size in SIZES if size <= seen.shorter_side), default=SIZES[0])
    width, height = request.size or ((first.width, first.height) if first else (side, side))
    crop = "face" if request.aligned else request.crop or (first.crop if first else "centre")
    alpha = seen.transparent_share > _TRANSPARENT_SHARE and request.background is None and crop != "face"
    channels = (3 if seen.colour_share > _COLOUR_SHARE else 1) + alpha
    small_and_gray = channels == 1 and max(width, height) <= DIGITS_UP_TO
    preset: Preset = request.preset or (first.preset if first else "digits" if small_and_gray else "photo")
    if preset != "photo":  # the presets digits and book lay transparent images on the background colour
        channels = 1
        small = BOOK_SIZE if preset == "book" else min(side, DIGITS_UP_TO)
        width, height = request.size or ((first.width, first.height) if first else (small, small))
    latent_dim = request.latent_dim or (first.latent_dim if first else None)
    capacity = request.capacity or 1.0
    config = model_config(preset, width, height, channels, latent_dim, request.likelihood, len(train.rows), capacity)
    if first:
        config = _like(first, config, request)
    background = config.background if request.background is None else parse_colour(request.background)
    return replace(config, crop=crop, aligned=request.aligned, background=background)


def _like(first: ModelConfig, config: ModelConfig, request: TrainRequest) -> ModelConfig:
    """`config` with the network settings of `first`, the model whose weights training starts from, so that they fit."""
    if config.preset != first.preset or request.likelihood not in (None, first.likelihood):
        raise ConfigError(
            f"a model with the preset {first.preset} and the likelihood {first.likelihood} is no start for another; "
            "leave out `preset` and `likelihood`, or `start_from`"
        )
    if request.capacity is not None:
        raise ConfigError("the model to start from has its own capacity; leave out `capacity`, or `start_from`")
    same_size = (config.width, config.height) == (first.width, first.height)
    return replace(
        config,
        widths=config.widths if first.linear and not same_size else first.widths,
        hidden=first.hidden,
        likelihood=first.likelihood,
        linear=first.linear,
        pooling=first.pooling if same_size or not first.linear else config.pooling,
        framing=first.framing,
    )


def _choose_training(model: ModelConfig, images: int, request: TrainRequest) -> TrainConfig:
    asked = {
        name: getattr(request, name)
        for name in ("minutes", "beta", "flip", "held_out", "batch_size", "learning_rate", "seed", "precision")
        if getattr(request, name) is not None
    }
    preset = train_config(model)
    if model.preset != "book":
        preset = replace(preset, batch_size=min(preset.batch_size, max(_SMALL_BATCH, images // _STEPS_PER_EPOCH)))
    if request.start_from:  # with the beta of the model to start from, and a lower learning rate
        summary = read_model_header(request.start_from).training
        beta, rate = summary.beta if summary else preset.beta, preset.learning_rate * _GOING_ON
        preset = replace(preset, beta=beta, beta_warmup=0.0, learning_rate=rate)
    config = for_few_images(model.preset, replace(preset, **asked), images, request.augment)
    return replace(
        config,
        epochs=request.epochs or default_epochs(model, images),
        batch_size=min(config.batch_size, images),
    )


def _options(choice: Choice) -> Options:
    training = asdict(choice.config)
    del training["epochs" if choice.config.minutes is not None else "minutes"]
    if len(choice.listings) > 1:
        training["held_out"] = choice.listings[1].source.path.name
    start_from = read_model_header(choice.start_from).model_id if choice.start_from else None
    labels = choice.labelled.digest() if choice.labelled else None
    return choice.model.to_json() | training | {"start_from": start_from, "labels": labels}
