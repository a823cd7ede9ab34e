"""`latentcli decode`: latents back to images."""

from pathlib import Path
from typing import Annotated

import typer

from latentcli.cli.console import Console, choose_model
from latentcli.cli.options import EngineOption, ForceOption, JsonOption, ModelOption, OutputOption, ShowOption

LatentsArg = Annotated[Path, typer.Argument(help="A `.latents.safetensors` file.", show_default=False)]


def decode(
    latents: LatentsArg,
    model: ModelOption = None,
    engine: EngineOption = "auto",
    output: OutputOption = None,
    force: ForceOption = False,
    show: ShowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn latents back into images, one PNG each.

    Example:

        latentcli decode photos.latents.safetensors --output photos-again/

    Writes `<stem>-decoded/<name>.png`; pictures that exist in a folder given with -o are kept.
    """
    console = Console(as_json, show)
    entry = choose_model(console, model, (), engine, [latents])

    from latentcli.pipelines import encode

    console.run(encode.decode(entry, latents, output, force), "decoding")
    console.close()
