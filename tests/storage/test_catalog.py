"""Which bundled model is taken, its licence, and what is said of vectors of other models."""

from pathlib import Path

import pytest

from latentcli.errors import ConfigError, ModelMismatch
from latentcli.storage import catalog
from latentcli.storage.catalog import VectorRequest
from tests.conftest import write_model


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """Bundled models of other names than the real ones, in the order of their folders; none of one's own."""
    package = tmp_path / "package"
    for name, licence in (("avatars", "CC BY 4.0"), ("emoji", "MIT"), ("faces", "non-commercial research")):
        write_model(package / "bundled" / name, bundled=True, licence=licence, seed=len(name))
    monkeypatch.setattr(catalog, "__file__", str(package / "storage" / "catalog.py"))
    return package / "bundled"


def test_faces_come_first_where_they_are_asked_for(bundled):
    assert catalog.find_model(None).name == "avatars"
    assert catalog.candidates(None, bundled=catalog.PHOTO_MODEL)[0].name == "faces"
    assert [entry.name for entry in catalog.bundled_models()] == ["avatars", "emoji", "faces"]


def test_a_line_says_which_model_was_taken_and_why(run, bundled, photo):
    assert "model: avatars (bundled) comes with latentcli; another with --model" in run("sample", "--n", 1).err
    edited = run("edit", photo, "--vector", "z0=1", "--no-align").err
    assert " best of 3; another with --model" in edited


def test_licences_are_listed(run, bundled):
    assert "non-commercial" in run("models").out


def orphan(name: str, model_id: str) -> Path:
    path = catalog._user_vectors() / model_id / f"{name}.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def test_a_vector_of_an_earlier_bundled_model_is_refused_with_what_makes_it_again(bundled):
    path = orphan("mine", "30fcef6dc6a8")
    with pytest.raises(ModelMismatch) as refused:
        catalog.find_model("faces", [VectorRequest("mine", 1.0)])
    assert "mine was made with model 30fcef6dc6a8" in str(refused.value)
    assert f"latentcli vectors refit {path} --model faces --root FOLDER" in str(refused.value)


def test_a_vector_that_nobody_made_is_only_unknown(bundled):
    orphan("mine", "30fcef6dc6a8")
    for name in ("other", "**x", "[", "../30fcef6dc6a8/mine", "\0"):
        with pytest.raises(ConfigError, match="faces has no vector"):
            catalog.find_model("faces", [VectorRequest(name, 1.0)])


def test_the_command_that_makes_a_vector_again_takes_any_folder_name():
    assert "refit 'Application Support/mine.safetensors' --model" in catalog.make_again(
        "Application Support/mine.safetensors", "faces"
    )


def test_a_file_of_another_model_is_refused_with_what_makes_it_again(run, tmp_path, monkeypatch, bundled):
    monkeypatch.setattr(catalog, "_made_by", lambda vector: "0" * 12)
    with pytest.raises(ModelMismatch, match=r"vectors refit old\.safetensors --model faces --root FOLDER"):
        catalog.find_model("faces", [VectorRequest("old.safetensors", None)])
