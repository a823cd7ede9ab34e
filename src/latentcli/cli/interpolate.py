"""Command `latentcli interpolate`: strips, animations and grids of images between keyframes in the latent space."""

from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.console import Console, choose_model
from latentcli.config import Arrangement, EngineName, InterpolationMethod
from latentcli.defaults import WALK_FPS, WALK_STEPS

SPEED, GRIDS = opt.Panel("Speed of a walk"), opt.Panel("Grids")


def interpolate(
    keyframes: list[str] = opt.argument(
        "Images, `seed:7`, `seed:0-3`, or latents files (every row in order; `FILE#name` for one).",
        metavar="A B [C...]",
    ),
    steps: int = opt.option("Images per leg, both ends included.", default=WALK_STEPS, callback=opt.between(2)),
    method: InterpolationMethod = opt.option(
        "`lerp` is the straight line, `slerp` the great circle, `gaussian` the line between quantiles of "
        "N(0, I), `spline` a curve without corners.",
        default="lerp",
    ),
    loop: bool = opt.switch("Return to the first image.", "--loop"),
    even: bool = SPEED.switch("The same change from image to image, by pixels.", "--even"),
    ease: bool = SPEED.switch("Slow down at keyframes.", "--ease"),
    hold: int = SPEED.option("Frames to add at each keyframe.", default=0),
    seconds: float | None = SPEED.option("Length of an animation, instead of --steps."),
    fps: float = SPEED.option("Frames per second of an animation.", default=WALK_FPS),
    grid: str | None = GRIDS.option(
        "A grid with a keyframe at every crossing, row by row; --steps from one to the next.", metavar="ROWSxCOLUMNS"
    ),
    corners: bool = GRIDS.switch("A grid between four corners, A B above C D.", "--corners"),
    analogy: bool = GRIDS.switch(
        "A grid of A, B, C and a fourth corner that is to C as B is to A; the originals beside it.", "--analogy"
    ),
    chain: bool = GRIDS.switch(
        "With --grid: keyframes are the first row and the rest of the first column; analogies go on from there.",
        "--chain",
    ),
    scale: int = opt.scale,
    columns: int | None = opt.columns,
    labels: bool = opt.labels,
    title: str = opt.title,
    model: str | None = opt.model,
    engine: EngineName = opt.engine,
    output: Path | None = opt.output,
    force: bool = opt.force,
    show: bool | None = opt.show,
    as_json: bool = opt.as_json,
) -> None:
    """Walk from image to image: a strip, an animation, or a grid.

    Examples:

        latentcli interpolate me.jpg you.jpg
        latentcli interpolate seed:7 seed:8 seed:9 --loop --method spline --even --seconds 10 --output walk.mp4
        latentcli interpolate seed:0-8 --grid 3x3 --steps 5
        latentcli interpolate man.png smiling-man.png woman.png --analogy

    Writes `<A>-<B>.png`; an output named `.gif`, `.webp`, `.apng`, `.mp4` or `.webm` is an animation.
    """
    arrangements: dict[Arrangement, bool] = {
        "chain" if chain else "grid": grid is not None,
        "corners": corners,
        "analogy": analogy,
    }
    asked = [arrangement for arrangement, is_asked in arrangements.items() if is_asked]
    opt.refuse(
        (chain and grid is None, "--chain goes with --grid ROWSxCOLUMNS"),
        (len(asked) > 1, "give one of --grid, --corners and --analogy"),
        (
            asked and (loop or even or ease or hold or seconds is not None or columns is not None),
            "a grid takes --steps and --method; leave out --loop, --even, --ease, --hold, --seconds, --columns",
        ),
    )
    console = Console(as_json, show)
    entry = choose_model(console, model, (), engine, keyframes)

    from latentcli.figures.sheet import Look
    from latentcli.pipelines import interpolate as walk

    look = Look(scale, columns, labels, title)
    if asked:
        anchors = opt.parse_pair(grid, "--grid takes ROWSxCOLUMNS of keyframes, like 2x3") if grid else (2, 2)
        mesh = walk.GridRequest(tuple(keyframes), asked[0], anchors, steps, method, look)
        console.run(walk.grid(entry, mesh, output, force), "walking")
    else:
        request = walk.WalkRequest(tuple(keyframes), steps, method, loop, fps, seconds, even, ease, hold, look)
        console.run(walk.interpolate(entry, request, output, force), "walking")
