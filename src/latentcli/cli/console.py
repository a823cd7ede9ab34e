"""Console: results on stdout, one path a line; messages on stderr; `--json` prints one object instead."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from latentcli.cli.terminal import Waiting, wrapped
from latentcli.text import message, shown, shown_path

if TYPE_CHECKING:
    from latentcli.catalog import ModelEntry
    from latentcli.config import EngineName

_NAMED = 10  # skipped images that are named; the rest are counted
_WIDE = 1000  # columns of a table that goes into a file or a pipe


class Console:
    """Output of one command: its results, messages and the facts of its JSON object."""

    def __init__(self, as_json: bool, show: bool | None = None) -> None:
        self.as_json = as_json
        self.show = show  # the picture that was written, where there is one; None where a terminal is there to be seen
        self.outputs: list[str] = []
        self.unreadable: list[str] = []
        self.already_there = 0
        self.facts: dict[str, Any] = {}  # for --json
        self.introduction = ""
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        """Print a message to stderr."""
        print(wrapped(message(text)), file=sys.stderr)

    def line(self, text: str) -> None:
        """Print a line of a result to stdout."""
        self._print(shown(text))

    def table(self, rows: Iterable[Sequence[str]], columns: Sequence[str] = (), numbers: bool = False) -> None:
        """Print a table to stdout, in full width unless a screen limits it; `numbers` are all columns but the first."""
        from rich.console import Console as RichConsole
        from rich.table import Table
        from rich.text import Text

        drawn = Table(box=None, show_header=bool(columns), highlight=False)
        for number, name in enumerate(columns):
            drawn.add_column(Text(shown(name)), justify="right" if numbers and number else "left")
        for row in rows:
            drawn.add_row(*(Text(shown(cell)) for cell in row))
        RichConsole(width=None if sys.stdout.isatty() else _WIDE).print(drawn)

    def wrote(self, path: Path) -> None:
        """Print the path of a result."""
        self.outputs.append(str(path))
        if not self.as_json:
            self._print(shown_path(path))

    def pipe(self, content: bytes) -> None:
        """Write a result to the standard output itself."""
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()

    def _print(self, text: str) -> None:
        print(text, flush=True)

    def took(self, entry: "ModelEntry", chosen: bool) -> None:
        """Note the model in use; `chosen` when latentcli picked it."""
        self.facts |= {"model": entry.name, "model_id": entry.model_id}
        origin = "bundled" if entry.bundled else str(entry.path.parent)
        terms = f", {entry.licence}" if entry.is_restricted else ""
        if chosen:
            self.introduction = f"model: {entry.name} ({origin}{terms}); another with --model"

    def introduce(self) -> None:
        """Name the chosen model once, after every check that could refuse the command."""
        if self.introduction:
            self.say(self.introduction)
            self.introduction = ""

    def follow(self, events: Iterable[object], what: str) -> Iterator[object]:
        """Draw progress, print results, collect skipped images; other events are passed on."""
        from latentcli.events import Kept, Note, Piped, Progress, Skipped, Wrote

        self.introduce()
        with Waiting(what) as line:
            for event in events:
                match event:
                    case Progress(what, done, total):
                        line.update(what, done, total)
                    case Wrote(path):
                        self.wrote(path)
                    case Piped(content):
                        self.pipe(content)
                    case Skipped(message):
                        self.unreadable.append(message)
                    case Kept():
                        self.already_there += 1
                    case Note(text):
                        self.say(text)
                    case _:
                        yield event

    def run(self, events: Iterable[object], what: str) -> None:
        """Follow events that all belong to `follow`."""
        for event in self.follow(events, what):
            raise AssertionError(f"unexpected event {event}")

    def left_out(self, messages: Sequence[str]) -> None:
        """Name the first skipped images and count the rest."""
        for text in messages[:_NAMED]:
            self.say(f"skipped: {text}")
        if len(messages) > _NAMED:
            self.say(f"skipped: {len(messages) - _NAMED} more")

    def close(self) -> None:
        """Print the summary. Exits with 1 when images were skipped."""
        self.left_out(self.unreadable)
        if self.already_there:
            self.say(f"{self.already_there} outputs existed and were kept")
        self.print_json()
        if len(self.outputs) == 1 and not self.as_json and self.show is not False:
            from latentcli.cli import preview

            preview.show(Path(self.outputs[0]), asked=self.show is True)
        if self.unreadable:
            raise typer.Exit(1)

    def print_json(self) -> None:
        """Print the one JSON object, with --json."""
        if self.as_json:
            summary = {
                "outputs": self.outputs,
                "skipped": self.unreadable,
                **self.facts,
                "already_there": self.already_there,
                "seconds": round(time.monotonic() - self.started, 2),
            }
            self._print(json.dumps(summary, allow_nan=False))


def check_pipe(as_json: bool) -> None:
    """Refuse to write a picture to a terminal, or together with JSON."""
    if as_json:
        raise typer.BadParameter("--json and the picture cannot both go to the standard output; give --output FILE")
    if sys.stdout.isatty():
        raise typer.BadParameter("a picture cannot be printed here; give --output FILE")


def choose_model(
    console: Console,
    wanted: str | None,
    vectors: Iterable[str] = (),
    engine: "EngineName" = "auto",
    photos: bool = False,
) -> "ModelEntry":
    """Find the model of a command and note it; `photos` says that it is for photos of people."""
    from latentcli import catalog

    bundled = catalog.PHOTO_MODEL if photos else catalog.DEFAULT_MODEL
    entry = catalog.find_model(wanted, [catalog.parse_vector(text) for text in vectors], bundled)
    if wanted is None:
        console.left_out(catalog.damaged_models())
    console.took(entry, chosen=wanted is None)
    return replace(entry, engine=engine)
