"""`latentcli train`: the JSON object."""

import json

from tests.conftest import draw_folder


def test_json_of_training_names_what_was_left_out(run, tmp_path):
    draw_folder(tmp_path / "data", 8)
    (tmp_path / "data" / "bad.png").write_text("text")
    summary = json.loads(run("train", "data", "--epochs", 1, "--json").out)
    assert summary["model"] == "data"
    assert "bad.png" in summary["skipped"][0]
    assert len(summary["model_id"]) == 12
    again = json.loads(run("train", "data", "--epochs", 1, "--json").out)
    assert again["model_id"] == summary["model_id"]
