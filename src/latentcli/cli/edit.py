"""`latentcli edit`: change photos at their own resolution."""

import os
from pathlib import Path
from typing import Annotated

import typer

from latentcli.cli import options as opt
from latentcli.cli.console import Console, check_pipe, choose_model
from latentcli.config import Merge
from latentcli.defaults import DETAIL, PHOTO_MEGAPIXELS, WALK_FPS
from latentcli.errors import UsageError
from latentcli.storage.files import PIPE

_MOST_JOBS = 64


def edit(
    photos: Annotated[
        list[Path], opt.argument("Photos, folders of photos, or `-` for the standard input.", metavar="PHOTOS...")
    ],
    vector: opt.Vector,
    strength: opt.Strength = None,
    sigma: opt.Sigma = None,
    to: opt.To = None,
    stay_typical: opt.Typical = False,
    strip: opt.Strip = None,
    animate: Annotated[
        Path | None,
        opt.option(
            "Write an animation (.gif, .webp, .apng, .mp4, .webm) from the photo to the edited photo and back, or "
            "of --strip.",
            metavar="FILE",
            panel=opt.CHANGE,
        ),
    ] = None,
    fps: Annotated[
        float, opt.option("Frames per second of --animate.", callback=opt.between(0.1, 100), panel=opt.CHANGE)
    ] = WALK_FPS,
    face: Annotated[
        int, opt.option("Face to edit, counted from the largest.", callback=opt.between(1), panel=opt.REGION)
    ] = 1,
    all_faces: Annotated[bool, opt.option("Edit every face.", "--all-faces", panel=opt.REGION)] = False,
    box: Annotated[
        list[str],
        opt.option(
            "Part to edit, in pixels; ROLL turns it clockwise, in degrees. Repeatable.",
            metavar="X,Y,W,H[,ROLL]",
            panel=opt.REGION,
        ),
    ] = [],  # noqa: B006  # Typer copies it
    no_align: Annotated[
        bool, opt.option("Skip face detection and edit the centre crop.", "--no-align", panel=opt.REGION)
    ] = False,
    merge: Annotated[
        Merge,
        opt.option(
            "`residual` adds the change to the photo, `ratio` scales its brightness, `decode` pastes the decoded "
            "image.",
            panel=opt.MERGE,
        ),
    ] = "residual",
    detail: Annotated[
        float,
        opt.option(
            "How much original detail to keep in the edited area, 0 to 1. 1 keeps everything, including ghosts of "
            "removed features.",
            panel=opt.MERGE,
        ),
    ] = DETAIL,
    refine: Annotated[
        bool, opt.option("Optimise the latent for this photo first (about +1 dB, slower).", "--refine", panel=opt.MERGE)
    ] = False,
    compare: Annotated[
        bool, opt.option("Write photo, reconstruction and edit side by side.", "--compare", panel=opt.OUTPUT)
    ] = False,
    no_metadata: Annotated[
        bool, opt.option("Do not store the edit in the file's metadata.", "--no-metadata", panel=opt.OUTPUT)
    ] = False,
    jobs: Annotated[
        int,
        opt.option(
            "Photos to edit at the same time.", "--jobs", "-j", callback=opt.between(1, _MOST_JOBS), panel=opt.OUTPUT
        ),
    ] = min(2, os.cpu_count() or 1),
    labels: opt.Labels = False,
    title: opt.Title = "",
    max_megapixels: opt.Megapixels = PHOTO_MEGAPIXELS,
    model: opt.Model = None,
    engine: opt.Engine = "auto",
    output: opt.Output = None,
    force: opt.Force = False,
    show: opt.Show = None,
    as_json: opt.Json = False,
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

    from latentcli.concepts.edit import EditRequest, parse_row, strengths
    from latentcli.figures.sheet import Look
    from latentcli.imaging.box import Box
    from latentcli.pipelines import edit
    from latentcli.storage import catalog

    request = EditRequest(
        vectors=strengths([catalog.parse_vector(text) for text in vector], strength, sigma, to),
        boxes=tuple(map(Box.parse, box)),
        face=face,
        every_face=all_faces,
        align=not no_align,
        given=bool(box),
        rows=(parse_row(strip, "`strip`"),) if strip else (),
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
