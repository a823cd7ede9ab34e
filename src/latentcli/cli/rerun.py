"""`latentcli rerun`: make an edit again from the metadata of the edited photo."""

from pathlib import Path
from typing import Annotated

from latentcli.cli import options as opt
from latentcli.cli.console import Console, check_pipe
from latentcli.defaults import PHOTO_MEGAPIXELS
from latentcli.storage.files import PIPE


def rerun(
    edited: Annotated[Path, opt.argument("A photo that `latentcli edit` wrote.")],
    photo: Annotated[
        Path | None,
        opt.option(
            "The photo to edit. (default: the original, near the edited one or in the current folder)",
            "--photo",
            metavar="FILE",
        ),
    ] = None,
    max_megapixels: opt.Megapixels = PHOTO_MEGAPIXELS,
    model: opt.Model = None,
    engine: opt.Engine = "auto",
    output: opt.Output = None,
    force: opt.Force = False,
    show: opt.Show = None,
    as_json: opt.Json = False,
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

    from latentcli.pipelines import edit
    from latentcli.storage.catalog import Choice

    entry, events = edit.rerun(edited, photo, model, edit.Job(output, force, megapixels=max_megapixels), engine)
    console.took(Choice(entry, "" if model else "made the edit"))
    console.run(events, "editing")
