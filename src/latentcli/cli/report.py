"""`latentcli report`: a model's page."""

from typing import Annotated

import typer

from latentcli.cli.complete import model_names
from latentcli.cli.console import Console, choose_model
from latentcli.cli.options import EngineOption, ForceOption, JsonOption, ModelOption, OutputOption
from latentcli.errors import UsageError


def report(
    model: ModelOption = None,
    engine: EngineOption = "auto",
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    named: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help="The model, like --model.", show_default=False, autocompletion=model_names
        ),
    ] = None,
) -> None:
    """Write a page about a model: verdict, samples, metrics, vectors.

    Examples:

        latentcli report --model photos --force

        latentcli report --model faces --output faces.html

    Training writes it too; --force replaces it when vectors have been fitted. It needs no network and no script.
    """
    if model and named:
        raise UsageError("the model is named twice; give --model alone")
    console = Console(as_json)
    entry = choose_model(console, model or named, engine=engine)

    from latentcli.pipelines import report

    console.run(report.report(entry, output, force), "drawing")
    console.close()
