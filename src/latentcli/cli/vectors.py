"""`latentcli vectors`: a model's concept vectors: fit, discover, combine, refit, list and report."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from latentcli.cli.complete import model_names, vector_names
from latentcli.cli.console import Console, choose_model
from latentcli.cli.help import Command, Group
from latentcli.cli.options import (
    PANEL_LABELS,
    PANEL_METHOD,
    PANEL_OUTPUT,
    EngineOption,
    ForceOption,
    JsonOption,
    LabelsOnOption,
    LatentsOption,
    MethodOption,
    ModelOption,
    NegativeOption,
    OrthogonalOption,
    OutputOption,
    PairedOption,
    PositiveOption,
    ScaleOption,
    ShowOption,
    TitleOption,
    between,
)
from latentcli.cli.tables import describe, draw_table, show_vectors, summary, verdict_table
from latentcli.concepts.label_source import LabelSource
from latentcli.config import AUGMENTATIONS, TRAVERSAL_ROWS, Discovery

PANEL_TABLE = "Labels from a table"

app = typer.Typer(cls=Group, help="Concept vectors of a model: fit them, and see how good they are.")


@app.command("list", cls=Command)
def list_vectors(
    model: ModelOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every figure.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List a model's vectors with how well they separate held-out images.

    Examples:

        latentcli vectors list --model faces

        latentcli vectors list --model faces --verbose

    The AUC is the chance that a vector ranks an image with the concept above one without it.
    """
    console = Console(as_json)
    entry = choose_model(console, model)

    from latentcli.concepts.vector import load_all, vector_table

    console.introduce()
    vectors, unreadable = load_all(entry)
    for message in unreadable:
        console.say(f"skipped: {message}")
    console.facts["vectors"] = [summary(vector) for vector in vectors]
    console.print_json()
    if as_json:
        return
    if vectors:
        draw_table(console, vector_table(vectors) if verbose else verdict_table(vectors))
    else:
        console.say(f"{entry.name} has no vectors; make one: latentcli vectors fit NAME --positive DIR --negative DIR")


@app.command("fit", cls=Command)
def fit_vector(
    name: Annotated[
        str | None,
        typer.Argument(help="Name of the vector. With --all and --folders the labels name them.", show_default=False),
    ] = None,
    positive: PositiveOption = None,
    negative: NegativeOption = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="A table with a column of file names and columns of labels.",
            show_default=False,
            rich_help_panel=PANEL_LABELS,
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(help="Column of the table with the labels.", show_default=False, rich_help_panel=PANEL_LABELS),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the table's files. (default: the table's folder)",
            show_default=False,
            rich_help_panel=PANEL_LABELS,
        ),
    ] = None,
    folders: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder of sub-folders: one vector each, against all others.",
            show_default=False,
            rich_help_panel=PANEL_LABELS,
        ),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            metavar="CHANGE[=AMOUNT]",
            help=f"Without labels: a perturbation of the images in --positive: {', '.join(AUGMENTATIONS)}.",
            show_default=False,
            rich_help_panel=PANEL_LABELS,
        ),
    ] = None,
    paired: PairedOption = False,
    latents: LatentsOption = None,
    above: Annotated[
        float | None,
        typer.Option(
            help="Positive class: values >= this. (default: 0.5 for values from 0 to 1, else the top quarter)",
            show_default=False,
            rich_help_panel=PANEL_TABLE,
        ),
    ] = None,
    below: Annotated[
        float | None,
        typer.Option(
            help="Negative class: values <= this. (default: all below --above)",
            show_default=False,
            rich_help_panel=PANEL_TABLE,
        ),
    ] = None,
    low_high: Annotated[
        str | None,
        typer.Option(
            "--between",
            metavar="LOW,HIGH",
            help="Negative class: values in LOW..HIGH.",
            show_default=False,
            rich_help_panel=PANEL_TABLE,
        ),
    ] = None,
    extremes: Annotated[
        float | None,
        typer.Option(
            callback=between(0.0001, 0.5),
            metavar="SHARE",
            help="Compare the top and bottom SHARE of the values, 0.5 at most.",
            show_default=False,
            rich_help_panel=PANEL_TABLE,
        ),
    ] = None,
    one: Annotated[
        str | None,
        typer.Option(
            "--is",
            metavar="TEXT",
            help="Positive class: rows with this text in the column.",
            show_default=False,
            rich_help_panel=PANEL_TABLE,
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Fit one vector per column.", rich_help_panel=PANEL_TABLE)
    ] = False,
    threshold: Annotated[
        list[str],
        typer.Option(
            metavar="COLUMN=ABOVE,BELOW",
            help="Thresholds of one column, for --all and --balance-by; BELOW may be LOW:HIGH. Repeatable.",
            show_default=False,
            rich_help_panel=PANEL_TABLE,
        ),
    ] = [],  # noqa: B006  # Typer copies it
    balance_by: Annotated[
        list[str],
        typer.Option(
            metavar="COLUMN",
            help="Compare only images that are alike in this column. Repeatable.",
            show_default=False,
            rich_help_panel=PANEL_TABLE,
        ),
    ] = [],  # noqa: B006
    method: MethodOption = "mean",
    orthogonal_to: OrthogonalOption = [],  # noqa: B006
    orthogonal_in: Annotated[
        Literal["whitened", "latent"],
        typer.Option(
            help="Metric for orthogonality: `whitened` (by the latent covariance) or `latent` (plain).",
            rich_help_panel=PANEL_METHOD,
        ),
    ] = "whitened",
    model: ModelOption = None,
    engine: EngineOption = "auto",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit concept vectors to labelled images and keep them with the model.

    Examples:

        latentcli vectors fit smile --positive smiling/ --negative not-smiling/

        latentcli vectors fit smile --labels attributes.csv --column smile --above 0.9 --below 0.1 --balance-by male

        latentcli vectors fit --labels attributes.csv --all --threshold age=60,20:35 --root faces/

        latentcli vectors fit blur --positive photos/ --augment blur=2

    Strength 1 goes from the mean of the images without the concept to the mean of those with it.
    """
    source = LabelSource(
        name=name, positive=positive, negative=negative, paired=paired, augment=augment, folders=folders,
        table=labels, root=root, column=column, every=every, above=above, below=below, between=low_high,
        extremes=extremes, one=one, thresholds=threshold, balance_by=balance_by, latents=latents,
    )  # fmt: skip
    console = Console(as_json)
    images = [positive, negative, folders, root or (labels and labels.parent), latents]
    entry = choose_model(console, model, (), engine, images)

    from latentcli.concepts import label_table
    from latentcli.concepts.fit import FitSettings
    from latentcli.pipelines import fit_vectors

    settings = FitSettings(method, tuple(orthogonal_to), orthogonal_in == "whitened")
    show_vectors(console, fit_vectors.fit(entry, label_table.read(source), settings, force), "encoding")
    console.close()


@app.command("combine", cls=Command)
def combine_vectors(
    parts: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=S...", help="Vectors, each with a strength.", show_default=False, autocompletion=vector_names
        ),
    ],
    save: Annotated[str, typer.Option(metavar="NAME", help="Name of the sum.", show_default=False)],
    model: ModelOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Keep a sum of vectors as one vector.

    Example:

        latentcli vectors combine smile=1 glasses=-0.5 --save plain-smile
    """
    console = Console(as_json)
    entry = choose_model(console, model, parts)

    from latentcli import catalog
    from latentcli.pipelines import fit_vectors

    requests = [catalog.parse_vector(part) for part in parts]
    show_vectors(console, fit_vectors.combine(entry, save, requests, force), "combining")
    console.close()


@app.command("refit", cls=Command)
def refit_vectors(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|FILE...", help="Vectors to fit again.", show_default=False, autocompletion=vector_names
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH", help="The model to fit them for.", show_default=False, autocompletion=model_names
        ),
    ],
    old: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME|PATH",
            help="The model that has them now. (default: any)",
            show_default=False,
            autocompletion=model_names,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the images they were fitted to.", show_default=False, rich_help_panel=PANEL_LABELS
        ),
    ] = None,
    latents: LatentsOption = None,
    engine: EngineOption = "auto",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit vectors of one model again for another, with the images and settings their files name.

    Example:

        latentcli vectors refit smile --from faces --model larger --root faces/
    """
    console = Console(as_json)
    entry = choose_model(console, model, engine=engine)

    from latentcli import catalog
    from latentcli.concepts.vector import ConceptVector
    from latentcli.pipelines import fit_vectors

    wanted = [catalog.parse_vector(name) for name in names]
    kept = [request for request in wanted if not request.is_file]
    source = catalog.find_model(old, kept) if kept else entry
    for request in wanted:
        vector = ConceptVector.load(catalog.vector_file(source, request))
        show_vectors(console, fit_vectors.refit(entry, vector, root, latents, force), f"refitting {vector.name}")
    console.close()


@app.command("discover", cls=Command)
def discover_vectors(
    n: Annotated[int, typer.Option("--n", "-n", help="Number of directions.")] = TRAVERSAL_ROWS,
    by: Annotated[
        Discovery,
        typer.Option(
            help="`latents` are the principal components of the latents, kept as pc1, pc2 and so on; `pictures` the "
            "directions in which the decoder changes images most, kept as jac1, jac2 and so on."
        ),
    ] = "latents",
    scale: ScaleOption = 1,
    labels: LabelsOnOption = True,
    title: TitleOption = "",
    model: ModelOption = None,
    engine: EngineOption = "auto",
    output: OutputOption = None,
    force: ForceOption = False,
    show: ShowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find directions that nobody labelled, keep them as vectors, and draw a row of images for each.

    Examples:

        latentcli vectors discover

        latentcli edit me.jpg --vector pc3=2

    Strength 1 is one standard deviation of the latents. Printed are the share of their variance, the change in images,
    and the shifts of the concepts that have names.
    """
    console = Console(as_json, show)
    entry = choose_model(console, model, engine=engine)

    from latentcli.figures.sheet import Look
    from latentcli.pipelines import discover

    request = discover.DiscoverRequest(n, by, Look(scale, labels=labels, title=title))
    show_vectors(console, discover.discover(entry, request, output, force), "measuring")
    console.close()


@app.command("report", cls=Command)
def report_vectors(
    model: ModelOption = None,
    engine: EngineOption = "auto",
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images for the strips, held-out ones first. (default: samples)",
            show_default=False,
            rich_help_panel=PANEL_OUTPUT,
        ),
    ] = None,
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print the diagnostics of a model's vectors, and write them to a page with pictures.

    Example:

        latentcli vectors report --model faces --images faces/

    The page shows ROC curves, histograms, side effects, and strips beside those of a random direction. It needs no
    network and no script.
    """
    console = Console(as_json)
    entry = choose_model(console, model, engine=engine)

    from latentcli.concepts.vector import ConceptVector, vector_table
    from latentcli.pipelines import report

    events = console.follow(report.report_vectors(entry, images, output, force), "drawing")
    vectors = [event for event in events if isinstance(event, ConceptVector)]
    console.facts["vectors"] = [summary(vector, vectors) for vector in vectors]
    if not as_json:
        draw_table(console, vector_table(vectors))
        for vector in vectors:
            for line in describe(vector):
                console.line(line)
            cosines = [f"{other.name} {vector.cosine(other):+.2f}" for other in vectors if other is not vector]
            console.line(f"  cosines: {', '.join(cosines) or 'there is no other vector'}")
    console.close()
