"""`latentcli rerun`: make an edit again from the metadata of the edited photo."""

from pathlib import Path
from typing import Annotated

import typer

from latentcli.cli.console import Console, check_pipe
from latentcli.cli.options import (
    EngineOption,
    ForceOption,
    JsonOption,
    MegapixelsOption,
    ModelOption,
    OutputOption,
    ShowOption,
)
from latentcli.config import PHOTO_MEGAPIXELS
from latentcli.files import PIPE


def rerun(
    edited: Annotated[Path, typer.Argument(help="A photo that `latentcli edit` wrote.", show_default=False)],
    photo: Annotated[
        Path | None,
        typer.Option(
            "--photo",
            metavar="FILE",
            help="The photo to edit. (default: the original, near the edited one or in the current folder)",
            show_default=False,
        ),
    ] = None,
    max_megapixels: MegapixelsOption = PHOTO_MEGAPIXELS,
    model: ModelOption = None,
    engine: EngineOption = "auto",
    output: OutputOption = None,
    force: ForceOption = False,
    show: ShowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an edit again, on the same photo or on another one.

    Examples:

        latentcli rerun me-smile+1.5.png

        latentcli rerun me-smile+1.5.png --photo you.jpg

    In another photo the faces are found again. Writes what the command of the edit would write.
    """
    if output == PIPE:
        check_pipe(as_json)
    console = Console(as_json, show)

    from latentcli.catalog import Choice
    from latentcli.pipelines import edit

    entry, events = edit.rerun(edited, photo, model, edit.Job(output, force, megapixels=max_megapixels), engine)
    console.took(Choice(entry, "" if model else "made the edit"))
    console.run(events, "editing")
    console.close()
