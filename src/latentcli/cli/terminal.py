"""Terminal output: messages wrapped at the terminal's width, and a progress line below other output."""

import contextlib
import os
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_WIDTH = 80  # columns assumed for a terminal of unknown width
_PATIENCE = 1.0  # seconds before the progress line appears
_PER_SECOND = 5  # redraws of the progress line per second
_LONGEST_BAR = 20  # characters of the progress bar
_AFTER_BAR = len("  99 %  1:23:45 left")
_GLYPHS = ("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "━", "─")  # spinner, done part of the bar, rest of the bar
_ASCII = ("|/-\\", "#", "-")  # _GLYPHS for terminals without UTF-8
_UNITS = (("days", 86_400), ("h", 3600), ("min", 60))


def width_of(stream: TextIO) -> int | None:
    """Columns of the terminal that a stream writes to; None if the stream writes to a file or a pipe."""
    if not stream.isatty():
        return None
    with contextlib.suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or _WIDTH
    return _WIDTH


def wrapped(text: str) -> str:
    """Message wrapped between words at the width of the terminal; on one line if stderr is not a terminal."""
    width = width_of(sys.stderr)
    if width is None:
        return text
    return textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def joined(parts: Sequence[str], width: int | None) -> str:
    """Line of as many `parts`, at least the first, as fit into `width` columns; all parts if `width` is None.

    >>> joined(["epoch 3", "59 s", "PSNR 23.2 dB"], 20)
    'epoch 3  59 s'
    """
    line = parts[0]
    for part in parts[1:]:
        if width is not None and len(line) + 2 + len(part) > width:
            break
        line += f"  {part}"
    return line


def duration(seconds: float) -> str:
    """Duration in words, in seconds, minutes, hours or days, with about two digits.

    >>> print(duration(59), duration(61), duration(2500), duration(9000), sep=", ")
    59 s, 1 min, 42 min, 2.5 h
    """
    for unit, size in _UNITS:
        if seconds >= (1.66 if size > 60 else 0.99) * size:  # hours from 100 minutes on, days from 40 hours on
            count = seconds / size
            return f"{count:.2g} {unit}" if count < 99.5 else f"{count:.0f} {unit}"
    return f"{seconds:.0f} s"


class Waiting:
    """Progress line, as a context manager: a bar and the time left; for uncountable work a spinner and the time so far.

    The line appears after a second, only on a terminal, and stays below all output.
    """

    def __init__(self, what: str) -> None:
        self._what, self._done, self._total = what, 0, 1
        self._notes: Sequence[str] = ()
        self._begun = self._since = time.monotonic()
        self._first = 0  # value of `_done` at the time `_since`
        self._end: float | None = None  # estimated time of the end; None while unknown
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True)
            # A terminal shows results above the progress line; a file or a pipe gets results directly.
            self._live = Live(
                get_renderable=lambda: self._line(console),
                console=console,
                refresh_per_second=_PER_SECOND,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
            )
            self._live.start()
            console.show_cursor(True)  # show the cursor now: a killed program could not restore it
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def update(
        self, what: str, done: int = 0, total: int = 1, notes: Sequence[str] = (), left: float | None = None
    ) -> None:
        """Show the work `what`, `done` of `total` (1: uncountable), `notes` and seconds `left` (None: estimated)."""
        now = time.monotonic()
        if total != self._total or done < self._done or (total <= 1 and what != self._what):  # a new part begins
            self._since, self._first, self._end = now, done, None
        self._what, self._done, self._total, self._notes = what, done, total, notes
        if left is None and done > self._first:
            left = (now - self._since) * (total - done) / (done - self._first)
        if left is not None:
            self._end = now + left

    def show(self, picture: "RenderableType") -> None:
        """Print a picture (a rich renderable) above the progress line; nothing without a terminal."""
        if self._live:
            self._live.console.print(picture, end="")

    def _line(self, console: "Console") -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        now = time.monotonic()
        if now - self._begun < _PATIENCE:
            return Group()
        spinner, full, empty = _GLYPHS if console.encoding.startswith("utf") else _ASCII
        sign, width = spinner[int(now * _PER_SECOND) % len(spinner)], console.width
        text = Text(no_wrap=True, overflow="crop")
        if self._total <= 1:
            return text.append(joined([f"{sign} {self._what}", duration(now - self._since)], width))
        room = width - _AFTER_BAR - 1
        word = f"{sign} {self._what} " if len(self._what) + 6 < room else ""
        length = max(0, min(_LONGEST_BAR, room - len(word)))
        done = length * self._done // self._total
        text.append(word).append(full * done, "green").append(empty * (length - done), "dim")
        left = "" if self._end is None else f"  {_clock(max(0.0, self._end - now))} left"
        share = f" {100 * self._done // self._total:3d} %{left}"
        return text.append(joined([share, *self._notes], width - len(word) - length))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
