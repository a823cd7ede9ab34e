"""`latentcli interpolate`: a walk between images."""

from typing import Annotated

import typer

from latentcli.cli.console import Console, choose_model
from latentcli.cli.options import EngineOption, ForceOption, JsonOption, ModelOption, OutputOption, between
from latentcli.config import WALK_FPS, WALK_STEPS, InterpolationMethod

KeyframesArg = Annotated[
    list[str],
    typer.Argument(
        metavar="A B [C...]",
        help="Images, `seed:7`, or latents files (every row in order; `FILE#name` for one).",
        show_default=False,
    ),
]


def interpolate(
    keyframes: KeyframesArg,
    steps: Annotated[int, typer.Option(callback=between(2), help="Images per leg, both ends included.")] = WALK_STEPS,
    method: Annotated[
        InterpolationMethod, typer.Option(help="`lerp` is the straight line, `slerp` the great circle.")
    ] = "lerp",
    loop: Annotated[bool, typer.Option("--loop", help="Return to the first image.")] = False,
    fps: Annotated[float, typer.Option(help="Frames per second of an animation.")] = WALK_FPS,
    model: ModelOption = None,
    engine: EngineOption = "auto",
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Walk from image to image through latent space: a strip, or an animation.

    Examples:

        latentcli interpolate me.jpg you.jpg

        latentcli interpolate seed:7 seed:8 seed:9 --loop --output walk.gif

    Writes `<A>-<B>.png`; an output named `.gif`, `.webp` or `.apng` is an animation.
    """
    console = Console(as_json)
    entry = choose_model(console, model, engine=engine)

    from latentcli.pipelines import sample

    request = sample.WalkRequest(tuple(keyframes), steps, method, loop, fps)
    console.run(sample.interpolate(entry, request, output, force), "walking")
    console.close()
