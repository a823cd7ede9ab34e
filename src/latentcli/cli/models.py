"""`latentcli models`: what `--model` can name."""

import json
from typing import TYPE_CHECKING, Any

from latentcli.cli.console import Console, print_table
from latentcli.cli.options import JsonOption

if TYPE_CHECKING:
    from latentcli.catalog import ModelEntry


def models(as_json: JsonOption = False) -> None:
    """List the models that can be named, with where they are and how well they do.

    Your own models are those under `./models/`; the first in the list is taken when no `--model` is given.

    Example:

        latentcli models
    """
    console = Console(as_json)

    from latentcli import catalog

    entries = catalog.own_models() + catalog.bundled_models()
    for message in catalog.damaged_models():
        console.say(f"skipped: {message}")
    for name in catalog.unfinished_runs():
        console.say(f"not finished: {catalog.OWN_MODELS / name}; its train command goes on with it")
    if as_json:
        print(json.dumps({"models": [_facts(entry) for entry in entries]}))
    elif entries:
        _print_table(entries)
    else:
        console.say("there are no models yet; train one: latentcli train FOLDER")


def _facts(entry: "ModelEntry") -> dict[str, Any]:
    from dataclasses import asdict

    from latentcli import catalog

    held_out = entry.training.held_out if entry.training else None

    return {
        "name": entry.name,
        "path": str(entry.path),
        "card": str(entry.path.with_name("README.md")),
        "bundled": entry.bundled,
        "model_id": entry.model_id,
        "finished_at": entry.finished_at,
        "config": entry.header.get("config"),
        "held_out": asdict(held_out) if held_out else None,
        "vectors": list(catalog.vectors_of(entry)),
    }


def _print_table(entries: list["ModelEntry"]) -> None:
    from rich.table import Table

    table = Table("model", "network", "held-out PSNR", "vectors", "finished", "card", box=None)
    for entry in entries:
        facts = _facts(entry)
        config, held_out = facts["config"] or {}, facts["held_out"] or {}
        size = f"{config.get('preset')} {config.get('width')}x{config.get('height')}"
        psnr = f"{held_out['psnr']:.2f} dB" if held_out else "-"
        name = f"{entry.name} (bundled)" if entry.bundled else entry.name
        card = facts["card"]
        table.add_row(name, size, psnr, ", ".join(facts["vectors"]) or "-", entry.finished_at[:16], card)
    print_table(table)
