"""Command `latentcli models`: a list of the models that `--model` can name."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from latentcli.cli import options as opt
from latentcli.cli.complete import model_names
from latentcli.cli.console import Console
from latentcli.figures.table import Table
from latentcli.storage.names import CARD_FILE

if TYPE_CHECKING:
    from latentcli.storage.catalog import ModelEntry


def models(
    name: str | None = opt.argument(
        "Describe this one, by name or path.", default=None, metavar="[MODEL]", complete=model_names
    ),
    as_json: bool = opt.as_json,
) -> None:
    """List the models that can be named, or describe one.

    Examples:

        latentcli models
        latentcli models faces

    Your own models are those under `./models/`, the most recently trained first.
    """
    console = Console(as_json)

    from latentcli.storage import catalog

    damaged = [] if name else catalog.damaged_models()
    entries = [catalog.find_model(name)] if name else catalog.own_models() + catalog.bundled_models()
    console.left_out(damaged)
    for unfinished in [] if name else catalog.unfinished_runs():
        console.say(f"not finished: {catalog.OWN_MODELS / unfinished}; run the same train command to resume it")
    console.facts |= {"skipped": damaged, "models": [_to_json(entry) for entry in entries]}
    console.print_json()
    if not entries:
        console.say("there are no models yet; train one: latentcli train FOLDER")
    elif name and not as_json:
        console.table(Table("", (), _details(entries[0])))
    elif not as_json:
        rows = [[cell or "-" for cell in _cells(entry)] for entry in entries]
        console.table(Table("", ("model", "size", "vectors", "licence"), rows))


def _to_json(entry: "ModelEntry") -> dict[str, object]:
    from latentcli.storage import catalog

    held_out = entry.header.training.held_out if entry.header.training else None
    return {
        "name": entry.name,
        "path": str(entry.path),
        "card": str(entry.path.with_name(CARD_FILE)),
        "bundled": entry.header.bundled,
        "model_id": entry.model_id,
        "finished_at": entry.header.finished_at,
        "licence": entry.header.licence,
        "config": entry.header.config,
        "held_out": asdict(held_out) if held_out else None,
        "vectors": list(catalog.vectors_of(entry)),
    }


def _cells(entry: "ModelEntry") -> tuple[str, str, str, str]:
    """Columns of a model in the list: name; size and preset; names of its vectors, "" if it has none; licence."""
    from latentcli.storage import catalog

    config = entry.header.config
    size = f"{config.get('width')}x{config.get('height')} {config.get('preset')}"
    licence = entry.header.licence or ("-" if entry.header.bundled else "your own")
    return entry.name, size, ", ".join(catalog.vectors_of(entry)), licence


def _details(entry: "ModelEntry") -> list[tuple[str, str]]:
    name, size, vectors, licence = _cells(entry)
    training = entry.header.training
    rows = [
        ("model", name),
        ("size", size),
        ("latent", f"{entry.header.config.get('latent_dim')} dimensions"),
        ("vectors", vectors or "none yet: latentcli vectors fit"),
        ("licence", licence),
        ("finished", f"{entry.header.finished_at[:16].replace('T', ' ')} UTC"),
    ]
    if training:
        rows.append(("trained on", f"{training.images:,} images of {training.data}, {training.epochs:g} epochs"))
        if held_out := training.held_out:
            rows.append(("held out", f"PSNR {held_out.psnr:.2f} dB on {held_out.images:,} images"))
    return [*rows, ("file", str(entry.path)), ("card", str(entry.path.with_name(CARD_FILE)))]
