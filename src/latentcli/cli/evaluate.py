"""Command `latentcli evaluate`: metrics of a model on images that it was not trained on."""

from dataclasses import asdict
from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.console import Console, choose_model
from latentcli.cli.tables import findings_as_typed
from latentcli.cli.terminal import Waiting


def evaluate(
    data: Path = opt.data,
    model: str | None = opt.model,
    training: Path | None = opt.DATA.option(
        "Training images, for baselines and copies. (default: their folder at the time of training)", metavar="DIR"
    ),
    iwae: int | None = opt.METHOD.option(
        "Also compute the importance-weighted bound with K draws per image: tighter than the ELBO, slow.",
        metavar="K",
        callback=opt.between(1),
    ),
    features: Path | None = opt.METHOD.option(
        "Feature network for comparing samples with images, such as Inception: TorchScript (.pt) or ONNX "
        "(.onnx), from (n, 3, height, width) in 0 to 1 to (n, d). (default: fixed random filters, whitened)",
        metavar="FILE",
    ),
    as_json: bool = opt.as_json,
) -> None:
    """Measure a model on images it was not trained on, beside baselines.

    Examples:

        latentcli evaluate photos/ --model photos
        latentcli evaluate mnist/test --model digits --iwae 500

    In the folder it was trained on, only the held-out images are measured.
    """
    console = Console(as_json)
    entry = choose_model(console, model)

    with Waiting("loading the model"):
        from latentcli.evaluation.result import metrics_table, samples_table
        from latentcli.pipelines import evaluate

        events = evaluate.evaluate(entry, data, training, iwae, features)
    for event in console.follow(events, "evaluating"):
        assert isinstance(event, evaluate.Evaluated)
        console.facts["evaluation"] = asdict(event.evaluation)
        console.facts["verdict"] = findings_as_typed(event.findings)
        if not as_json:
            console.table(metrics_table(event.evaluation))
            if event.samples:
                samples = samples_table(event.evaluation)
                console.line(samples) if isinstance(samples, str) else console.table(samples)
            for finding in event.findings:
                console.line(finding.describe())
    console.close()
