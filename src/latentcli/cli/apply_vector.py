"""Command `latentcli apply-vector`: add concept vectors to latents, and decode the sums."""

from functools import partial
from pathlib import Path

from latentcli.cli import options as opt
from latentcli.cli.console import Console, choose_model
from latentcli.cli.tables import show_vectors
from latentcli.config import EngineName, VectorMethod


def apply_vector(
    images: list[Path] = opt.subjects,
    positive: Path | None = opt.positive,
    negative: Path | None = opt.negative,
    vector: list[str] = opt.vector,
    strength: float | None = opt.strength,
    sigma: float | None = opt.sigma,
    to: str | None = opt.to,
    stay_typical: bool = opt.stay_typical,
    strip: str | None = opt.strip,
    grid: list[str] = opt.CHANGE.option(
        "Give it twice: a sheet of two vectors against each other.", default=[], metavar="NAME=FROM:TO:COUNT"
    ),
    method: VectorMethod = opt.method,
    orthogonal_to: list[str] = opt.orthogonal_to,
    paired: bool = opt.paired,
    save: str | None = opt.OUTPUT.option("Save the computed vector with the model.", metavar="NAME"),
    scale: int = opt.scale,
    labels: bool = opt.labels,
    title: str = opt.title,
    model: str | None = opt.model,
    engine: EngineName = opt.engine,
    output: Path | None = opt.output,
    force: bool = opt.force,
    show: bool | None = opt.show,
    as_json: bool = opt.as_json,
) -> None:
    """Move images, latents or samples along vectors, at the model's size.

    Examples:

        latentcli apply-vector me.jpg --positive smiling/ --negative not-smiling/
        latentcli apply-vector faces/ --vector smile --vector old=0.5
        latentcli apply-vector seed:7 me.jpg --grid smile=0:1:5 --grid old=-1:1:5

    Writes `<stem>-smile.png`. To change a photo at its own resolution: `latentcli edit`.
    """
    fits = bool(positive and negative)
    opt.refuse(
        (
            fits == bool(vector or grid) or fits != bool(positive or negative),
            "give --positive DIR and --negative DIR, or --vector NAME, or --grid twice",
        ),
        (save and not fits, "--save keeps a vector computed from --positive and --negative"),
        (method != "mean" and not fits, "--method belongs to --positive and --negative; a saved vector has its own"),
        (not all("=" in text for text in grid), "--grid takes NAME=FROM:TO:COUNT"),
        ((paired or orthogonal_to) and not fits, "--paired and --orthogonal-to belong to --positive and --negative"),
        (grid and (len(grid) != 2 or strip), "give --grid twice, once for each vector, and not with --strip"),
    )
    console = Console(as_json, show)
    references = [text.rpartition("=")[0] for text in grid] + vector
    entry = choose_model(console, model, references, engine, images)

    from latentcli.concepts import labels as labelled
    from latentcli.concepts.edit import EditRequest, parse_row, strengths
    from latentcli.concepts.fit import FitSettings
    from latentcli.figures.sheet import Look
    from latentcli.pipelines import apply_vector, fit_vectors
    from latentcli.storage import catalog

    rows = [parse_row(text.rpartition("=")[2], "`grid`") for text in grid]
    rows += [parse_row(strip, "`strip`")] if strip else []
    fit, wanted = None, [catalog.parse_vector(text) for text in references]
    if positive is not None and negative is not None:
        name = save or labelled.vector_name(positive.resolve().name.partition(".")[0])
        examples = labelled.from_folders(name, positive, negative, paired)
        settings = FitSettings(method, tuple(orthogonal_to))
        fit = partial(fit_vectors.fit, labels=examples, settings=settings, force=force, save=bool(save))
        wanted = [catalog.VectorRequest(name, None)]
    request = EditRequest(vectors=strengths(wanted, strength, sigma, to), rows=tuple(rows), stay_typical=stay_typical)
    look = Look(scale, labels=labels, title=title)
    show_vectors(console, apply_vector.apply(entry, images, request, output, force, fit, look), "working")
    console.close()
