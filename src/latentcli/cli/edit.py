"""Command `latentcli edit`: change photos by concept vectors, at the photos' own resolution."""

import os
from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.console import Console, check_pipe, choose_model
from latentcli.config import EngineName, Merge
from latentcli.defaults import DETAIL, WALK_FPS
from latentcli.storage.files import PIPE

_MOST_JOBS = 64  # photos that may be edited at the same time


def edit(
    photos: list[Path] = opt.argument("Photos, folders of photos, or `-` for the standard input.", metavar="PHOTOS..."),
    vector: list[str] = opt.required_vector,
    strength: float | None = opt.strength,
    sigma: float | None = opt.sigma,
    to: str | None = opt.to,
    stay_typical: bool = opt.stay_typical,
    strip: str | None = opt.strip,
    animate: Path | None = opt.CHANGE.option(
        "Write an animation (.gif, .webp, .apng, .mp4, .webm) from the photo to the edited photo and back, or "
        "of --strip.",
        metavar="FILE",
    ),
    fps: float = opt.CHANGE.option("Frames per second of --animate.", default=WALK_FPS, callback=opt.between(0.1, 100)),
    face: int = opt.REGION.option("Face to edit, counted from the largest.", default=1, callback=opt.between(1)),
    all_faces: bool = opt.REGION.switch("Edit every face.", "--all-faces"),
    box: list[str] = opt.REGION.option(
        "Part to edit, in pixels; ROLL turns it clockwise, in degrees. Repeatable.",
        default=[],
        metavar="X,Y,W,H[,ROLL]",
    ),
    no_align: bool = opt.REGION.switch("Skip face detection and edit the centre crop.", "--no-align"),
    merge: Merge = opt.MERGE.option(
        "`residual` adds the change to the photo, `ratio` scales its brightness, `decode` pastes the decoded image.",
        default="residual",
    ),
    detail: float = opt.MERGE.option(
        "How much original detail to keep in the edited area, 0 to 1. 1 keeps everything, including ghosts of "
        "removed features.",
        default=DETAIL,
    ),
    refine: bool = opt.MERGE.switch("Optimise the latent for this photo first (about +1 dB, slower).", "--refine"),
    compare: bool = opt.OUTPUT.switch("Write photo, reconstruction and edit side by side.", "--compare"),
    no_metadata: bool = opt.OUTPUT.switch("Do not store the edit in the file's metadata.", "--no-metadata"),
    jobs: int = opt.OUTPUT.option(
        "Photos to edit at the same time.",
        "--jobs",
        "-j",
        default=min(2, os.cpu_count() or 1),
        callback=opt.between(1, _MOST_JOBS),
    ),
    labels: bool = opt.labels,
    title: str = opt.title,
    max_megapixels: float = opt.max_megapixels,
    model: str | None = opt.model,
    engine: EngineName = opt.engine,
    output: Path | None = opt.output,
    force: bool = opt.force,
    show: bool | None = opt.show,
    as_json: bool = opt.as_json,
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
    by_face = face != 1 or all_faces
    is_sheet = not animate and (strip or compare)
    opt.refuse(
        (box and (by_face or no_align), "--box sets the part to edit; leave out --face, --all-faces and --no-align"),
        (no_align and by_face, "--no-align skips face detection; leave out --face and --all-faces"),
        (all_faces and face != 1, "give --face or --all-faces"),
        (compare and (strip or animate), "--compare shows one strength; leave out --strip and --animate"),
        (animate and output, "--animate names its file; leave out --output"),
        ((labels or title) and not is_sheet, "--labels and --title write on a sheet; give --strip or --compare"),
    )
    if output == PIPE or (output is None and animate is None and photos == [PIPE]):
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
    job = edit.Job(animate or output, force, jobs, max_megapixels, not no_metadata, Look(labels=labels, title=title))
    console.run(edit.edit_photos(entry, photos, request, job), "editing")
