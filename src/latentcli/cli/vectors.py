"""`latentcli vectors`: a model's concept vectors: fit, combine, refit, and say what they are worth."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from latentcli.cli.console import Console, choose_model
from latentcli.cli.options import (
    ForceOption,
    JsonOption,
    LatentsOption,
    MethodOption,
    ModelOption,
    NegativeOption,
    OrthogonalOption,
    OutputOption,
    PairedOption,
    PositiveOption,
)
from latentcli.cli.tables import describe, print_vectors, summary, tell_vector
from latentcli.config import AUGMENTATIONS
from latentcli.errors import FileFormatError

app = typer.Typer(help="The concept vectors of a model: fit them, and see what they are worth.", no_args_is_help=True)


@app.command("list")
def list_vectors(model: ModelOption = None, as_json: JsonOption = False) -> None:
    """List a model's vectors with how well they tell the concept on held-out images.

    Example:

        latentcli vectors list --model faces
    """
    console = Console(as_json)
    entry = choose_model(console, model)

    from latentcli import catalog
    from latentcli.concepts.vector import ConceptVector

    console.introduce()
    vectors = []
    for path in catalog.vectors_of(entry).values():
        try:
            vectors.append(ConceptVector.load(path))
        except FileFormatError as error:
            console.say(f"skipped: {error}")
    if as_json:
        console.facts["vectors"] = [summary(vector) for vector in vectors]
        console.print_json()
        return
    if not vectors:
        console.say(f"{entry.name} has no vectors; make one: latentcli vectors fit NAME --positive DIR --negative DIR")
    else:
        print_vectors(vectors)


@app.command("fit")
def fit_vector(
    name: Annotated[
        str | None,
        typer.Argument(help="What the vector will be called; not with --all and --folders.", show_default=False),
    ] = None,
    positive: PositiveOption = None,
    negative: NegativeOption = None,
    folders: Annotated[
        Path | None,
        typer.Option(help="A folder whose sub-folders are a concept each, against the rest.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="CSV", help="A table with a file column and labels.", show_default=False)
    ] = None,
    column: Annotated[str | None, typer.Option(help="The table's column of labels.", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="Every column of the table.")] = False,
    above: Annotated[
        float | None,
        typer.Option(
            help="Values from here on show the concept. (default: 0.5 for 0 to 1, else the highest quarter)",
            show_default=False,
        ),
    ] = None,
    below: Annotated[
        float | None,
        typer.Option(help="Values up to here do not. (default: all below --above)", show_default=False),
    ] = None,
    between: Annotated[
        str | None, typer.Option(metavar="LOW,HIGH", help="Or values from here to there do not.", show_default=False)
    ] = None,
    extremes: Annotated[
        float | None,
        typer.Option(
            min=0.0001,
            max=0.5,
            metavar="SHARE",
            help="The highest share of the values against the lowest.",
            show_default=False,
        ),
    ] = None,
    one: Annotated[
        str | None,
        typer.Option("--is", metavar="TEXT", help="Rows with this text in the column show it.", show_default=False),
    ] = None,
    threshold: Annotated[
        list[str],
        typer.Option(
            metavar="COLUMN=ABOVE,BELOW", help="The same for each column; BELOW may be LOW:HIGH.", show_default=False
        ),
    ] = [],  # noqa: B006  # Typer copies it
    root: Annotated[
        Path | None, typer.Option(help="The folder of the table's files. (default: the table's)", show_default=False)
    ] = None,
    method: MethodOption = "mean",
    balance_by: Annotated[
        list[str],
        typer.Option(metavar="COLUMN", help="Compare only images that are alike in this column.", show_default=False),
    ] = [],  # noqa: B006
    orthogonal_to: OrthogonalOption = [],  # noqa: B006
    orthogonal_in: Annotated[
        Literal["whitened", "latent"],
        typer.Option(help="The space that is measured in: `whitened` by the latents' covariance, or as they lie."),
    ] = "whitened",
    paired: PairedOption = False,
    augment: Annotated[
        str | None,
        typer.Option(
            metavar="CHANGE[=AMOUNT]",
            help=f"Without labels: {', '.join(AUGMENTATIONS)} of the images in --positive.",
            show_default=False,
        ),
    ] = None,
    latents: LatentsOption = None,
    model: ModelOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute concept vectors from labelled images and keep them with the model.

    Examples:

        latentcli vectors fit smile --positive smiling/ --negative not-smiling/

        latentcli vectors fit smile --labels attributes.csv --column smile --above 0.9 --below 0.1 --balance-by male

        latentcli vectors fit --labels attributes.csv --all --threshold age=60,20:35 --root faces/

        latentcli vectors fit blur --positive photos/ --augment blur=2

    Strength 1 goes from the mean of the images without the concept to the mean of those with it.
    """
    sources = [bool(positive), bool(folders), bool(labels)]
    if sum(sources) != 1 or (positive and not (negative or augment)) or (negative and (not positive or augment)):
        raise typer.BadParameter(
            "give --positive DIR and --negative DIR, or --positive DIR and --augment CHANGE, or --folders DIR, "
            "or --labels CSV"
        )
    if labels and bool(column) == every:
        raise typer.BadParameter("--labels needs --column NAME, or --all")
    if not labels and (column or every or root or one or threshold or balance_by or extremes):
        raise typer.BadParameter(
            "--column, --all, --is, --threshold, --extremes, --balance-by and --root belong to --labels"
        )
    if not labels and (above is not None or below is not None or between):
        raise typer.BadParameter("--above, --below and --between belong to --labels CSV")
    if sum((above is not None or below is not None, one is not None, extremes is not None)) > 1:
        raise typer.BadParameter("give --above and --below, or --is, or --extremes")
    if every and (above is not None or below is not None or between or one is not None or extremes):
        raise typer.BadParameter("with --all each column has its own --threshold COLUMN=ABOVE,BELOW")
    if augment and (latents or not positive):
        raise typer.BadParameter("--augment takes the images of --positive, and no --latents")
    if (name is not None) == bool(folders or every):
        raise typer.BadParameter("name the vector; with --all and --folders the columns and folders name them")
    if paired and not negative:
        raise typer.BadParameter("--paired belongs to --positive and --negative")
    console = Console(as_json)
    entry = choose_model(console, model)

    from latentcli.concepts import label_table
    from latentcli.concepts import labels as labelled
    from latentcli.pipelines import fit_vectors

    if positive is not None and negative is not None:
        wanted = labelled.from_folders(name or "", positive, negative, paired)
    elif positive is not None:
        wanted = labelled.from_change(name or "", positive, augment or "")
    elif folders is not None:
        wanted = labelled.from_subfolders(folders)
    else:
        assert labels is not None, "checked above"
        cut = label_table.Cut.of(above, below, between)
        cuts = dict(map(label_table.Cut.parse, threshold))
        asked = label_table.Wanted(column, name, cut, one, extremes, cuts, balance_by, root)
        wanted = label_table.from_table(labels, asked)
    how = fit_vectors.FitOptions(method, tuple(orthogonal_to), orthogonal_in == "whitened", latents)
    _follow(console, fit_vectors.fit(entry, wanted, how, force), "encoding")


@app.command("combine")
def combine_vectors(
    parts: Annotated[
        list[str], typer.Argument(metavar="NAME=S...", help="Vectors, each with a strength.", show_default=False)
    ],
    save: Annotated[str, typer.Option(metavar="NAME", help="What the sum will be called.", show_default=False)],
    model: ModelOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Keep a sum of vectors as one.

    Example:

        latentcli vectors combine smile=1 glasses=-0.5 --save plain-smile
    """
    console = Console(as_json)
    entry = choose_model(console, model, parts)

    from latentcli import catalog
    from latentcli.pipelines import fit_vectors

    _follow(
        console, fit_vectors.combine(entry, save, [catalog.parse_vector(part) for part in parts], force), "combining"
    )


@app.command("refit")
def refit_vectors(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME|FILE...", help="Vectors to make again.", show_default=False)
    ],
    model: Annotated[str, typer.Option(metavar="NAME|PATH", help="The model to make them for.", show_default=False)],
    old: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="NAME|PATH", help="The model that has them now. (default: any)", show_default=False
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="The folder of the images they were fitted to.", show_default=False)
    ] = None,
    latents: LatentsOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make vectors of one model again on another, by the images and settings they carry.

    Example:

        latentcli vectors refit smile --from faces --model larger --root faces/
    """
    console = Console(as_json)
    entry = choose_model(console, model)

    from latentcli import catalog
    from latentcli.concepts.vector import ConceptVector
    from latentcli.pipelines import fit_vectors

    wanted = [catalog.parse_vector(name) for name in names]
    kept = [request for request in wanted if not request.is_file]
    source = catalog.find_model(old, kept) if kept else entry
    for request in wanted:
        vector = ConceptVector.load(catalog.vector_file(source, request))
        how = fit_vectors.FitOptions(latents=latents)
        _tell(console, fit_vectors.refit(entry, vector, root, how, force), f"refitting {vector.name}")
    console.close()


@app.command("report")
def report_vectors(
    model: ModelOption = None,
    images: Annotated[
        Path | None,
        typer.Option(help="A folder: strips show its held-out images. (default: samples)", show_default=False),
    ] = None,
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what each vector of a model is worth, and draw it on a page of its own.

    Example:

        latentcli vectors report --model faces --images faces/

    The page needs no network and no script: ROC curves, histograms, what else each vector changes, strips beside those
    of a random direction.
    """
    console = Console(as_json)
    entry = choose_model(console, model)

    from latentcli.pipelines import report

    for event in console.follow(report.report_vectors(entry, images, output, force), "drawing"):
        assert isinstance(event, report.Vectors)
        console.facts["vectors"] = [summary(vector, event.vectors) for vector in event.vectors]
        if not as_json:
            print_vectors(event.vectors)
            for vector in event.vectors:
                for line in describe(vector):
                    typer.echo(line)
                cosines = (
                    f"{other.name} {vector.cosine(other):+.2f}" for other in event.vectors if other is not vector
                )
                typer.echo(f"  cosines: {', '.join(cosines) or 'there is no other vector'}")
    console.close()


def _follow(console: Console, events: Any, what: str) -> None:
    _tell(console, events, what)
    console.close()


def _tell(console: Console, events: Any, what: str) -> None:
    for fitted in console.follow(events, what):
        tell_vector(console, fitted)
