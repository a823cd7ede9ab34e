import numpy as np
import pytest

from latentcli.concepts import labels
from latentcli.errors import ConfigError, ImageError, ModelMismatch
from latentcli.storage.latents import Latents
from tests.conftest import draw_folder


def values(found, place=0):
    return found.concepts[place].values.tolist()


def test_folders_are_named_from_where_they_part(tmp_path):
    draw_folder(tmp_path / "d" / "yes", 2)
    draw_folder(tmp_path / "d" / "no", 1)
    found = labels.from_folders("smile", tmp_path / "d" / "yes", tmp_path / "d" / "no")
    assert found.names == ("yes/000.png", "yes/001.png", "no/000.png")
    assert values(found) == [1, 1, 0]
    assert found.concepts[0].recipe == {"positive": "yes", "negative": "no"}


def test_the_same_or_nested_folders_are_refused(tmp_path):
    folder = draw_folder(tmp_path / "d", 2)
    draw_folder(folder / "sub", 2)
    for pair in ((folder, folder), (folder, folder / "sub"), (folder / "sub", folder)):
        with pytest.raises(ConfigError, match="overlap"):
            labels.from_folders("x", *pair)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="empty holds no images"):
        labels.from_folders("x", draw_folder(tmp_path / "d", 1), tmp_path / "empty")


def test_pairs_go_by_name_and_the_rest_is_left_out(tmp_path):
    draw_folder(tmp_path / "after", 3)
    draw_folder(tmp_path / "before", 2)
    found = labels.from_folders("x", tmp_path / "after", tmp_path / "before", paired=True)
    assert found.pairs is not None
    assert found.pairs.tolist() == [0, 1, -1, 0, 1]
    assert values(found) == [1, 1, -1, 0, 0]
    assert found.notes == ("1 images have no partner of the same name and were left out",)
    draw_folder(tmp_path / "other" / "deep", 2)
    with pytest.raises(ConfigError, match="`paired` needs before and after"):
        labels.from_folders("x", tmp_path / "after", tmp_path / "other", paired=True)


def test_each_sub_folder_is_against_the_rest(tmp_path):
    for name, count in (("cat", 2), ("dog", 1)):
        draw_folder(tmp_path / "pets" / name, count)
    draw_folder(tmp_path / "pets", 1)
    found = labels.from_subfolders(tmp_path / "pets")
    assert [concept.name for concept in found.concepts] == ["cat", "dog"]
    assert found.names == ("000.png", "cat/000.png", "cat/001.png", "dog/000.png")
    assert values(found, 0) == [-1, 1, 1, 0]
    assert "1 images" in found.notes[0]
    with pytest.raises(ConfigError, match="has 0 sub-folders"):
        labels.from_subfolders(draw_folder(tmp_path / "flat", 2))


def test_latents_files_are_labels_too(tmp_path):
    files = [tmp_path / f"{name}.latents.safetensors" for name in ("a", "b", "c")]
    for number, (path, model) in enumerate(zip(files, ("m", "m", "other"), strict=True)):
        Latents(np.full((2, 3), float(number), dtype=np.float32), ("x.png", "y.png"), model).save(path)
    found = labels.from_folders("x", files[0], files[1])
    assert found.latents
    assert found.latents.z[:, 0].tolist() == [0, 0, 1, 1]
    assert values(found) == [1, 1, 0, 0]
    with pytest.raises(ModelMismatch):
        labels.from_folders("x", files[0], files[2])
