import json

import pytest
from PIL import Image

from latentcli.data import decode
from latentcli.training.plan import TrainRequest, choose
from tests.conftest import draw, draw_folder


@pytest.fixture
def folder(tmp_path):
    folder = draw_folder(tmp_path / "d", 20)
    (folder / "again.png").write_bytes((folder / "003.png").read_bytes())
    (folder / "bad.png").write_text("text")
    (folder / "dangling.png").symlink_to("nowhere")
    draw((90, 30), 77, "L").save(folder / "wide.png")
    return folder


def test_what_training_would_see_is_told(run, folder):
    result = run("check", folder, "--size", 16)
    assert result.code == 0
    lines = {line.split("  ")[0].strip(): line for line in result.out.splitlines() if line.strip()}
    assert "unreadable" in lines
    assert "bad.png is not a readable image" in result.out
    assert "003.png, again.png" in result.out
    assert "20x20" in lines["sizes"]
    assert "90x30" in lines["sizes"]
    assert "1 L" in lines["modes"]
    assert "1 links that lead nowhere" in lines["passed over"]
    assert "preset photo, 16x16 colour" in lines["would train"]
    assert "here" in lines["an epoch"]
    assert "for 500 epochs" in lines["would take"]


@pytest.mark.parametrize(
    ("length", "words"), [({"minutes": 1}, "1 minute"), ({"minutes": 0.5}, "0.5 minutes"), ({"epochs": 2}, "2 epochs")]
)
def test_the_length_of_a_training_is_in_words(folder, length, words):
    assert choose(folder, TrainRequest(**length, augment=False)).describe().endswith(f", {words}")


def test_json_has_it_all(run, folder):
    facts = json.loads(run("check", folder, "--json").out)
    assert facts["images"] + facts["held_out"] == 22
    assert facts["duplicates"] == [["003.png", "again.png"]]
    assert facts["modes"] == {"RGB": 21, "L": 1}
    assert facts["smallest"] == [20, 20]
    assert facts["largest"] == [90, 30]
    assert facts["model_config"]["preset"] == "photo"
    assert facts["seconds_per_epoch"] > 0
    assert len(facts["skipped"]) == 1


def test_duplicates_across_the_split_are_pointed_out(run, tmp_path):
    folder = draw_folder(tmp_path / "d", 1)
    for number in range(40):
        (folder / f"copy-{number}.png").write_bytes((folder / "000.png").read_bytes())
    result = run("check", folder)
    assert "1 group, 1 both in training and held-out images" in result.out
    assert "all images are the same" in result.out
    assert "and 37 more" in result.out


def test_a_held_out_folder_is_counted_too(run, folder, tmp_path):
    held = draw_folder(tmp_path / "h", 5)
    (held / "002.png").write_text("text")
    facts = json.loads(run("check", folder, "--held-out", held, "--json").out)
    assert facts["held_out"] == 4
    assert len(facts["skipped"]) == 2


def test_training_finds_the_decoded_images(run, folder, monkeypatch):
    (folder / "bad.png").unlink()  # which would be tried again
    run("check", folder, "--size", 16)
    monkeypatch.setattr(decode, "decode", lambda *arguments: pytest.fail("decoded again"))
    assert run("train", folder, "--size", 16, "--epochs", 1).code == 0


def test_nothing_to_look_at_is_one_line(run, tmp_path):
    folder = draw_folder(tmp_path / "d", 12)
    for path in folder.iterdir():
        path.write_text("text")
    result = run("check", folder)
    assert result.code == 1
    assert result.err.count("\n") == 1
    Image.new("L", (8, 8)).save(tmp_path / "one.png")
    assert "single image" in run("check", tmp_path / "one.png").err
