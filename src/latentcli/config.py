"""Settings of networks, of training and of sharpening, each with its default, unit and check.

`ModelConfig` is stored in the model file and rebuilds the network; the other classes say how weights are trained.
"""

import math
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from latentcli import typed
from latentcli.defaults import HELD_OUT_SHARE
from latentcli.errors import ConfigError

Preset = Literal["book", "digits", "photo"]
Likelihood = Literal["bernoulli", "gaussian"]
Precision = Literal["auto", "fp32", "bf16"]
VectorMethod = Literal["mean", "lda", "logistic", "svm"]
Augmentation = Literal["blur", "brightness", "contrast", "hue", "rotate", "zoom"]  # changes that vectors are fitted to
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)
PriorName = Literal["fitted", "standard"]
Crop = Literal["centre", "none", "face"]
Merge = Literal["residual", "ratio", "decode"]
Device = Literal["auto", "cpu", "cuda", "mps"]
EngineName = Literal["auto", "onnx", "torch"]
InterpolationMethod = Literal["lerp", "slerp", "gaussian", "spline"]
LayoutMethod = Literal["pca", "tsne", "umap"]
Shape = Literal["square", "disc", "hexagons"]  # outlines of a map of the latent space
Spacing = Literal["quantiles", "even"]  # steps of equal probability, or equal steps, on a map
Discovery = Literal["latents", "pictures"]  # spaces in which unsupervised directions are found
Arrangement = Literal["grid", "corners", "analogy", "chain"]  # layouts of keyframes in two dimensions

PRESETS: tuple[Preset, ...] = get_args(Preset)
SMALLEST, LARGEST = 16, 256  # pixels: limits on the width and the height of a model's images
BOOK_SIZE = 28  # pixels: side of the images in the VAE chapter of Chollet's book, which the preset `book` rebuilds
_LONGEST = 1_000_000  # most epochs, and most minutes, of a training
_OF_FACES = ("framing", "aligned")  # settings that a model file stores only with the crop "face"


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise ConfigError(message)


def _require_between(name: str, value: float, low: float, high: float) -> None:
    _require(low <= value <= high, f"{name} must be {low:,} to {high:,}, got {value}")


def _require_one_of(name: str, value: str, choices: object) -> None:
    names = get_args(choices)
    _require(value in names, f"{name} must be one of {', '.join(names)}, got {value!r}")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Settings of a network, and of the cropping and resizing that turns pictures into its input images."""

    preset: Preset = "photo"
    width: int = 64  # pixels; 128 shows more detail, at four times the work per image
    height: int = 64  # pixels
    channels: int = 3  # 1 is gray, 3 RGB; 2 and 4 add alpha, by which the colours are premultiplied
    latent_dim: int = 192  # fewer give simpler samples, more a closer reconstruction
    widths: tuple[int, ...] = (32, 64, 128, 192)  # feature maps per halving, finest first
    hidden: int = 0  # units of a dense layer before and one after the latent; 0 for none
    likelihood: Likelihood = "gaussian"  # "bernoulli" for digits and other black and white drawings
    linear: bool = False  # linear path: probabilistic PCA, whose results the convolutions correct
    pooling: int = 1  # the linear path averages blocks of pooling x pooling pixels; 2 saves time above 96 px
    crop: Crop = "centre"  # cut a picture to width:height at its centre or its face; "none" squeezes it
    # With the crop "face": side of the crop over the side of the face's box (`faces.Face`), and the place of the box's
    # centre in the crop, x and y as shares of the side.
    framing: tuple[float, float, float] = (1.106, 0.503, 0.491)
    aligned: bool = False  # with the crop "face": the training pictures were face crops already
    resampling: Literal["lanczos"] = "lanczos"
    background: str = "#ffffff"  # #rrggbb that fills transparent pixels if the model has no alpha channel

    def __post_init__(self) -> None:
        _require_one_of("preset", self.preset, Preset)
        _require_one_of("likelihood", self.likelihood, Likelihood)
        _require_one_of("crop", self.crop, Crop)
        _require(self.resampling == "lanczos", f"resampling must be lanczos, got {self.resampling!r}")
        numbers = (self.width, self.height, self.channels, self.latent_dim, self.hidden, *self.widths)
        _require(all(type(number) is int for number in numbers), f"sizes must be whole numbers, got {numbers}")
        _require(
            min(self.width, self.height) >= SMALLEST and max(self.width, self.height) <= LARGEST,
            f"size must be {SMALLEST} to {LARGEST} pixels a side, got {self.width}x{self.height}",
        )
        _require_between("channels", self.channels, 1, 4)
        _require_between("latent dimension", self.latent_dim, 1, 4096)
        _require_between("hidden", self.hidden, 0, 4096)
        _require_between("pooling", self.pooling, 1, 2)
        _require(
            1 <= len(self.widths) <= 8 and all(1 <= width <= 4096 for width in self.widths),
            f"widths must be 1 to 8 numbers of feature maps, got {self.widths}",
        )
        _require(
            not self.has_alpha or (self.preset == "photo" and self.crop != "face"),
            "transparency is learned with the preset photo, and not from faces; give `background` white",
        )
        scale, *middle = self.framing
        _require(
            len(middle) == 2 and 0.5 <= scale <= 10 and all(0 <= share <= 1 for share in middle),
            f"framing must be a scale from 0.5 to 10 and a place in the crop, got {self.framing}",
        )
        _require(
            self.crop != "face" or self.width == self.height, "faces are cropped square; give `size` as one number"
        )
        _require(
            re.fullmatch("#[0-9a-f]{6}", str(self.background)) is not None,
            f"background must be a colour like #ffffff, got {self.background!r}",
        )
        _require(
            not self.linear or (self.preset != "book" and self.likelihood == "gaussian" and not self.hidden),
            "a linear path goes with a Gaussian likelihood and without hidden layers",
        )
        if self.preset == "book":
            _require(len(self.widths) == 4, "the preset book has four convolutions")
            _require(
                (self.width, self.height, self.channels) == (BOOK_SIZE, BOOK_SIZE, 1),
                "the preset book takes 28x28 gray images, as the chapter does; "
                "leave out `size`, or use `preset` digits",
            )

    @property
    def dimensions(self) -> int:
        """Number of values of an image: channels times height times width."""
        return self.channels * self.height * self.width

    @property
    def factor(self) -> int:
        """Factor between the side of the padded image and the side of the coarsest feature maps, a power of 2."""
        return int(2 ** len(self.widths))

    @property
    def padding(self) -> tuple[int, int]:
        """(rows, columns) added below and to the right of an image, so that its sides are multiples of `factor`."""
        return -self.height % self.factor, -self.width % self.factor

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of an image with its padding, in pixels."""
        return self.height + self.padding[0], self.width + self.padding[1]

    @property
    def coarsest(self) -> tuple[int, int, int]:
        """Shape at the coarsest level of the network: number of feature maps, height and width."""
        height, width = self.padded
        return self.widths[-1], height // self.factor, width // self.factor

    @property
    def linear_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the pooled images that the linear path (probabilistic PCA) takes."""
        height, width = self.padded
        return height // self.pooling, width // self.pooling, self.channels

    @property
    def has_colour(self) -> bool:
        return self.channels in (3, 4)

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha (the colours are then premultiplied by it)."""
        return self.channels in (2, 4)

    @property
    def colours(self) -> str:
        """Kind of the images in words: "gray" or "colour", plus " with transparency" if there is alpha."""
        return f"{'colour' if self.has_colour else 'gray'}{' with transparency' if self.has_alpha else ''}"

    def to_json(self) -> dict[str, Any]:
        values = asdict(self) | {"widths": list(self.widths), "framing": list(self.framing)}
        return values if self.crop == "face" else {key: values[key] for key in values if key not in _OF_FACES}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Configuration from an object of `to_json`. Raises ConfigError for unknown, missing or invalid settings."""
        names = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(names))
        missing = [name for name in names if name not in values and name not in _OF_FACES]
        _require(not unknown, f"unknown settings {', '.join(unknown)}")
        _require(not missing, f"the settings {', '.join(missing)} are missing")
        try:
            return typed.read(cls, values)
        except ValueError as error:
            raise ConfigError(str(error)) from error


def _check_run(config: "TrainConfig | SharpConfig") -> None:
    """Check the settings that training and sharpening share: minutes, learning rate, precision, batch size, seed."""
    minutes, rate = config.minutes, config.learning_rate
    _require(
        minutes is None or 0 < minutes <= _LONGEST,
        f"minutes must be more than 0 and up to {_LONGEST:,}, got {minutes}",
    )
    _require(math.isfinite(rate) and rate > 0, f"learning rate must be more than 0, got {rate}")
    _require_one_of("precision", config.precision, Precision)
    _require_between("batch size", config.batch_size, 2, 1 << 16)
    _require(0 <= config.seed < 2**63, f"seed must be 0 or more, got {config.seed}")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Settings of a training: length, optimizer, loss, augmentation and held-out images."""

    epochs: int = 60  # passes over the training images; the last may be cut short by `minutes`
    minutes: float | None = None  # length, converted once to a number of steps; None trains for `epochs`
    batch_size: int = 64  # images per step; halve it when memory runs out
    learning_rate: float = 2e-3  # peak of the schedule; halve it when steps are skipped or the loss jumps
    optimizer: Literal["muon", "adamw", "rmsprop"] = "muon"  # muon trains the matrices, and adamw everything else
    weight_decay: float = 0.01  # multiplied by the learning rate, each step; ignored by rmsprop
    beta: float = 1.0  # weight of the KL; try 2 against overfitting; 0 trains an autoencoder without noise
    beta_warmup: float = 0.1  # share of the steps over which beta rises from 0
    learning_rate_warmup: float = 0.02  # share of the steps over which the learning rate rises from 0
    cosine: bool = True  # the learning rate falls to 0 along a half cosine; False keeps it constant
    clip: float = 1.0  # largest norm of the gradient of the loss divided by `dimensions`; 0 does not clip
    ema: float = 0.999  # decay of the moving average of the weights, which is stored; 0 stores the last weights
    flip: bool | None = False  # mirror half of the images left to right; None: if mirrored images look natural
    augment: bool | None = False  # shift and recolour images; None: if shifted images look natural
    shift: float = 0.0  # augmentation: farthest shift of an image, a share of its side; 0.04 for few images
    jitter: float = 0.0  # augmentation: strongest change of brightness and of contrast; 0.3 for few photos
    patience: float = 0.0  # share of the steps without a better held-out loss that stops early; 0 never stops
    held_out: str = str(HELD_OUT_SHARE)  # images to measure on: a share of the images, or a folder
    seed: int = 0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        _check_run(self)
        _require_between("epochs", self.epochs, 1, _LONGEST)
        _require(math.isfinite(self.beta) and self.beta >= 0, f"beta must be 0 or more, got {self.beta}")
        _require_between("shift", self.shift, 0, 0.25)
        _require_between("jitter", self.jitter, 0, 0.5)
        _require_between("patience", self.patience, 0, 1)


@dataclass(frozen=True, slots=True)
class SharpConfig:
    """Settings of sharpening: further training of a model's decoder alone, against a discriminator."""

    minutes: float | None = None  # length, converted once to a number of steps; None: a share of the training's steps
    batch_size: int = 32  # images per step; half as many samples from the prior are added
    learning_rate: float = 5e-4  # of the decoder, where it falls to 0, and of the discriminator
    flip: bool = False  # mirror half of the images left to right, as the training did
    noise_scale: float = 1.0  # factor on the posterior's noise; 0 for an autoencoder (beta 0)
    seed: int = 0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        _check_run(self)
