"""`latentcli edit`: change photos at their own resolution."""

from typing import Annotated

import typer

from latentcli.cli.console import Talk, choose_model
from latentcli.cli.options import (
    ForceOption,
    ImagesArg,
    JsonOption,
    ModelOption,
    OutputOption,
    SigmaOption,
    StrengthOption,
    ToOption,
    TypicalOption,
    VectorOption,
    parse_box,
)


def edit(
    photos: ImagesArg,
    vector: VectorOption,
    strength: StrengthOption = None,
    sigma: SigmaOption = None,
    to: ToOption = None,
    stay_typical: TypicalOption = False,
    box: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="The part to edit, in pixels; without it the largest centred one.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Edit photos with saved vectors and merge the change at the photo's own resolution.

    Examples:

        latentcli edit face.png --vector smile --strength 1.5

        latentcli edit portrait.jpg --box 170,72,101,101 --vector smile=1 --vector glasses=-1

    Writes `<stem>-smile+1.5.<ext>` in the photo's format; what the edit does not reach stays as it was.
    """
    place = parse_box(box)
    talk = Talk(as_json)
    entry = choose_model(talk, model, vector)

    from latentcli import catalog
    from latentcli.pipelines import editing

    vectors = tuple(catalog.parse_vector(text) for text in vector)
    wanted = editing.Edit(vectors, editing.amount(strength, sigma, to), stay_typical, place)
    talk.run(editing.edit_photos(entry, photos, wanted, output, force), "editing")
    talk.close()
