"""Presets `book`, `digits` and `photo`: the network that each builds, and the settings of its training."""

import math
from dataclasses import dataclass, replace

from latentcli.config import SMALLEST, Likelihood, ModelConfig, Preset, TrainConfig
from latentcli.errors import ConfigError

# With fewer training images, digits are augmented, and the weights that are best on held-out images are stored.
# Augmentation changes the held-out PSNR after training on 300 images of 28 px from 23.8 to 25.5 dB for faces, and from
# 32.9 to 31.7 dB for avatars, which are drawn to one grid. The limit itself is not measured.
FEW_IMAGES = 1000
# Training images from which a model of 64 px has as many latent dimensions (256 instead of 192) as a larger model. With
# 256, PSNR rises by 1.0 dB for 19,015 faces (20 minutes of training) and by 1.1 dB for 3,240 emoji (10 minutes), but
# fewer samples of emoji show anything.
MANY_IMAGES = 10_000
SIZES = (16, 24, 28, 32, 48, 64, 96, 128)  # sides of images in pixels, of which `train` chooses one
DIGITS_UP_TO = 32  # pixels: gray pictures up to this side get the preset `digits`
LARGE = 64  # pixels: larger models get more latent dimensions
CAPACITIES = (0.25, 8.0)  # least and greatest factor on the feature maps
_MANY_MAPS = 192  # feature maps: levels with at least this many are not enlarged by a capacity
_COARSEST = 7  # pixels: levels are halved until no side is longer
# Pixels: larger pictures are halved for the linear path (probabilistic PCA). Faces of 128 px then keep 36 dB, far more
# than the 26.6 dB of 256 components, and PCA is fitted to four times as many images in the same time.
_LINEAR_UP_TO = 96
_PIXELS_PER_STEP = 64 * 64 * 64  # approximate pixels of a batch: the batch size falls with the size of the images
_BATCH_SIZES = (32, 256)  # least and greatest batch size
_PATIENCE = 0.2  # share of the steps without progress after which a cosine schedule hardly lowers a loss


@dataclass(frozen=True, slots=True)
class PresetDefaults:
    """Settings of a preset that hold unless the user sets others."""

    train: TrainConfig
    images_seen: int  # number of images in all epochs together, unless epochs or minutes are set
    latent_dim: int
    likelihood: Likelihood
    widths: tuple[int, ...]  # feature maps per level, finest first; small images use the first (photo) or last (digits)
    latent_dim_large: int = 0  # above 64 px, and at 64 px with MANY_IMAGES; 0: as `latent_dim`
    hidden: int = 0  # units of the dense layers around the latent; 0 for none
    shift: float = 0.04  # augmentation: farthest shift, a share of the side
    jitter: float = 0.0  # augmentation: strongest change of brightness and contrast


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
        # 92.0 nats on MNIST in 10 minutes; 92.8 with twice the maps, half the batch and a learning rate of 3e-3
        widths=(8, 16, 32),
        hidden=256,
    ),
    "photo": PresetDefaults(
        train=TrainConfig(flip=None, augment=None, learning_rate=4e-3, beta_warmup=0.0),
        images_seen=400_000,
        latent_dim=192,
        latent_dim_large=256,
        likelihood="gaussian",
        # each level has a quarter of the pixels of the level before and up to twice the maps, for about equal costs
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
    """Configuration of the network that a preset builds for `images` training images of `width` x `height` pixels.

    `capacity` is a factor on the feature maps, up to 192 per level. Raises ConfigError for an invalid value.
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
    """Settings with which the preset of `model` trains the network; `default_epochs` gives the number of epochs."""
    config = DEFAULTS[model.preset].train
    if model.preset != "photo":
        return config
    fitting = 2 ** round(math.log2(_PIXELS_PER_STEP / (model.width * model.height)))
    least, most = _BATCH_SIZES
    config = replace(config, batch_size=min(most, max(least, fitting)))
    return config if model.linear else replace(config, learning_rate=2e-3, beta_warmup=0.1)


def for_few_images(preset: Preset, config: TrainConfig, images: int, augment: bool | None) -> TrainConfig:
    """Copy of `config`, with the preset's augmentation unless `augment` is False, and early stopping for few images.

    Few are less than FEW_IMAGES, never with `book`. None as `augment` takes that of `config`, or for few images lets
    training decide.
    """
    defaults = DEFAULTS[preset]
    few = images < FEW_IMAGES and preset != "book"
    if augment is None and not few:
        augment = config.augment
    shift, jitter = (0.0, 0.0) if augment is False else (defaults.shift, defaults.jitter)
    return replace(config, augment=augment, shift=shift, jitter=jitter, patience=_PATIENCE if few else 0.0)


def default_epochs(model: ModelConfig, images: int) -> int:
    """Number of epochs, 10 to 500, in which `images` images make `images_seen(model)` in all; fixed for `book`."""
    if model.preset == "book":
        return DEFAULTS[model.preset].train.epochs
    return min(500, max(10, round(images_seen(model) / max(1, images))))


def images_seen(model: ModelConfig) -> float:
    """Number of images a training shows by default, repeats included; above 64 x 64 pixels fewer, for equal cost."""
    return DEFAULTS[model.preset].images_seen * min(1.0, LARGE**2 / (model.width * model.height))
