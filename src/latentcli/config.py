"""Every knob, its default, its unit and its check.

`ModelConfig` is stored in the model file and rebuilds the network; `TrainConfig` only says how to get there.
"""

import math
import re
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from latentcli import typed
from latentcli.errors import ConfigError

Preset = Literal["book", "digits", "photo"]
Likelihood = Literal["bernoulli", "gaussian"]
Precision = Literal["auto", "fp32", "bf16"]
VectorMethod = Literal["mean", "lda", "logistic", "svm"]
Augmentation = Literal["blur", "brightness", "contrast", "hue", "rotate", "zoom"]  # changes that vectors are made of
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)
PriorName = Literal["fitted", "standard"]
Crop = Literal["centre", "none", "face"]
Merge = Literal["residual", "ratio", "decode"]
Device = Literal["auto", "cpu", "cuda", "mps"]
EngineName = Literal["auto", "onnx", "torch"]
InterpolationMethod = Literal["lerp", "slerp", "gaussian", "spline"]
LayoutMethod = Literal["pca", "tsne", "umap"]
Shape = Literal["square", "disc", "hexagons"]  # of a plane
Spacing = Literal["quantiles", "even"]
Discovery = Literal["latents", "pictures"]  # what unsupervised directions are found by
Arrangement = Literal["grid", "corners", "analogy", "chain"]  # of keyframes in two dimensions

PRESETS: tuple[Preset, ...] = get_args(Preset)
NUMBERED_AXIS = re.compile(r"(z|pc)(\d{1,4})")  # a latent dimension, from 0, or a principal component, from 1
SMALLEST, LARGEST = 16, 256  # pixels, each side of a model
SIZES = (16, 24, 28, 32, 48, 64, 96, 128)  # pixels, what `train` chooses from
DIGITS_UP_TO = 32  # pixels: gray pictures up to this side get the preset `digits`
BOOK_SIZE = 28  # pixels, the side of the chapter's images
MIXTURE_TEMPERATURE = 0.8  # cleaner and a little less varied than the training images
FLOW_TEMPERATURE = 0.9  # the same
FLOW_GUIDANCE = 1.5  # of 1, 1.5 and 2 the nearest to held-out emoji and avatars in the features of open_nsfw
ACTIVE_KL = 0.01  # nats on average, above which a latent dimension carries information
HELD_OUT_SHARE = 0.05  # of the images, by a hash of their relative path
HELD_OUT_NEEDS = 10  # images below which nothing is held out
MOST_SEEDS = 1_000_000  # in one run of `sample`
MOST_ON_SHEET = 10_000  # images
MOST_FRAMES = 100_000  # of a walk
SAMPLES = 64  # drawn by `sample` unless told
SPREAD = 0.3  # of the variations of a picture
TRAVERSAL_ROWS, TRAVERSAL_STEPS, TRAVERSAL_RANGE = 10, 9, 2.0  # axes, images, standard deviations to both sides
NEAREST = 64  # images of a map around one of them
MAP_CELLS = 15  # images a side of a plane
PLANE_RANGE = 1.645  # standard deviations: the chapter's, from the 5 % quantile to the 95 % quantile
WALK_STEPS = 9  # images per leg of a walk, both ends included
WALK_FPS = 12.0  # pictures a second in an animation
MODEL_FILE = "model.safetensors"  # in a model's folder
RESUME_FILE = "resume.safetensors"  # beside it
PRIOR_RESUME_FILE = "prior.resume.safetensors"  # and that, while the prior is fitted
PLAIN_FILE = "plain.safetensors"  # and that: the model before it was sharpened
SHARP_RESUME_FILE = "sharp.resume.safetensors"  # and that, while it is sharpened
SHARP_SHARE = 0.2  # of the images shown in training, which sharpening shows again
SHARP_LEAST_STEPS = 500  # of sharpening, unless minutes are asked for
HISTORY_FILE = "history.jsonl"  # and that: a line per epoch
RECONSTRUCTIONS_FILE = "reconstructions.png"  # and that: drawn again at every save
SAMPLES_FILE = "samples.png"
SNAPSHOT_FOLDERS = ("snapshots", "moments")  # pictures drawn in the course of training; the second of earlier versions
FILES_FILE = "files.safetensors"  # beside that: what is trained on
WHITE = "#ffffff"  # what transparent pixels show
MEGAPIXELS = 250.0  # larger pictures are refused before a pixel is decoded
PHOTO_MEGAPIXELS = 100.0  # the same for photos to be edited, which take more memory
MOST_STRENGTH = 10_000.0  # of an edit; one is already a class gap
DETAIL = 0.5  # of a photo's own, where an edit redraws it
WITH_ALPHA = (2, 4)  # channels of images with transparency: gray or RGB, then alpha
# A face's crop: its side over that of the face's box (`faces.Face`), and where in it the middle of the box lies.
FRAMING = (1.106, 0.503, 0.491)

_LONGEST = 1_000_000  # epochs, or minutes, of a training
_OF_FACES = ("framing", "aligned")  # settings that mean something with the crop "face"
_ADDED = (*_OF_FACES, "linear", "pooling")  # settings that files need not have
_LINEAR_ONCE_UP_TO = 128  # pixels: the linear path sees larger pictures halved, in files that do not say it
# Units of what the convolutions correct: with them, learning as fast as on faces leaves avatars, which PCA describes
# to a fraction of a gray level, at 58.5 dB; without them they fall to 47.7 dB at first.
MEAN_UNIT = 2.0  # of a correction of the mean, in standard deviations of the linear posterior
PICTURE_UNIT = 10.0  # of a correction of the picture, in standard deviations of what PCA leaves over


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise ConfigError(message)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What rebuilds the network, and how its images are made from files."""

    preset: Preset = "photo"
    width: int = 64  # pixels
    height: int = 64  # pixels
    channels: int = 3  # 1 is gray, 3 is RGB; 2 and 4 are these premultiplied by the alpha that follows
    latent_dim: int = 192
    widths: tuple[int, ...] = (32, 64, 128, 192)  # feature maps per halving, finest first
    hidden: int = 0  # numbers in a dense layer on both sides of the latent; 0 is no such layer
    likelihood: Likelihood = "gaussian"
    linear: bool = False  # probabilistic PCA beside the convolutions, which correct it
    pooling: int = 1  # pixels each way that the linear path averages
    crop: Crop = "centre"  # a picture of another shape is cut to width:height, or with "none" squeezed
    framing: tuple[float, float, float] = FRAMING  # with the crop "face": how a face lies in it
    aligned: bool = False  # with the crop "face": the training pictures were such crops already
    resampling: Literal["lanczos"] = "lanczos"
    background: str = WHITE  # what transparent pixels show where the model has no alpha, #rrggbb

    def __post_init__(self) -> None:
        _require(self.preset in PRESETS, f"preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")
        numbers = (self.width, self.height, self.channels, self.latent_dim, self.hidden, *self.widths)
        _require(all(type(number) is int for number in numbers), f"sizes must be whole numbers, got {numbers}")
        for side in (self.width, self.height):
            _require(
                SMALLEST <= side <= LARGEST,
                f"size must be {SMALLEST} to {LARGEST} pixels a side, got {self.width}x{self.height}",
            )
        _require(self.channels in (1, 2, 3, 4), f"channels must be 1 to 4, got {self.channels}")
        _require(
            not self.has_alpha or (self.preset == "photo" and self.crop != "face"),
            "transparency is learned with the preset photo, and not from faces; give `background` white",
        )
        _require(1 <= self.latent_dim <= 4096, f"latent dimension must be 1 to 4096, got {self.latent_dim}")
        _require(self.likelihood in get_args(Likelihood), f"likelihood cannot be {self.likelihood!r}")
        _require(0 <= self.hidden <= 4096, f"hidden must be 0 to 4096, got {self.hidden}")
        _require(
            1 <= len(self.widths) <= 8 and all(1 <= width <= 4096 for width in self.widths),
            f"widths must be 1 to 8 numbers of feature maps, got {self.widths}",
        )
        _require(self.crop in get_args(Crop), f"crop must be one of {', '.join(get_args(Crop))}, got {self.crop!r}")
        scale, *middle = self.framing
        _require(
            len(middle) == 2 and 0.5 <= scale <= 10 and all(0 <= share <= 1 for share in middle),
            f"framing must be a scale from 0.5 to 10 and a place in the crop, got {self.framing}",
        )
        _require(
            self.crop != "face" or self.width == self.height, "faces are cropped square; give `size` as one number"
        )
        _require(self.resampling == "lanczos", f"resampling cannot be {self.resampling!r}")
        _require(
            re.fullmatch("#[0-9a-f]{6}", str(self.background)) is not None,
            f"background must be a colour like {WHITE}, got {self.background!r}",
        )
        _require(
            not self.linear or (self.preset != "book" and self.likelihood == "gaussian" and not self.hidden),
            "a linear path goes with a Gaussian likelihood and without hidden layers",
        )
        _require(self.pooling in (1, 2), f"pooling must be 1 or 2, got {self.pooling}")
        if self.preset == "book":
            shape = (self.width, self.height, self.channels)
            _require(len(self.widths) == 4, "the preset book has four convolutions")
            _require(
                shape == (BOOK_SIZE, BOOK_SIZE, 1),
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
        """Height and width with them."""
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
        """Whether the images are transparent in places: their last channel is alpha, and colours are premultiplied."""
        return self.channels in WITH_ALPHA

    @property
    def colours(self) -> str:
        """What the channels show, in words."""
        return f"{'colour' if self.has_colour else 'gray'}{' with transparency' if self.has_alpha else ''}"

    def to_json(self) -> dict[str, Any]:
        values = asdict(self) | {"widths": list(self.widths), "framing": list(self.framing)}
        return values if self.crop == "face" else {key: values[key] for key in values if key not in _OF_FACES}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Raises ConfigError on unknown, missing or wrong values."""
        unknown = set(values) - {knob.name for knob in fields(cls)}
        missing = [knob.name for knob in fields(cls) if knob.name not in values and knob.name not in _ADDED]
        _require(not unknown, f"unknown settings {', '.join(sorted(unknown))}")
        _require(not missing, f"the settings {', '.join(missing)} are missing")
        try:
            config = typed.read(cls, values)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        return config if "pooling" in values else replace(config, pooling=config.pooling_above(_LINEAR_ONCE_UP_TO))

    def pooling_above(self, up_to: int) -> int:
        """What the linear path should average, where pictures up to so many pixels a side are seen whole."""
        return 2 if self.linear and max(self.padded) > up_to else 1


def _check_run(minutes: float | None, precision: str, batch_size: int, seed: int) -> None:
    """What training and sharpening have in common."""
    _require(
        minutes is None or 0 < minutes <= _LONGEST,
        f"minutes must be more than 0 and up to {_LONGEST:,}, got {minutes}",
    )
    _require(precision in get_args(Precision), f"precision cannot be {precision!r}")
    _require(2 <= batch_size <= 1 << 16, f"batch size must be 2 to {1 << 16}, got {batch_size}")
    _require(0 <= seed < 2**63, f"seed must be 0 or more, got {seed}")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How to train. Everything that shapes the network is in ModelConfig instead."""

    epochs: int = 60  # passes over the training images; the last may be cut short by `minutes`
    minutes: float | None = None  # of training; turned into a number of steps once, then stored
    batch_size: int = 64  # images per step
    learning_rate: float = 2e-3
    optimizer: Literal["muon", "adamw", "rmsprop"] = "muon"  # muon: matrices; adamw does the rest
    weight_decay: float = 0.01  # per step and learning rate; not with rmsprop
    beta: float = 1.0  # weight of the KL; 0 is the classical autoencoder, which draws no noise
    beta_warmup: float = 0.1  # share of the steps over which beta rises from 0
    learning_rate_warmup: float = 0.02  # share of the steps; 0 with `cosine` False is a constant rate
    cosine: bool = True  # learning rate falls to 0 along a half cosine
    clip: float = 1.0  # largest norm of the gradient of the loss per number of the image; 0 is none
    ema: float = 0.999  # decay of the averaged weights, which are the ones stored; 0 stores the last
    flip: bool | None = False  # mirror half of the images left to right; None finds out whether they look the same
    augment: bool | None = False  # move and recolour images; None finds out whether moved ones look the same
    shift: float = 0.0  # farthest move of an image each way, a share of its side
    jitter: float = 0.0  # strongest change of brightness and of contrast, 0 to 0.5
    patience: float = 0.0  # share of the steps to wait for a better held-out loss; 0 stores the last weights
    held_out: str = str(HELD_OUT_SHARE)  # a share of the images, or a folder
    seed: int = 0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        _require(1 <= self.epochs <= _LONGEST, f"epochs must be 1 to {_LONGEST:,}, got {self.epochs}")
        _check_run(self.minutes, self.precision, self.batch_size, self.seed)
        _require(
            math.isfinite(self.learning_rate) and self.learning_rate > 0,
            f"learning rate must be more than 0, got {self.learning_rate}",
        )
        _require(math.isfinite(self.beta) and self.beta >= 0, f"beta must be 0 or more, got {self.beta}")
        _require(0 <= self.shift <= 0.25, f"shift must be 0 to 0.25, got {self.shift}")
        _require(0 <= self.jitter <= 0.5, f"jitter must be 0 to 0.5, got {self.jitter}")
        _require(0 <= self.patience <= 1, f"patience must be 0 to 1, got {self.patience}")


@dataclass(frozen=True, slots=True)
class SharpConfig:
    """How to sharpen: the decoder of a trained model learns on, against a discriminator."""

    minutes: float | None = None  # turned into a number of steps once; None is a share of the training's steps
    batch_size: int = 32  # images per step; half as many samples are added
    learning_rate: float = 5e-4  # of decoder and discriminator; that of the decoder falls to 0
    flip: bool = False  # mirror half of the images, as in the training
    noise_scale: float = 1.0  # 0 for an autoencoder, which draws no noise
    seed: int = 0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        _check_run(self.minutes, self.precision, self.batch_size, self.seed)
