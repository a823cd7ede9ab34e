"""`latentcli models`: a list of what `--model` can name."""

from typing import TYPE_CHECKING

from latentcli.cli.console import Console
from latentcli.cli.options import JsonOption

if TYPE_CHECKING:
    from latentcli.catalog import ModelEntry


def models(as_json: JsonOption = False) -> None:
    """List the models that can be named, or describe one.

    Your own models are those under `./models/`; the first in the list is used when no `--model` is given.

    Example:

        latentcli models
    """
    console = Console(as_json)

    from latentcli import catalog

    entries = catalog.own_models() + catalog.bundled_models()
    damaged = catalog.damaged_models()
    console.left_out(damaged)
    for name in catalog.unfinished_runs():
        console.say(f"not finished: {catalog.OWN_MODELS / name}; run the same train command to resume it")
    console.facts |= {"skipped": damaged, "models": [_to_json(entry) for entry in entries]}
    console.print_json()
    if not entries:
        console.say("there are no models yet; train one: latentcli train FOLDER")
    elif not as_json:
        columns = ("model", "network", "held-out PSNR", "vectors", "licence", "finished", "card")
        console.table(map(_cells, entries), columns)


def _to_json(entry: "ModelEntry") -> dict[str, object]:
    from dataclasses import asdict

    from latentcli import catalog

    held_out = entry.training.held_out if entry.training else None
    return {
        "name": entry.name,
        "path": str(entry.path),
        "card": str(entry.card),
        "bundled": entry.bundled,
        "model_id": entry.model_id,
        "finished_at": entry.finished_at,
        "licence": entry.licence,
        "config": entry.header.config,
        "held_out": asdict(held_out) if held_out else None,
        "vectors": list(catalog.vectors_of(entry)),
    }


def _cells(entry: "ModelEntry") -> tuple[str, ...]:
    from latentcli import catalog

    config, training = entry.header.config, entry.training
    return (
        f"{entry.name} (bundled)" if entry.bundled else entry.name,
        f"{config.get('preset')} {config.get('width')}x{config.get('height')}",
        f"{training.held_out.psnr:.2f} dB" if training and training.held_out else "-",
        ", ".join(catalog.vectors_of(entry)) or "-",
        entry.licence or "-",
        entry.finished_at[:16],
        str(entry.card),
    )
