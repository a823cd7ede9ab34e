"""`latentcli report`: a model's page, written anew."""

from typing import Annotated

import typer

from latentcli.cli.console import Console, choose_model
from latentcli.cli.options import ForceOption, JsonOption, OutputOption


def report(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|PATH]",
            help="The model. Without it: your model that finished last, else the bundled `faces`.",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a model's report anew: verdict, figures, curves, traversals, samples, vectors, on one page.

    Examples:

        latentcli report photos

        latentcli report faces --output faces.html

    Training writes it by itself; write it again when vectors have been fitted. It needs no network and no script.
    """
    console = Console(as_json)
    entry = choose_model(console, model)

    from latentcli.pipelines import report

    console.run(report.report(entry, output, force), "drawing")
    console.close()
