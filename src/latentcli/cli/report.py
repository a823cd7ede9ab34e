"""Command `latentcli report`: an HTML page about a model."""

from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.console import Console, choose_model
from latentcli.config import EngineName


def report(
    model: str | None = opt.model,
    engine: EngineName = opt.engine,
    output: Path | None = opt.output,
    force: bool = opt.force,
    as_json: bool = opt.as_json,
) -> None:
    """Write a page about a model: verdict, samples, metrics, vectors.

    Examples:

        latentcli report --model photos --force
        latentcli report --model faces --output faces.html

    Training writes it too; --force replaces it when vectors have been fitted. It needs no network and no script.
    """
    console = Console(as_json)
    entry = choose_model(console, model, engine=engine)

    from latentcli.pipelines import report

    console.run(report.report(entry, output, force), "drawing")
