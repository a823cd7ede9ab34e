"""`latentcli interpolate`: walks and grids between images."""

from typing import Annotated

from latentcli.cli import options as opt
from latentcli.cli.console import Console, choose_model
from latentcli.config import Arrangement, InterpolationMethod
from latentcli.defaults import WALK_FPS, WALK_STEPS
from latentcli.errors import UsageError

# Panels of the help page.
SPEED = "Speed of a walk"
GRIDS = "Grids"


def interpolate(
    keyframes: Annotated[
        list[str],
        opt.argument(
            "Images, `seed:7`, `seed:0-3`, or latents files (every row in order; `FILE#name` for one).",
            metavar="A B [C...]",
        ),
    ],
    steps: Annotated[int, opt.option("Images per leg, both ends included.", callback=opt.between(2))] = WALK_STEPS,
    method: Annotated[
        InterpolationMethod,
        opt.option(
            "`lerp` is the straight line, `slerp` the great circle, `gaussian` the line between quantiles of "
            "N(0, I), `spline` a curve without corners."
        ),
    ] = "lerp",
    loop: Annotated[bool, opt.option("Return to the first image.", "--loop")] = False,
    even: Annotated[bool, opt.option("The same change from image to image, by pixels.", "--even", panel=SPEED)] = False,
    ease: Annotated[bool, opt.option("Slow down at keyframes.", "--ease", panel=SPEED)] = False,
    hold: Annotated[int, opt.option("Show each keyframe so many times more.", panel=SPEED)] = 0,
    seconds: Annotated[float | None, opt.option("Length of an animation, instead of --steps.", panel=SPEED)] = None,
    fps: Annotated[float, opt.option("Frames per second of an animation.", panel=SPEED)] = WALK_FPS,
    grid: Annotated[
        str | None,
        opt.option(
            "A grid with a keyframe at every crossing, row by row; --steps from one to the next.",
            metavar="ROWSxCOLUMNS",
            panel=GRIDS,
        ),
    ] = None,
    corners: Annotated[
        bool, opt.option("A grid between four corners, A B above C D.", "--corners", panel=GRIDS)
    ] = False,
    analogy: Annotated[
        bool,
        opt.option(
            "A grid of A, B, C and a fourth corner that is to C as B is to A; the originals beside it.",
            "--analogy",
            panel=GRIDS,
        ),
    ] = False,
    chain: Annotated[
        bool,
        opt.option(
            "With --grid: keyframes are the first row and the rest of the first column; analogies go on from there.",
            "--chain",
            panel=GRIDS,
        ),
    ] = False,
    scale: opt.Scale = 1,
    columns: opt.Columns = None,
    labels: opt.Labels = False,
    title: opt.Title = "",
    model: opt.Model = None,
    engine: opt.Engine = "auto",
    output: opt.Output = None,
    force: opt.Force = False,
    show: opt.Show = None,
    as_json: opt.Json = False,
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
    from latentcli.pipelines import interpolate as walk

    look = Look(scale, columns, labels, title)
    if arrangement:
        anchors = opt.parse_pair(grid, "--grid takes ROWSxCOLUMNS of keyframes, like 2x3") if grid else (2, 2)
        mesh = walk.GridRequest(tuple(keyframes), arrangement, anchors, steps, method, look)
        console.run(walk.grid(entry, mesh, output, force), "walking")
    else:
        request = walk.WalkRequest(tuple(keyframes), steps, method, loop, fps, seconds, even, ease, hold, look)
        console.run(walk.interpolate(entry, request, output, force), "walking")


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
