"""`latentcli edit`: change photos at their own resolution."""

import os
from pathlib import Path
from typing import Annotated

import typer

from latentcli.cli.console import Console, check_pipe, choose_model
from latentcli.cli.options import (
    ForceOption,
    JsonOption,
    MegapixelsOption,
    ModelOption,
    OutputOption,
    SigmaOption,
    StrengthOption,
    ToOption,
    TypicalOption,
    VectorOption,
)
from latentcli.config import DETAIL, PHOTO_MEGAPIXELS, WALK_FPS, Merge
from latentcli.files import PIPE

_MOST_JOBS = 64


def edit(
    photos: Annotated[
        list[Path],
        typer.Argument(help="Photos, folders of photos, or `-` for the standard input.", show_default=False),
    ],
    vector: VectorOption,
    strength: StrengthOption = None,
    sigma: SigmaOption = None,
    to: ToOption = None,
    stay_typical: TypicalOption = False,
    face: Annotated[int, typer.Option(min=1, help="Which face to edit, counted from the largest.")] = 1,
    all_faces: Annotated[bool, typer.Option("--all-faces", help="Edit every face.")] = False,
    box: Annotated[
        list[str],
        typer.Option(
            metavar="X,Y,W,H[,ROLL]",
            help="The part to edit, in pixels, turned by so many degrees clockwise; repeat it for several.",
            show_default=False,
        ),
    ] = [],  # noqa: B006  # Typer copies it
    no_align: Annotated[
        bool, typer.Option("--no-align", help="Look for no face: edit the largest centred part.")
    ] = False,
    merge: Annotated[
        Merge,
        typer.Option(
            help="`residual` adds what changes, `ratio` multiplies the brightness by it, `decode` puts in what the "
            "model draws."
        ),
    ] = "residual",
    detail: Annotated[
        float,
        typer.Option(help="How much of the photo's own detail stays where it is redrawn: 0 none, 1 all, with ghosts."),
    ] = DETAIL,
    refine: Annotated[
        bool, typer.Option("--refine", help="Fit the latent to the photo first: some 1 dB nearer, and slower.")
    ] = False,
    strip: Annotated[
        str | None,
        typer.Option(metavar="FROM:TO:COUNT", help="A row of strengths of the first vector.", show_default=False),
    ] = None,
    animate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="An animation (.webp, .gif, .png) of the strengths up to this one, there and back, or of --strip's.",
            show_default=False,
        ),
    ] = None,
    fps: Annotated[float, typer.Option(min=0.1, max=100, help="Pictures a second of the animation.")] = WALK_FPS,
    compare: Annotated[
        bool, typer.Option("--compare", help="Write before, reconstruction and after side by side.")
    ] = False,
    no_metadata: Annotated[
        bool, typer.Option("--no-metadata", help="Do not write into the file what was done.")
    ] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, max=_MOST_JOBS, help="Photos edited at the same time.")
    ] = min(2, os.cpu_count() or 1),
    max_megapixels: MegapixelsOption = PHOTO_MEGAPIXELS,
    model: ModelOption = None,
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Edit photos with saved vectors and merge the change at the photo's own resolution.

    Examples:

        latentcli edit face.png --vector smile --strength 1.5

        latentcli edit album/ --all-faces --vector smile=1 --vector glasses=-1

        latentcli edit portrait.jpg --box 170,72,101,101,-12 --vector smile --strip -1:2:4

        latentcli edit me.jpg --vector smile --animate smile.webp

        cat me.jpg | latentcli edit - --vector smile > smiling.jpg

    Writes `<stem>-smile+1.5.<ext>` in the photo's format; what the edit does not reach stays as it was.
    `latentcli rerun FILE` does the same edit again.
    """
    if box and (face != 1 or all_faces or no_align):
        raise typer.BadParameter("--box says where; leave out --face, --all-faces and --no-align")
    if no_align and (face != 1 or all_faces):
        raise typer.BadParameter("--no-align looks for no face; leave out --face and --all-faces")
    if all_faces and face != 1:
        raise typer.BadParameter("give --face or --all-faces")
    if compare and (strip or animate):
        raise typer.BadParameter("--compare shows one strength; leave out --strip and --animate")
    if animate is not None and output is not None:
        raise typer.BadParameter("--animate names its file; leave out --output")
    pipes = output == PIPE or (output is None and animate is None and photos == [PIPE])
    if pipes:
        check_pipe(as_json)
    console = Console(as_json)
    entry = choose_model(console, model, vector)

    from latentcli import catalog
    from latentcli.box import Box
    from latentcli.concepts.edit import EditRequest, parse_row, strengths
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
    )
    if animate is not None:
        request = edit.animated(request, fps)
    job = edit.Job(animate or output, force, jobs, max_megapixels, not no_metadata)
    console.run(edit.edit_photos(entry, photos, request, job), "editing")
    console.close()
