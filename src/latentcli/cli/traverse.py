"""`latentcli traverse`: a row of images for each latent dimension, component or vector."""

from typing import Annotated

from latentcli.cli import options as opt
from latentcli.cli.complete import axis_names
from latentcli.cli.console import Console, choose_model
from latentcli.defaults import TRAVERSAL_RANGE, TRAVERSAL_ROWS, TRAVERSAL_STEPS


def traverse(
    axes: Annotated[
        str,
        opt.option(
            "`dims` are the latent dimensions with the largest KL, `pcs` the principal components, `vectors` the "
            "saved ones; or names between commas: `z0`, `pc1`, `smile`.",
            metavar="dims|pcs|vectors|NAMES",
            complete=axis_names,
        ),
    ] = "dims",
    rows: Annotated[int, opt.option("Number of dimensions or components.")] = TRAVERSAL_ROWS,
    steps: Annotated[int, opt.option("Images per row.")] = TRAVERSAL_STEPS,
    reach: Annotated[float, opt.option("Standard deviations to both sides.", "--range")] = TRAVERSAL_RANGE,
    of: opt.Of = None,
    scale: opt.Scale = 1,
    labels: opt.LabelsOn = True,
    title: opt.Title = "",
    model: opt.Model = None,
    engine: opt.Engine = "auto",
    output: opt.Output = None,
    force: opt.Force = False,
    show: opt.Show = None,
    as_json: opt.Json = False,
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
    entry = choose_model(console, model, opt.axis_vectors(axes), engine, [of])

    from latentcli.figures.sheet import Look
    from latentcli.pipelines import traverse as traversals

    look = Look(scale, labels=labels, title=title)
    request = traversals.TraverseRequest(axes, of, rows, steps, reach, look)
    console.run(traversals.traverse(entry, request, output, force), "decoding")
