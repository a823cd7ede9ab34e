"""`latentcli sharpen` and `train --sharp`."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from latentcli import load_model
from latentcli.training.sharp import run as sharpen
from tests.conftest import draw_folder, shorten_sharpening


@pytest.fixture
def quick(monkeypatch):
    shorten_sharpening(monkeypatch, steps=6, measurements=2)
    monkeypatch.setattr(sharpen, "is_better", lambda found, before: True)


def test_training_and_sharpening_in_one_command(run, tmp_path, quick):
    draw_folder(tmp_path / "data", 12)
    result = run("train", "data", "--epochs", 1, "--sharp")
    assert [line[:9] for line in result.err.splitlines() if line.startswith("step ")] == ["step 3/6 ", "step 6/6 "]
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
    assert "faces comes with latentcli and stays as it is; train a model of your own" in result.err


def test_where_no_decoder_was_good_enough_the_model_stays_and_nothing_was_interrupted(run, tmp_path, monkeypatch):
    shorten_sharpening(monkeypatch, steps=6, measurements=2)
    monkeypatch.setattr(sharpen, "is_better", lambda found, before: False)
    draw_folder(tmp_path / "data", 12)
    Path("data/broken.png").write_bytes(b"no picture")
    assert run("train", "data", "--epochs", 1).code == 0
    result = run("sharpen", "data", "--json")
    assert result.code == 0
    assert "the decoder stays as it was" in result.err
    found = json.loads(result.out)
    assert not found["interrupted"]
    assert found["outputs"] == ["models/data/model.safetensors"]
    assert "broken.png" in found["skipped"][0]


def test_tensorboard_logs_sharpening_that_follows_a_finished_training(run, tmp_path, quick, monkeypatch):
    scalars = []

    class Writer:
        def __init__(self, folder, purge_step):
            self.purged = purge_step

        def add_scalar(self, name, value, step):
            scalars.append((name, step))

        def add_image(self, *arguments, **options):
            pass

        add_text = add_image

        def close(self):
            pass

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    draw_folder(tmp_path / "data", 12)
    assert run("train", "data", "--epochs", 1).code == 0
    assert run("train", "data", "--epochs", 1, "--sharp", "--log", "tensorboard").code == 0
    training = load_model("data").header.training
    assert training
    steps = training.steps
    assert [step for name, step in scalars if name == "sharpening/psnr"] == [steps + 3, steps + 6]
