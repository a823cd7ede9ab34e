"""Shared options: panels, ranges and spellings."""

import re

import pytest
import typer

from latentcli.cli.options import parse_crop
from latentcli.errors import UsageError
from tests.cli.test_help import COMMANDS


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_no_limit_of_the_implementation_shows_in_the_help(run, name):
    assert not re.search(r"range|\[x", re.sub("--range|ranges", "", run(*name, "--help").out))


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_an_option_stands_in_one_panel_in_every_command(name):
    panels = {"--output": "Output", "--force": "Output", "--json": "Output", "--vector": "What to change"}
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, typer.core.TyperOption) and parameter.opts[0] in panels:
            assert parameter.rich_help_panel == panels[parameter.opts[0]], parameter.opts


@pytest.mark.parametrize(("typed", "crop"), [("center", "centre"), ("centre", "centre"), ("face", "face")])
def test_crops_are_known_in_both_spellings(typed, crop):
    assert parse_crop(typed) == crop


def test_an_unknown_crop_is_refused_with_those_there_are(run):
    with pytest.raises(UsageError, match="--crop takes centre, none, face, got 'round'"):
        parse_crop("round")
    assert run("check", ".", "--crop", "round").code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "x", "--epochs", 0], "--epochs takes 1 or more, got 0"),
        (["train", "x", "--batch-size", 1], "--batch-size takes 2 or more, got 1"),
        (["edit", "a.png", "-v", "x", "--face", 2, "--all-faces"], "give --face or --all-faces"),
        (
            ["edit", "a.png", "-v", "x", "--title", "T"],
            "--labels and --title write on a sheet; give --strip or --compare",
        ),
        (["sample", "--seeds", "1", "--n", 2], "--seeds replaces --n and --seed; give one or the other"),
        (["apply-vector", "a.png", "-v", "x", "--paired"], "--paired and --orthogonal-to belong to --positive and"),
        (["explore", "--map", "x"], "--map goes with --static FILE.html"),
    ],
)
def test_options_that_cannot_be_are_refused_in_the_words_of_the_options(run, arguments, message):
    result = run(*arguments)
    assert result.code == 2
    assert result.err.startswith(f"latentcli: {message}")
    assert len(result.err.splitlines()) == 1
