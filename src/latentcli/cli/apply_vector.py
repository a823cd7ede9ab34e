"""`latentcli apply-vector`: add a concept vector in latent space and decode."""

import typer

from latentcli.cli import options as opt
from latentcli.cli.console import Console, choose_model
from latentcli.cli.tables import show_vectors


def apply_vector(
    images: opt.Subjects,
    positive: opt.Positive = None,
    negative: opt.Negative = None,
    vector: opt.Vector = [],  # noqa: B006  # Typer copies it
    strength: opt.Strength = None,
    sigma: opt.Sigma = None,
    to: opt.To = None,
    stay_typical: opt.Typical = False,
    strip: opt.Strip = None,
    grid: list[str] = opt.option(
        "Give it twice: a sheet of two vectors against each other.",
        default=[],
        metavar="NAME=FROM:TO:COUNT",
        panel=opt.CHANGE,
    ),
    method: opt.Method = "mean",
    orthogonal_to: opt.Orthogonal = [],  # noqa: B006  # Typer copies it
    paired: opt.Paired = False,
    save: str | None = opt.option("Save the computed vector with the model.", metavar="NAME", panel=opt.OUTPUT),
    scale: opt.Scale = 1,
    labels: opt.Labels = False,
    title: opt.Title = "",
    model: opt.Model = None,
    engine: opt.Engine = "auto",
    output: opt.Output = None,
    force: opt.Force = False,
    show: opt.Show = None,
    as_json: opt.Json = False,
) -> None:
    """Move images, latents or samples along vectors, at the model's size.

    Examples:

        latentcli apply-vector me.jpg --positive smiling/ --negative not-smiling/

        latentcli apply-vector faces/ --vector smile --vector old=0.5

        latentcli apply-vector seed:7 me.jpg --grid smile=0:1:5 --grid old=-1:1:5

    Writes `<stem>-smile.png`. To change a photo at its own resolution: `latentcli edit`.
    """
    if bool(vector or grid) == bool(positive or negative) or bool(positive) != bool(negative):
        raise typer.BadParameter("give --positive DIR and --negative DIR, or --vector NAME, or --grid twice")
    if save and not positive:
        raise typer.BadParameter("--save keeps a vector computed from --positive and --negative")
    if method != "mean" and not positive:
        raise typer.BadParameter("--method belongs to --positive and --negative; a saved vector has its own")
    if not all("=" in text for text in grid):
        raise typer.BadParameter("--grid takes NAME=FROM:TO:COUNT")
    if (paired or orthogonal_to) and not positive:
        raise typer.BadParameter("--paired and --orthogonal-to belong to --positive and --negative")
    if grid and (len(grid) != 2 or strip):
        raise typer.BadParameter("give --grid twice, once for each vector, and not with --strip")
    console = Console(as_json, show)
    references = [text.rpartition("=")[0] for text in grid] + vector
    entry = choose_model(console, model, references, engine, images)

    from latentcli.concepts import labels as labelled
    from latentcli.concepts.edit import EditRequest, parse_row, strengths
    from latentcli.concepts.fit import FitSettings
    from latentcli.figures.sheet import Look
    from latentcli.pipelines import apply_vector
    from latentcli.storage import catalog

    rows = [parse_row(text.rpartition("=")[2], "`grid`") for text in grid]
    rows += [parse_row(strip, "`strip`")] if strip else []
    new, wanted = None, [catalog.parse_vector(text) for text in references]
    if positive is not None and negative is not None:
        name = save or labelled.vector_name(positive.resolve().name.partition(".")[0])
        settings = FitSettings(method, tuple(orthogonal_to))
        new = apply_vector.NewVector(labelled.from_folders(name, positive, negative, paired), settings, save)
        wanted = [catalog.VectorRequest(name, None)]
    request = EditRequest(vectors=strengths(wanted, strength, sigma, to), rows=tuple(rows), stay_typical=stay_typical)
    look = Look(scale, labels=labels, title=title)
    show_vectors(console, apply_vector.apply(entry, images, request, output, force, new, look), "working")
    console.close()
