"""On a narrow screen: nothing is cut, nothing is wider than the screen, and many results are one line."""

import contextlib
import re
from pathlib import Path

import pytest

from latentcli.cli.app import main
from latentcli.cli.tables import findings_as_typed
from latentcli.evaluation.diagnosis import Finding
from latentcli.storage import catalog
from tests.cli.conftest import MODEL
from tests.cli.test_terminal import SEQUENCE, pseudo_terminal
from tests.conftest import draw_folder

WIDTHS = (80, 50)


@pytest.fixture
def screen(monkeypatch):
    """Lines of a command in a terminal of so many columns."""

    def run_it(width, *arguments):
        monkeypatch.setattr("sys.argv", ["latentcli", *map(str, arguments)])
        monkeypatch.delenv("COLUMNS", raising=False)
        with pseudo_terminal(monkeypatch, width) as written, contextlib.suppress(SystemExit):
            main()
        return SEQUENCE.sub("", b"".join(written).decode()).replace("\r", "").split("\n")

    monkeypatch.setenv("CI", "1")  # no picture
    return run_it


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "command", ["", "--help", "edit --help", "train --help", "train --help-all", "vectors", "vectors fit --help-all"]
)
def test_help_is_as_wide_as_the_screen(screen, width, command):
    lines = screen(width, *command.split())
    assert max(map(len, lines)) <= width
    assert len(lines) > 10


@pytest.mark.parametrize("width", WIDTHS)
def test_models_have_whole_names(screen, width):
    lines = screen(width, "models")
    assert max(map(len, lines)) <= width
    words = re.split(r"[\s,]+", " ".join(lines))
    for entry in catalog.bundled_models():
        assert {entry.name, *catalog.vectors_of(entry)} <= set(words)
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("model", [entry.name for entry in catalog.bundled_models()])
@pytest.mark.parametrize("options", [(), ("--verbose",)])
def test_vectors_have_whole_names_and_whole_numbers(screen, width, model, options):
    lines = screen(width, "vectors", "list", "--model", model, *options)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    for name in catalog.vectors_of(catalog.find_model(model)):
        assert any(re.match(rf"{re.escape(name)} .*[01]\.\d\d\d\b", line) for line in lines)


@pytest.mark.parametrize("width", WIDTHS)
def test_an_edit_is_a_few_lines(screen, width, photo, vector):
    lines = screen(width, "edit", photo, "--vector", "dot=1", *MODEL)
    assert max(map(len, lines)) <= width
    assert f"{Path(photo).stem}-dot+1.png" in lines


def test_many_results_are_one_line_on_a_screen_and_all_of_them_in_a_pipe(screen, run, vector, tmp_path):
    draw_folder(tmp_path / "many", 12)
    arguments = ("edit", "many", "--vector", "dot=1", *MODEL)
    assert "many-dot+1/: 12 pictures" in screen(80, *arguments)
    assert len(run(*arguments, "--force").paths) == 12


def test_findings_for_programs_name_options_as_they_are_typed():
    found = findings_as_typed([Finding("note", "nothing held out", "none", "`held_out` 0.2, or `held_out` DIR")])
    assert [finding["advice"] for finding in found] == ["--held-out 0.2, or --held-out DIR"]
