"""Options that several commands share, written once."""

from pathlib import Path
from typing import Annotated

import typer

from latentcli.config import HELD_OUT_SHARE, MOST_STRENGTH, PRESETS, Crop, Device, VectorMethod
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
PANEL_OUTPUT = "Output"


def _finite(value: float | None) -> float | None:
    if value is not None and not abs(value) <= MOST_STRENGTH:
        raise UsageError(f"--strength and --sigma take numbers up to {MOST_STRENGTH:g}, got {value:g}")
    return value


ImagesArg = Annotated[list[Path], typer.Argument(help="Images, or folders of images.", show_default=False)]
SubjectsArg = Annotated[
    list[Path],
    typer.Argument(
        metavar="IMAGES...",
        help="Images, folders of images, latents files (`FILE#name` for one latent), or samples like `seed:7`.",
        show_default=False,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|PATH",
        help="The model. Without it: your model that finished last, else the bundled `faces`.",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="A file, or a folder when several files are written.", show_default=False),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of paths.")]
MegapixelsOption = Annotated[
    float, typer.Option(min=0.000001, help="Refuse larger photos; editing takes some 30 bytes a pixel.")
]
VectorOption = Annotated[
    list[str],
    typer.Option(
        "--vector",
        "-v",
        metavar="NAME|FILE[=S]",
        help="A saved concept vector; repeat it for several, each with its own strength after `=`.",
        show_default=False,
    ),
]
StrengthOption = Annotated[
    float | None,
    typer.Option(
        "--strength",
        "-s",
        callback=_finite,
        help="How far, for vectors without `=S`: 1 goes from the mean image without to the mean image with it. "
        "(default: 1)",
        show_default=False,
    ),
]
SigmaOption = Annotated[
    float | None,
    typer.Option(callback=_finite, help="How far instead, in standard deviations within a class.", show_default=False),
]
ToOption = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE",
        help="Where to instead: `p90` of the images it was fitted on, or the mean of the `positive` or the `negative`; "
        "who is beyond that already stays.",
        show_default=False,
    ),
]
TypicalOption = Annotated[
    bool,
    typer.Option("--stay-typical", help="Go no farther out than 99.5 % of what the model's prior draws."),
]
LatentsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Take the images from this latents file, where they are encoded.", show_default=False
    ),
]
MethodOption = Annotated[
    VectorMethod,
    typer.Option(help="`mean` is the difference of the two means; the others separate better and change images less."),
]
PositiveOption = Annotated[
    Path | None,
    typer.Option(help="A folder of images, or a latents file, that show the concept.", show_default=False),
]
NegativeOption = Annotated[
    Path | None, typer.Option(help="A folder of images, or a latents file, that do not show it.", show_default=False)
]
OrthogonalOption = Annotated[
    list[str],
    typer.Option(metavar="NAME", help="Leave another vector's concept as it is.", show_default=False),
]
PairedOption = Annotated[
    bool, typer.Option("--paired", help="--positive and --negative are after and before, by name.")
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
    ),
]
SizeOption = Annotated[
    str | None,
    typer.Option(help="`64` or `96x64`, pixels, 16 to 256. (default: chosen from the images)", show_default=False),
]
CropOption = Annotated[
    Crop | None,
    typer.Option(
        help="`centre` cuts the largest part of the model's shape out of each picture, `none` squeezes all of it, "
        "`face` finds the face and turns it upright. (default: centre)",
        show_default=False,
    ),
]
AlignedOption = Annotated[
    bool,
    typer.Option("--aligned", help="The pictures are upright face crops already; `edit` is to find faces in photos."),
]
BackgroundOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLOUR", help="What transparent pixels show: `black`, `#336699`. (default: white)", show_default=False
    ),
]
HeldOutOption = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE|DIR",
        help=f"Images to measure on and not to train on: a share, or a folder. (default: {HELD_OUT_SHARE})",
        show_default=False,
    ),
]
DeviceOption = Annotated[Device, typer.Option(help="`auto` takes CUDA, else Apple's MPS, else the CPU.")]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`64` or `96x64` as (width, height) in pixels.

    >>> parse_size("96x64")
    (96, 64)
    """
    if text is None:
        return None
    width, cross, height = text.lower().partition("x")
    if not width.isdecimal() or (cross and not height.isdecimal()):
        raise UsageError(f"--size takes 64 or 96x64 (width x height in pixels), got {text!r}")
    return int(width), int(height or width)
