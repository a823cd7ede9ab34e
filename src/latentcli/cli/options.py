"""Options: how one is made, and those that several commands share, written once.

Commands import this module as `opt`: `force: opt.Force = False`, and `opt.option("Help.", panel=opt.OUTPUT)`.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from latentcli import config, defaults
from latentcli.cli.complete import axis_names, model_names, vector_names
from latentcli.errors import UsageError
from latentcli.storage.names import NUMBERED_AXIS

# Panels of the help pages, in capitals, in the order in which people need them.
CHANGE = "What to change"
REGION = "Which part of the photo"
MERGE = "How to merge"
DATA = "Data"
LABELS = "Labels"
METHOD = "Method"
NETWORK = "Network"
TRAINING = "Training"
PLANE = "A plane (without IMAGES)"
LOOK = "How it looks"
OUTPUT = "Output"
_LONGEST_SIZE = 20  # characters of --size
_PARAMETER = re.compile("`([a-z_]+)(=False)?`")
_OTHER_NAMES = {"every": "all", "one": "is", "reach": "range", "start_from": "from", "thresholds": "threshold"}
_AXES = ("dims", "pcs", "vectors", "fan", "random")  # that are no names of vectors


def option(
    text: str,
    *names: str,
    metavar: str | None = None,
    complete: Callable[..., list[str]] | None = None,
    parser: Callable[[str], Any] | None = None,
    callback: Callable[..., Any] | None = None,
    least: int | None = None,
    show_default: bool = True,
    panel: str | None = None,
) -> Any:
    """An option and its help. Without `names` Typer makes one of the parameter's: `--max-megapixels`.

    A switch needs its name, else Typer adds `--no-...` to it. A default of None is never shown.
    """
    return typer.Option(
        *names,
        help=text,
        metavar=metavar,
        autocompletion=complete,
        parser=parser,
        callback=callback,
        min=least,
        show_default=show_default,
        rich_help_panel=panel,
    )


def argument(
    text: str, metavar: str | None = None, complete: Callable[..., list[str]] | None = None, panel: str | None = None
) -> Any:
    """A positional argument and its help."""
    return typer.Argument(help=text, metavar=metavar, autocompletion=complete, rich_help_panel=panel)


Number = int | float | None


def between(least: float, most: float = math.inf) -> Callable[[typer.CallbackParam, Number], Number]:
    """A callback that refuses numbers out of range; unlike `min=` and `max=` it leaves the range out of the help."""

    def check(parameter: typer.CallbackParam, value: Number) -> Number:
        if value is None or least <= value <= most:
            return value
        allowed = f"{_plain(least)} or more" if most == math.inf else f"{_plain(least)} to {_plain(most)}"
        raise UsageError(f"{max(parameter.opts, key=len)} takes {allowed}, got {_plain(value)}")

    return check


def _plain(number: float) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)


_strength = between(-defaults.MOST_STRENGTH, defaults.MOST_STRENGTH)


def _positive(parameter: typer.CallbackParam, value: float) -> float:
    if not value > 0:
        raise UsageError(f"{max(parameter.opts, key=len)} takes more than 0, got {value:g}")
    return value


def parse_crop(text: str) -> config.Crop:
    """A way to crop, in British or American spelling.

    >>> parse_crop("center")
    'centre'
    """
    crop = {"center": "centre"}.get(text, text)
    if crop not in get_args(config.Crop):
        raise UsageError(f"--crop takes {', '.join(get_args(config.Crop))}, got {text!r}")
    return cast(config.Crop, crop)


Images = Annotated[list[Path], argument("Images, or folders of images.", metavar="IMAGES...")]
Subjects = Annotated[
    list[Path],
    argument(
        "Images, folders of images, latents files (`FILE#name` for one latent), or samples like `seed:7`.",
        metavar="IMAGES...",
    ),
]
MODEL_DEFAULT = (
    "(default: one that has the vector; of several, your latest if it knows the pictures, else the one that explains "
    "them best; without pictures your latest, else the bundled `avatars`)"
)
Model = Annotated[
    str | None, option(f"The model. {MODEL_DEFAULT}", "--model", "-m", metavar="NAME|PATH", complete=model_names)
]
Engine = Annotated[
    config.EngineName,
    option(
        "`onnx` is ONNX Runtime on the CPU, `torch` PyTorch on a CUDA or MPS device, else the CPU. `auto` takes "
        "`onnx`.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None, option("Output file, or a folder when several files are written.", "--output", "-o", panel=OUTPUT)
]
Force = Annotated[bool, option("Replace files that exist.", "--force", panel=OUTPUT)]
Json = Annotated[bool, option("Print one JSON object instead of paths.", "--json", panel=OUTPUT)]
Show = Annotated[
    bool | None,
    option(
        "Show the picture in the terminal. (default: when results go to a terminal with colours)",
        "--show/--no-show",
        panel=OUTPUT,
    ),
]
Scale = Annotated[
    int,
    option(
        "Enlarge images so many times: by whole pixels up to 32 pixels a side, smoothly above.",
        callback=between(1, 32),
        panel=LOOK,
    ),
]
Columns = Annotated[int | None, option("Images in a row of the sheet.", callback=between(1), panel=LOOK)]
_LABELS_HELP = "Write what each image, row or column is."
Labels = Annotated[bool, option(_LABELS_HELP, "--labels", panel=LOOK)]
LabelsOn = Annotated[bool, option(_LABELS_HELP, "--labels/--no-labels", panel=LOOK)]
Title = Annotated[str, option("A title above the sheet.", show_default=False, panel=LOOK)]
Of = Annotated[
    str | None,
    option(
        "Start from an image, a latent (`FILE#name`) or a sample (`seed:7`). (default: `seed:0`; of a 2-D model "
        "the mean)",
        metavar="IMAGE",
    ),
]
AxesOfPlane = Annotated[
    str | None,
    option(
        "Axes of the plane: dimensions (`z0`), principal components (`pc1`) or saved vectors (`smile`); `fan` "
        "shows all dimensions at once. (default: the two of a 2-D model, else pc1,pc2)",
        "--axes",
        metavar="X,Y|fan",
        complete=axis_names,
        panel=PLANE,
    ),
]
Megapixels = Annotated[
    float,
    option(
        "Largest photo to edit, in megapixels; editing takes about 30 bytes a pixel.", callback=_positive, panel=OUTPUT
    ),
]
Vector = Annotated[
    list[str],
    option(
        "A saved concept vector, with its strength after `=`. Repeatable.",
        "--vector",
        "-v",
        metavar="NAME|FILE[=S]",
        complete=vector_names,
        panel=CHANGE,
    ),
]
Strength = Annotated[
    float | None,
    option(
        "Strength for vectors without `=S`. 1 = the distance between the two class means. (default: as far as "
        "images that show the concept, like `--to positive`)",
        "--strength",
        "-s",
        callback=_strength,
        panel=CHANGE,
    ),
]
Sigma = Annotated[
    float | None,
    option("Strength in within-class standard deviations (instead of --strength).", callback=_strength, panel=CHANGE),
]
To = Annotated[
    str | None,
    option(
        "Move each image to a target instead: a percentile (`p90`) or the `positive` / `negative` class mean. "
        "Images already past it are unchanged.",
        metavar="TARGET",
        panel=CHANGE,
    ),
]
Strip = Annotated[
    str | None, option("A strip of COUNT strengths of the first vector.", metavar="FROM:TO:COUNT", panel=CHANGE)
]
Typical = Annotated[
    bool, option("Limit edits to the region that holds 99.5 % of the model's samples.", "--stay-typical", panel=CHANGE)
]
Latents = Annotated[Path | None, option("Use latents already encoded in this file.", metavar="FILE", panel=LABELS)]
Method = Annotated[
    config.VectorMethod,
    option(
        "`mean` is the difference of the class means; the others separate better and change images less.", panel=METHOD
    ),
]
Positive = Annotated[
    Path | None, option("Positive class: a folder of images, or a latents file, that show the concept.", panel=LABELS)
]
Negative = Annotated[
    Path | None, option("Negative class: a folder of images, or a latents file, that do not.", panel=LABELS)
]
Orthogonal = Annotated[
    list[str],
    option("Make the vector orthogonal to this one. Repeatable.", metavar="NAME", complete=vector_names, panel=METHOD),
]
Paired = Annotated[
    bool, option("Treat images with the same file name as after/before pairs.", "--paired", panel=LABELS)
]

Data = Annotated[Path, argument("A folder of images (sub-folders count too), a .zip, or a text file of paths.")]
Preset = Annotated[
    str | None,
    option(
        "`digits` for small gray pictures, `photo` for everything else, `book` for the network of "
        "Chollet's chapter. (default: chosen from the images)",
        metavar="|".join(config.PRESETS),
        panel=NETWORK,
    ),
]
Size = Annotated[
    str | None, option("Size in pixels, `64` or `96x64`, 16 to 256. (default: chosen from the images)", panel=NETWORK)
]
Crop = Annotated[
    config.Crop | None,
    option(
        "`centre` (or `center`) keeps the largest centred part of the model's shape, `none` squeezes the whole "
        "picture, `face` finds the face and turns it upright. (default: centre)",
        metavar="|".join(get_args(config.Crop)),
        parser=parse_crop,
        panel=DATA,
    ),
]
Aligned = Annotated[
    bool,
    option("The images are upright face crops already; `edit` then finds faces in photos.", "--aligned", panel=DATA),
]
Background = Annotated[
    str | None,
    option(
        "Colour that fills transparent pixels: `black`, `#336699`. (default: transparency is learned; white for "
        "faces, `digits` and `book`)",
        metavar="COLOUR",
        panel=DATA,
    ),
]
HeldOut = Annotated[
    str | None,
    option(
        f"Images to measure on and not to train on: a share, or a folder. (default: {defaults.HELD_OUT_SHARE})",
        metavar="SHARE|DIR",
        panel=DATA,
    ),
]
Device = Annotated[config.Device, option("`auto` takes CUDA, else Apple's MPS, else the CPU.", panel=TRAINING)]
_MOST_THREADS = 1024
Threads = Annotated[
    int | None,
    option(
        "Threads of the processor. A fixed number resumes bit for bit; without it training is left to one "
        "thread while another program takes the cores.",
        callback=between(1, _MOST_THREADS),
        panel=TRAINING,
    ),
]


def axis_vectors(names: str | None) -> list[str]:
    """The saved vectors among the names of axes: a model must have them.

    >>> axis_vectors("smile,pc1,z0,old"), axis_vectors("dims")
    (['smile', 'old'], [])
    """
    return [
        name for name in (names or "").split(",") if name and name not in _AXES and not NUMBERED_AXIS.fullmatch(name)
    ]


def as_typed(text: str) -> str:
    """A message of the library, which names parameters of Python in backticks, with the options that they are here.

    >>> as_typed("give `held_out` 0.2, `every` or `align=False`; `FILE#name`")
    'give --held-out 0.2, --all or --no-align; `FILE#name`'
    """
    return _PARAMETER.sub(_option_of, text)


def _option_of(found: re.Match[str]) -> str:
    name, is_off = found.groups()
    return f"--{'no-' if is_off else ''}{_OTHER_NAMES.get(name, name.replace('_', '-'))}"


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`64` or `96x64` as (width, height) in pixels.

    >>> parse_size("96x64")
    (96, 64)
    """
    return None if text is None else parse_pair(text, "--size takes 64 or 96x64 (width x height in pixels)")


def parse_pair(text: str, refusal: str) -> tuple[int, int]:
    """`15` or `30x20` as two numbers. Raises UsageError, which opens with the refusal.

    >>> parse_pair("15", ""), parse_pair("30x20", "")
    ((15, 15), (30, 20))
    """
    width, cross, height = text.lower().partition("x")
    if not width.isdecimal() or (cross and not height.isdecimal()) or len(text) > _LONGEST_SIZE:
        raise UsageError(f"{refusal}, got {text[:_LONGEST_SIZE]!r}")
    return int(width), int(height or width)
