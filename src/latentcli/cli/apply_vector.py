"""`latentcli apply-vector`: add a concept vector in latent space and decode."""

from typing import Annotated

import typer

from latentcli.cli.console import Talk, choose_model
from latentcli.cli.options import (
    ForceOption,
    ImagesArg,
    JsonOption,
    ModelOption,
    NegativeOption,
    OutputOption,
    PositiveOption,
    StrengthOption,
    VectorOption,
)
from latentcli.cli.vectors import tell_vector


def apply_vector(
    images: ImagesArg,
    positive: PositiveOption = None,
    negative: NegativeOption = None,
    vector: VectorOption = [],  # noqa: B006  # Typer copies it
    strength: StrengthOption = 1.0,
    save: Annotated[
        str | None, typer.Option(metavar="NAME", help="Keep the computed vector with the model.", show_default=False)
    ] = None,
    model: ModelOption = None,
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute a concept vector from two folders of images, add it in latent space, decode at the model's size.

    Examples:

        latentcli apply-vector me.jpg --positive smiling/ --negative not-smiling/ --strength 1.5

        latentcli apply-vector faces/ --vector smile=1.5 --vector glasses=-1

    Writes `<stem>-smile+1.5.png`. To change a photo at its own resolution: `latentcli edit`.
    """
    if bool(vector) == bool(positive or negative) or bool(positive) != bool(negative):
        raise typer.BadParameter("give --positive DIR and --negative DIR, or --vector NAME")
    if save and vector:
        raise typer.BadParameter("--save keeps a vector computed from --positive and --negative")
    talk = Talk(as_json)
    entry = choose_model(talk, model, vector)

    from latentcli import catalog, labels
    from latentcli.pipelines import editing

    if positive is not None and negative is not None:
        name = save or positive.resolve().name
        new = editing.NewVector(name, labels.from_folders(positive, negative), strength, save)
        for fitted in talk.follow(editing.apply_new(entry, images, new, output, force), "working"):
            tell_vector(talk, fitted)
    else:
        edit = editing.Edit(tuple(catalog.parse_vector(text) for text in vector), strength)
        talk.run(editing.apply_saved(entry, images, edit, output, force), "working")
    talk.close()
