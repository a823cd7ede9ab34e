"""`history.jsonl`: what training reported at the end of each epoch, one line each, and how its curve runs."""

import contextlib
import json
from collections.abc import Sequence
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


def measured(lines: Sequence[Line]) -> list[Line]:
    """Those with held-out figures, all on as many images as the first: the last may be measured on more."""
    found = [line for line in lines if line["held_out"]]
    return [line for line in found if line["held_out"]["images"] == found[0]["held_out"]["images"]]


def curve(lines: Sequence[Line]) -> list[float]:
    """Held-out -ELBO at the end of each epoch, or of an autoencoder the reconstruction."""
    held_out = [line["held_out"] for line in measured(lines)]
    return [
        found["negative_elbo"] if found["negative_elbo"] is not None else found["reconstruction"] for found in held_out
    ]


def rose(lines: Sequence[Line]) -> bool:
    """Whether the loss ended higher than it began, on held-out and on training images."""
    training = [line["reconstruction"] + line["kl"] for line in lines]
    return all(len(values) > 1 and values[-1] > values[0] for values in (curve(lines), training))


def turned(lines: Sequence[Line]) -> float:
    """How far the curve ends above its best, as a share of its range; 0 where that is no overfitting."""
    nats = curve(lines)
    if rose(lines):
        return 0.0
    return (nats[-1] - min(nats)) / (max(nats) - min(nats)) if len(nats) > 2 and max(nats) > min(nats) else 0.0


def late_gain(lines: Sequence[Line]) -> float | None:
    """What the last third of the steps gained, as a share of all that was gained after the first epoch."""
    nats = curve(lines)
    steps = [int(line["step"]) for line in measured(lines)]
    if len(nats) < 4:
        return None
    early = [value for step, value in zip(steps, nats, strict=True) if step <= steps[-1] * 2 / 3]
    before = early[-1] if early else nats[0]
    gained = nats[0] - min(nats)
    return (before - nats[-1]) / gained if gained > 0 else None


def until(folder: Path, step: int) -> list[Line]:
    """The lines of a run up to a step; what a crash left after it is dropped."""
    return [line for line in read(folder) if line["step"] <= step]


def write(folder: Path, lines: list[Line]) -> None:
    """All lines, whole."""
    write_whole(folder / HISTORY_FILE, "".join(json.dumps(line) + "\n" for line in lines).encode())
