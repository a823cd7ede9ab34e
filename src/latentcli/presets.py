"""Presets: the network that each builds, and how it is trained."""

import math
from dataclasses import dataclass, replace

from latentcli.config import SMALLEST, Likelihood, ModelConfig, Preset, TrainConfig
from latentcli.errors import ConfigError

# Training images below which digits are augmented and the best weights on held-out images are stored. Measured with 300
# images of 28 px, as PSNR on others without and with augmentation: faces 23.8 and 25.5 dB, avatars (which are drawn to
# one grid) 32.9 and 31.7 dB. The limit itself is not measured.
FEW_IMAGES = 1000
# Training images from which a model of 64 px has as many latent dimensions as larger ones. With 256 instead of 192
# dimensions 19,015 faces gain 1.0 dB in 20 minutes; 3,240 emoji gain 1.1 dB in ten, but fewer of their samples show
# anything.
MANY_IMAGES = 10_000
SIZES = (16, 24, 28, 32, 48, 64, 96, 128)  # pixels, the sides that `train` chooses from
DIGITS_UP_TO = 32  # pixels: gray pictures up to this side get the preset `digits`
LARGE = 64  # pixels: models above get more latent dimensions
CAPACITIES = (0.25, 8.0)  # the least and the most
_MANY_MAPS = 192  # feature maps: a capacity adds nothing to levels with as many
_COARSEST = 7  # pixels: halving stops when neither side is longer
# Pixels: the linear path sees larger pictures halved. Photos lose little (128 px faces keep 36 dB, of which 256
# components keep 26.6), and the components are fitted to four times as many of them in the same time.
_LINEAR_UP_TO = 96
_PIXELS_PER_STEP = 64 * 64 * 64  # pixels of a batch, about: small pictures go in larger batches
_BATCH_SIZES = (32, 256)  # images of a batch, the least and the most
_PATIENCE = 0.2  # share of the steps: a cosine schedule still lowers a loss that has paused for less


@dataclass(frozen=True, slots=True)
class PresetDefaults:
    """Defaults of a preset, where the user sets nothing."""

    train: TrainConfig
    images_seen: int  # training images shown in all, unless epochs or minutes are set
    latent_dim: int
    likelihood: Likelihood
    widths: tuple[int, ...]  # feature maps per level; `photo` takes the first of them, `digits` the last
    latent_dim_large: int = 0  # above 64 px, and for 64 px of many images; 0 is the same
    hidden: int = 0
    shift: float = 0.04  # of the augmentation
    jitter: float = 0.0  # of the augmentation


DEFAULTS: dict[Preset, PresetDefaults] = {
    "book": PresetDefaults(
        train=TrainConfig(
            epochs=10,
            batch_size=16,
            learning_rate=1e-3,
            optimizer="rmsprop",
            beta_warmup=0.0,
            learning_rate_warmup=0.0,
            cosine=False,
            clip=0.0,
            ema=0.0,
            precision="fp32",
        ),
        images_seen=600_000,
        latent_dim=2,
        likelihood="bernoulli",
        widths=(32, 64, 64, 64),
    ),
    "digits": PresetDefaults(
        train=TrainConfig(batch_size=256, learning_rate=4e-3),
        images_seen=2_400_000,
        latent_dim=32,
        likelihood="bernoulli",
        # MNIST, 10 minutes: 92.0 nats; twice these maps, at half the batch and a learning rate of 3e-3, 92.8
        widths=(8, 16, 32),
        hidden=256,
    ),
    "photo": PresetDefaults(
        train=TrainConfig(flip=None, augment=None, learning_rate=4e-3, beta_warmup=0.0),
        images_seen=400_000,
        latent_dim=192,
        latent_dim_large=256,
        likelihood="gaussian",
        # a level has a quarter of the pixels of the finer one and up to twice its maps, so that all cost about the same
        widths=(16, 32, 64, 128, 192, 192),
        jitter=0.3,
    ),
}


def model_config(
    preset: Preset,
    width: int,
    height: int,
    channels: int,
    latent_dim: int | None = None,
    likelihood: Likelihood | None = None,
    images: int = 0,
    capacity: float = 1.0,
) -> ModelConfig:
    """The network that a preset builds for a number of images of this shape (pixels).

    `capacity` is a factor on the feature maps of all levels that do not have many anyway. Raises ConfigError.
    """
    defaults = DEFAULTS[preset]
    if latent_dim is None:
        large = max(width, height) > (LARGE - 1 if images >= MANY_IMAGES else LARGE)
        latent_dim = (large and defaults.latent_dim_large) or defaults.latent_dim
    widths = defaults.widths
    if preset != "book":
        halvings = max(1, math.ceil(math.log2(max(width, height, SMALLEST) / _COARSEST)))
        widths = widths[:halvings] if preset == "photo" else (widths[:1] * halvings + widths)[-halvings:]
        least, most = CAPACITIES
        if not least <= capacity <= most:
            raise ConfigError(f"capacity must be {least:g} to {most:g}, got {capacity:g}")
        widths = tuple(max(1, min(round(capacity * width), max(width, _MANY_MAPS))) for width in widths)
    elif capacity != 1:
        raise ConfigError("the preset book has the chapter's network; leave out `capacity`")
    config = ModelConfig(
        preset=preset,
        width=width,
        height=height,
        channels=channels,
        latent_dim=latent_dim,
        widths=widths,
        hidden=defaults.hidden,
        likelihood=likelihood or defaults.likelihood,
        linear=preset == "photo" and likelihood != "bernoulli",
    )
    return replace(config, pooling=2 if config.linear and max(config.padded) > _LINEAR_UP_TO else 1)


def train_config(model: ModelConfig) -> TrainConfig:
    """The settings with which a preset trains a network, except for the number of epochs."""
    config = DEFAULTS[model.preset].train
    if model.preset != "photo":
        return config
    fitting = 2 ** round(math.log2(_PIXELS_PER_STEP / (model.width * model.height)))
    least, most = _BATCH_SIZES
    config = replace(config, batch_size=min(most, max(least, fitting)))
    return config if model.linear else replace(config, learning_rate=2e-3, beta_warmup=0.1)


def for_few_images(preset: Preset, config: TrainConfig, images: int, augment: bool | None) -> TrainConfig:
    """The settings with patience and augmentation where they help few images; the preset `book` stays the chapter's.

    `augment` is the user's choice; None leaves it to the preset, and for few images to the images.
    """
    defaults = DEFAULTS[preset]
    few = images < FEW_IMAGES and preset != "book"
    if augment is None and not few:
        augment = config.augment
    shift, jitter = (0.0, 0.0) if augment is False else (defaults.shift, defaults.jitter)
    return replace(config, augment=augment, shift=shift, jitter=jitter, patience=_PATIENCE if few else 0.0)


def default_epochs(model: ModelConfig, images: int) -> int:
    """Passes over a folder of `images` training images that show as many as `images_seen`, from 10 to 500."""
    if model.preset == "book":
        return DEFAULTS[model.preset].train.epochs
    return min(500, max(10, round(images_seen(model) / max(1, images))))


def images_seen(model: ModelConfig) -> float:
    """Training images shown in all by default; fewer above 64 px, for about the same training time."""
    return DEFAULTS[model.preset].images_seen * min(1.0, LARGE**2 / (model.width * model.height))
