"""Options and arguments that several commands share, and the functions that declare options.

Commands import this module as `opt`, and declare an option as the default of a parameter: `force: bool = opt.force`, or
`n: int = opt.OUTPUT.option("Help.", default=1)`. Typer's `Annotated` would take three more lines each.
"""

import functools
import math
import re
from collections.abc import Callable
from typing import Any, cast, get_args

import typer

from latentcli import config, defaults
from latentcli.cli.complete import axis_names, model_names, vector_names
from latentcli.errors import UsageError
from latentcli.storage.names import NUMBERED_AXIS

_LONGEST_SIZE = 20  # most characters of the value of --size
_PARAMETER = re.compile("`([a-z_]+)(=False)?`")  # a Python parameter in a message of the library
# Options whose name is not that of the Python parameter.
_OTHER_NAMES = {"every": "all", "one": "is", "reach": "range", "start_from": "from", "thresholds": "threshold"}
_AXES = ("dims", "pcs", "vectors", "fan", "random")  # values of --axes that are not vectors

_Completion = Callable[..., list[str]] | None


class Panel:
    """Panel of a help page. Its methods declare options and arguments in it, as defaults of a command's parameters."""

    def __init__(self, title: str | None) -> None:
        self._title = title

    def option(self, text: str, *names: str, default: Any = None, complete: _Completion = None, **others: Any) -> Any:
        """Typer option; the help shows `default` unless it is None.

        Without `names` Typer derives one from the parameter, such as `--max-megapixels`. `others` go to typer.Option.
        """
        return typer.Option(default, *names, help=text, autocompletion=complete, rich_help_panel=self._title, **others)

    def switch(self, text: str, *names: str) -> Any:
        """Option without a value, off by default; without `names` Typer would also add a `--no-...` option."""
        return self.option(text, *names, default=False)

    def argument(self, text: str, default: Any = ..., complete: _Completion = None, **others: Any) -> Any:
        """Positional argument; required unless `default` is given."""
        return typer.Argument(default, help=text, autocompletion=complete, rich_help_panel=self._title, **others)


CHANGE = Panel("What to change")
REGION = Panel("Which part of the photo")
MERGE = Panel("How to merge")
DATA = Panel("Data")
LABELS = Panel("Labels")
METHOD = Panel("Method")
NETWORK = Panel("Network")
TRAINING = Panel("Training")
PLANE = Panel("A plane (without IMAGES)")
LOOK = Panel("How it looks")
OUTPUT = Panel("Output")
_UNTITLED = Panel(None)  # Options, or Arguments
option, switch, argument = _UNTITLED.option, _UNTITLED.switch, _UNTITLED.argument


def refuse(*rules: tuple[object, str]) -> None:
    """Raise UsageError with the message of the first rule (condition, message) whose condition is true."""
    for is_broken, message in rules:
        if is_broken:
            raise UsageError(message)


Number = int | float | None


def between(least: float, most: float = math.inf) -> Callable[[typer.CallbackParam, Number], Number]:
    """Callback of an option that raises UsageError for a number out of range, but shows no range in the help."""

    def check(parameter: typer.CallbackParam, value: Number) -> Number:
        if value is None or least <= value <= most:
            return value
        allowed = f"{_plain(least)} or more" if most == math.inf else f"{_plain(least)} to {_plain(most)}"
        raise UsageError(f"{max(parameter.opts, key=len)} takes {allowed}, got {_plain(value)}")

    return check


def _plain(number: float) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)


_strength = between(-defaults.MOST_STRENGTH, defaults.MOST_STRENGTH)


def parse_crop(text: str) -> config.Crop:
    """Name of a crop, from British or American spelling. Raises UsageError for an unknown name.

    >>> parse_crop("center")
    'centre'
    """
    crop = {"center": "centre"}.get(text, text)
    if crop not in get_args(config.Crop):
        raise UsageError(f"--crop takes {', '.join(get_args(config.Crop))}, got {text!r}")
    return cast(config.Crop, crop)


images = argument("Images, or folders of images.", metavar="IMAGES...")
subjects = argument(
    "Images, folders of images, latents files (`FILE#name` for one latent), or samples like `seed:7`.",
    metavar="IMAGES...",
)
MODEL_DEFAULT = (
    "(default: one that has the vector; of several, your latest if it knows the pictures, else the one that explains "
    "them best; without pictures your latest, else the bundled `avatars`)"
)
model = option(f"The model. {MODEL_DEFAULT}", "--model", "-m", metavar="NAME|PATH", complete=model_names)
engine = option(
    "`onnx` is ONNX Runtime on the CPU, `torch` PyTorch on a CUDA or MPS device, else the CPU. `auto` takes `onnx`.",
    default="auto",
    show_default=False,
)
output = OUTPUT.option("Output file, or a folder when several files are written.", "--output", "-o")
force = OUTPUT.switch("Replace files that exist.", "--force")
as_json = OUTPUT.switch("Print one JSON object instead of paths.", "--json")
show = OUTPUT.option(
    "Show the picture in the terminal. (default: when results go to a terminal with colours)", "--show/--no-show"
)
scale = LOOK.option(
    "Enlarge images by this factor: in whole pixels up to 32 pixels a side, smoothly above.",
    default=1,
    callback=between(1, 32),
)
columns = LOOK.option("Images in a row of the sheet.", callback=between(1))
_LABELS_HELP = "Caption each image, row or column."
labels = LOOK.switch(_LABELS_HELP, "--labels")
labels_on = LOOK.option(_LABELS_HELP, "--labels/--no-labels", default=True)
title = LOOK.option("A title above the sheet.", default="", show_default=False)
of = option(
    "Start from an image, a latent (`FILE#name`) or a sample (`seed:7`). (default: `seed:0`; of a 2-D model the mean)",
    metavar="IMAGE",
)
axes_of_plane = PLANE.option(
    "Axes of the plane: dimensions (`z0`), principal components (`pc1`) or saved vectors (`smile`); `fan` "
    "shows all dimensions at once. (default: the two of a 2-D model, else pc1,pc2)",
    "--axes",
    metavar="X,Y|fan",
    complete=axis_names,
)
max_megapixels = OUTPUT.option(
    "Largest photo to edit, in megapixels; editing takes about 30 bytes a pixel.",
    default=defaults.PHOTO_MEGAPIXELS,
    callback=between(0.001),
)
_vector = functools.partial(
    CHANGE.option,
    "A saved concept vector, with its strength after `=`. Repeatable.",
    "--vector",
    "-v",
    metavar="NAME|FILE[=S]",
    complete=vector_names,
)
vector, required_vector = _vector(default=[]), _vector(default=...)
strength = CHANGE.option(
    "Strength for vectors without `=S`. 1 = the distance between the two class means. (default: as far as "
    "images that show the concept, like `--to positive`)",
    "--strength",
    "-s",
    callback=_strength,
)
sigma = CHANGE.option("Strength in within-class standard deviations (instead of --strength).", callback=_strength)
to = CHANGE.option(
    "Move each image to a target instead: a percentile (`p90`) or the `positive` / `negative` class mean. "
    "Images already past it are unchanged.",
    metavar="TARGET",
)
strip = CHANGE.option("A strip of COUNT strengths of the first vector.", metavar="FROM:TO:COUNT")
stay_typical = CHANGE.switch("Limit edits to the region that holds 99.5 % of the model's samples.", "--stay-typical")
latents = LABELS.option("Use latents already encoded in this file.", metavar="FILE")
method = METHOD.option(
    "`mean` is the difference of the class means; the others separate better and change images less.", default="mean"
)
positive = LABELS.option("Positive class: a folder of images, or a latents file, that show the concept.")
negative = LABELS.option("Negative class: a folder of images, or a latents file, that do not.")
orthogonal_to = METHOD.option(
    "Make the vector orthogonal to this one. Repeatable.", default=[], metavar="NAME", complete=vector_names
)
paired = LABELS.switch("Treat images with the same file name as after/before pairs.", "--paired")

data = argument("A folder of images (sub-folders count too), a .zip, or a text file of paths.")
preset = NETWORK.option(
    "`digits` for small gray pictures, `photo` for everything else, `book` for the network of "
    "Chollet's chapter. (default: chosen from the images)",
    metavar="|".join(config.PRESETS),
    parser=str,  # TrainRequest refuses unknown names
)
size = NETWORK.option("Size in pixels, `64` or `96x64`, 16 to 256. (default: chosen from the images)")
crop = DATA.option(
    "`centre` (or `center`) keeps the largest centred part of the model's shape, `none` squeezes the whole "
    "picture, `face` finds the face and turns it upright. (default: centre)",
    metavar="|".join(get_args(config.Crop)),
    parser=parse_crop,
)
aligned = DATA.switch("The images are upright face crops already; `edit` then finds faces in photos.", "--aligned")
background = DATA.option(
    "Colour that fills transparent pixels: `black`, `#336699`. (default: transparency is learned; white for "
    "faces, `digits` and `book`)",
    metavar="COLOUR",
)
held_out = DATA.option(
    f"Images to measure on and not to train on: a share, or a folder. (default: {defaults.HELD_OUT_SHARE})",
    metavar="SHARE|DIR",
)
device = TRAINING.option("`auto` takes CUDA, else Apple's MPS, else the CPU.", default="auto")
threads = TRAINING.option(
    "Threads of the processor. A fixed number resumes bit for bit; without it training is left to one "
    "thread while another program takes the cores.",
    callback=between(1, 1024),
)


def axis_vectors(names: str | None) -> list[str]:
    """Names of saved vectors in a comma-separated list of axes; dimensions and principal components are left out.

    >>> axis_vectors("smile,pc1,z0,old"), axis_vectors("dims")
    (['smile', 'old'], [])
    """
    return [
        name for name in (names or "").split(",") if name and name not in _AXES and not NUMBERED_AXIS.fullmatch(name)
    ]


def as_typed(text: str) -> str:
    """Message of the library in which Python parameters in backticks are replaced by command-line options.

    >>> as_typed("give `held_out` 0.2, `every` or `align=False`; `FILE#name`")
    'give --held-out 0.2, --all or --no-align; `FILE#name`'
    """
    return _PARAMETER.sub(_option_of, text)


def _option_of(found: re.Match[str]) -> str:
    name, is_off = found.groups()
    return f"--{'no-' if is_off else ''}{_OTHER_NAMES.get(name, name.replace('_', '-'))}"


def parse_size(text: str | None) -> tuple[int, int] | None:
    """(width, height) in pixels from text such as `64` or `96x64`; None for None. Raises UsageError for other text.

    >>> parse_size("96x64")
    (96, 64)
    """
    return None if text is None else parse_pair(text, "--size takes 64 or 96x64 (width x height in pixels)")


def parse_pair(text: str, refusal: str) -> tuple[int, int]:
    """Two numbers from text such as `15` or `30x20`. For other text raises UsageError that opens with `refusal`.

    >>> parse_pair("15", ""), parse_pair("30x20", "")
    ((15, 15), (30, 20))
    """
    width, cross, height = text.lower().partition("x")
    if not width.isdecimal() or (cross and not height.isdecimal()) or len(text) > _LONGEST_SIZE:
        raise UsageError(f"{refusal}, got {text[:_LONGEST_SIZE]!r}")
    return int(width), int(height or width)
