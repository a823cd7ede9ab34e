"""Completion in the shell: names of models and vectors, quickly and without a word of complaint."""

import os
import subprocess
import sys

import pytest

from tests.cli.test_startup import HEAVY

CODE = """
import sys
sys.argv = ["latentcli"]
from latentcli.cli.app import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def completed(line: str) -> tuple[list[str], str]:
    """What bash is offered for the last word of a command line, and the modules that this took."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_LATENTCLI_COMPLETE": "complete_bash"}
    result = subprocess.run(
        [sys.executable, "-c", CODE], env={**os.environ, **words}, capture_output=True, text=True, check=False
    )
    return result.stdout.split(), result.stderr


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("latentcli edit me.jpg --model t", ["tiny"]),
        ("latentcli edit me.jpg --model tiny --vector ", ["dot"]),
        ("latentcli edit me.jpg --vector d", ["dark-skin", "dot"]),
        ("latentcli traverse --model tiny --axes pc1,", ["pc1,dot"]),
        ("latentcli sample --model tiny --with d", ["dot"]),
        ("latentcli vectors combine do", ["dot"]),
        ("latentcli models ti", ["tiny"]),
        ("latentcli train photos --from ti", ["tiny"]),
        ("latentcli sample --model gone --with d", []),
    ],
)
def test_names_are_completed(vector, line, names):
    found, modules = completed(line)
    assert found == names
    assert not set(modules.split()) & (HEAVY - {"numpy", "safetensors"})  # which headers take


def test_what_cannot_be_read_has_no_names_and_says_nothing(model, tmp_path):
    (tmp_path / "models/tiny/model.safetensors").write_text("text")
    found, said = completed("latentcli sample --model ti")
    assert found == []
    assert "not a latentcli file" not in said
