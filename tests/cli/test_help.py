"""Help teaches, and every command line we print somewhere can be typed."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from latentcli.cli.app import app
from latentcli.cli.help import DAILY

ROOT = Path(__file__).parents[2]
GROUP: typer.core.TyperGroup = typer.main.get_group(app)


def commands(group=GROUP, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())


def examples(text):
    """Lines that start with `latentcli`, comments cut off."""
    for line in re.findall(r"^\s*(latentcli [^\n|]*)", text, re.MULTILINE):
        words = shlex.split(line, comments=True)[1:]
        if words and "COMMAND" not in words:
            yield words


def parse(words):
    """Let the command read its options without running it; raises SystemExit or a usage error when it cannot."""
    name = tuple(words[:2]) if tuple(words[:2]) in COMMANDS else tuple(words[:1])
    assert name in COMMANDS, f"no command {' '.join(name)}"
    COMMANDS[name].make_context(" ".join(name), words[len(name) :])


def test_the_commands_are_those_of_the_design():
    plain = {
        "train",
        "sharpen",
        "encode",
        "decode",
        "sample",
        "interpolate",
        "apply-vector",
        "edit",
        "models",
        "check",
        "evaluate",
        "report",
        "export",
        "rerun",
        "map",
        "traverse",
        "explore",
    }
    assert {" ".join(name) for name in COMMANDS} == plain | {
        f"vectors {name}" for name in ("list", "fit", "report", "combine", "refit", "discover")
    }


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_every_option_is_explained(name):
    for parameter in COMMANDS[name].params:
        assert parameter.help, f"{parameter.name} has no help"


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_help_shows_examples_that_can_be_typed(name):
    found = list(examples(COMMANDS[name].help))
    assert found
    for words in found:
        parse(words)


@pytest.mark.parametrize(
    "page", ["README.md", "models/README.md", "examples/README.md", "src/latentcli/training/results.py"]
)
def test_pages_show_commands_that_can_be_typed(page):
    for words in examples((ROOT / page).read_text().replace("{name}", "name")):
        parse(words)


def test_the_guides_show_every_command():
    guides = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md") if page.name != "cli.md")
    for name in COMMANDS:
        assert re.search(rf"^(?:\.venv/bin/)?latentcli {' '.join(name)}\b", guides, re.MULTILINE), name


def test_the_readme_links_to_what_exists():
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


def long_names(command):
    return {max(parameter.opts, key=len).lstrip("-") for parameter in command.params}


@pytest.mark.parametrize("words", DAILY)
def test_options_of_daily_use_exist(words):
    command = COMMANDS[tuple(words.split())] if words else GROUP
    assert set(DAILY[words].split()) <= long_names(command)


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_help_fits_a_screen_and_all_of_it_is_one_step_away(run, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    short, whole = run(*name, "--help").out, run(*name, "--help-all").out
    assert len(short.splitlines()) <= 42
    assert all(len(line) <= 80 for line in (short + whole).splitlines())
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option":
            assert f"{max(parameter.opts, key=len)}" in whole
    if short != whole:
        assert f"more options: latentcli {' '.join(name)} --help-all" in short.replace("pytest", "latentcli")


def test_help_in_a_narrow_window_stays_readable(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    lines = run("edit", "--help-all").out.splitlines()
    assert max(map(len, lines)) <= 50
    assert "  -v, --vector NAME|FILE[=S]" in lines


def test_the_bare_command_shows_first_steps_on_one_screen(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = run()
    assert (result.code, result.err) == (0, "")
    assert len(result.out.splitlines()) <= 23  # of 24, and the prompt
    assert "edit me.jpg --vector smile" in result.out
    for name in GROUP.commands:
        assert name in result.out


def test_a_bare_group_shows_its_commands(run):
    result = run("vectors")
    assert (result.code, result.err) == (0, "")
    assert "  discover  " in result.out
