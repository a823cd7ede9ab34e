"""`history.jsonl`: what training reported at the end of each epoch, one line each, and how its curve runs."""

import contextlib
import json
from pathlib import Path
from typing import Any

from latentcli.config import HISTORY_FILE
from latentcli.files import write_whole

_KNOWN = {"epoch", "step", "stage", "seconds", "reconstruction", "kl", "skipped_steps", "held_out"}

Line = dict[str, Any]


def read(folder: Path) -> list[Line]:
    """The whole lines of a run's history; none where there is no such file."""
    try:
        texts = (folder / HISTORY_FILE).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    lines = []
    for text in texts:
        with contextlib.suppress(ValueError):
            lines.append(json.loads(text))
    return [line for line in lines if isinstance(line, dict) and set(line) >= _KNOWN]


def until(folder: Path, step: int) -> list[Line]:
    """The lines of a run up to a step; what a crash left after it is dropped."""
    return [line for line in read(folder) if line["step"] <= step]


def write(folder: Path, lines: list[Line]) -> None:
    """All lines, whole."""
    write_whole(folder / HISTORY_FILE, "".join(json.dumps(line) + "\n" for line in lines).encode())
