"""Start-up: `--help` answers before anything heavy is loaded."""

import subprocess
import sys

import pytest

from tests.cli.test_help import COMMANDS as NAMES
from tests.conftest import draw_folder

HEAVY = {"torch", "numpy", "PIL", "safetensors", "sklearn", "scipy", "onnxruntime"}
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
    code, *modules = result.stderr.splitlines()[-1].split()
    return code, result.stdout, set(modules)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "latentcli")
def test_help_is_light_and_teaches_by_example(command):
    code, text, modules = modules_after(*command, "--help")
    assert code in ("0", "None")
    assert not modules & HEAVY
    assert command == ["vectors"] or "latentcli " + " ".join(command) in text


USES = [
    "sample --n 2",
    "encode face.png",
    "decode face.latents.safetensors --output decoded",
    "interpolate seed:1 face.png",
    "vectors fit dot --positive with --negative without",
    "vectors combine dot=2 --save more",
    "vectors list",
    "vectors report",
    "report",
    "apply-vector face.png --vector dot --output applied.png",
    "edit face.png --vector dot",
    "rerun face-dot.png --output again.png",
    "models",
]


def test_using_a_model_loads_no_pytorch(tiny_model, photo, tmp_path):
    draw_folder(tmp_path / "with", 6, dot=True)
    draw_folder(tmp_path / "without", 6, first_seed=20)
    for command in USES:
        code, _, modules = modules_after(*command.split())
        assert code in ("0", "None"), command
        assert "torch" not in modules, command
        assert "sklearn" not in modules or command.startswith("vectors fit"), command


@pytest.mark.parametrize("command", ["train with", "check with", "sample --engine torch", "evaluate with"])
def test_what_takes_pytorch_says_so_where_it_is_not_installed(tiny_model, tmp_path, command):
    draw_folder(tmp_path / "with", 6)
    code = CODE.replace("import sys", "import sys; sys.modules['torch'] = None")
    command = [sys.executable, "-c", code, *command.split()]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "latentcli: this takes PyTorch; install it: pip install 'torch>=2.6,<2.14'" in result.stderr
    assert "Traceback" not in result.stderr


def test_version_is_light():
    _, text, modules = modules_after("--version")
    assert text.startswith("latentcli ")
    assert not modules & HEAVY
