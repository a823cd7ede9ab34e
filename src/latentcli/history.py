"""`history.jsonl`: one line per epoch, as it was reported."""

import contextlib
import json
from pathlib import Path
from typing import Any

from latentcli.files import write_whole

HISTORY_FILE = "history.jsonl"


def until(folder: Path, step: int) -> list[dict[str, Any]]:
    """The lines of a run up to a step; what a crash left after it is dropped."""
    path = folder / HISTORY_FILE
    if step == 0 or not path.exists():
        return []
    lines = []
    for text in path.read_text().splitlines():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(text))
    return [line for line in lines if line.get("step", step + 1) <= step]


def write(folder: Path, lines: list[dict[str, Any]]) -> None:
    """All lines, whole."""
    write_whole(folder / HISTORY_FILE, "".join(json.dumps(line) + "\n" for line in lines).encode())
