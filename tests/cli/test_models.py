"""`latentcli models`, and the choice of a model."""

import json
import os

from tests.cli.conftest import MODEL
from tests.conftest import write_model


def test_the_own_model_that_finished_last_is_taken_and_said(run, tmp_path):
    write_model(tmp_path / "models" / "newer", seed=1, finished_at="2026-02-02T00:00:00+00:00")
    os.utime("models/tiny/model.safetensors")
    result = run("sample", "--n", 1)
    assert "model: newer" in result.err


def test_vectors_decide_which_models_count(run, photo, vector, tmp_path):
    write_model(tmp_path / "models" / "newer", seed=1, finished_at="2026-02-02T00:00:00+00:00")
    assert "model: tiny" in run("edit", photo, "--vector", "dot").err


def test_a_model_can_be_a_path(run, tmp_path):
    elsewhere = write_model(tmp_path / "elsewhere" / "mine", seed=2)
    for path in (elsewhere, elsewhere / "model.safetensors"):
        assert run("sample", "--n", 1, "--model", path).code == 0


def test_models_are_listed(run, tmp_path):
    result = run("models")
    assert "tiny" in result.out
    summary = json.loads(run("models", "--json").out)
    assert [entry["name"] for entry in summary["models"] if not entry["bundled"]] == ["tiny"]


def test_the_list_is_compact_and_one_model_is_described_in_full(run, vector):
    header, own = run("models").out.splitlines()[:2]
    assert header.split() == ["model", "size", "vectors", "licence"]
    assert own.split() == ["tiny", "16x16", "photo", "dot", "your", "own"]
    facts = dict(line.split(maxsplit=1) for line in run("models", "tiny").out.splitlines())
    assert facts["file"] == "models/tiny/model.safetensors"
    assert facts["vectors"] == "dot"


def test_a_name_that_is_nearly_right_is_asked_about(run, vector):
    assert run("models", "tini").err == "latentcli: there is no model 'tini'; did you mean tiny?\n"
    assert "no model has the vector dto; did you mean dot?" in run("sample", "--with", "dto").err
    assert (
        "tiny has no vector slanted; it has dot; it is one of digits" in run("sample", "--with", "slanted", *MODEL).err
    )


def test_a_damaged_model_is_not_passed_over_in_silence(run, tmp_path):
    (write_model(tmp_path / "models" / "broken") / "model.safetensors").write_text("text")
    result = run("sample", "--n", 1)
    assert "skipped: models/broken/model.safetensors is not a latentcli file" in result.err
    assert "model: tiny" in result.err


def test_an_unfinished_run_is_known_by_name(run, tmp_path):
    unfinished = tmp_path / "models" / "started"
    unfinished.mkdir()
    (unfinished / "resume.safetensors").touch()
    assert "models/started is not finished" in run("sample", "--model", "started").err
    assert "not finished: models/started; run the same train command to resume it" in run("models").err


def test_a_damaged_model_is_named_in_the_list(run, tmp_path):
    (write_model(tmp_path / "models" / "broken") / "model.safetensors").write_text("text")
    result = run("models")
    assert "skipped: models/broken/model.safetensors is not a latentcli file" in result.err
    assert "tiny" in result.out
    (skipped,) = json.loads(run("models", "--json").out)["skipped"]
    assert "models/broken/model.safetensors is not a latentcli file" in skipped
