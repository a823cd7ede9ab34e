"""Start-up: `--help` answers before anything heavy is loaded."""

import subprocess
import sys

import pytest

from tests.cli.test_help import COMMANDS as NAMES

HEAVY = {"torch", "numpy", "PIL", "safetensors", "sklearn", "dlib"}
COMMANDS = [[], ["vectors"], *map(list, NAMES)]
CODE = """
import sys
from latentcli.cli.app import main
sys.argv = ["latentcli", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    print(end.code, *sys.modules, file=sys.stderr)
"""


def modules_after(*arguments: str) -> tuple[str, str, set[str]]:
    result = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=True)
    code, *modules = result.stderr.split()
    return code, result.stdout, set(modules)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "latentcli")
def test_help_is_light_and_teaches_by_example(command):
    code, text, modules = modules_after(*command, "--help")
    assert code in ("0", "None")
    assert not modules & HEAVY
    assert command == ["vectors"] or "latentcli " + " ".join(command) in text


def test_version_is_light():
    _, text, modules = modules_after("--version")
    assert text.startswith("latentcli ")
    assert not modules & HEAVY
