"""`latentcli sample`: new images from the prior."""

from typing import Annotated

import typer

from latentcli.cli.console import Console, choose_model
from latentcli.cli.options import EngineOption, ForceOption, JsonOption, ModelOption, OutputOption, between
from latentcli.config import FLOW_TEMPERATURE, MIXTURE_TEMPERATURE, SAMPLES, PriorName


def sample(
    n: Annotated[
        int | None,
        typer.Option(
            "--n", "-n", callback=between(1), help=f"Number of images. (default: {SAMPLES})", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            callback=between(0, 2**62), help="First seed; each image has its own. (default: 0)", show_default=False
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds and ranges, like `0,3-9`, instead of --n and --seed.", show_default=False)
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="One file per image instead of a sheet.")] = False,
    prior: Annotated[
        PriorName | None,
        typer.Option(help="`fitted` follows the training images; `standard` is N(0, I).", show_default=False),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            callback=between(0),
            help="Factor on the prior's standard deviation; less is cleaner and less varied. "
            f"(default: {FLOW_TEMPERATURE} for a fitted flow, {MIXTURE_TEMPERATURE} for a mixture, 1 for N(0, I))",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    engine: EngineOption = "auto",
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw new images: a contact sheet, or one file each.

    Examples:

        latentcli sample --n 64

        latentcli sample --seeds 3,7 --each

    The same seed gives the same image, whatever else is drawn with it.
    """
    if seeds is not None and (n is not None or seed is not None):
        raise typer.BadParameter("--seeds replaces --n and --seed; give one or the other")
    console = Console(as_json)
    entry = choose_model(console, model, engine=engine)

    from latentcli.pipelines import sample

    first = seed or 0
    chosen = sample.parse_seeds(seeds) if seeds is not None else tuple(range(first, first + (n or SAMPLES)))
    request = sample.SampleRequest(chosen, prior, temperature)
    console.run(sample.sample(entry, request, each, output, force), "sampling")
    console.close()
