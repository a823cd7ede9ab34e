"""Command `latentcli rerun`: repeat an edit from the metadata of the edited photo."""

from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.console import Console, check_pipe
from latentcli.config import EngineName
from latentcli.storage.files import PIPE


def rerun(
    edited: Path = opt.argument("A photo that `latentcli edit` wrote."),
    photo: Path | None = opt.option(
        "The photo to edit. (default: the original, near the edited one or in the current folder)",
        "--photo",
        metavar="FILE",
    ),
    max_megapixels: float = opt.max_megapixels,
    model: str | None = opt.model,
    engine: EngineName = opt.engine,
    output: Path | None = opt.output,
    force: bool = opt.force,
    show: bool | None = opt.show,
    as_json: bool = opt.as_json,
) -> None:
    """Make an edit again, on the same photo or on another one.

    Examples:

        latentcli rerun me-smile+1.5.png
        latentcli rerun me-smile+1.5.png --photo you.jpg

    In another photo the faces are found again. Writes the same files as the edit command.
    """
    if output == PIPE:
        check_pipe(as_json)
    console = Console(as_json, show)

    from latentcli.pipelines import edit
    from latentcli.storage.catalog import Choice

    entry, events = edit.rerun(edited, photo, model, edit.Job(output, force, megapixels=max_megapixels), engine)
    console.took(Choice(entry, "" if model else "made the edit"))
    console.run(events, "editing")
