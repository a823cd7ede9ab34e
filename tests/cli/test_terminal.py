"""What a terminal of 80 or of 50 columns shows of commands that take long."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading

import pytest

from latentcli.cli import terminal
from latentcli.cli.app import main
from latentcli.cli.console import Console
from latentcli.training import loop, machine
from tests.conftest import draw_folder

SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SMALL = ("--size=16", "--latent-dim=2", "--held-out=0.2", "--precision=fp32")
TRAIN = ("train", "data", "--epochs=4", "--batch-size=4", *SMALL)
BLOCK = "▀"


@contextlib.contextmanager
def pseudo_terminal(monkeypatch, columns):
    """The three standard streams are a terminal of 24 lines; gives the list of what is written there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    written = []

    def read():
        with contextlib.suppress(OSError):  # closed
            while some := os.read(ours, 1 << 16):
                written.append(some)

    reader = threading.Thread(target=read)
    reader.start()
    before = [os.dup(number) for number in range(3)]
    for number in range(3):
        os.dup2(theirs, number)
    try:
        with monkeypatch.context() as patched, os.fdopen(theirs, "w", encoding="utf-8") as stream:
            for name in ("stdout", "stderr"):
                patched.setattr(sys, name, stream)
            yield written
    finally:
        for number, kept in enumerate(before):
            os.dup2(kept, number)
            os.close(kept)
        reader.join()
        os.close(ours)


@pytest.fixture
def screen(monkeypatch):
    """Runs a command and gives the lines that it wrote, and each state of its last one, drawn at each event."""
    plain = terminal.Waiting.update

    def update(self, *arguments, **named):
        plain(self, *arguments, **named)
        if self._live:
            self._live.refresh()

    monkeypatch.setattr(terminal.Waiting, "update", update)
    monkeypatch.setattr(terminal, "_PATIENCE", 0)
    monkeypatch.setattr(loop, "_REPORT_EVERY", 0)
    monkeypatch.setattr(loop, "_SAVING", 1e9)  # pictures at each epoch
    monkeypatch.setattr(machine, "_compare", lambda *arguments: machine.Speed("fp32", 0.1))

    def run_it(columns, *arguments):
        monkeypatch.setattr(sys, "argv", ["latentcli", *arguments])
        with pseudo_terminal(monkeypatch, columns) as written, contextlib.suppress(SystemExit):
            main()
        return re.split(r"[\r\n]+", SEQUENCE.sub("", b"".join(written).decode()))

    return run_it


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name in ("NO_COLOR", "CI", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return draw_folder(tmp_path / "data", 20)


@pytest.mark.parametrize("columns", [80, 50])
def test_training_shows_bar_share_and_time_left_and_a_word_for_all_it_does(screen, columns):
    lines = screen(columns, *TRAIN)
    assert max(map(len, lines)) <= columns
    bars = [line for line in lines if re.search("training [━─]", line)]
    assert all(re.search(r" \d+ %", line) and "…" not in line for line in bars)
    assert any(re.search(r"━+─+ +\d+ %  \d+:\d\d left", line) for line in bars)
    assert any(re.match(r"epoch 4/4  \d+ s  PSNR \d+\.\d dB  loss -?\d+", line) for line in lines)
    words = (
        "reading",
        "fitting principal components",
        "testing the speed",
        "measuring",
        "drawing samples",
        "reconstructing",
        "comparing with baselines",
        "comparing samples with images",
        "writing the report",
    )
    assert [word for word in words if word not in "\n".join(lines)] == []
    assert "next: latentcli sample --model data" in lines


def test_training_shows_pictures_in_its_course_and_samples_at_its_end(screen):
    lines = screen(80, *TRAIN)
    captions = [line for line in lines if line.endswith(":")]
    shares = [f"reconstructions after {share} %:" for share in (25, 50, 75)]
    assert captions == ["images:", *shares, "samples:"]
    assert max(line.count(BLOCK) for line in lines) == 80


def test_where_nobody_looks_training_shows_no_pictures(screen, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert BLOCK not in "".join(screen(80, *TRAIN))


def test_with_json_training_shows_no_pictures(screen):
    assert BLOCK not in "".join(screen(80, *TRAIN, "--json"))


@pytest.mark.parametrize("columns", [80, 50])
def test_a_check_says_the_whole_time_and_nothing_is_cut(screen, columns):
    lines = screen(columns, "check", "data", "--size", "16")
    assert max(map(len, lines)) <= columns
    assert "…" not in "".join(lines)
    table = " ".join(" ".join(lines).split())
    assert "an epoch about 2 s here would take about 17 min for 500 epochs; --minutes 10 gives a first look" in table


def test_a_long_message_is_broken_between_words(monkeypatch):
    with pseudo_terminal(monkeypatch, 50) as written:
        Console(False).say(f"{'some words ' * 8}{'w' * 60} end")
    first, second, path, last, _ = b"".join(written).decode().split("\r\n")
    assert first == "some words some words some words some words some"
    assert second == "  words some words some words some words"
    assert (path, last) == ("  " + "w" * 60, "  end")


def test_without_a_terminal_lines_stay_whole_and_no_bar_is_drawn(run):
    result = run(*TRAIN)
    assert " %" not in result.err
    assert "\n  " not in result.err
    assert max(map(len, result.err.splitlines())) > 80


def test_a_narrow_terminal_keeps_share_and_time_left(monkeypatch):
    monkeypatch.setattr(terminal, "_PATIENCE", 0)
    with pseudo_terminal(monkeypatch, 24) as written, terminal.Waiting("starting") as line:
        line.update("fitting the prior", 250, 1000, ("9 images/s",), left=4000)
        assert line._live
        line._live.refresh()
    lines = SEQUENCE.sub("", b"".join(written).decode()).split("\r")
    assert any(re.fullmatch(r"[━─]*  25 %  1:06:\d\d left", line) for line in lines)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (60, "1 min"), (95, "1.6 min"), (2520, "42 min"), (7200, "2 h"), (300_000, "3.5 days")],
)
def test_a_duration_has_two_digits(seconds, words):
    assert terminal.duration(seconds) == words
