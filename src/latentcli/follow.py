"""Progress of calls from Python: a line on stderr, or events for a function of the user's."""

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from latentcli.events import Progress, Skipped
from latentcli.training.events import StepReport

ProgressOption = bool | Callable[[Progress], None]


def followed(events: Iterable[Any], progress: ProgressOption) -> Iterator[Any]:
    """All events; progress is reported, and skipped images become warnings."""
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
