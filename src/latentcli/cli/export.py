"""Command `latentcli export`: a model as ONNX files."""

from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.complete import model_names
from latentcli.cli.console import Console, choose_model


def export(
    onnx: Path = opt.OUTPUT.option("Folder for the two files.", "--onnx", default=..., metavar="DIR"),
    model: str | None = opt.argument(
        f"Name or path. {opt.MODEL_DEFAULT}", default=None, metavar="[MODEL]", complete=model_names
    ),
    force: bool = opt.force,
    as_json: bool = opt.as_json,
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
