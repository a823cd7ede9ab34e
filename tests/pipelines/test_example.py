"""The customer's sequence, as it is in the README, on drawn pictures and with the bundled models."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentcli import ConceptVector
from latentcli.storage import catalog
from tests.conftest import draw_folder

ROOT = Path(__file__).parents[2]
HOPPER = ROOT / "examples" / "grace-hopper.jpg"
BOX = "169,131,207,207"


def test_train_sample_edit_in_an_empty_folder(run, tmp_path):
    draw_folder(tmp_path / "data", 24)
    shutil.copy(ROOT / "examples" / "grace-hopper-face.png", "face.png")
    trained = run("train", "data/", "--epochs", 2)
    assert trained.code == 0
    assert "preset photo, 16x16 colour" in trained.err
    sampled = run("sample", "--n", 64)
    assert "model: data (models/data)" in sampled.err
    assert sampled.paths == ["samples-0-63.png"]
    edited = run("edit", "face.png", "--vector", "smile", "--strength", 1.5)
    assert "model: faces (bundled" in edited.err  # of those that have a smile the one for photos
    assert edited.paths == ["face-smile+1.5.png"]
    again = run("train", "data/", "--epochs", 2)
    assert (again.code, again.paths) == (0, ["models/data/model.safetensors"])
    assert "already finished" in again.err


def test_without_a_model_of_ones_own_a_bundled_one_for_any_use_is_taken(run):
    assert "model: avatars (bundled) comes with latentcli;" in run("sample", "--n", 4).err


def test_the_bundled_models_have_vectors_and_stay_small():
    models = {entry.name: entry for entry in catalog.bundled_models()}
    assert set(catalog.vectors_of(models["faces"])) >= {"smile", "glasses"}
    assert set(catalog.vectors_of(models["avatars"])) >= {"smile", "beard", "long-hair"}
    for entry in models.values():
        assert entry.path.stat().st_size < 40_000_000
        assert all(ConceptVector.load(path).model_id == entry.model_id for path in catalog.vectors_of(entry).values())


def test_an_edit_changes_the_face_and_nothing_else(run):
    with Image.open(HOPPER) as original:
        original.save("hopper.png")
        before = np.asarray(original).astype(int)
    result = run("edit", "hopper.png", "--vector", "smile", "--strength", 1.5, "--box", BOX)
    with Image.open(result.paths[0]) as edited:
        difference = np.abs(np.asarray(edited).astype(int) - before).max(axis=2)
    face = np.zeros_like(difference, dtype=bool)
    face[131 : 131 + 207, 169 : 169 + 207] = True
    assert not difference[~face].any()
    mouth = difference[131 + 130 : 131 + 175, 169 + 60 : 169 + 150]
    assert mouth.mean() > 4


@pytest.mark.slow
def test_a_wheel_carries_the_bundled_model(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "venv"], check=True)
    subprocess.run(["venv/bin/pip", "install", "-q", str(ROOT)], check=True)
    result = subprocess.run(["venv/bin/latentcli", "models", "faces"], check=True, capture_output=True, text=True)
    assert "site-packages" in result.stdout
    edit = ["venv/bin/latentcli", "edit", str(HOPPER), "--box", BOX, "--vector", "smile", "--strength", "1.5"]
    result = subprocess.run(edit, check=True, capture_output=True, text=True)
    assert result.stdout == "grace-hopper-smile+1.5.jpg\n"


def test_training_takes_an_archive_or_a_list_of_paths(run, tmp_path):
    folder = draw_folder(tmp_path / "pictures", 16)
    shutil.make_archive("packed", "zip", folder)
    Path("list.txt").write_text("".join(f"pictures/{path.name}\n" for path in folder.iterdir()))
    for source, name in (("packed.zip", "packed"), ("list.txt", "list")):
        result = run("train", source, "--epochs", 1, "--size", 16)
        assert result.code == 0, result.err
        assert result.paths[0] == f"models/{name}/model.safetensors"
        assert "preset photo, 16x16 colour" in result.err


def test_a_run_that_has_ended_goes_on_with_more_epochs(run, tmp_path):
    draw_folder(tmp_path / "data", 24)
    run("train", "data/", "--epochs", 1)
    result = run("train", "data/", "--epochs", 2)
    assert result.code == 0
    assert "stage 2" in result.err
    assert run("train", "data/", "--epochs", 1).code == 1
