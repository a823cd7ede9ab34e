"""`latentcli sample`: new images from the prior."""

from typing import Annotated

import typer

from latentcli.cli.complete import vector_names
from latentcli.cli.console import Console, choose_model
from latentcli.cli.options import (
    ColumnsOption,
    EngineOption,
    ForceOption,
    JsonOption,
    LabelsOption,
    ModelOption,
    OutputOption,
    ScaleOption,
    ShowOption,
    TitleOption,
    between,
)
from latentcli.config import (
    FLOW_GUIDANCE,
    FLOW_TEMPERATURE,
    MIXTURE_TEMPERATURE,
    MOST_SEEDS,
    SAMPLES,
    SPREAD,
    PriorName,
)
from latentcli.errors import UsageError


def sample(
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            "-n",
            callback=between(1, MOST_SEEDS),
            help=f"Number of images. (default: {SAMPLES})",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            callback=between(0, 2**62), help="First seed; each image has its own. (default: 0)", show_default=False
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds and ranges, like `0,3-9`, instead of --n and --seed.", show_default=False)
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="One file per image instead of a sheet.")] = False,
    prior: Annotated[
        PriorName | None,
        typer.Option(help="`fitted` follows the training images; `standard` is N(0, I).", show_default=False),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            callback=between(0),
            help="Factor on the prior's standard deviation; less is cleaner and less varied. "
            f"(default: {FLOW_TEMPERATURE} for a fitted flow, {MIXTURE_TEMPERATURE} for a mixture, 1 for N(0, I))",
            show_default=False,
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            callback=between(0),
            help="How far samples go in the direction in which a fitted flow differs from a mixture; more is clearer "
            f"and bolder. (default: {FLOW_GUIDANCE})",
            show_default=False,
        ),
    ] = None,
    like: Annotated[
        list[str],
        typer.Option(
            metavar="[COLUMN=]VALUE",
            help="Draw from a part of the training images: a sub-folder (`cats`), or a value in the table that `train "
            "--labels` was given (`smiling=yes`). Repeatable.",
            show_default=False,
        ),
    ] = [],  # noqa: B006
    near: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE",
            help="Draw variations of an image, a latent (`FILE#name`) or a sample (`seed:7`).",
            show_default=False,
        ),
    ] = None,
    spread: Annotated[
        float | None,
        typer.Option(
            callback=between(0, 1),
            help=f"With --near: 0 is the image itself, 1 a new sample. (default: {SPREAD})",
            show_default=False,
        ),
    ] = None,
    moves: Annotated[
        list[str],
        typer.Option(
            "--with",
            metavar="NAME|FILE[=S]",
            autocompletion=vector_names,
            help="Move the samples along a concept vector, by a strength of S, else as far as images that show the "
            "concept. Repeatable.",
            show_default=False,
        ),
    ] = [],  # noqa: B006
    scale: ScaleOption = 1,
    columns: ColumnsOption = None,
    labels: LabelsOption = False,
    title: TitleOption = "",
    model: ModelOption = None,
    engine: EngineOption = "auto",
    output: OutputOption = None,
    force: ForceOption = False,
    show: ShowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw new images: a contact sheet, or one file each.

    Examples:

        latentcli sample --n 64

        latentcli sample --seeds 3,7 --each

        latentcli sample --model pets --like cats

        latentcli sample --near me.jpg --spread 0.3 --with smile=1

    The same seed gives the same image, whatever else is drawn with it.
    """
    if seeds is not None and (n is not None or seed is not None):
        raise typer.BadParameter("--seeds replaces --n and --seed; give one or the other")
    if spread is not None and near is None:
        raise UsageError("--spread goes with --near IMAGE")
    if temperature is not None and near is not None:
        raise UsageError("--near takes --spread, not --temperature")
    console = Console(as_json, show)
    entry = choose_model(console, model, moves, engine, [near])

    from latentcli import catalog
    from latentcli.concepts.edit import strengths
    from latentcli.figures.sheet import Look
    from latentcli.pipelines import sample
    from latentcli.pipelines.inputs import parse_seeds

    first = seed or 0
    chosen = parse_seeds(seeds) if seeds is not None else tuple(range(first, first + (n or SAMPLES)))
    request = sample.SampleRequest(
        chosen,
        prior,
        temperature,
        guidance,
        tuple(like),
        near,
        SPREAD if spread is None else spread,
        strengths([catalog.parse_vector(text) for text in moves]) if moves else (),
        Look(scale, columns, labels, title),
    )
    console.run(sample.sample(entry, request, each, output, force), "sampling")
    console.close()
