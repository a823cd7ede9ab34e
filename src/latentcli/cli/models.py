"""`latentcli models`: a list of what `--model` can name."""

from typing import TYPE_CHECKING, Annotated

from latentcli.cli import options as opt
from latentcli.cli.complete import model_names
from latentcli.cli.console import Console

if TYPE_CHECKING:
    from latentcli.storage.catalog import ModelEntry


def models(
    name: Annotated[
        str | None, opt.argument("Describe this one, by name or path.", metavar="[MODEL]", complete=model_names)
    ] = None,
    as_json: opt.Json = False,
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
        console.table(_details(entries[0]))
    elif not as_json:
        console.table(map(_cells, entries), ("model", "size", "vectors", "licence"))


def _to_json(entry: "ModelEntry") -> dict[str, object]:
    from dataclasses import asdict

    from latentcli.storage import catalog

    held_out = entry.training.held_out if entry.training else None
    return {
        "name": entry.name,
        "path": str(entry.path),
        "card": str(entry.card),
        "bundled": entry.bundled,
        "model_id": entry.model_id,
        "finished_at": entry.header.finished_at,
        "licence": entry.header.licence,
        "config": entry.header.config,
        "held_out": asdict(held_out) if held_out else None,
        "vectors": list(catalog.vectors_of(entry)),
    }


def _cells(entry: "ModelEntry") -> tuple[str, ...]:
    from latentcli.storage import catalog

    return entry.name, _size(entry), ", ".join(catalog.vectors_of(entry)) or "-", _licence(entry)


def _details(entry: "ModelEntry") -> list[tuple[str, str]]:
    from latentcli.storage import catalog

    training, config = entry.training, entry.header.config
    rows = [
        ("model", entry.name),
        ("size", _size(entry)),
        ("latent", f"{config.get('latent_dim')} dimensions"),
        ("vectors", ", ".join(catalog.vectors_of(entry)) or "none yet: latentcli vectors fit"),
        ("licence", _licence(entry)),
        ("finished", f"{entry.header.finished_at[:16].replace('T', ' ')} UTC"),
    ]
    if training:
        rows.append(("trained on", f"{training.images:,} images of {training.data}, {training.epochs:g} epochs"))
    if training and training.held_out:
        measured = training.held_out
        rows.append(("held out", f"PSNR {measured.psnr:.2f} dB on {measured.images:,} images"))
    return [*rows, ("file", str(entry.path)), ("card", str(entry.card))]


def _size(entry: "ModelEntry") -> str:
    config = entry.header.config
    return f"{config.get('width')}x{config.get('height')} {config.get('preset')}"


def _licence(entry: "ModelEntry") -> str:
    return entry.header.licence or ("-" if entry.bundled else "your own")
