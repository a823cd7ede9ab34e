from dataclasses import replace

import pytest
from PIL import Image

from latentcli.pipelines import report
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.history import ModelHeader, TrainingSummary

SUMMARY = TrainingSummary(
    images=90, held_out_images=10, steps=1, epochs=1, seconds=1, learning_rate=1e-3, beta=1.0, held_out_share=0.1
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    for number in range(100):
        Image.new("L", (2, 2)).save(path / f"{number}.png")
    return path


def kind(training, folder):
    header = ModelHeader("0" * 12, {}, training)
    paths, kind = report._held_out(ModelEntry("m", folder / "model.safetensors", header), folder)
    assert len(paths) == 4
    return kind


def test_vectors_are_shown_on_held_out_images_of_a_model_with_a_share_held_out(folder):
    assert kind(SUMMARY, folder) == "held-out images"


@pytest.mark.parametrize("changes", [{"held_out_images": 0, "held_out_share": 0.0}, {"held_out_share": None}])
def test_images_are_not_called_held_out_where_none_or_a_folder_was(folder, changes):
    assert kind(replace(SUMMARY, **changes), folder) == "images"
    assert kind(None, folder) == "images"
