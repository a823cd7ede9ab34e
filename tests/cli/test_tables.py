"""On a narrow screen: nothing is cut, nothing is wider than the screen, and many results are one line."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from latentcli import catalog
from tests.cli.conftest import MODEL
from tests.conftest import draw_folder

WIDTHS = (80, 50)
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def screen(width: int, *arguments: str) -> list[str]:
    """Lines of a command in a terminal of so many columns and 24 rows."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    variables = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = subprocess.Popen(
        [sys.executable, "-m", "latentcli", *arguments],
        stdin=child, stdout=child, stderr=child, env={**variables, "TERM": "xterm-256color", "CI": "1"},
    )  # fmt: skip
    os.close(child)
    shown = b""
    while part := _read(parent):
        shown += part
    command.wait()
    os.close(parent)
    return CONTROLS.sub("", shown.decode()).split("\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when the other end is closed
        return b""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "command", ["", "--help", "edit --help", "train --help", "train --help-all", "vectors", "vectors fit --help-all"]
)
def test_help_is_as_wide_as_the_screen(width, command):
    lines = screen(width, *command.split())
    assert max(map(len, lines)) <= width
    assert len(lines) > 10


@pytest.mark.parametrize("width", WIDTHS)
def test_models_have_whole_names(width):
    lines = screen(width, "models")
    assert max(map(len, lines)) <= width
    words = re.split(r"[\s,]+", " ".join(lines))
    for entry in catalog.bundled_models():
        assert {entry.name, *catalog.vectors_of(entry)} <= set(words)
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("model", [entry.name for entry in catalog.bundled_models()])
@pytest.mark.parametrize("options", [(), ("--verbose",)])
def test_vectors_have_whole_names_and_whole_numbers(width, model, options):
    lines = screen(width, "vectors", "list", "--model", model, *options)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    for name in catalog.vectors_of(catalog.find_model(model)):
        assert any(re.match(rf"{re.escape(name)} .*[01]\.\d\d\d\b", line) for line in lines)


@pytest.mark.parametrize("width", WIDTHS)
def test_an_edit_is_a_few_lines(width, photo, vector):
    lines = screen(width, "edit", photo, "--vector", "dot=1", *MODEL)
    assert max(map(len, lines)) <= width
    assert f"{Path(photo).stem}-dot+1.png" in lines


def test_many_results_are_one_line_on_a_screen_and_all_of_them_in_a_pipe(run, vector, tmp_path):
    draw_folder(tmp_path / "many", 12)
    arguments = ("edit", "many", "--vector", "dot=1", *MODEL)
    assert "many-dot+1/: 12 pictures" in screen(80, *arguments)
    assert len(run(*arguments, "--force").paths) == 12
