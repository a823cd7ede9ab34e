"""The preview of a picture in the terminal."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from PIL import Image

from latentcli.cli import preview
from tests.conftest import draw

PATIENCE = 60  # seconds
BLOCK = "▀".encode()
COLOURS = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


def on_terminal(environment, *arguments, columns=80, answer=b""):
    """What a program writes to a terminal of so many columns, which answers questions so."""
    known = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_DATA_HOME") if name in os.environ}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**known, "LANG": "C.UTF-8", "PYTHONUTF8": "1", **environment},
        start_new_session=True,
    )
    os.close(theirs)
    written, started = b"", time.monotonic()
    try:
        while time.monotonic() - started < PATIENCE:
            if not select.select([ours], [], [], 0.2)[0]:
                continue
            try:
                some = os.read(ours, 1 << 16)
            except OSError:  # the program ended
                break
            if not some:
                break
            written += some
            if b"\x1b[c" in some and answer:
                os.write(ours, answer)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return written


def shown(environment, *options, columns=80, answer=b"", without=""):
    """What `show` writes; `without` an installed package."""
    code = (
        "import importlib.util; find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name: None if name == {without!r} else find(name)\n"
        "from pathlib import Path; from latentcli.cli.preview import show\n"
        f"show(Path('a.png'), asked={'asked' in options})"
    )
    return on_terminal(environment, "-c", code, columns=columns, answer=answer)


@pytest.fixture(autouse=True)
def picture():
    draw((60, 40), 3).save("a.png")


@pytest.mark.parametrize("columns", [20, 80])
def test_a_terminal_with_colours_shows_half_blocks_that_fit(columns):
    written = shown(COLOURS, columns=columns, without="textual_image")
    lines = [line for line in written.split(b"\n") if BLOCK in line]
    assert lines
    assert all(line.count(BLOCK) <= columns for line in lines)
    assert b"\x1b[38;2;" in written


def test_a_terminal_that_knows_sixel_shows_the_picture_itself():
    written = shown(COLOURS, answer=b"\x1b[?62;4;22c")
    assert b"\x1bP" in written
    assert BLOCK not in written


def test_a_terminal_that_answers_nothing_gets_half_blocks():
    assert BLOCK in shown(COLOURS)


@pytest.mark.parametrize(
    "environment", [{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "xterm", "CI": "true"}]
)
def test_where_nobody_looks_nothing_is_drawn_unless_asked(environment):
    assert BLOCK not in shown(environment, without="textual_image")
    if "NO_COLOR" not in environment and environment["TERM"] != "dumb":
        assert BLOCK in shown(environment, "asked", without="textual_image")


def test_a_pipe_gets_paths_alone(run, capsys, tiny_model):
    assert run("sample", "--n", 2, "--model", "tiny", "--show").out == "samples-0-1.png\n"


def test_a_command_shows_its_one_picture_and_not_when_told_not_to(tiny_model):
    written = on_terminal(COLOURS, "-m", "latentcli", "sample", "--n", "2", "--model", "tiny")
    assert b"samples-0-1.png" in written
    assert BLOCK in written
    assert BLOCK not in on_terminal(COLOURS, "-m", "latentcli", "sample", "--n", "2", "--model", "tiny", "--no-show")
    assert BLOCK not in on_terminal(COLOURS, "-m", "latentcli", "sample", "--n", "2", "--model", "tiny", "--each")


def test_what_cannot_be_shown_is_no_error(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    broken = Path("b.png")
    broken.write_bytes(b"no picture")
    preview.show(broken, asked=True)


def test_the_cells_of_a_picture_keep_its_shape():
    assert preview._cells((100, 100), (80, 30)) == (48, 24)
    assert preview._cells((400, 100), (80, 30)) == (80, 10)
    assert preview._cells((1, 1000), (80, 30)) == (1, 24)
    assert preview._half_blocks(Image.new("RGB", (3, 4))).plain == "▀▀▀\n▀▀▀\n"


def test_a_row_has_as_many_whole_pictures_as_fit():
    square, wide = Image.new("RGBA", (10, 10)), Image.new("L", (20, 10))
    assert preview.row([square] * 9, 50).plain.splitlines() == ["▀" * 48] * 8
    assert preview.row([square] * 2, 50).plain.splitlines() == ["▀" * 32] * 8
    assert preview.row([wide] * 9, 50).plain.splitlines() == ["▀" * 32] * 8
    assert preview.row([wide], 20).plain.splitlines() == ["▀" * 20] * 8
