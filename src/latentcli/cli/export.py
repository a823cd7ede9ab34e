"""`latentcli export`: a model as ONNX files."""

from pathlib import Path
from typing import Annotated

import typer

from latentcli.cli.complete import model_names
from latentcli.cli.console import Console, choose_model
from latentcli.cli.options import MODEL_DEFAULT, PANEL_OUTPUT, ForceOption, JsonOption

ModelArg = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        help=f"Name or path. {MODEL_DEFAULT}",
        show_default=False,
        autocompletion=model_names,
    ),
]


def export(
    onnx: Annotated[
        Path,
        typer.Option("--onnx", metavar="DIR", help="Folder for the two files.", rich_help_panel=PANEL_OUTPUT),
    ],
    model: ModelArg = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a model's encoder and decoder as ONNX files.

    Example:

        latentcli export faces --onnx faces-onnx/

    Writes `encoder.onnx` (images to posterior means) and `decoder.onnx` (latents to images) once they agree with
    PyTorch. Size, channels and preprocessing are in their metadata.
    """
    console = Console(as_json)
    entry = choose_model(console, model)

    from latentcli.pipelines import export

    console.run(export.export(entry, onnx, force), "exporting")
    console.close()
