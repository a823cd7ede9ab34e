"""Command `latentcli sample`: new images from the prior."""

from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.complete import vector_names
from latentcli.cli.console import Console, choose_model
from latentcli.config import EngineName, PriorName
from latentcli.defaults import GUIDANCE, MOST_SEEDS, SAMPLES, SPREAD, TEMPERATURE


def sample(
    n: int | None = opt.option(
        f"Number of images. (default: {SAMPLES})", "--n", "-n", callback=opt.between(1, MOST_SEEDS)
    ),
    seed: int | None = opt.option("First seed; each image has its own. (default: 0)", callback=opt.between(0, 2**62)),
    seeds: str | None = opt.option("Seeds and ranges, like `0,3-9`, instead of --n and --seed."),
    each: bool = opt.switch("One file per image instead of a sheet.", "--each"),
    prior: PriorName | None = opt.option("`fitted` follows the training images; `standard` is N(0, I)."),
    temperature: float | None = opt.option(
        f"Factor on the prior's standard deviation; less is cleaner and less varied. (default: {TEMPERATURE:g})",
        callback=opt.between(0),
    ),
    guidance: float | None = opt.option(
        "How far samples go in the direction in which a fitted flow differs from a mixture; 1 is the fitted "
        f"density, more is clearer and bolder. (default: {GUIDANCE:g})",
        callback=opt.between(0),
    ),
    like: list[str] = opt.option(
        "Draw from a part of the training images: a sub-folder (`cats`), or a value in the table that `train "
        "--labels` was given (`smiling=yes`). Repeatable.",
        default=[],
        metavar="[COLUMN=]VALUE",
    ),
    near: str | None = opt.option(
        "Draw variations of an image, a latent (`FILE#name`) or a sample (`seed:7`).", metavar="IMAGE"
    ),
    spread: float | None = opt.option(
        f"With --near: 0 is the image itself, 1 a new sample. (default: {SPREAD})", callback=opt.between(0, 1)
    ),
    moves: list[str] = opt.option(
        "Move the samples along a concept vector, by a strength of S, else as far as images that show the "
        "concept. Repeatable.",
        "--with",
        default=[],
        metavar="NAME|FILE[=S]",
        complete=vector_names,
    ),
    scale: int = opt.scale,
    columns: int | None = opt.columns,
    labels: bool = opt.labels,
    title: str = opt.title,
    model: str | None = opt.model,
    engine: EngineName = opt.engine,
    output: Path | None = opt.output,
    force: bool = opt.force,
    show: bool | None = opt.show,
    as_json: bool = opt.as_json,
) -> None:
    """Draw new images: a contact sheet, or one file each.

    Examples:

        latentcli sample --n 64
        latentcli sample --seeds 3,7 --each
        latentcli sample --model pets --like cats
        latentcli sample --near me.jpg --spread 0.3 --with smile=1

    The same seed gives the same image, whatever else is drawn with it.
    """
    is_counted = n is not None or seed is not None
    opt.refuse(
        (seeds is not None and is_counted, "--seeds replaces --n and --seed; give one or the other"),
        (spread is not None and near is None, "--spread goes with --near IMAGE"),
        (temperature is not None and near is not None, "--near takes --spread, not --temperature"),
    )
    console = Console(as_json, show)
    entry = choose_model(console, model, moves, engine, [near])

    from latentcli.concepts.edit import strengths
    from latentcli.figures.sheet import Look
    from latentcli.pipelines import sample
    from latentcli.pipelines.inputs import parse_seeds
    from latentcli.storage import catalog

    first = seed or 0
    chosen = parse_seeds(seeds) if seeds is not None else tuple(range(first, first + (n or SAMPLES)))
    spread = SPREAD if spread is None else spread
    vectors = strengths([catalog.parse_vector(text) for text in moves])
    look = Look(scale, columns, labels, title)
    request = sample.SampleRequest(chosen, prior, temperature, guidance, tuple(like), near, spread, vectors, look)
    console.run(sample.sample(entry, request, each, output, force), "sampling")
