"""`latentcli evaluate`: what is measured, what is left out because it was trained on, what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from latentcli.pipelines import evaluate as pipeline
from latentcli.storage.catalog import find_model
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


def test_part_of_the_folder_and_the_folder_unpacked_are_known_again(run, trained):
    whole = facts(run("evaluate", "d", "--model", "m", "--json"))["evaluation"]["held_out"]["images"]
    part = Path("part/deeper")
    part.mkdir(parents=True)
    for path in sorted(Path("d").iterdir())[:20]:
        shutil.copyfile(path, part / path.name)
    found = facts(run("evaluate", "part", "--model", "m", "--json"))["evaluation"]
    assert 0 < found["held_out"]["images"] < min(whole + 1, 20)
    assert found["training"]["images"] == 20 - found["held_out"]["images"]


def test_a_folder_unpacked_from_the_archive_trained_on_is_known(run, tmp_path):
    draw_folder(tmp_path / "inner/d", 30)
    shutil.make_archive("d", "zip", "inner")
    run("train", "d.zip", "--name", "z", "--size", 16, "--latent-dim", 4, "--epochs", 2, "--held-out", 0.3)
    found = facts(run("evaluate", "inner/d", "--model", "z", "--json"))["evaluation"]
    assert 0 < found["held_out"]["images"] < 20


def test_new_images_beside_the_old_ones_are_measured_and_those_trained_on_are_not(run, trained, tmp_path):
    before = facts(run("evaluate", "d", "--model", "m", "--json"))["evaluation"]["held_out"]["images"]
    draw_folder(tmp_path / "d/new", 90, first_seed=500)
    after = facts(run("evaluate", "d", "--model", "m", "--json"))["evaluation"]
    assert after["held_out"]["images"] == before + 90


def test_images_held_out_in_a_folder_inside_the_data_are_held_out(run, tmp_path):
    draw_folder(tmp_path / "d", 30)
    draw_folder(tmp_path / "d/held", 12, first_seed=100)
    run("train", "d", "--name", "m", "--size", 16, "--latent-dim", 4, "--epochs", 2, "--held-out", "d/held")
    outcome = run("evaluate", "d/held", "--model", "m", "--json")
    assert facts(outcome)["evaluation"]["held_out"]["images"] == 12
    assert not facts(outcome)["evaluation"]["on_training"]
    assert "other images" not in [finding["about"] for finding in facts(outcome)["verdict"]]


def test_a_folder_taken_for_the_one_trained_on_by_its_name_alone_is_said_to_be(run, trained):
    Path("models/m/files.safetensors").unlink()
    outcome = run("evaluate", "d", "--model", "m", "--json")
    assert facts(outcome)["evaluation"]["held_out"]["images"] < 20
    assert "assumed from the name of the folder" in outcome.err


def test_other_images_are_all_measured_and_baselines_come_from_the_training_folder(run, trained, tmp_path):
    draw_folder(tmp_path / "other", 12, dot=True)
    found = facts(run("evaluate", "other", "--model", "m", "--json"))["evaluation"]
    assert found["held_out"]["images"] == 12
    assert found["baselines"]


def test_the_verdict_on_other_images_does_not_judge_the_training(run, trained, tmp_path):
    draw_folder(tmp_path / "other", 12, dot=True)
    about = [finding["about"] for finding in facts(run("evaluate", "other", "--model", "m", "--json"))["verdict"]]
    assert "other images" in about
    assert "too little training" not in about


def test_one_image_is_enough_on_either_side(run, trained, tmp_path):
    draw_folder(tmp_path / "one", 1, dot=True)
    draw_folder(tmp_path / "two", 2, dot=True)
    assert facts(run("evaluate", "one", "--model", "m", "--json"))["evaluation"]["samples"] == []
    rows = facts(run("evaluate", "two", "--model", "m", "--training", "one", "--json"))["evaluation"]["samples"]
    assert [row["name"] for row in rows] == ["fitted prior, temperature 1", "standard prior, temperature 1"]


def test_components_that_reproduce_every_training_image_are_no_baseline(run, tmp_path):
    draw_folder(tmp_path / "d", 9)
    run("train", "d", "--name", "few", "--size", 16, "--latent-dim", 8, "--epochs", 1, "--held-out", 0)
    found = facts(run("evaluate", "d", "--model", "few", "--json"))
    assert [row["name"] for row in found["evaluation"]["baselines"]] == ["mean image"]
    assert "PCA" not in str(found["verdict"])


def test_the_bound_takes_at_least_one_draw(run, trained):
    assert run("evaluate", "d", "--model", "m", "--iwae", 0).code == 2


def test_from_python_the_result_is_typed(run, trained):
    *_, result = pipeline.evaluate(find_model("models/m"), Path("d"))
    assert isinstance(result, pipeline.Evaluated)
    assert result.metrics.psnr == result.evaluation.held_out.psnr
    assert [row.name for row in result.baselines] == ["mean image", "PCA, 4 components"]
    assert [row.name for row in result.samples][-1] == "training images"
    assert {finding.grade for finding in result.findings} <= {"good", "note", "problem"}


def test_an_autoencoder_has_no_bound(run, tmp_path):
    draw_folder(tmp_path / "d", 20)
    run("train", "d", "--name", "a", "--size", 16, "--latent-dim", 4, "--epochs", 1, "--beta", 0)
    outcome = run("evaluate", "d", "--model", "a", "--iwae", 5)
    assert outcome.code == 1
    assert "leave out --iwae" in outcome.err.splitlines()[-1]
    assert Path("models/a/report.html").exists()


def test_without_the_training_images_there_are_no_baselines(run, trained, tmp_path):
    draw_folder(tmp_path / "other", 12, dot=True)
    shutil.move("d", "gone")
    outcome = run("evaluate", "other", "--model", "m", "--json")
    assert facts(outcome)["evaluation"]["baselines"] == []
    assert "name their folder with --training DIR" in outcome.err
    assert facts(run("evaluate", "other", "--model", "m", "--training", "gone", "--json"))["evaluation"]["baselines"]


def test_the_table_shows_model_bound_baselines_and_samples(run, trained, tmp_path):
    draw_folder(tmp_path / "other", 140)  # some have the names of training images
    outcome = run("evaluate", "other", "--model", "m", "--iwae", 3)
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
    assert "pip install '.[tensorboard]'" in outcome.err
    assert not (tmp_path / "models").exists()
