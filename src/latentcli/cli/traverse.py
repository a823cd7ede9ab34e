"""Command `latentcli traverse`: a row of images along each latent dimension, principal component or vector."""

from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.complete import axis_names
from latentcli.cli.console import Console, choose_model
from latentcli.config import EngineName
from latentcli.defaults import TRAVERSAL_RANGE, TRAVERSAL_ROWS, TRAVERSAL_STEPS


def traverse(
    axes: str = opt.option(
        "`dims` are the latent dimensions with the largest KL, `pcs` the principal components, `vectors` the "
        "saved ones; or names between commas: `z0`, `pc1`, `smile`.",
        default="dims",
        metavar="dims|pcs|vectors|NAMES",
        complete=axis_names,
    ),
    rows: int = opt.option("Number of dimensions or components.", default=TRAVERSAL_ROWS),
    steps: int = opt.option("Images per row.", default=TRAVERSAL_STEPS),
    reach: float = opt.option("Standard deviations to both sides.", "--range", default=TRAVERSAL_RANGE),
    of: str | None = opt.of,
    scale: int = opt.scale,
    labels: bool = opt.labels_on,
    title: str = opt.title,
    model: str | None = opt.model,
    engine: EngineName = opt.engine,
    output: Path | None = opt.output,
    force: bool = opt.force,
    show: bool | None = opt.show,
    as_json: bool = opt.as_json,
) -> None:
    """Draw a row of images along each axis of the latent space.

    Examples:

        latentcli traverse
        latentcli traverse --axes pcs --of me.jpg --range 2
        latentcli traverse --axes smile,pc1,z12

    The last row moves along a random direction, for comparison. Beside each row stands its KL, or its share of the
    variance.
    """
    console = Console(as_json, show)
    entry = choose_model(console, model, opt.axis_vectors(axes), engine, [of])

    from latentcli.figures.sheet import Look
    from latentcli.pipelines import traverse as traversals

    look = Look(scale, labels=labels, title=title)
    request = traversals.TraverseRequest(axes, of, rows, steps, reach, look)
    console.run(traversals.traverse(entry, request, output, force), "decoding")
