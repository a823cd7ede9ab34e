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
