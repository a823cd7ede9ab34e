"""App: errors in one line, exit codes, and nothing changed by bad input."""

import json
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from latentcli.cli.app import _interrupted
from latentcli.cli.console import Console
from tests.cli.conftest import MODEL
from tests.conftest import write_model


def test_a_refusal_is_one_line_even_when_a_model_was_chosen(run):
    result = run("encode", "gone.png")
    assert result.err == "latentcli: gone.png does not exist; check the name\n"


def bad_commands():
    images = {"missing": "gone.png", "text": "text.png", "truncated": "cut.jpg", "empty folder": "empty"}
    for what, path in images.items():
        yield f"encode {what}", ["encode", path, *MODEL]
        yield f"interpolate {what}", ["interpolate", path, "seed:1", *MODEL]
        yield f"apply-vector {what}", ["apply-vector", path, "--vector", "dot", *MODEL]
        yield f"edit {what}", ["edit", path, "--vector", "dot", *MODEL]
        if what != "truncated":
            yield f"train {what}", ["train", path]
    for command in (["encode", "face.png"], ["decode", "face.latents.safetensors"], ["sample"], ["vectors", "list"]):
        yield f"{command[0]} unknown model", [*command, "--model", "nope"]
        if command[0] != "vectors":  # it reads the header alone
            yield f"{command[0]} damaged model", [*command, "--model", "broken"]
    yield "edit unknown vector", ["edit", "face.png", "--vector", "nope", *MODEL]
    yield "edit damaged vector", ["edit", "face.png", "--vector", "text.safetensors", *MODEL]
    yield "edit missing vector file", ["edit", "face.png", "--vector", "gone.safetensors", *MODEL]
    yield "edit odd strength", ["edit", "face.png", "--vector", "dot=much", *MODEL]
    yield "edit box", ["edit", "face.png", "--vector", "dot", "--box", "50,0,90,90", *MODEL]
    yield "decode missing", ["decode", "gone.latents.safetensors", *MODEL]
    yield "decode an image", ["decode", "face.png", *MODEL]
    yield "decode a model", ["decode", "models/tiny/model.safetensors", *MODEL]
    yield "train preset", ["train", "labels", "--preset", "nope"]
    yield "train learning rate", ["train", "labels", "--learning-rate", "nan"]
    yield "train too long a name", ["train", "x" * 300]
    yield "sample too long a name", ["sample", "--model", "x" * 300]
    yield "edit endless strength", ["edit", "face.png", "--vector", "dot", "--strength", "inf", *MODEL]
    yield "edit several to one file", ["edit", "face.png", "face.png", "--vector", "dot", "-o", "x.png", *MODEL]
    yield "edit onto itself", ["edit", "labels", "--vector", "dot", "-o", "labels", "--force", *MODEL]
    yield "edit unknown output type", ["edit", "face.png", "--vector", "dot", "-o", "x.xyz", *MODEL]
    yield "sample each into a file name", ["sample", "--n", "2", "--each", "-o", "two.png", *MODEL]
    yield "encode into a picture", ["encode", "face.png", "-o", "x.png", *MODEL]
    yield "interpolate output type", ["interpolate", "face.png", "seed:1", "-o", "x.avi", *MODEL]
    yield "interpolate fps", ["interpolate", "face.png", "seed:1", "--fps", "0", *MODEL]
    yield "train size", ["train", "labels", "--size", "1000"]
    yield "train book size", ["train", "labels", "--preset", "book", "--size", "64"]
    yield "train held-out", ["train", "labels", "--held-out", "nowhere"]
    yield "train name", ["train", "labels", "--name", "a/b"]
    yield "sample output type", ["sample", "--n", "1", *MODEL, "-o", "x.xyz"]
    yield "fit empty", ["vectors", "fit", "v", "--positive", "empty", "--negative", "labels", *MODEL]


@pytest.mark.parametrize("arguments", [a for _, a in bad_commands()], ids=[name for name, _ in bad_commands()])
def test_bad_input_is_one_line_and_changes_nothing(run, photo, vector, arguments, tmp_path):
    run("encode", photo, *MODEL)
    Path("text.png").write_text("text")
    Path("text.safetensors").write_text("text")
    Image.effect_noise((300, 300), 90).save("cut.jpg")
    Path("cut.jpg").write_bytes(Path("cut.jpg").read_bytes()[:1500])
    Path("empty").mkdir()
    broken = write_model(tmp_path / "models" / "broken", finished_at="2025-01-01") / "model.safetensors"
    broken.write_bytes(broken.read_bytes()[:-40] + bytes(40))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = run(*arguments)
    lines = result.err.splitlines()
    usage = any(text in ("dot=much", "inf") for text in map(str, arguments))  # an option that cannot be read
    assert result.code == (2 if usage else 1)
    assert result.out == ""
    assert len(lines) == 1
    assert lines[0].startswith(("latentcli: ", "skipped: "))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_unknown_commands_and_missing_options_are_usage_errors(run):
    assert run("nonsense").code == 2
    assert run("edit").code == 2


def test_nothing_written_is_a_pickle(run, photo, vector, tmp_path):
    run("encode", photo, *MODEL)
    for path in tmp_path.rglob("*.safetensors"):
        with safe_open(path, "np") as file:
            assert json.loads(file.metadata()["latentcli"])["format"] == 1


@pytest.mark.parametrize(("written", "more"), [(False, ""), (True, "; files already written were kept")])
def test_an_interrupt_says_what_was_kept(capsys, monkeypatch, written, more):
    monkeypatch.setattr(Console, "has_written", written)
    with pytest.raises(SystemExit, match="130"):
        _interrupted(2, None)
    assert capsys.readouterr().err == f"latentcli: interrupted{more}\n"
