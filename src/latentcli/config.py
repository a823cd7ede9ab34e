"""Settings of networks, training and sharpening: every knob with its default, its unit and its check.

`ModelConfig` is stored in the model file and rebuilds the network; the others say how its weights are found.
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
Augmentation = Literal["blur", "brightness", "contrast", "hue", "rotate", "zoom"]  # changes that become vectors
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)
PriorName = Literal["fitted", "standard"]
Crop = Literal["centre", "none", "face"]
Merge = Literal["residual", "ratio", "decode"]
Device = Literal["auto", "cpu", "cuda", "mps"]
EngineName = Literal["auto", "onnx", "torch"]
InterpolationMethod = Literal["lerp", "slerp", "gaussian", "spline"]
LayoutMethod = Literal["pca", "tsne", "umap"]
Shape = Literal["square", "disc", "hexagons"]  # shapes of a plane
Spacing = Literal["quantiles", "even"]
Discovery = Literal["latents", "pictures"]  # spaces in which unsupervised directions are found
Arrangement = Literal["grid", "corners", "analogy", "chain"]  # arrangements of keyframes in two dimensions

PRESETS: tuple[Preset, ...] = get_args(Preset)
SMALLEST, LARGEST = 16, 256  # pixels, each side of a model
BOOK_SIZE = 28  # pixels, the side of the chapter's images
_LONGEST = 1_000_000  # epochs, or minutes, of a training
_OF_FACES = ("framing", "aligned")  # settings that a file has with the crop "face" alone


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
    """Settings that rebuild a network and make its images from pictures."""

    preset: Preset = "photo"
    width: int = 64  # pixels; 128 shows more detail, at four times the work per image
    height: int = 64  # pixels
    channels: int = 3  # 1 is gray, 3 is RGB; 2 and 4 are these premultiplied by the alpha that follows
    latent_dim: int = 192  # fewer give simpler samples, more a closer reconstruction
    widths: tuple[int, ...] = (32, 64, 128, 192)  # feature maps per halving, finest first
    hidden: int = 0  # numbers in a dense layer on both sides of the latent; 0 is no such layer
    likelihood: Likelihood = "gaussian"  # "bernoulli" for digits and other black and white drawings
    linear: bool = False  # probabilistic PCA beside the convolutions, which correct it
    pooling: int = 1  # pixels each way that the linear path averages; 2 saves time and memory above 96 pixels
    crop: Crop = "centre"  # a picture of another shape is cut to width:height, or with "none" squeezed
    # With the crop "face": its side over that of the face's box (`faces.Face`), and the share of the crop's width and
    # height at which the middle of the box lies.
    framing: tuple[float, float, float] = (1.106, 0.503, 0.491)
    aligned: bool = False  # with the crop "face": the training pictures were such crops already
    resampling: Literal["lanczos"] = "lanczos"
    background: str = "#ffffff"  # what transparent pixels show where the model has no alpha, #rrggbb

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
        """Numbers per image: channels times height times width."""
        return self.channels * self.height * self.width

    @property
    def factor(self) -> int:
        """Pixels of the finest level per pixel of the coarsest, each way."""
        return int(2 ** len(self.widths))

    @property
    def padding(self) -> tuple[int, int]:
        """Rows below and columns to the right that the network adds to an image."""
        return -self.height % self.factor, -self.width % self.factor

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width with the padding."""
        return self.height + self.padding[0], self.width + self.padding[1]

    @property
    def coarsest(self) -> tuple[int, int, int]:
        """Feature maps, height and width at the coarsest level."""
        height, width = self.padded
        return self.widths[-1], height // self.factor, width // self.factor

    @property
    def linear_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the pictures that the linear path sees."""
        height, width = self.padded
        return height // self.pooling, width // self.pooling, self.channels

    @property
    def has_colour(self) -> bool:
        return self.channels in (3, 4)

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha, which the colours are premultiplied by."""
        return self.channels in (2, 4)

    @property
    def colours(self) -> str:
        """The kind of images in words, like "gray" or "colour with transparency"."""
        return f"{'colour' if self.has_colour else 'gray'}{' with transparency' if self.has_alpha else ''}"

    def to_json(self) -> dict[str, Any]:
        values = asdict(self) | {"widths": list(self.widths), "framing": list(self.framing)}
        return values if self.crop == "face" else {key: values[key] for key in values if key not in _OF_FACES}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Raises ConfigError on unknown, missing or wrong values."""
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
    """Check what training and sharpening have in common."""
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
    """Settings of a training. Those of the network are in ModelConfig."""

    epochs: int = 60  # passes over the training images; the last may be cut short by `minutes`
    minutes: float | None = None  # of training; turned into a number of steps once, then stored
    batch_size: int = 64  # images per step; halve it when memory runs out
    learning_rate: float = 2e-3  # peak; halve it when steps are skipped or the loss jumps
    optimizer: Literal["muon", "adamw", "rmsprop"] = "muon"  # muon: matrices; adamw does the rest
    weight_decay: float = 0.01  # per step and learning rate; not with rmsprop
    beta: float = 1.0  # weight of the KL; try 2 against overfitting; 0 is an autoencoder, which draws no noise
    beta_warmup: float = 0.1  # share of the steps over which beta rises from 0
    learning_rate_warmup: float = 0.02  # share of the steps; 0 with `cosine` False is a constant rate
    cosine: bool = True  # learning rate falls to 0 along a half cosine
    clip: float = 1.0  # largest norm of the gradient of the loss per number of the image; 0 is none
    ema: float = 0.999  # decay of the averaged weights, which are stored; 0 stores the last weights
    flip: bool | None = False  # mirror half of the images left to right; None finds out whether they look the same
    augment: bool | None = False  # move and recolour images; None finds out whether moved ones look the same
    shift: float = 0.0  # farthest move of an image each way, a share of its side; 0.04 for few images
    jitter: float = 0.0  # strongest change of brightness and of contrast; 0.3 for few photos, at most 0.5
    patience: float = 0.0  # share of the steps to wait for a better held-out loss; 0 stores the last weights
    held_out: str = str(HELD_OUT_SHARE)  # a share of the images, or a folder
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
    """Settings of sharpening: the decoder of a trained model learns on, against a discriminator."""

    minutes: float | None = None  # turned into a number of steps once; None is a share of the training's steps
    batch_size: int = 32  # images per step; half as many samples are added
    learning_rate: float = 5e-4  # of decoder and discriminator; that of the decoder falls to 0
    flip: bool = False  # mirror half of the images, as in the training
    noise_scale: float = 1.0  # 0 for an autoencoder, which draws no noise
    seed: int = 0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        _check_run(self)
