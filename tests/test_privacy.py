"""No command leaves a file outside the places that docs/files.md names, or talks to anybody."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import draw, draw_folder, write_model

COMMANDS = """
encode face.png
decode face.latents.safetensors
sample --n 2
interpolate face.png seed:1
map --cells 2
traverse --rows 2
vectors fit dot --positive with --negative without
vectors list
vectors discover --n 2
vectors combine dot=1 pc1=1 --save both
vectors refit dot --model tiny --root . --force
vectors report
apply-vector face.png --vector dot
edit face.png --vector dot=1
rerun face-dot+1.png --output again.png
explore --static page.html
models
edit grace-hopper.jpg --vector smile
check photos --size 16
train photos --name new --epochs 1 --size 16
evaluate photos
report --force
export new --onnx onnx
"""
# One process for all: what a dependency does, it does when it is loaded, or behind the scenes after that.
PROGRAM = """
import sys
from latentcli.cli.app import main
for line in sys.argv[1].strip().splitlines():
    sys.argv = ["latentcli", *line.split()]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (line, end.code)
"""
ELSEWHERE = re.compile(r"connect\(.*(AF_INET6?|AF_PACKET)|sendto\(.*AF_INET")


@pytest.fixture
def workshop(tmp_path):
    draw((60, 40), seed=5).save(tmp_path / "face.png")
    draw_folder(tmp_path / "photos", 24)
    draw_folder(tmp_path / "with", 6, dot=True)
    draw_folder(tmp_path / "without", 6, first_seed=20)
    shutil.copy(Path(__file__).parents[1] / "examples" / "grace-hopper.jpg", tmp_path)
    write_model(tmp_path / "models" / "tiny")
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir(exist_ok=True)
    return tmp_path


def left(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_every_command_leaves_nothing_behind_and_talks_to_nobody(workshop):
    trace = workshop / "trace.txt"
    command = [sys.executable, "-c", PROGRAM, COMMANDS]
    if shutil.which("strace"):
        options = ["-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", trace]
        command = ["strace", *options, *command]
    hidden = ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "ORT_DISABLE_TELEMETRY")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"HOME": str(workshop / "home"), "TMPDIR": str(workshop / "tmp")}
    done = subprocess.run(command, env=environment, cwd=workshop, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert left(workshop / "tmp") == []
    documented = (".cache/latentcli/", ".local/share/latentcli/", "Library/Caches/latentcli/")
    assert [name for name in left(workshop / "home") if not name.startswith(documented)] == []
    if trace.exists():
        assert [line for line in trace.read_text().splitlines() if ELSEWHERE.search(line)] == []


@pytest.mark.parametrize(
    "first", ["latentcli", "latentcli.cli.app", "latentcli.data.decode", "latentcli.explorer.server"]
)
def test_telemetry_is_off_before_onnx_runtime_is_imported_whatever_is_loaded_first(first):
    code = (
        f"import {first}, os, sys; assert 'onnxruntime' not in sys.modules; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
