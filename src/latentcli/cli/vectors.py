"""`latentcli vectors`: list a model's concept vectors, fit new ones."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from latentcli.cli.console import Talk, choose_model, print_table
from latentcli.cli.options import ForceOption, JsonOption, ModelOption, NegativeOption, PositiveOption
from latentcli.errors import FileFormatError

app = typer.Typer(help="The concept vectors of a model: list them, fit new ones.", no_args_is_help=True)


@app.command("list")
def list_vectors(model: ModelOption = None, as_json: JsonOption = False) -> None:
    """List a model's vectors with how well they tell the concept on held-out images.

    Example:

        latentcli vectors list --model faces
    """
    talk = Talk(as_json)
    entry = choose_model(talk, model)

    from latentcli import catalog
    from latentcli.concepts import ConceptVector

    talk.introduce()
    vectors = []
    for path in catalog.vectors_of(entry).values():
        try:
            vectors.append(ConceptVector.load(path))
        except FileFormatError as error:
            talk.say(f"skipped: {error}")
    if as_json:
        talk.facts["vectors"] = [summary(vector) for vector in vectors]
        talk.print_json()
        return
    if not vectors:
        talk.say(f"{entry.name} has no vectors; make one: latentcli vectors fit NAME --positive DIR --negative DIR")
    else:
        _print_vectors(vectors)


@app.command("fit")
def fit_vector(
    name: Annotated[str, typer.Argument(help="What the vector will be called.", show_default=False)],
    positive: PositiveOption = None,
    negative: NegativeOption = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="CSV", help="A table with a file column and labels.", show_default=False)
    ] = None,
    column: Annotated[str | None, typer.Option(help="The table's column of labels.", show_default=False)] = None,
    above: Annotated[
        float | None, typer.Option(help="Values from here on show the concept. (default: 0.5)", show_default=False)
    ] = None,
    below: Annotated[
        float | None, typer.Option(help="Values up to here do not. (default: all below --above)", show_default=False)
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="The folder of the table's files. (default: the table's)", show_default=False)
    ] = None,
    model: ModelOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute a concept vector from labelled images and keep it with the model.

    Examples:

        latentcli vectors fit smile --positive smiling/ --negative not-smiling/

        latentcli vectors fit smile --labels attributes.csv --column smile --above 0.9 --below 0.1 --root faces/

    Strength 1 goes from the mean of the images without the concept to the mean of those with it.
    """
    if bool(labels) == bool(positive or negative) or bool(positive) != bool(negative):
        raise typer.BadParameter("give --positive DIR and --negative DIR, or --labels CSV and --column NAME")
    if labels and not column:
        raise typer.BadParameter("--labels needs --column NAME")
    if not labels and (column or root or above is not None or below is not None):
        raise typer.BadParameter("--column, --above, --below and --root belong to --labels CSV")
    talk = Talk(as_json)
    entry = choose_model(talk, model)

    from latentcli import labels as labelled
    from latentcli.pipelines import vectors as pipeline

    if positive is not None and negative is not None:
        wanted = labelled.from_folders(positive, negative)
    else:
        assert labels is not None, "checked above"
        assert column is not None, "checked above"
        wanted = labelled.from_table(labels, column, above, below, root)
    if wanted.left_out:
        talk.say(f"{wanted.left_out} rows of {labels} have no number in {column} and were left out")
    if wanted.missing:
        talk.say(f"{wanted.missing} files of {labels} are not in {wanted.root} and were left out; is --root right?")
    for fitted in talk.follow(pipeline.fit(entry, name, wanted, force), "encoding"):
        tell_vector(talk, fitted)
    talk.close()


def tell_vector(talk: Talk, fitted: Any) -> None:
    """Say what a new vector is worth."""
    vector = fitted.vector
    talk.facts["vector"] = summary(vector)
    known = f"held-out AUC {_number(vector.auc)} (LDA {_number(vector.auc_lda)})"
    talk.say(
        f"{vector.name}: {vector.positives} with, {vector.negatives} without; strength 1 is {vector.gap_in_sigma:.2f} "
        f"within-class sd; {known if vector.auc is not None else 'too few images held out to say how good it is'}"
    )


def summary(vector: Any) -> dict[str, Any]:
    """A vector's figures, for --json."""
    return {
        "name": vector.name,
        "method": vector.method,
        "positives": vector.positives,
        "negatives": vector.negatives,
        "gap_in_sigma": vector.gap_in_sigma if math.isfinite(vector.gap_in_sigma) else None,
        "auc": vector.auc,
        "auc_lda": vector.auc_lda,
    }


def _print_vectors(vectors: list[Any]) -> None:
    """The vectors on stdout, one a row."""
    from rich.table import Table

    table = Table("vector", "with", "without", "gap (sd)", "AUC", "AUC of LDA", "method", box=None)
    for vector in vectors:
        numbers = f"{vector.gap_in_sigma:.2f}", _number(vector.auc), _number(vector.auc_lda)
        table.add_row(vector.name, str(vector.positives), str(vector.negatives), *numbers, vector.method)
    print_table(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
