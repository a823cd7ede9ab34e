"""`latentcli interpolate`: walks and grids between images."""

from typing import Annotated

import typer

from latentcli.cli.console import Console, choose_model
from latentcli.cli.options import (
    ColumnsOption,
    EngineOption,
    ForceOption,
    JsonOption,
    LabelsOption,
    ModelOption,
    OutputOption,
    ScaleOption,
    ShowOption,
    TitleOption,
    between,
    parse_pair,
)
from latentcli.config import WALK_FPS, WALK_STEPS, Arrangement, InterpolationMethod
from latentcli.errors import UsageError

PANEL_SPEED = "Speed of a walk"
PANEL_GRID = "Grids"

KeyframesArg = Annotated[
    list[str],
    typer.Argument(
        metavar="A B [C...]",
        help="Images, `seed:7`, `seed:0-3`, or latents files (every row in order; `FILE#name` for one).",
        show_default=False,
    ),
]


def interpolate(
    keyframes: KeyframesArg,
    steps: Annotated[int, typer.Option(callback=between(2), help="Images per leg, both ends included.")] = WALK_STEPS,
    method: Annotated[
        InterpolationMethod,
        typer.Option(
            help="`lerp` is the straight line, `slerp` the great circle, `gaussian` the line between quantiles of "
            "N(0, I), `spline` a curve without corners."
        ),
    ] = "lerp",
    loop: Annotated[bool, typer.Option("--loop", help="Return to the first image.")] = False,
    even: Annotated[
        bool,
        typer.Option("--even", help="The same change from image to image, by pixels.", rich_help_panel=PANEL_SPEED),
    ] = False,
    ease: Annotated[bool, typer.Option("--ease", help="Slow down at keyframes.", rich_help_panel=PANEL_SPEED)] = False,
    hold: Annotated[int, typer.Option(help="Show each keyframe so many times more.", rich_help_panel=PANEL_SPEED)] = 0,
    seconds: Annotated[
        float | None,
        typer.Option(
            help="Length of an animation, instead of --steps.", show_default=False, rich_help_panel=PANEL_SPEED
        ),
    ] = None,
    fps: Annotated[
        float, typer.Option(help="Frames per second of an animation.", rich_help_panel=PANEL_SPEED)
    ] = WALK_FPS,
    grid: Annotated[
        str | None,
        typer.Option(
            metavar="ROWSxCOLUMNS",
            help="A grid with a keyframe at every crossing, row by row; --steps from one to the next.",
            show_default=False,
            rich_help_panel=PANEL_GRID,
        ),
    ] = None,
    corners: Annotated[
        bool,
        typer.Option("--corners", help="A grid between four corners, A B above C D.", rich_help_panel=PANEL_GRID),
    ] = False,
    analogy: Annotated[
        bool,
        typer.Option(
            "--analogy",
            help="A grid of A, B, C and a fourth corner that is to C as B is to A; the originals beside it.",
            rich_help_panel=PANEL_GRID,
        ),
    ] = False,
    chain: Annotated[
        bool,
        typer.Option(
            "--chain",
            help="With --grid: keyframes are the first row and the rest of the first column; analogies go on from "
            "there.",
            rich_help_panel=PANEL_GRID,
        ),
    ] = False,
    scale: ScaleOption = 1,
    columns: ColumnsOption = None,
    labels: LabelsOption = False,
    title: TitleOption = "",
    model: ModelOption = None,
    engine: EngineOption = "auto",
    output: OutputOption = None,
    force: ForceOption = False,
    show: ShowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Walk from image to image: a strip, an animation, or a grid.

    Examples:

        latentcli interpolate me.jpg you.jpg

        latentcli interpolate seed:7 seed:8 seed:9 --loop --method spline --even --seconds 10 --output walk.mp4

        latentcli interpolate seed:0-8 --grid 3x3 --steps 5

        latentcli interpolate man.png smiling-man.png woman.png --analogy

    Writes `<A>-<B>.png`; an output named `.gif`, `.webp`, `.apng`, `.mp4` or `.webm` is an animation.
    """
    arrangement = _arrangement(grid, corners, analogy, chain)
    if arrangement and (loop or even or ease or hold or seconds is not None or columns is not None):
        raise UsageError(
            "a grid takes --steps and --method; leave out --loop, --even, --ease, --hold, --seconds, --columns"
        )
    console = Console(as_json, show)
    entry = choose_model(console, model, (), engine, keyframes)

    from latentcli.figures.sheet import Look
    from latentcli.pipelines import walk

    look = Look(scale, columns, labels, title)
    if arrangement:
        anchors = parse_pair(grid, "--grid takes ROWSxCOLUMNS of keyframes, like 2x3") if grid else (2, 2)
        mesh = walk.GridRequest(tuple(keyframes), arrangement, anchors, steps, method, look)
        console.run(walk.grid(entry, mesh, output, force), "walking")
    else:
        request = walk.WalkRequest(tuple(keyframes), steps, method, loop, fps, seconds, even, ease, hold, look)
        console.run(walk.interpolate(entry, request, output, force), "walking")
    console.close()


def _arrangement(grid: str | None, corners: bool, analogy: bool, chain: bool) -> Arrangement | None:
    if chain and grid is None:
        raise UsageError("--chain goes with --grid ROWSxCOLUMNS")
    asked: list[Arrangement] = []
    if grid is not None:
        asked.append("chain" if chain else "grid")
    if corners:
        asked.append("corners")
    if analogy:
        asked.append("analogy")
    if len(asked) > 1:
        raise UsageError("give one of --grid, --corners and --analogy")
    return asked[0] if asked else None
