"""Progress of calls from Python, as a line on stderr or as events that a callback receives."""

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from latentcli.events import Progress, Skipped
from latentcli.training.events import StepReport

ProgressOption = bool | Callable[[Progress], None]


def followed(events: Iterable[Any], progress: ProgressOption) -> Iterator[Any]:
    """Yield all `events`, warn of skipped images, and print progress to stderr (True) or pass it to a callback."""
    report = _print_progress if progress is True else progress or None
    for event in events:
        if isinstance(event, Skipped):
            warnings.warn(f"skipped: {event.message}", stacklevel=3)
        if report and isinstance(event, StepReport):
            report(Progress(event.what, event.step, event.steps))
        elif report and isinstance(event, Progress):
            report(event)
        yield event
    if report is _print_progress:
        sys.stderr.write("\n")


def _print_progress(event: Progress) -> None:
    count = f" {event.done}/{event.total}" if event.total > 1 else ""
    sys.stderr.write(f"\r{event.what}{count}".ljust(60))
    sys.stderr.flush()
