"""`latentcli vectors`: fitting, saving and listing."""

import json
from pathlib import Path

import pytest

from latentcli.storage import catalog
from tests.cli.conftest import MODEL
from tests.conftest import draw_folder, write_model


def test_fitted_vectors_are_kept_with_their_model_and_listed(run, vector, tmp_path):
    assert (tmp_path / "models/tiny/vectors/dot.safetensors").exists()
    assert "dot" in run("vectors", "list", *MODEL).out
    listed = json.loads(run("vectors", "list", *MODEL, "--json").out)
    assert listed["vectors"][0]["name"] == "dot"


def test_the_list_gives_a_verdict_and_with_verbose_every_figure(run, vector):
    short, whole = run("vectors", "list", *MODEL).out, run("vectors", "list", *MODEL, "-v").out
    assert short.splitlines()[0].split() == ["vector", "AUC", "verdict"]
    assert "by chance" in whole
    assert len(whole.splitlines()) == 2


def test_several_vectors_are_one_line_each(run, tmp_path):
    for number, name in enumerate(("one", "two", "three")):
        draw_folder(tmp_path / "kinds" / name, 6, first_seed=20 * number)
    lines = run("vectors", "fit", "--folders", "kinds", *MODEL).err.splitlines()
    assert [line.split()[0] for line in lines[-5:-1]] == ["vector", "one", "three", "two"]
    assert lines[-1] == "all figures, with pictures: latentcli vectors report --model tiny"


def test_a_combination_and_a_direction_without_labels_have_no_verdict(run, vector):
    run("vectors", "combine", "dot=2", "--save", "more", *MODEL)
    run("vectors", "discover", "--n", 1, *MODEL)
    listed = [line.split(maxsplit=2) for line in run("vectors", "list", *MODEL).out.splitlines()]
    assert ["more", "-", "a sum"] in listed
    assert ["pc1", "-", "unlabelled"] in listed


def test_vectors_of_a_bundled_model_go_to_the_users_folder(run, tmp_path, monkeypatch):
    folder = write_model(tmp_path / "package" / "bundled" / "faces", bundled=True)
    monkeypatch.setattr(catalog, "__file__", str(tmp_path / "package" / "storage" / "catalog.py"))
    yes, no = (draw_folder(tmp_path / "labels" / name, 4, first_seed=seed) for name, seed in (("a", 0), ("b", 9)))
    result = run("vectors", "fit", "dot", "--positive", yes, "--negative", no, "--model", "faces")
    assert result.code == 0, result.err
    assert not (folder / "vectors").exists()
    assert Path(result.paths[0]).is_relative_to(tmp_path / "user-data")
    assert "dot" in run("vectors", "list", "--model", "faces").out


def test_a_table_labels_images(run, tmp_path):
    draw_folder(tmp_path / "pictures", 8)
    (tmp_path / "labels").mkdir()
    rows = "".join(f"{number:03d}.png,{number / 8}\n" for number in range(8))
    Path("t.csv").write_text("file,score\n" + rows + "gone.png,1\n")
    arguments = ("--labels", "t.csv", "--column", "score", "--above", 0.7, "--below", 0.3, "--root", "pictures")
    result = run("vectors", "fit", "bright", *arguments, *MODEL)
    assert result.code == 0
    assert "1 files of t.csv are not in pictures and were left out" in result.err
    assert "2 with, 3 without" in result.err
    assert "label 20 or more of each class" in result.err
    result = run("vectors", "fit", "none", *arguments[:-1], "labels", *MODEL)
    assert result.code == 1
    assert "--root" in result.err


def test_a_vector_is_not_replaced_without_force(run, vector, tmp_path):
    arguments = ("vectors", "fit", "dot", "--positive", "labels/yes", "--negative", "labels/no", *MODEL)
    assert "add --force" in run(*arguments).err
    assert run(*arguments, "--force").code == 0


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden"])
def test_names_that_are_no_names_are_refused(run, name, tmp_path):
    draw_folder(tmp_path / "a", 2)
    draw_folder(tmp_path / "b", 2)
    result = run("vectors", "fit", name, "--positive", "a", "--negative", "b", *MODEL)
    assert result.code == 1
    assert "cannot be a name" in result.err
