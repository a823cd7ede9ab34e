"""`latentcli evaluate`: how good a model is on images it was not trained on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentcli.cli.console import Console, choose_model, print_table
from latentcli.cli.options import DataArg, JsonOption, ModelOption

if TYPE_CHECKING:
    from latentcli.evaluation.evaluate import Evaluation
    from latentcli.history import Metrics


def evaluate(
    data: DataArg,
    model: ModelOption = None,
    training: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The images trained on, for baselines and copies. (default: where they were then)",
            show_default=False,
        ),
    ] = None,
    iwae: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help="Also the importance-weighted bound from so many draws per image: closer to the likelihood, slow.",
            show_default=False,
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A network to compare samples with images in, TorchScript (.pt) or ONNX (.onnx), such as Inception: "
            "(n, 3, height, width) in 0 to 1 to (n, d). (default: fixed random filters)",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on images it was not trained on, beside the baselines it should beat.

    Examples:

        latentcli evaluate photos/ --model photos

        latentcli evaluate mnist/test --model digits --iwae 500

    Of a folder it was trained on, only the images held out then are measured.
    """
    console = Console(as_json)
    entry = choose_model(console, model)

    from latentcli.pipelines import evaluate

    wish = evaluate.EvaluateRequest(data, training, iwae, features)
    for event in console.follow(evaluate.evaluate(entry, wish), "evaluating"):
        assert isinstance(event, evaluate.Evaluated)
        console.facts["evaluation"] = event.evaluation.to_json()
        console.facts["verdict"] = [finding.to_json() for finding in event.findings]
        if not as_json:
            _print_figures(event.evaluation)
            _print_samples(event.evaluation)
            for finding in event.findings:
                typer.echo(finding.describe())
    console.close()


def _print_figures(found: "Evaluation") -> None:
    from rich.table import Table

    measured = "training" if found.on_training else "held-out"
    table = Table(
        f"on {found.held_out.images} {measured} images", "PSNR", "SSIM", "-ELBO", "KL", "bits/dim", "active", box=None
    )
    table.add_row("this model", *_cells(found.held_out, found.ssim))
    if found.importance_bound is not None:
        bound = f"{-found.importance_bound:.2f}"
        table.add_row(f"  importance-weighted, {found.draws} draws", "", "", bound)
    if found.training:
        table.add_row(f"this model on {found.training.images} training images", *_cells(found.training, None))
    for beaten in found.baselines:
        nats, bits = _number(beaten.negative_log_likelihood, 2), _number(beaten.bits_per_dimension, 3)
        table.add_row(beaten.name, f"{beaten.psnr:.2f} dB", f"{beaten.ssim:.4f}", nats, "-", bits, "-")
    print_table(table)


def _cells(figures: "Metrics", similarity: float | None) -> tuple[str, ...]:
    return (
        f"{figures.psnr:.2f} dB",
        _number(similarity, 4),
        _number(figures.negative_elbo, 2),
        _number(figures.kl, 2),
        _number(figures.bits_per_dimension, 3),
        "-" if figures.active_dimensions is None else str(figures.active_dimensions),
    )


def _print_samples(found: "Evaluation") -> None:
    if not found.samples:
        return
    from rich.table import Table

    table = Table(
        f"in the space of {found.feature_space}", "Fréchet", "kernel", "precision", "recall", "diversity", "nearest",
        box=None,
    )  # fmt: skip
    for row in found.samples:
        numbers = (row.frechet, row.kernel, row.precision, row.recall, row.diversity, row.nearest)
        table.add_row(row.name, *(_number(number, 4 if number and number < 1 else 3) for number in numbers))
    print_table(table)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
