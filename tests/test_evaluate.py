"""`latentcli evaluate`: what is measured, what is left out because it was trained on, what is refused."""

import json
import shutil

import pytest

from tests.conftest import draw_folder


@pytest.fixture
def trained(run, tmp_path):
    draw_folder(tmp_path / "d", 40)
    run("train", "d", "--name", "m", "--size", 16, "--latent-dim", 4, "--epochs", 2, "--held-out", 0.3)


def facts(outcome):
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_of_the_folder_trained_on_the_held_out_images_are_measured(run, trained):
    outcome = run("evaluate", "d", "--model", "m", "--json")
    found = facts(outcome)["evaluation"]
    held_out = found["held_out"]["images"]
    assert 5 < held_out < 20
    assert f"{40 - held_out} of these images were trained on; the {held_out} held out are measured" in outcome.err
    assert not found["on_training"]
    assert [beaten["name"] for beaten in found["baselines"]] == ["mean image", "PCA, 4 components"]


def test_the_folder_is_known_again_when_it_has_moved(run, trained):
    shutil.move("d", "elsewhere")
    found = facts(run("evaluate", "elsewhere", "--model", "m", "--json"))["evaluation"]
    assert found["held_out"]["images"] < 20


def test_other_images_are_all_measured_and_baselines_come_from_the_training_folder(run, trained, tmp_path):
    draw_folder(tmp_path / "other", 12, dot=True)
    found = facts(run("evaluate", "other", "--model", "m", "--json"))["evaluation"]
    assert found["held_out"]["images"] == 12
    assert found["baselines"]


def test_without_the_training_images_there_are_no_baselines(run, trained, tmp_path):
    draw_folder(tmp_path / "other", 12, dot=True)
    shutil.move("d", "gone")
    outcome = run("evaluate", "other", "--model", "m", "--json")
    assert facts(outcome)["evaluation"]["baselines"] == []
    assert "name them with --training DIR" in outcome.err
    assert facts(run("evaluate", "other", "--model", "m", "--training", "gone", "--json"))["evaluation"]["baselines"]


def test_the_table_shows_model_bound_baselines_and_samples(run, trained):
    outcome = run("evaluate", "d", "--model", "m", "--iwae", 3)
    for text in ("this model", "importance-weighted, 3 draws", "mean image", "standard prior", "training images"):
        assert text in outcome.out


def test_the_bundled_model_is_measured_on_any_folder(run, tmp_path):
    draw_folder(tmp_path / "other", 12)
    found = facts(run("evaluate", "other", "--model", "faces", "--json"))["evaluation"]
    assert found["held_out"]["images"] == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing",), "does not exist"),
        (("d", "--features", "net.bin"), "TorchScript"),
        (("d", "--features", "net.pt"), "does not exist"),
        (("d", "--training", "missing"), "does not exist"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(run, trained, arguments, message):
    outcome = run("evaluate", *arguments, "--model", "m")
    assert outcome.code == 1
    assert message in outcome.err.splitlines()[-1]


def test_logging_without_the_package_is_refused_before_training(run, tmp_path, monkeypatch):
    draw_folder(tmp_path / "d", 10)
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    outcome = run("train", "d", "--log", "tensorboard", "--size", "16")
    assert outcome.code == 1
    assert "pip install 'latentcli[tensorboard]'" in outcome.err
    assert not (tmp_path / "models").exists()
