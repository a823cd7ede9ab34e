"""Options that several commands share, written once."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from latentcli.cli.complete import axis_names, model_names, vector_names
from latentcli.config import (
    HELD_OUT_SHARE,
    MOST_STRENGTH,
    NUMBERED_AXIS,
    PRESETS,
    Crop,
    Device,
    EngineName,
    VectorMethod,
)
from latentcli.errors import UsageError

# Panels of the help pages, in the order in which people need them.
PANEL_CHANGE = "What to change"
PANEL_REGION = "Which part of the photo"
PANEL_MERGE = "How to merge"
PANEL_DATA = "Data"
PANEL_LABELS = "Labels"
PANEL_METHOD = "Method"
PANEL_NETWORK = "Network"
PANEL_TRAINING = "Training"
PANEL_LOOK = "How it looks"
PANEL_OUTPUT = "Output"
_LONGEST_SIZE = 20  # characters of --size
_AXES = ("dims", "pcs", "vectors", "fan", "random")  # that are no names of vectors


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


_strength = between(-MOST_STRENGTH, MOST_STRENGTH)


def _positive(parameter: typer.CallbackParam, value: float) -> float:
    if not value > 0:
        raise UsageError(f"{max(parameter.opts, key=len)} takes more than 0, got {value:g}")
    return value


def parse_crop(text: str) -> Crop:
    """A way to crop, in British or American spelling.

    >>> parse_crop("center")
    'centre'
    """
    crop = {"center": "centre"}.get(text, text)
    if crop not in get_args(Crop):
        raise UsageError(f"--crop takes {', '.join(get_args(Crop))}, got {text!r}")
    return cast(Crop, crop)


ImagesArg = Annotated[
    list[Path], typer.Argument(metavar="IMAGES...", help="Images, or folders of images.", show_default=False)
]
SubjectsArg = Annotated[
    list[Path],
    typer.Argument(
        metavar="IMAGES...",
        help="Images, folders of images, latents files (`FILE#name` for one latent), or samples like `seed:7`.",
        show_default=False,
    ),
]
MODEL_DEFAULT = (
    "(default: one that has the vector; of several, your latest if it knows the pictures, else the one that explains "
    "them best; without pictures your latest, else the bundled `avatars`)"
)
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|PATH",
        help=f"The model. {MODEL_DEFAULT}",
        show_default=False,
        autocompletion=model_names,
    ),
]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        help="`onnx` is ONNX Runtime on the CPU, `torch` PyTorch on a CUDA or MPS device, else the CPU. `auto` takes "
        "`onnx`.",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Output file, or a folder when several files are written.",
        show_default=False,
        rich_help_panel=PANEL_OUTPUT,
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that exist.", rich_help_panel=PANEL_OUTPUT)]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead of paths.", rich_help_panel=PANEL_OUTPUT)
]
ShowOption = Annotated[
    bool | None,
    typer.Option(
        "--show/--no-show",
        help="Show the picture in the terminal. (default: when results go to a terminal with colours)",
        show_default=False,
        rich_help_panel=PANEL_OUTPUT,
    ),
]
ScaleOption = Annotated[
    int,
    typer.Option(
        callback=between(1, 32),
        help="Enlarge images so many times: by whole pixels up to 32 pixels a side, smoothly above.",
        rich_help_panel=PANEL_LOOK,
    ),
]
ColumnsOption = Annotated[
    int | None,
    typer.Option(
        callback=between(1), help="Images in a row of the sheet.", show_default=False, rich_help_panel=PANEL_LOOK
    ),
]
_LABELS = "Write what each image, row or column is."
LabelsOption = Annotated[bool, typer.Option("--labels", help=_LABELS, rich_help_panel=PANEL_LOOK)]
LabelsOnOption = Annotated[bool, typer.Option("--labels/--no-labels", help=_LABELS, rich_help_panel=PANEL_LOOK)]
TitleOption = Annotated[
    str, typer.Option(help="A title above the sheet.", show_default=False, rich_help_panel=PANEL_LOOK)
]
OfOption = Annotated[
    str | None,
    typer.Option(
        metavar="IMAGE",
        help="Start from an image, a latent (`FILE#name`) or a sample (`seed:7`). (default: `seed:0`; of a 2-D model "
        "the mean)",
        show_default=False,
    ),
]
AxesOfPlaneOption = Annotated[
    str | None,
    typer.Option(
        "--axes",
        metavar="X,Y|fan",
        autocompletion=axis_names,
        help="Axes of the plane: dimensions (`z0`), principal components (`pc1`) or saved vectors (`smile`); `fan` "
        "shows all dimensions at once. (default: the two of a 2-D model, else pc1,pc2)",
        show_default=False,
        rich_help_panel="A plane (without IMAGES)",
    ),
]
MegapixelsOption = Annotated[
    float,
    typer.Option(
        callback=_positive,
        help="Largest photo to edit, in megapixels; editing takes about 30 bytes a pixel.",
        rich_help_panel=PANEL_OUTPUT,
    ),
]
VectorOption = Annotated[
    list[str],
    typer.Option(
        "--vector",
        "-v",
        metavar="NAME|FILE[=S]",
        help="A saved concept vector, with its strength after `=`. Repeatable.",
        show_default=False,
        autocompletion=vector_names,
        rich_help_panel=PANEL_CHANGE,
    ),
]
StrengthOption = Annotated[
    float | None,
    typer.Option(
        "--strength",
        "-s",
        callback=_strength,
        help="Strength for vectors without `=S`. 1 = the distance between the two class means. (default: as far as "
        "images that show the concept, like `--to positive`)",
        show_default=False,
        rich_help_panel=PANEL_CHANGE,
    ),
]
SigmaOption = Annotated[
    float | None,
    typer.Option(
        callback=_strength,
        help="Strength in within-class standard deviations (instead of --strength).",
        show_default=False,
        rich_help_panel=PANEL_CHANGE,
    ),
]
ToOption = Annotated[
    str | None,
    typer.Option(
        metavar="TARGET",
        help="Move each image to a target instead: a percentile (`p90`) or the `positive` / `negative` class mean. "
        "Images already past it are unchanged.",
        show_default=False,
        rich_help_panel=PANEL_CHANGE,
    ),
]
StripOption = Annotated[
    str | None,
    typer.Option(
        metavar="FROM:TO:COUNT",
        help="A strip of COUNT strengths of the first vector.",
        show_default=False,
        rich_help_panel=PANEL_CHANGE,
    ),
]
TypicalOption = Annotated[
    bool,
    typer.Option(
        "--stay-typical",
        help="Limit edits to the region that holds 99.5 % of the model's samples.",
        rich_help_panel=PANEL_CHANGE,
    ),
]
LatentsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Use latents already encoded in this file.",
        show_default=False,
        rich_help_panel=PANEL_LABELS,
    ),
]
MethodOption = Annotated[
    VectorMethod,
    typer.Option(
        help="`mean` is the difference of the class means; the others separate better and change images less.",
        rich_help_panel=PANEL_METHOD,
    ),
]
PositiveOption = Annotated[
    Path | None,
    typer.Option(
        help="Positive class: a folder of images, or a latents file, that show the concept.",
        show_default=False,
        rich_help_panel=PANEL_LABELS,
    ),
]
NegativeOption = Annotated[
    Path | None,
    typer.Option(
        help="Negative class: a folder of images, or a latents file, that do not.",
        show_default=False,
        rich_help_panel=PANEL_LABELS,
    ),
]
OrthogonalOption = Annotated[
    list[str],
    typer.Option(
        metavar="NAME",
        help="Make the vector orthogonal to this one. Repeatable.",
        show_default=False,
        autocompletion=vector_names,
        rich_help_panel=PANEL_METHOD,
    ),
]
PairedOption = Annotated[
    bool,
    typer.Option(
        "--paired",
        help="Treat images with the same file name as after/before pairs.",
        rich_help_panel=PANEL_LABELS,
    ),
]

DataArg = Annotated[
    Path,
    typer.Argument(
        help="A folder of images (sub-folders count too), a .zip, or a text file of paths.", show_default=False
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(PRESETS),
        help="`digits` for small gray pictures, `photo` for everything else, `book` for the network of "
        "Chollet's chapter. (default: chosen from the images)",
        show_default=False,
        rich_help_panel=PANEL_NETWORK,
    ),
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        help="Size in pixels, `64` or `96x64`, 16 to 256. (default: chosen from the images)",
        show_default=False,
        rich_help_panel=PANEL_NETWORK,
    ),
]
CropOption = Annotated[
    Crop | None,
    typer.Option(
        parser=parse_crop,
        metavar="|".join(get_args(Crop)),
        help="`centre` (or `center`) keeps the largest centred part of the model's shape, `none` squeezes the whole "
        "picture, `face` finds the face and turns it upright. (default: centre)",
        show_default=False,
        rich_help_panel=PANEL_DATA,
    ),
]
AlignedOption = Annotated[
    bool,
    typer.Option(
        "--aligned",
        help="The images are upright face crops already; `edit` then finds faces in photos.",
        rich_help_panel=PANEL_DATA,
    ),
]
BackgroundOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLOUR",
        help="Colour that fills transparent pixels: `black`, `#336699`. (default: transparency is learned; white for "
        "faces, `digits` and `book`)",
        show_default=False,
        rich_help_panel=PANEL_DATA,
    ),
]
HeldOutOption = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE|DIR",
        help=f"Images to measure on and not to train on: a share, or a folder. (default: {HELD_OUT_SHARE})",
        show_default=False,
        rich_help_panel=PANEL_DATA,
    ),
]
DeviceOption = Annotated[
    Device,
    typer.Option(help="`auto` takes CUDA, else Apple's MPS, else the CPU.", rich_help_panel=PANEL_TRAINING),
]
_MOST_THREADS = 1024
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        callback=between(1, _MOST_THREADS),
        help="Threads of the processor. A fixed number resumes bit for bit; without it training is left to one "
        "thread while another program takes the cores.",
        show_default=False,
        rich_help_panel=PANEL_TRAINING,
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
