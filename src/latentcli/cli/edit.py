"""`latentcli edit`: change photos at their own resolution."""

import os
from pathlib import Path
from typing import Annotated

import typer

from latentcli.cli.console import Console, check_pipe, choose_model
from latentcli.cli.options import (
    PANEL_CHANGE,
    PANEL_MERGE,
    PANEL_OUTPUT,
    PANEL_REGION,
    EngineOption,
    ForceOption,
    JsonOption,
    LabelsOption,
    MegapixelsOption,
    ModelOption,
    OutputOption,
    ShowOption,
    SigmaOption,
    StrengthOption,
    StripOption,
    TitleOption,
    ToOption,
    TypicalOption,
    VectorOption,
    between,
)
from latentcli.config import DETAIL, PHOTO_MEGAPIXELS, WALK_FPS, Merge
from latentcli.errors import UsageError
from latentcli.files import PIPE

_MOST_JOBS = 64


def edit(
    photos: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTOS...", help="Photos, folders of photos, or `-` for the standard input.", show_default=False
        ),
    ],
    vector: VectorOption,
    strength: StrengthOption = None,
    sigma: SigmaOption = None,
    to: ToOption = None,
    stay_typical: TypicalOption = False,
    strip: StripOption = None,
    animate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write an animation (.gif, .webp, .apng, .mp4, .webm) from the photo to the edited photo and back, or "
            "of --strip.",
            show_default=False,
            rich_help_panel=PANEL_CHANGE,
        ),
    ] = None,
    fps: Annotated[
        float,
        typer.Option(callback=between(0.1, 100), help="Frames per second of --animate.", rich_help_panel=PANEL_CHANGE),
    ] = WALK_FPS,
    face: Annotated[
        int,
        typer.Option(callback=between(1), help="Face to edit, counted from the largest.", rich_help_panel=PANEL_REGION),
    ] = 1,
    all_faces: Annotated[
        bool, typer.Option("--all-faces", help="Edit every face.", rich_help_panel=PANEL_REGION)
    ] = False,
    box: Annotated[
        list[str],
        typer.Option(
            metavar="X,Y,W,H[,ROLL]",
            help="Part to edit, in pixels; ROLL turns it clockwise, in degrees. Repeatable.",
            show_default=False,
            rich_help_panel=PANEL_REGION,
        ),
    ] = [],  # noqa: B006  # Typer copies it
    no_align: Annotated[
        bool,
        typer.Option("--no-align", help="Skip face detection and edit the centre crop.", rich_help_panel=PANEL_REGION),
    ] = False,
    merge: Annotated[
        Merge,
        typer.Option(
            help="`residual` adds the change to the photo, `ratio` scales its brightness, `decode` pastes the decoded "
            "image.",
            rich_help_panel=PANEL_MERGE,
        ),
    ] = "residual",
    detail: Annotated[
        float,
        typer.Option(
            help="How much original detail to keep in the edited area, 0 to 1. 1 keeps everything, including ghosts of "
            "removed features.",
            rich_help_panel=PANEL_MERGE,
        ),
    ] = DETAIL,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine",
            help="Optimise the latent for this photo first (about +1 dB, slower).",
            rich_help_panel=PANEL_MERGE,
        ),
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Write photo, reconstruction and edit side by side.",
            rich_help_panel=PANEL_OUTPUT,
        ),
    ] = False,
    no_metadata: Annotated[
        bool,
        typer.Option(
            "--no-metadata", help="Do not store the edit in the file's metadata.", rich_help_panel=PANEL_OUTPUT
        ),
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            callback=between(1, _MOST_JOBS),
            help="Photos to edit at the same time.",
            rich_help_panel=PANEL_OUTPUT,
        ),
    ] = min(2, os.cpu_count() or 1),
    labels: LabelsOption = False,
    title: TitleOption = "",
    max_megapixels: MegapixelsOption = PHOTO_MEGAPIXELS,
    model: ModelOption = None,
    engine: EngineOption = "auto",
    output: OutputOption = None,
    force: ForceOption = False,
    show: ShowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Edit photos with saved vectors, at the photo's own resolution.

    Examples:

        latentcli edit face.png --vector smile

        latentcli edit face.png --vector smile --strength 0.5

        latentcli edit album/ --all-faces --vector smile --vector old=0.5

        latentcli edit portrait.jpg --box 170,72,101,101,-12 --vector smile --strip 0:1:5

        latentcli edit me.jpg --vector smile --animate smile.webp

        cat me.jpg | latentcli edit - --vector smile > smiling.jpg

    Writes `<stem>-smile.<ext>` or `<stem>-smile+0.5.<ext>` in the photo's format; pixels outside the
    edited area are untouched. `latentcli rerun FILE` makes the same edit again.
    """
    if box and (face != 1 or all_faces or no_align):
        raise typer.BadParameter("--box sets the part to edit; leave out --face, --all-faces and --no-align")
    if no_align and (face != 1 or all_faces):
        raise typer.BadParameter("--no-align skips face detection; leave out --face and --all-faces")
    if all_faces and face != 1:
        raise typer.BadParameter("give --face or --all-faces")
    if compare and (strip or animate):
        raise typer.BadParameter("--compare shows one strength; leave out --strip and --animate")
    if animate is not None and output is not None:
        raise typer.BadParameter("--animate names its file; leave out --output")
    pipes = output == PIPE or (output is None and animate is None and photos == [PIPE])
    if pipes:
        check_pipe(as_json)
    console = Console(as_json, show)
    entry = choose_model(console, model, vector, engine, photos, photos=True)

    from latentcli import catalog
    from latentcli.box import Box
    from latentcli.concepts.edit import EditRequest, parse_row, strengths
    from latentcli.figures.sheet import Look
    from latentcli.pipelines import edit

    request = EditRequest(
        vectors=strengths([catalog.parse_vector(text) for text in vector], strength, sigma, to),
        boxes=tuple(map(Box.parse, box)),
        face=face,
        every_face=all_faces,
        align=not no_align,
        given=bool(box),
        rows=(parse_row(strip, "--strip"),) if strip else (),
        merge=merge,
        detail=detail,
        refine=refine,
        compare=compare,
        stay_typical=stay_typical,
        fps=None if animate is None else fps,
    )
    if (labels or title) and (animate is not None or not (strip or compare)):
        raise UsageError("--labels and --title write on a sheet; give --strip or --compare")
    job = edit.Job(animate or output, force, jobs, max_megapixels, not no_metadata, Look(labels=labels, title=title))
    console.run(edit.edit_photos(entry, photos, request, job), "editing")
    console.close()
