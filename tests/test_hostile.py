"""Every input of every command against what a hostile or broken file can be: one line, no traceback, nothing written.

A new input is a line in INPUTS; a new kind of file a function in KINDS.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentcli.photo.metadata import FileTraits
from latentcli.storage import tensorfile
from tests.conftest import draw, draw_folder, flow_prior, write_model

MODEL = "models/tiny"
LIMIT = 10  # seconds
MOST_MEMORY = 600  # MiB


@pytest.fixture
def workplace(run, tmp_path, tiny_model):
    """A folder with one of each file that commands take."""
    draw_folder(tmp_path / "yes", 24, dot=True)
    draw_folder(tmp_path / "no", 24, first_seed=24)
    shutil.copytree("yes", "all/yes")
    shutil.copytree("no", "all/no")
    draw((60, 40), seed=5).save("face.png")
    assert run("vectors", "fit", "dot", "--positive", "yes", "--negative", "no", "--model", MODEL).code == 0
    assert run("encode", "yes", "--model", MODEL, "-o", "yes.latents.safetensors").code == 0
    assert run("edit", "face.png", "--vector", "dot", "--model", MODEL, "--no-align", "-o", "edited.png").code == 0
    shutil.copy("models/tiny/vectors/dot.safetensors", "dot.safetensors")
    table = ["file,dot", *(f"yes/{n:03d}.png,1" for n in range(24)), *(f"no/{n:03d}.png,0" for n in range(24))]
    Path("labels.csv").write_text("\n".join(table))
    Path("list.txt").write_text("\n".join(f"yes/{n:03d}.png" for n in range(24)))
    return tmp_path


# The file that is replaced, and the command that reads it.
INPUTS = {
    "model of sample": ("models/tiny/model.safetensors", ["sample", "--model", MODEL]),
    "any model, by models": ("models/tiny/model.safetensors", ["models"]),
    "vector of edit": ("dot.safetensors", ["edit", "face.png", "--vector", "dot.safetensors", "--model", MODEL]),
    "vector in the list": ("models/tiny/vectors/dot.safetensors", ["vectors", "list", "--model", MODEL]),
    "vector of a report": ("models/tiny/vectors/dot.safetensors", ["report", "--model", MODEL, "-o", "r.html"]),
    "vector of refit": (
        "dot.safetensors",
        ["vectors", "refit", "dot.safetensors", "--root", "all", "--force", "--model", MODEL],
    ),
    "vector of sample": ("dot.safetensors", ["sample", "--with", "dot.safetensors", "--model", MODEL]),
    "latents of decode": ("yes.latents.safetensors", ["decode", "yes.latents.safetensors", "--model", MODEL]),
    "latents of interpolate": ("yes.latents.safetensors", ["interpolate", "yes.latents.safetensors", "--model", MODEL]),
    "latents of sample": ("yes.latents.safetensors", ["sample", "--near", "yes.latents.safetensors", "--model", MODEL]),
    "photo of edit": ("face.png", ["edit", "face.png", "--vector", "dot", "--model", MODEL]),
    "photo of encode": ("face.png", ["encode", "face.png", "--model", MODEL]),
    "photo of sample": ("face.png", ["sample", "--near", "face.png", "--model", MODEL]),
    "photo of map": ("face.png", ["map", "face.png", "no", "--method", "pca", "--model", MODEL]),
    "latents of map": (
        "yes.latents.safetensors",
        ["map", "yes.latents.safetensors", "--method", "pca", "--model", MODEL],
    ),
    "table of map": (
        "labels.csv",
        ["map", "all", "--table", "labels.csv", "--column", "dot", "--method", "pca", "--model", MODEL],
    ),
    "middle of map": ("face.png", ["map", "--of", "face.png", "--cells", "3", "--model", MODEL]),
    "vector of traverse": ("dot.safetensors", ["traverse", "--axes", "pc1,dot.safetensors", "--model", MODEL]),
    "vectors of discover": (
        "models/tiny/vectors/dot.safetensors",
        ["vectors", "discover", "--n", "1", "--model", MODEL],
    ),
    "edited photo of rerun": ("edited.png", ["rerun", "edited.png"]),
    "original of rerun": ("face.png", ["rerun", "edited.png", "-o", "again.png"]),
    "table of vectors": (
        "labels.csv",
        ["vectors", "fit", "spot", "--labels", "labels.csv", "--column", "dot", "--model", MODEL],
    ),
    "table of train": ("labels.csv", ["train", ".", "--labels", "labels.csv", "--epochs", "1"]),
    "list of train": ("list.txt", ["train", "list.txt", "--epochs", "1"]),
    "list of check": ("list.txt", ["check", "list.txt"]),
    "list held out": ("list.txt", ["check", "no", "--held-out", "list.txt"]),
}


def fifo(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def sparse(path):
    with path.open("wb") as file:
        file.truncate(3 << 30)


def folder(path):
    path.mkdir()


def text(path):
    path.write_text("\x1b]0;PWNED\x07 no such thing\n" * 50)


def noise(path):
    path.write_bytes(np.random.default_rng(0).bytes(4096))


def dangling(path):
    path.symlink_to("nowhere")


KINDS = [fifo, device, sparse, folder, text, noise, dangling]


@pytest.mark.parametrize("name", INPUTS)
def test_every_command_does_its_work_with_good_inputs(run, workplace, name):
    assert run(*INPUTS[name][1]).code == 0 or name == "latents of sample"


@pytest.fixture(autouse=True)
def limit():
    """A command that hangs fails its test."""

    def late(number, frame):
        raise AssertionError(f"it took more than {LIMIT} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def contents(top):
    """Every file below a folder with its size and time of change."""
    found = (path for path in top.rglob("*") if path.is_file() and not path.is_symlink())
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def is_quiet(outcome):
    """One line a message, nothing that a terminal would obey."""
    for output in (outcome.out, outcome.err):
        assert "Traceback" not in output
        assert not any(character in output for character in "\x1b\x07\x9b\u202e")
    assert all(len(line) < 2000 for line in outcome.err.splitlines())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", INPUTS)
def test_files_that_are_not_what_they_should_be(run, workplace, name, kind):
    path, command = INPUTS[name]
    Path(path).unlink()
    kind(Path(path))
    before = contents(workplace)
    outcome = run(*command)
    is_quiet(outcome)
    assert outcome.code in (1, 2) or name in (
        "any model, by models",
        "vector in the list",
        "vector of a report",
        "vectors of discover",
    )
    made = {found for found in contents(workplace) if found not in before and found.suffix not in (".html", ".lock")}
    assert outcome.code == 0 or not {found for found in made if "home" not in found.parts}


MEASURED = """
import atexit, sys
from latentcli.cli.app import main
atexit.register(lambda: sys.stderr.write(open("/proc/self/status").read()))
main()
"""


def memory(command):
    """Most resident memory of a command in a process of its own, in MiB, and its exit code."""
    result = subprocess.run([sys.executable, "-c", MEASURED, *command], capture_output=True, text=True, check=False)
    (most,) = re.findall(r"VmHWM:\s+(\d+) kB", result.stderr)
    return int(most) >> 10, result.returncode


@pytest.mark.parametrize(
    "name", ["model of sample", "vector of edit", "latents of decode", "photo of edit", "list of check"]
)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the memory so")
def test_what_is_refused_takes_little_memory(workplace, name):
    path, command = INPUTS[name]
    Path(path).unlink()
    sparse(Path(path))
    signal.alarm(6 * LIMIT)
    most, code = memory(command)
    assert code == 1
    assert most < MOST_MEMORY


def rows(path):
    path.write_bytes(b"file,dot\n" + b"a,1\n" * 5_000_000)


def commas(path):
    path.write_bytes(b"file" + b"," * (100 << 20))


def newlines(path):
    path.write_bytes(b"a\n" * (60 << 20))


def brackets(path):
    path.write_bytes(b"[" * (20 << 20))


HUGE = [
    ("table of vectors", rows), ("table of vectors", commas), ("table of train", rows), ("list of check", newlines),
    ("table of vectors", brackets), ("list of train", brackets),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), HUGE)
def test_huge_texts_take_little_memory(workplace, name, kind):
    path, command = INPUTS[name]
    Path(path).unlink()
    kind(Path(path))
    signal.alarm(600)
    most, code = memory(command)
    assert code == 1
    assert most < MOST_MEMORY


@pytest.mark.slow
def test_endless_standard_input_takes_little_memory(workplace):
    signal.alarm(100)
    command = [sys.executable, "-c", MEASURED, "edit", "-", "--vector", "dot", "--model", MODEL]
    with open("/dev/zero", "rb") as endless:  # noqa: PTH123
        result = subprocess.run(command, stdin=endless, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert int(re.findall(r"VmHWM:\s+(\d+) kB", result.stderr)[0]) >> 10 < MOST_MEMORY


ODD: list[object] = ["x", [], None, 3, {}, {"x": 1}, [[[]]], -1, 1e308, True, "\x1b[2J", 10**30]
FIELDS = {
    "model": (
        "models/tiny/model.safetensors",
        ["model_id", "network_id", "config", "training", "finished_at", "bundled", "licence", "parts"],
    ),
    "vector": (
        "models/tiny/vectors/dot.safetensors",
        ["name", "model_id", "method", "positives", "sigma", "threshold", "recipe", "diagnostics", "mean_positive"],
    ),
    "latents": ("yes.latents.safetensors", ["names", "model_id"]),
}
COMMANDS = {
    "model": [["models"], ["sample", "--n", "1", "--model", MODEL], ["vectors", "list", "--model", MODEL]],
    "vector": [
        ["vectors", "list", "--model", MODEL],
        ["edit", "face.png", "--vector", "dot", "--no-align", "--model", MODEL],
        ["report", "--model", MODEL, "-o", "r.html"],
        ["vectors", "refit", "models/tiny/vectors/dot.safetensors", "--root", "yes", "--force", "--model", MODEL],
    ],
    "latents": [["decode", "yes.latents.safetensors", "--model", MODEL]],
}


def rewritten(path, kind, change):
    header, arrays = tensorfile.read(Path(path), kind)
    header.pop("sha256")
    change(header)
    tensorfile.write(Path(path), kind, header, arrays)


@pytest.mark.parametrize("kind", FIELDS)
def test_headers_of_wrong_types(run, workplace, kind):
    path, names = FIELDS[kind]
    whole = Path(path).read_bytes()
    for number, name in enumerate(names):
        for value in ODD[number % 3 :: 3]:
            rewritten(path, kind, lambda header, name=name, value=value: header.update({name: value}))
            for command in COMMANDS[kind]:
                is_quiet(run(*command))
            Path(path).write_bytes(whole)
            signal.alarm(LIMIT)


def test_nested_headers_of_wrong_types(run, workplace):
    path = "models/tiny/vectors/dot.safetensors"
    whole = Path(path).read_bytes()
    recipe = tensorfile.read_header(Path(path), "vector")["recipe"]
    for name in recipe:
        for value in ODD[::3]:
            rewritten(path, "vector", lambda header, name=name, value=value: header["recipe"].update({name: value}))
            for command in COMMANDS["vector"]:
                is_quiet(run(*command))
            Path(path).write_bytes(whole)
            signal.alarm(LIMIT)


@pytest.mark.parametrize(
    "line", ["[]", "3", "null", '{"epoch": "x"}', "[" * 10_000, '{"held_out": {"psnr": "x"}}', "\x1b"]
)
def test_odd_lines_of_the_history(run, workplace, line):
    Path("models/tiny/history.jsonl").write_text(line + "\n")
    outcome = run("report", "--model", MODEL, "-o", "r.html")
    is_quiet(outcome)
    assert outcome.code == 0


RECIPES = {
    "too many vectors": lambda edit: edit.update(vectors=edit["vectors"] * 10_000),
    "too many boxes": lambda edit: edit.update(boxes=["0,0,10,10"] * 100_000),
    "too many strengths": lambda edit: edit.update(vectors=edit["vectors"] * 2, rows=["0:1:100", "0:1:100"]),
    "a zero": lambda edit: edit["vectors"][0].update(name="dot\0"),
    "half a surrogate": lambda edit: edit.update(original="\ud800"),
    "a huge strength": lambda edit: edit["vectors"][0].update(strength=10**400),
    "an escape": lambda edit: edit.update(original="\x1b]0;PWNED\x07.png"),
    "a path": lambda edit: edit.update(original="../../etc/passwd"),
    "no object": lambda edit: edit.update(vectors=3),
    "nested": lambda edit: edit.update(earlier={"x": [[[[]]]]}),
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_that_ask_for_too_much(run, workplace, name):
    from latentcli.photo.metadata import read_request

    edit = json.loads(read_request(Path("edited.png")).text())
    RECIPES[name](edit)
    options: dict[str, Any] = FileTraits().options(".png", json.dumps(edit))
    draw((60, 40), seed=5).save("bad.png", **options)
    outcome = run("rerun", "bad.png", "-o", "again.png")
    is_quiet(outcome)
    assert outcome.code == 1 or name == "nested"


@pytest.mark.parametrize(
    "command",
    [
        ["sample", "--n", "1000000000"],
        ["sample", "--n", "99999999999999999999"],
        ["sample", "--n", "20000"],
        ["sample", "--seeds", "0-999999,0-999999", "--each"],
        ["sample", "--seeds", "9" * 5000],
        ["interpolate", "seed:1", "seed:2", "--steps", "1000000000"],
        ["interpolate", "seed:1", "seed:" + "9" * 5000],
        ["interpolate", "seed:1", "seed:2", "--seconds", "1e300", "-o", "a.mp4"],
        ["interpolate", "seed:1", "seed:2", "--hold", "99999999999", "-o", "a.mp4"],
        ["interpolate", "seed:0-9999", "--grid", "100x100"],
        ["map", "--cells", "100000"],
        ["map", "seed:0-999999"],
        ["map", "--range", "1e300"],
        ["traverse", "--steps", "1000000000"],
        ["traverse", "--axes", ",".join(f"z{number}" for number in range(2000))],
        ["vectors", "discover", "--n", "1000000000"],
        ["sample", "--scale", "1000000000"],
        ["train", "yes", "--minutes", "1e300"],
        ["train", "yes", "--epochs", "99999999999"],
        ["train", "yes", "--batch-size", "99999999999"],
        ["train", "yes", "--name", "x" * 300],
        ["train", "yes", "--size", "9" * 5000],
        ["apply-vector", "face.png", "--grid", "dot=0:1:100", "--grid", "dot=0:1:100"],
    ],
)
def test_work_without_bound_is_refused(run, workplace, command):
    outcome = run(*command, *([] if command[0] == "train" else ["--model", MODEL]))
    is_quiet(outcome)
    assert outcome.code in (1, 2)
    assert len(outcome.err.splitlines()) == 1


def test_names_do_not_reach_the_terminal_as_they_are(run, workplace):
    odd = "x\x1b]0;PWNED\x07\u202e1.png"
    Path("odd").mkdir()
    shutil.copy("face.png", Path("odd", odd))
    Path("odd", f"bad{odd}").write_text("no picture")
    os.mkfifo(Path("odd", f"pipe{odd}"))
    draw_folder(Path("odd"), 24)
    for command in (
        ["encode", "odd", "--model", MODEL],
        ["edit", f"odd/{odd}", "--vector", "dot", "--no-align", "--model", MODEL],
        ["edit", f"odd/bad{odd}", "--vector", "dot", "--model", MODEL],
        ["check", "odd"],
        ["train", "odd", "--epochs", "1", "--size", "16", "--name", "odd"],
        ["sample", "--model", f"odd/{odd}"],
        ["sample", "--like", odd, "--model", MODEL],
        [f"nothing{odd}"],
        ["sample", f"--{odd}"],
    ):
        is_quiet(run(*command))


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.bool_, np.uint8])
def test_weights_and_latents_of_other_types_are_refused(run, workplace, dtype):
    for path, kind, command in (
        ("models/tiny/model.safetensors", "model", ["sample", "--model", MODEL]),
        ("yes.latents.safetensors", "latents", ["decode", "yes.latents.safetensors", "--model", MODEL]),
        ("dot.safetensors", "vector", ["edit", "face.png", "--vector", "dot.safetensors", "--model", MODEL]),
    ):
        header, arrays = tensorfile.read(Path(path), kind)
        header.pop("sha256")
        tensorfile.write(Path(path), kind, header, {name: array.astype(dtype) for name, array in arrays.items()})
        outcome = run(*command)
        is_quiet(outcome)
        assert outcome.code == 1, path


def test_unknown_tensors_and_odd_formats_are_refused(run, workplace):
    path = Path("models/tiny/model.safetensors")
    header, arrays = tensorfile.read(path, "model")
    header.pop("sha256")
    for changed, more in (
        ({"format": -1}, {}),
        ({"format": True}, {}),
        ({"config": {key: value for key, value in header["config"].items() if key != "channels"}}, {}),
        ({}, {"more": np.zeros(3, dtype=np.float32)}),
        ({}, {"prior.more": np.zeros((7000, 7000), dtype=np.float16)}),
    ):
        tensorfile.write(path, "model", header | changed, arrays | more)
        outcome = run("sample", "--model", MODEL)
        is_quiet(outcome)
        assert outcome.code == 1


def test_a_flow_with_numbers_that_are_none_is_refused(run, tmp_path):
    write_model(tmp_path / "models" / "flow", prior=flow_prior(4, 3))
    path = tmp_path / "models" / "flow" / "model.safetensors"
    header, arrays = tensorfile.read(path, "model")
    header.pop("sha256")
    for name in ("prior.flow.last.bias", "prior.mean", "prior.basis", "prior.paths.weights"):
        tensorfile.write(path, "model", header, arrays | {name: np.full_like(arrays[name], np.nan)})
        outcome = run("sample", "--model", "flow")
        is_quiet(outcome)
        assert outcome.code == 1
