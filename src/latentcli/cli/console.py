"""Console of a command: result paths on stdout, one a line, or one JSON object with `--json`; messages on stderr."""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

import typer

from latentcli.cli import options as opt
from latentcli.cli.terminal import Waiting, width_of, wrapped
from latentcli.figures.table import Table, blocks
from latentcli.text import message, shown, shown_path

if TYPE_CHECKING:
    from latentcli.config import EngineName
    from latentcli.storage.catalog import Choice, ModelEntry

_NAMED = 10  # most skipped images, and most results on a terminal, that are named; the rest is counted
_FOLDERS = 2  # most folders whose results are counted separately


class Console:
    """Output of one command: paths of result files, messages, and the fields of the JSON object of `--json`."""

    has_written: ClassVar[bool] = False  # whether this process has written a result file

    def __init__(self, as_json: bool, show: bool | None = None) -> None:
        self.as_json = as_json
        self.show = show  # draw a single result in the terminal; None: if the terminal has colours
        self.outputs: list[str] = []
        self.unreadable: list[str] = []
        self.already_there = 0
        self.facts: dict[str, Any] = {}  # fields of the object that --json prints
        self.introduction: list[str] = []
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        """Print a message to stderr, with Python parameters in backticks replaced by command-line options."""
        print(wrapped(message(opt.as_typed(text))), file=sys.stderr)

    def line(self, text: str) -> None:
        """Print a line to stdout, with Python parameters in backticks replaced by command-line options."""
        print(shown(opt.as_typed(text)), flush=True)

    def table(self, table: Table, stream: TextIO | None = None) -> None:
        """Print column names and rows to `stream` (default: stdout), no wider than the terminal if `stream` is one."""
        stream = stream or sys.stdout
        rows = [tuple(map(shown, row)) for row in table.rows]
        for names, lines in blocks(table.columns, rows, width_of(stream)):
            for name in names:
                typer.secho(name, stream, bold=True)
            for line in lines:
                print(line, file=stream)

    def wrote(self, path: Path, at_once: bool = True) -> None:
        """Record that a result file was written; print its path if `at_once`, but not with `--json`."""
        Console.has_written = True
        self.outputs.append(str(path))
        if at_once and not self.as_json:
            print(shown_path(path), flush=True)

    def took(self, choice: "Choice") -> None:
        """Record the chosen model for `--json`; for `introduce` its notes and, unless the user named it, the reason."""
        entry = choice.entry
        self.facts |= {"model": entry.name, "model_id": entry.model_id}
        origin = "bundled" if entry.header.bundled else str(entry.path.parent)
        terms = f", {entry.header.licence}" if entry.is_restricted else ""
        if choice.why:
            self.introduction = [f"model: {entry.name} ({origin}{terms}) {choice.why}; another with --model"]
        self.introduction += choice.notes

    def introduce(self) -> None:
        """Print to stderr the reason and the notes that `took` recorded; a second call prints nothing."""
        while self.introduction:
            self.say(self.introduction.pop(0))

    def follow(self, events: Iterable[object], what: str) -> Iterator[object]:
        """Print or record progress, result files, skipped images and notes of a job; yield the other `events`.

        `what` names the work until the first Progress. The chosen model is named at the first event, after every check
        that could refuse the command. A terminal gets the paths of results at the end, any other stdout at once.
        """
        from latentcli.events import Kept, Note, Piped, Progress, Skipped, Wrote

        at_once, before = not sys.stdout.isatty(), len(self.outputs)
        try:
            with Waiting(what) as line:
                for event in events:
                    self.introduce()
                    match event:
                        case Progress(what, done, total):
                            line.update(what, done, total)
                        case Wrote(path):
                            self.wrote(path, at_once)
                        case Piped(content):
                            sys.stdout.flush()
                            sys.stdout.buffer.write(content)
                            sys.stdout.buffer.flush()
                        case Skipped(message):
                            self.unreadable.append(message)
                        case Kept():
                            self.already_there += 1
                        case Note(text):
                            self.say(text)
                        case _:
                            yield event
            self.introduce()
        finally:
            if not at_once and not self.as_json:
                for text in in_short(self.outputs[before:]):
                    print(text, flush=True)

    def run(self, events: Iterable[object], what: str) -> None:
        """Print or record all events of a job, then call `close`. Raises AssertionError for an unknown event."""
        for event in self.follow(events, what):
            raise AssertionError(f"unexpected event {event}")
        self.close()

    def left_out(self, messages: Sequence[str]) -> None:
        """Print messages on skipped files: the first ten in full, the rest as a number."""
        for text in messages[:_NAMED]:
            self.say(f"skipped: {text}")
        if len(messages) > _NAMED:
            self.say(f"skipped: {len(messages) - _NAMED} more")

    def close(self) -> None:
        """Print skipped images, the number of old outputs kept, the JSON object, and a preview if there is one result.

        Exits with code 1 if images were skipped.
        """
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
        """Print paths of outputs, messages on skipped images and `self.facts` as a JSON object, for `--json` only."""
        if self.as_json:
            summary = {
                "outputs": self.outputs,
                "skipped": list(map(opt.as_typed, self.unreadable)),
                **self.facts,
                "already_there": self.already_there,
                "seconds": round(time.monotonic() - self.started, 2),
            }
            print(json.dumps(summary, allow_nan=False), flush=True)


def in_short(paths: Sequence[str]) -> list[str]:
    """Lines with the paths of results; beyond ten paths instead the number of files in each of one or two folders.

    >>> in_short([f"again/{number % 3}/{number}.png" for number in range(1797)])
    ['again/: 1,797 pictures']
    """
    if len(paths) <= _NAMED:
        return list(map(shown_path, paths))
    folders = Counter(Path(path).parent for path in paths)
    while len(folders) > _FOLDERS:  # merge the deepest folders into their parents
        depth, counts = max(len(folder.parts) for folder in folders), folders
        folders = Counter()
        for folder, number in counts.items():
            folders[folder.parent if len(folder.parts) == depth else folder] += number
    what = "files" if any(path.endswith(".safetensors") for path in paths) else "pictures"
    return [f"{shown_path(folder)}/: {number:,} {what}" for folder, number in folders.items()]


def check_pipe(as_json: bool) -> None:
    """Raise UsageError if stdout cannot take a picture: because it is a terminal, or because `--json` prints there."""
    opt.refuse(
        (as_json, "--json and the picture cannot both go to the standard output; give --output FILE"),
        (sys.stdout.isatty(), "a picture cannot be printed here; give --output FILE"),
    )


def choose_model(
    console: Console,
    wanted: str | None,
    vectors: Iterable[str] = (),
    engine: "EngineName" = "auto",
    subjects: Sequence["str | Path | None"] = (),
    photos: bool = False,
) -> "ModelEntry":
    """Choose the model of a command, and record the choice in `console`, which prints it at the first event.

    `wanted` is the value of `--model`, `subjects` the pictures, folders, latents files and samples of the command line.
    Where nothing decides, it is the bundled default or, with `photos`, the bundled model for photos of people.
    """
    from latentcli.storage import catalog

    requests = [catalog.parse_vector(text) for text in vectors]
    bundled = catalog.PHOTO_MODEL if photos else catalog.DEFAULT_MODEL
    given = [subject for subject in subjects if subject is not None]
    if given:
        from latentcli.pipelines.choose import choose

        with Waiting("choosing a model"):
            choice = choose(wanted, requests, given, bundled, engine)
    else:
        choice = catalog.choose(wanted, requests, bundled, engine)
    if wanted is None:
        console.left_out(catalog.damaged_models())
    console.took(choice)
    return choice.entry
