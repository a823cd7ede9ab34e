"""Everything about a run that is settled before the first image is decoded."""

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from latentcli import data
from latentcli.config import (
    BOOK_SIZE,
    DEFAULTS,
    DIGITS_UP_TO,
    MODEL_FILE,
    PRESETS,
    RESUME_FILE,
    SIZES,
    ModelConfig,
    Preset,
    TrainConfig,
    default_epochs,
    model_config,
)
from latentcli.errors import ConfigError, UsageError
from latentcli.training import resume

_COLOUR_SHARE = 0.01  # of the images with chroma, above which a model gets colour


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What the user asked for; None leaves the choice to latentcli."""

    folder: Path  # the run's: models/<name>
    preset: Preset | None = None
    size: tuple[int, int] | None = None  # width, height in pixels
    latent_dim: int | None = None
    epochs: int | None = None
    minutes: float | None = None
    beta: float | None = None
    flip: bool | None = None
    held_out: str | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int | None = None
    precision: str | None = None

    def __post_init__(self) -> None:
        if self.preset is not None and self.preset not in PRESETS:
            raise ConfigError(f"there is no preset {self.preset!r}; choose one of {', '.join(PRESETS)}")


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, settled."""

    folder: Path
    model: ModelConfig
    config: TrainConfig
    train: data.Index
    held_out: data.Index | None
    options: dict[str, Any]  # what must be the same to go on with the run
    resumed: resume.Position | None  # None for a new run
    finished: bool  # nothing is left to do

    def choices(self) -> str:
        """What was chosen, in one line."""
        model, config = self.model, self.config
        colour = "colour" if model.channels == 3 else "gray"
        length = f"{config.minutes:g} minutes" if config.minutes else f"{config.epochs} epochs"
        return (
            f"preset {model.preset}, {model.width}x{model.height} {colour}, "
            f"latent dimension {model.latent_dim}, beta {config.beta:g}, {length}"
        )


def prepare(source: Path, request: TrainRequest) -> Plan:
    """Look at the folder `source`, choose what was left open, and compare with a run that is already there.

    Raises ImageError when there is nothing to train on, ConfigError for values that cannot work or differ from those
    of the run in the same folder.
    """
    if request.epochs is not None and request.minutes is not None:
        raise UsageError("give --epochs or --minutes, not both")
    files = data.index(source)
    train, held_out = data.split(files, request.held_out or TrainConfig().held_out)
    if len(train) < 2 <= len(files):
        raise ConfigError(f"all but {len(train)} of the {len(files)} images of {source} are held out; hold out fewer")
    if len(train) < 2:
        raise ConfigError(f"{source} holds {len(train)} image to train on; two is the least, a few hundred a start")
    model = _choose_model(train, request)
    config = _choose_training(model.preset, len(train), request)
    options = _options(model, config, train, held_out)
    resumed = _find_run(request.folder, options)
    finished = resumed is not None and resumed.step >= resumed.steps and (request.folder / MODEL_FILE).exists()
    return Plan(request.folder, model, config, train, held_out, options, resumed, finished)


def _choose_model(train: data.Index, request: TrainRequest) -> ModelConfig:
    look = data.look(train)
    side = max((size for size in SIZES if size <= look.shorter_side), default=SIZES[0])
    width, height = request.size or (side, side)
    channels = 3 if look.colour_share > _COLOUR_SHARE else 1
    small_and_gray = channels == 1 and max(width, height) <= DIGITS_UP_TO
    preset: Preset = request.preset or ("digits" if small_and_gray else "photo")
    if preset != "photo":
        channels = 1
        small = BOOK_SIZE if preset == "book" else min(side, DIGITS_UP_TO)
        width, height = request.size or (small, small)
    return model_config(preset, width, height, channels, request.latent_dim)


def _choose_training(preset: Preset, images: int, request: TrainRequest) -> TrainConfig:
    asked = {
        name: getattr(request, name)
        for name in ("minutes", "beta", "flip", "held_out", "batch_size", "learning_rate", "seed", "precision")
        if getattr(request, name) is not None
    }
    config = replace(DEFAULTS[preset].train, **asked)
    return replace(
        config,
        epochs=request.epochs or default_epochs(preset, images),
        batch_size=min(config.batch_size, images),
    )


def _options(model: ModelConfig, config: TrainConfig, train: data.Index, held_out: data.Index | None) -> dict[str, Any]:
    shape = model.to_json()
    training = asdict(config)
    if config.minutes is not None:
        del training["epochs"]
    if held_out is not None and held_out.root != train.root:
        training["held_out"] = held_out.root.name
    prints = train.fingerprint() + (held_out.fingerprint() if held_out else "")
    return shape | training | {"data": hashlib.sha256(prints.encode()).hexdigest()}


def _find_run(folder: Path, options: dict[str, Any]) -> resume.Position | None:
    file = folder / RESUME_FILE
    if not file.exists():
        if (folder / MODEL_FILE).exists():
            raise ConfigError(f"{folder} holds a model that cannot be trained on; choose another --name")
        return None
    stored, position = resume.read_position(file)
    resume.check_same(folder, stored, options)
    return position
