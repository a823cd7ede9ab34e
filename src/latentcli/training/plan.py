"""Plan of a run: model, options and images, settled before the first image is decoded."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

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

_STEPS_PER_EPOCH, _SMALL_BATCH = 8, 32  # small folders are trained on in smaller batches
_GOING_ON = 0.1  # of the learning rate: on 300 faces, at 1 what the model knew is lost by 0.2 dB in half a minute
_COLOUR_SHARE = 0.01  # of the images with chroma, above which a model gets colour
_TRANSPARENT_SHARE = 0.05  # of the images with transparency, above which a model gets alpha
_LENGTH = ("epochs", "minutes")  # options that may grow when a run has ended
_NAMED = 3  # differing options in a message


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """Options of a training; None leaves the choice to latentcli."""

    preset: Preset | None = None
    size: tuple[int, int] | None = None  # width, height in pixels
    latent_dim: int | None = None
    capacity: float | None = None  # times the feature maps of the preset
    likelihood: Likelihood | None = None
    epochs: int | None = None
    minutes: float | None = None
    beta: float | None = None
    flip: bool | None = None
    augment: bool | None = None  # move images and change their colours a little
    held_out: str | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int | None = None
    precision: str | None = None
    crop: Crop | None = None
    aligned: bool = False  # the pictures are face crops already
    background: str | None = None  # a colour, by name or number, instead of transparency
    start_from: Path | None = None  # the file of a model whose weights are the first
    labels: Path | None = None  # a CSV table that tells parts of the images apart; without one sub-folders do
    device: Device = "auto"
    threads: int | None = None  # of the processor; None may leave training to one while another program is at work

    def __post_init__(self) -> None:
        if self.preset is not None and self.preset not in PRESETS:
            raise ConfigError(f"there is no preset {self.preset!r}; choose one of {', '.join(PRESETS)}")


@dataclass(frozen=True, slots=True)
class Choice:
    """Model, training options and images that a request comes to."""

    model: ModelConfig
    config: TrainConfig
    train: Selection
    held_out: Selection | None
    start_from: Path | None = None  # the file of a model
    labelled: Labelled | None = None  # the labels of the images, if there are any
    threads: int | None = None  # None leaves it to the machine

    @property
    def listings(self) -> tuple[Listing, ...]:
        """Listing of the training images first, of the held-out ones last; one where they are the same."""
        first, last = self.train.listing, (self.held_out or self.train).listing
        return (first,) if last is first else (first, last)

    def describe(self) -> str:
        """The choice in one line."""
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
    """Progress of the training of a VAE."""

    precision: str  # what the run trains in
    images: str  # a digest of which images can be read
    flip: bool  # half of the images are mirrored
    augment: bool  # they are moved, and their colours changed
    stage_start: int = 0  # its first step
    stage_number: int = 1
    curve: LossCurve | None = None  # held-out loss so far, of runs that keep the best weights

    @property
    def stage(self) -> Stage:
        return Stage(self.stage_start, self.steps, self.stage_number)

    def begin_stage(self, end: int) -> None:
        """Start another stage here, which ends at a later step."""
        self.stage_start, self.stage_number = self.step, self.stage_number + 1
        self.steps, self.stopped = end, False


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan of a run, with its checkpoint if it is resumed."""

    folder: Path  # the run's: models/<name>
    choice: Choice
    device: torch.device
    options: Options  # must be the same to resume the run
    fingerprints: Fingerprints  # of the images, which must be the same as well
    may_grow: bool  # a length was asked for: a run that has ended may get another stage
    resumed: Checkpoint[TrainingPosition] | None = None  # None for a new run
    grows: bool = False  # another stage is to follow those that have ended
    finished: bool = False  # nothing is left to do


def choose(source: Path, request: TrainRequest) -> Choice:
    """List and survey the images, and choose what the request left open.

    Raises ImageError when there is nothing to train on, ConfigError for values that cannot work.
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
    return replace(choice, labelled=_labelled(choice, request.labels))


def _labelled(choice: Choice, table: Path | None) -> Labelled | None:
    if table is None:
        return labels.of_folders(choice.train, choice.listings)
    return labels.of_table(table, choice.train, choice.listings)


def prepare(folder: Path, source: Path, request: TrainRequest) -> Plan:
    """Plan of a run in `folder`: open options are chosen, and an interrupted run of the same options is resumed.

    Raises ImageError when there is nothing to train on, ConfigError for values that cannot work or differ from those
    of the run in the same folder.
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
    """The plan with the checkpoint that is in its folder now, if there is one.

    Raises ConfigError that names the options, or the images, in which the checkpoint differs.
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
        most = _NAMED if stored.get("preset") == asked["preset"] else 1  # the others follow from the preset
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
    """Steps of the model in a run's folder; None when there is none, or it was not evaluated."""
    try:
        header = read_model_header(folder / MODEL_FILE)
    except FileFormatError:
        return None
    training = header.training
    if training is None:
        return None
    # What was sharpened had been finished before.
    return training.steps if training.sharpening or Record.of(folder, header.weights_id) else None


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
    if preset != "photo":  # these lay transparent pictures on the background
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
    """The config with the network of the model to start from, so that its weights fit."""
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
    if request.start_from:  # with the beta that its weights were trained with, and a lower learning rate
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
