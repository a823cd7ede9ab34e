"""`latentcli traverse`: a row of images for each latent dimension, component or vector."""

from typing import Annotated

import typer

from latentcli.cli.complete import axis_names
from latentcli.cli.console import Console, choose_model
from latentcli.cli.options import (
    EngineOption,
    ForceOption,
    JsonOption,
    LabelsOnOption,
    ModelOption,
    OfOption,
    OutputOption,
    ScaleOption,
    ShowOption,
    TitleOption,
    axis_vectors,
)
from latentcli.config import TRAVERSAL_RANGE, TRAVERSAL_ROWS, TRAVERSAL_STEPS


def traverse(
    axes: Annotated[
        str,
        typer.Option(
            metavar="dims|pcs|vectors|NAMES",
            autocompletion=axis_names,
            help="`dims` are the latent dimensions with the largest KL, `pcs` the principal components, `vectors` the "
            "saved ones; or names between commas: `z0`, `pc1`, `smile`.",
        ),
    ] = "dims",
    rows: Annotated[int, typer.Option(help="Number of dimensions or components.")] = TRAVERSAL_ROWS,
    steps: Annotated[int, typer.Option(help="Images per row.")] = TRAVERSAL_STEPS,
    reach: Annotated[float, typer.Option("--range", help="Standard deviations to both sides.")] = TRAVERSAL_RANGE,
    of: OfOption = None,
    scale: ScaleOption = 1,
    labels: LabelsOnOption = True,
    title: TitleOption = "",
    model: ModelOption = None,
    engine: EngineOption = "auto",
    output: OutputOption = None,
    force: ForceOption = False,
    show: ShowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a row of images along each axis of the latent space.

    Examples:

        latentcli traverse

        latentcli traverse --axes pcs --of me.jpg --range 2

        latentcli traverse --axes smile,pc1,z12

    The last row moves along a random direction: what it changes is no finding. Beside each row stands its KL, or its
    share of the variance.
    """
    console = Console(as_json, show)
    entry = choose_model(console, model, axis_vectors(axes), engine, [of])

    from latentcli.figures.sheet import Look
    from latentcli.pipelines import traverse as traversals

    look = Look(scale, labels=labels, title=title)
    request = traversals.TraverseRequest(axes, of, rows, steps, reach, look)
    console.run(traversals.traverse(entry, request, output, force), "decoding")
    console.close()
