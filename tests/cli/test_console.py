"""Console: JSON, pipes, progress, and outputs that exist."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import MODEL, size
from tests.conftest import draw_folder


def test_json_is_one_object(run, photo):
    result = run("encode", photo, *MODEL, "--json")
    summary = json.loads(result.out)
    assert summary["outputs"] == ["face.latents.safetensors"]
    assert summary["model"] == "tiny"
    assert len(summary["model_id"]) == 12
    assert summary["skipped"] == []
    assert summary["seconds"] >= 0


def test_named_outputs_are_not_replaced_without_force(run, photo):
    Path("out.png").write_text("mine")
    result = run("sample", "--n", 1, *MODEL, "-o", "out.png")
    assert result.code == 1
    assert "out.png exists; add --force" in result.err
    assert Path("out.png").read_text() == "mine"
    assert run("sample", "--n", 1, *MODEL, "-o", "out.png", "--force").code == 0
    assert size("out.png") == (16, 16)


def test_a_refusal_comes_before_the_chosen_model_is_named(run, photo):
    Path("out.png").write_text("mine")
    assert "model: " in run("sample", "--n", 1).err
    for command in (("sample", "--n", 1), ("interpolate", photo, "seed:1"), ("traverse",), ("map",), ("edit", photo)):
        asked = (*command, "-o", "out.png", *(("--vector", "z0") if command[0] == "edit" else ()))
        assert run(*asked).err == "latentcli: out.png exists; add --force to replace it, or give another --output\n"


def test_chosen_names_step_aside_unless_forced(run):
    assert run("sample", "--n", 1, *MODEL).paths == ["samples-0.png"]
    assert run("sample", "--n", 1, *MODEL).paths == ["samples-0-2.png"]
    assert run("sample", "--n", 1, *MODEL, "--force").paths == ["samples-0.png"]
    for _ in range(2):
        each = run("sample", "--n", 2, "--each", *MODEL, "--force")
        assert each.paths == ["samples-0-1/seed-00000.png", "samples-0-1/seed-00001.png"]


@pytest.mark.parametrize(
    "command",
    [
        ["encode", "face.png"],
        ["interpolate", "face.png", "seed:1"],
        ["map", "--cells", "2"],
        ["traverse", "--rows", "1", "--steps", "2"],
        ["apply-vector", "face.png", "--vector", "dot"],
        ["edit", "face.png", "--vector", "dot"],
        ["edit", "face.png", "more.png", "--vector", "dot"],
        ["vectors", "discover", "--n", "1"],
        ["vectors", "report"],
    ],
    ids=lambda command: " ".join(command[:3]),
)
def test_force_replaces_what_has_the_default_name(run, photo, vector, command):
    Path("more.png").write_bytes(Path(photo).read_bytes())
    first = run(*command, *MODEL)
    assert first.code == 0, first.err
    assert run(*command, *MODEL, "--force").paths == first.paths


def test_a_forced_edit_never_replaces_an_original(run, photo, vector):
    edited = run("edit", photo, "--vector", "dot=1", *MODEL).paths[0]
    before = Path(edited).read_bytes()
    result = run("edit", photo, edited, "--vector", "dot=1", *MODEL, "--force")
    assert "would replace an original" in result.err
    assert Path(edited).read_bytes() == before


@pytest.mark.parametrize(
    "command",
    [
        ["encode", "face.png", "-o", "mine.latents.safetensors"],
        ["interpolate", "face.png", "seed:1", "-o", "mine.png"],
        ["apply-vector", "face.png", "--vector", "dot", "-o", "mine.png"],
        ["edit", "face.png", "--vector", "dot", "-o", "mine.png"],
        ["decode", "face.latents.safetensors", "-o", "mine.png"],
    ],
    ids=lambda command: command[0],
)
def test_no_command_replaces_a_named_output_without_force(run, photo, vector, command):
    run("encode", photo, *MODEL)
    mine = Path(command[-1])
    mine.write_text("mine")
    result = run(*command, *MODEL)
    assert result.code == 1
    assert f"{mine} exists; add --force" in result.err
    assert mine.read_text() == "mine"
    assert run(*command, *MODEL, "--force").code == 0
    assert mine.read_bytes() != b"mine"


@pytest.mark.parametrize(
    "command",
    [
        ["sample", "--n", "2"],
        ["interpolate", "face.png", "seed:1"],
        ["apply-vector", "face.png", "--vector", "dot"],
        ["apply-vector", "face.png", "--positive", "one/yes", "--negative", "one/no", "--save", "x"],
        ["edit", "face.png", "--vector", "dot"],
        ["vectors", "fit", "x", "--positive", "one/yes", "--negative", "one/no"],
        ["vectors", "list"],
        ["models"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_every_command_prints_one_json_object(run, photo, vector, command, tmp_path):
    draw_folder(tmp_path / "one" / "yes", 1, dot=True)
    draw_folder(tmp_path / "one" / "no", 1)
    result = run(*command, "--json")
    assert result.code == 0
    assert "Infinity" not in result.out
    assert {"outputs", "skipped", "already_there", "seconds"} <= json.loads(result.out).keys()


def test_names_that_are_not_text_are_written_as_they_are(run, vector, photo):
    odd = os.fsdecode(b"caf\xe9.png")
    Path(photo).rename(odd)
    command = [sys.executable, "-m", "latentcli", "edit", odd, "--vector", "dot", *MODEL]
    result = subprocess.run(command, capture_output=True, check=True)
    assert result.stdout == b"caf\xe9-dot.png\n"
    assert os.path.exists(os.fsdecode(result.stdout.strip()))


def test_a_closed_pipe_is_no_traceback(run):
    command = f"{sys.executable} -m latentcli sample --each --n 300 --model tiny | head -1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stdout == "samples-0-299/seed-00000.png\n"
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
def test_a_full_disk_behind_stdout_is_no_traceback(run):
    command = f"{sys.executable} -m latentcli sample --n 1 --model tiny > /dev/full"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == "latentcli: cannot write to the standard output: No space left on device"
    assert "Traceback" not in result.stderr


def test_results_and_progress_bar_do_not_share_a_line(vector, tmp_path):
    """On a terminal, where both go to one screen."""
    draw_folder(tmp_path / "many", 100)
    slow = "import latentcli.cli.terminal as t; t._PATIENCE = 0; from latentcli.cli.app import main; main()"
    command = [sys.executable, "-c", slow, "edit", "many", "--vector", "dot", *MODEL]
    screen = []

    def read(handle):
        screen.append(os.read(handle, 65536))
        return screen[-1]

    pty.spawn(command, read)
    text = b"".join(screen).decode()
    assert "editing" in text
    for line in re.split(r"[\r\n]+", text):
        assert not ("━" in line and "many-dot/" in line)
