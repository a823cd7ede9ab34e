"""`latentcli report`: a model's page."""

from latentcli.cli import options as opt
from latentcli.cli.console import Console, choose_model


def report(
    model: opt.Model = None,
    engine: opt.Engine = "auto",
    output: opt.Output = None,
    force: opt.Force = False,
    as_json: opt.Json = False,
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
