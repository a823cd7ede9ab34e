"""`latentcli sharpen` and `train --sharp`."""

import json

import pytest

from latentcli.training import sharpen
from tests.conftest import draw_folder, shorten_sharpening


@pytest.fixture
def quick(monkeypatch):
    shorten_sharpening(monkeypatch, steps=6, measurements=2)
    monkeypatch.setattr(sharpen, "is_better", lambda found, before: True)


def test_training_and_sharpening_in_one_command(run, tmp_path, quick):
    draw_folder(tmp_path / "data", 12)
    result = run("train", "data", "--epochs", 1, "--sharp")
    assert result.err.count("held-out sharpness") == 2
    assert "models/data/plain.safetensors is the model before" in result.err
    assert result.out.split().count("models/data/model.safetensors") == 1
    assert "already finished" in run("train", "data", "--epochs", 1, "--sharp").err


def test_sharpening_a_model_that_was_trained_before(run, tmp_path, quick):
    draw_folder(tmp_path / "data", 12)
    before = json.loads(run("train", "data", "--epochs", 1, "--json").out)
    after = json.loads(run("sharpen", "data", "--json").out)
    assert after["model_id"] == before["model_id"]
    assert not after["interrupted"]
    again = run("sharpen", "data")
    assert "is sharp already; the model before is models/data/plain.safetensors" in again.err


def test_a_bundled_model_is_not_changed(run):
    result = run("sharpen", "faces")
    assert result.code == 1
    assert "is no model of yours; copy its folder to models/" in result.err
