"""Commands `latentcli vectors ...`: fit, discover, combine, refit, list and report the concept vectors of a model."""

from pathlib import Path
from typing import Literal

import typer

from latentcli.cli import options as opt
from latentcli.cli.complete import model_names, vector_names
from latentcli.cli.console import Console, choose_model
from latentcli.cli.help import Command, Group
from latentcli.cli.tables import describe, show_vectors, summary, verdict_table
from latentcli.concepts.label_source import LabelSource
from latentcli.config import AUGMENTATIONS, Discovery, EngineName, VectorMethod
from latentcli.defaults import TRAVERSAL_ROWS

TABLE = opt.Panel("Labels from a table")

app = typer.Typer(cls=Group, help="Concept vectors of a model: fit them, and see how good they are.")


@app.command("list", cls=Command)
def list_vectors(
    model: str | None = opt.model,
    verbose: bool = opt.switch("Show every figure.", "--verbose", "-v"),
    as_json: bool = opt.as_json,
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
    console.left_out(unreadable)
    console.facts["vectors"] = [summary(vector) for vector in vectors]
    console.print_json()
    if as_json:
        return
    if vectors:
        console.table(vector_table(vectors) if verbose else verdict_table(vectors))
    else:
        console.say(f"{entry.name} has no vectors; make one: latentcli vectors fit NAME --positive DIR --negative DIR")


@app.command("fit", cls=Command)
def fit_vector(
    name: str | None = opt.argument(
        "Name of the vector. With --all and --folders the labels name them.", default=None, metavar="[NAME]"
    ),
    positive: Path | None = opt.positive,
    negative: Path | None = opt.negative,
    labels: Path | None = opt.LABELS.option(
        "A table with a column of file names and columns of labels.", metavar="CSV"
    ),
    column: str | None = opt.LABELS.option("Column of the table with the labels."),
    root: Path | None = opt.LABELS.option("Folder of the table's files. (default: the table's folder)"),
    folders: Path | None = opt.LABELS.option(
        "A folder of sub-folders: one vector each, against all others.", metavar="DIR"
    ),
    augment: str | None = opt.LABELS.option(
        f"Without labels: a perturbation of the images in --positive: {', '.join(AUGMENTATIONS)}.",
        metavar="CHANGE[=AMOUNT]",
    ),
    paired: bool = opt.paired,
    latents: Path | None = opt.latents,
    above: float | None = TABLE.option(
        "Positive class: values >= this. (default: 0.5 for values from 0 to 1, else the top quarter)"
    ),
    below: float | None = TABLE.option("Negative class: values <= this. (default: all below --above)"),
    low_high: str | None = TABLE.option("Negative class: values in LOW..HIGH.", "--between", metavar="LOW,HIGH"),
    extremes: float | None = TABLE.option(
        "Compare the top and bottom SHARE of the values, 0.5 at most.",
        metavar="SHARE",
        callback=opt.between(0.0001, 0.5),
    ),
    one: str | None = TABLE.option("Positive class: rows with this text in the column.", "--is", metavar="TEXT"),
    every: bool = TABLE.switch("Fit one vector per column.", "--all"),
    threshold: list[str] = TABLE.option(
        "Thresholds of one column, for --all and --balance-by; BELOW may be LOW:HIGH. Repeatable.",
        default=[],
        metavar="COLUMN=ABOVE,BELOW",
    ),
    balance_by: list[str] = TABLE.option(
        "Compare only images that are alike in this column. Repeatable.", default=[], metavar="COLUMN"
    ),
    method: VectorMethod = opt.method,
    orthogonal_to: list[str] = opt.orthogonal_to,
    orthogonal_in: Literal["whitened", "latent"] = opt.METHOD.option(
        "Metric for orthogonality: `whitened` (by the latent covariance) or `latent` (plain).", default="whitened"
    ),
    model: str | None = opt.model,
    engine: EngineName = opt.engine,
    force: bool = opt.force,
    as_json: bool = opt.as_json,
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
        labels=labels, root=root, column=column, every=every, above=above, below=below, between=low_high,
        extremes=extremes, one=one, thresholds=threshold, balance_by=balance_by, latents=latents,
    )  # fmt: skip
    console = Console(as_json)
    images = [positive, negative, folders, root or (labels and labels.parent), latents]
    entry = choose_model(console, model, (), engine, images)

    from latentcli.concepts import labels as labelled
    from latentcli.concepts.fit import FitSettings
    from latentcli.pipelines import fit_vectors

    settings = FitSettings(method, tuple(orthogonal_to), orthogonal_in == "whitened")
    show_vectors(console, fit_vectors.fit(entry, labelled.read(source), settings, force), "encoding")
    console.close()


@app.command("combine", cls=Command)
def combine_vectors(
    parts: list[str] = opt.argument("Vectors, each with a strength.", metavar="NAME=S...", complete=vector_names),
    save: str = opt.option("Name of the sum.", default=..., metavar="NAME"),
    model: str | None = opt.model,
    force: bool = opt.force,
    as_json: bool = opt.as_json,
) -> None:
    """Keep a sum of vectors as one vector.

    Example:

        latentcli vectors combine smile=1 glasses=-0.5 --save plain-smile
    """
    console = Console(as_json)
    entry = choose_model(console, model, parts)

    from latentcli.pipelines import fit_vectors
    from latentcli.storage import catalog

    requests = [catalog.parse_vector(part) for part in parts]
    show_vectors(console, fit_vectors.combine(entry, save, requests, force), "combining")
    console.close()


@app.command("refit", cls=Command)
def refit_vectors(
    names: list[str] = opt.argument("Vectors to fit again.", metavar="NAME|FILE...", complete=vector_names),
    model: str = opt.option("The model to fit them for.", default=..., metavar="NAME|PATH", complete=model_names),
    old: str | None = opt.option(
        "The model that has them now. (default: any)", "--from", metavar="NAME|PATH", complete=model_names
    ),
    root: Path | None = opt.LABELS.option("Folder of the images they were fitted to."),
    latents: Path | None = opt.latents,
    engine: EngineName = opt.engine,
    force: bool = opt.force,
    as_json: bool = opt.as_json,
) -> None:
    """Fit vectors of one model again for another, with the images and settings their files name.

    Example:

        latentcli vectors refit smile --from faces --model larger --root faces/
    """
    console = Console(as_json)
    entry = choose_model(console, model, engine=engine)

    from latentcli.concepts.vector import ConceptVector
    from latentcli.pipelines import fit_vectors
    from latentcli.storage import catalog

    wanted = [catalog.parse_vector(name) for name in names]
    kept = [request for request in wanted if not request.is_file]
    source = catalog.find_model(old, kept) if kept else entry
    for request in wanted:
        vector = ConceptVector.load(catalog.vector_file(source, request))
        show_vectors(console, fit_vectors.refit(entry, vector, root, latents, force), f"refitting {vector.name}")
    console.close()


@app.command("discover", cls=Command)
def discover_vectors(
    n: int = opt.option("Number of directions.", "--n", "-n", default=TRAVERSAL_ROWS),
    by: Discovery = opt.option(
        "`latents` are the principal components of the latents, kept as pc1, pc2 and so on; `pictures` the "
        "directions in which the decoder changes images most, kept as jac1, jac2 and so on.",
        default="latents",
    ),
    scale: int = opt.scale,
    labels: bool = opt.labels_on,
    title: str = opt.title,
    model: str | None = opt.model,
    engine: EngineName = opt.engine,
    output: Path | None = opt.output,
    force: bool = opt.force,
    show: bool | None = opt.show,
    as_json: bool = opt.as_json,
) -> None:
    """Find unsupervised directions, keep them as vectors, and draw a row of images for each.

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

    look = Look(scale, labels=labels, title=title)
    show_vectors(console, discover.discover(entry, n, by, look, output, force), "measuring")
    console.close()


@app.command("report", cls=Command)
def report_vectors(
    model: str | None = opt.model,
    engine: EngineName = opt.engine,
    images: Path | None = opt.OUTPUT.option("Folder of images for the strips, held-out ones first. (default: samples)"),
    output: Path | None = opt.output,
    force: bool = opt.force,
    as_json: bool = opt.as_json,
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
        console.table(vector_table(vectors))
        for vector in vectors:
            for line in describe(vector):
                console.line(line)
            cosines = [f"{other.name} {vector.cosine(other):+.2f}" for other in vectors if other is not vector]
            console.line(f"  cosines: {', '.join(cosines) or 'there is no other vector'}")
    console.close()
