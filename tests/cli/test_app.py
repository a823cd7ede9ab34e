"""What each command promises: outputs and their names, stdout and stderr, exit codes, and one line for bad input."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentcli import catalog, tensorfile
from latentcli.latents import Latents
from tests.conftest import draw, draw_folder, write_model

MODEL = ("--model", "tiny")


@pytest.fixture(autouse=True)
def model(tiny_model):
    return tiny_model


@pytest.fixture
def vector(run, tmp_path):
    """The vector `dot` of the tiny model."""
    yes = draw_folder(tmp_path / "labels" / "yes", 12, dot=True)
    no = draw_folder(tmp_path / "labels" / "no", 12, first_seed=50)
    assert run("vectors", "fit", "dot", "--positive", yes, "--negative", no, *MODEL).code == 0
    return "dot"


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


def size(path):
    return pixels(path).shape[1::-1]


# encode and decode


def test_encode_writes_posterior_means_named_after_the_image(run, photo):
    result = run("encode", photo, *MODEL)
    assert (result.code, result.paths) == (0, ["face.latents.safetensors"])
    assert Latents.load(Path("face.latents.safetensors")).names == ("face.png",)


def test_an_image_has_the_same_latents_alone_in_a_batch_and_twice(run, tmp_path):
    folder = draw_folder(tmp_path / "many", 400)
    for output in ("a", "b"):
        run("encode", folder, *MODEL, "-o", f"{output}.latents.safetensors")
    run("encode", folder / "033.png", *MODEL, "-o", "one.latents.safetensors")
    a, b, one = (Latents.load(Path(f"{name}.latents.safetensors")) for name in ("a", "b", "one"))
    np.testing.assert_array_equal(a.z, b.z)
    np.testing.assert_allclose(a.row("033.png"), one.z[0], atol=1e-4)


def test_several_arguments_are_encoded_together(run, photo, tmp_path):
    draw_folder(tmp_path / "d", 2)
    result = run("encode", photo, "d", *MODEL)
    assert result.paths == ["images.latents.safetensors"]
    assert Latents.load(Path(result.paths[0])).names == ("face.png", "000.png", "001.png")


def test_decode_writes_one_png_per_name(run, tmp_path):
    draw_folder(tmp_path / "d" / "sub", 2)
    run("encode", "d", *MODEL)
    result = run("decode", "d.latents.safetensors", *MODEL)
    assert result.paths == ["d-2/sub/000.png", "d-2/sub/001.png"]  # d holds the originals
    result = run("decode", "d.latents.safetensors", *MODEL, "-o", "out")
    assert result.paths == ["out/sub/000.png", "out/sub/001.png"]
    assert size("out/sub/000.png") == (16, 16)
    again = run("decode", "d.latents.safetensors", *MODEL, "-o", "out")
    assert (again.code, again.paths) == (0, [])
    assert "2 outputs existed and were kept" in again.err


def test_latents_of_another_model_are_refused(run, photo, tmp_path):
    write_model(tmp_path / "models" / "other", seed=1)
    run("encode", photo, *MODEL)
    result = run("decode", "face.latents.safetensors", "--model", "other")
    assert result.code == 1
    assert "was made with model" in result.err
    assert result.err.count("\n") == 1


# sample


def test_sample_draws_a_sheet(run):
    result = run("sample", "--n", 5, "--seed", 2, *MODEL)
    assert result.paths == ["samples-2-6.png"]
    assert size("samples-2-6.png") == (3 * 18 - 2, 2 * 18 - 2)


def test_a_seed_is_the_same_image_in_any_batch(run):
    run("sample", "--seeds", "3,7", "--each", *MODEL)
    run("sample", "--seeds", "0-63", "--each", *MODEL)
    difference = pixels("samples-3,7/seed-00007.png") - pixels("samples-0-63/seed-00007.png")
    assert abs(difference).max() <= 1
    assert len(os.listdir("samples-0-63")) == 64


def test_seeds_replace_n_and_seed(run):
    result = run("sample", "--seeds", "1", "--n", 3, *MODEL)
    assert result.code == 2


@pytest.mark.parametrize("seeds", ["x", "3-", "-3", "5-3", "", "0-9223372036854775806", "99999999999999999999"])
def test_bad_seeds_are_refused(run, seeds):
    result = run("sample", f"--seeds={seeds}", *MODEL)
    assert result.code == 2
    assert "--seeds takes" in result.err


def test_the_standard_prior_differs_from_the_fitted_one(run):
    run("sample", "--n", 1, *MODEL, "-o", "fitted.png")
    run("sample", "--n", 1, *MODEL, "--prior", "standard", "-o", "standard.png")
    assert (pixels("fitted.png") != pixels("standard.png")).any()


# interpolate


def test_a_walk_is_a_strip(run, photo):
    result = run("interpolate", photo, "seed:3", *MODEL)
    assert result.paths == ["face-seed3.png"]
    assert size("face-seed3.png") == (9 * 18 - 2, 16)


def test_a_walk_can_move_and_loop(run):
    result = run("interpolate", "seed:1", "seed:2", "seed:3", "--steps", 4, "--loop", *MODEL, "-o", "walk.gif")
    assert result.code == 0
    with Image.open("walk.gif") as gif:
        assert gif.info["loop"] == 0
        assert 2 <= gif.n_frames <= 9  # Pillow joins frames that are the same


def test_rows_of_a_latents_file_are_keyframes(run, tmp_path):
    draw_folder(tmp_path / "d", 3)
    run("encode", "d", *MODEL)
    assert run("interpolate", "d.latents.safetensors", "--steps", 3, *MODEL).paths == ["d.png"]
    assert size("d.png")[0] == 5 * 18 - 2
    assert run("interpolate", "d.latents.safetensors#001.png", "seed:1", *MODEL).paths == ["001-seed1.png"]
    result = run("interpolate", "d.latents.safetensors#nope", "seed:1", *MODEL)
    assert "no latents named 'nope'" in result.err


def test_one_keyframe_is_no_walk(run, photo):
    result = run("interpolate", photo, *MODEL)
    assert result.code == 1
    assert "two keyframes" in result.err


# vectors, apply-vector, edit


def test_fitted_vectors_are_kept_with_their_model_and_listed(run, vector, tmp_path):
    assert (tmp_path / "models/tiny/vectors/dot.safetensors").exists()
    assert "dot" in run("vectors", "list", *MODEL).out
    listed = json.loads(run("vectors", "list", *MODEL, "--json").out)
    assert listed["vectors"][0]["name"] == "dot"


def test_vectors_of_a_bundled_model_go_to_the_users_folder(run, tmp_path, monkeypatch):
    folder = write_model(tmp_path / "package" / "bundled" / "faces", bundled=True)
    monkeypatch.setattr(catalog, "__file__", str(tmp_path / "package" / "catalog.py"))
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
    assert "label 20 or more of each kind" in result.err
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


def test_apply_vector_decodes_at_model_size(run, photo, vector):
    result = run("apply-vector", photo, "--vector", "dot=2", *MODEL)
    assert result.paths == ["face-dot+2.png"]
    assert size("face-dot+2.png") == (16, 16)


def test_apply_vector_computes_a_vector_from_folders_and_keeps_it(run, photo, tmp_path):
    draw_folder(tmp_path / "yes", 5, dot=True)
    draw_folder(tmp_path / "no", 5)
    folders = ("--positive", "yes", "--negative", "no")
    result = run("apply-vector", photo, *folders, "--strength", 1.5, *MODEL)
    assert result.paths == ["face-yes+1.5.png"]
    result = run("apply-vector", photo, *folders, "--save", "white", *MODEL)
    assert result.paths == ["models/tiny/vectors/white.safetensors", "face-white+1.png"]
    assert run("apply-vector", photo, "--vector", "white", *MODEL).paths == ["face-white+1-2.png"]


def test_apply_vector_wants_folders_or_vectors(run, photo, vector):
    assert run("apply-vector", photo, *MODEL).code == 2
    assert run("apply-vector", photo, "--positive", "labels/yes", *MODEL).code == 2
    assert run("apply-vector", photo, "--vector", "dot", "--save", "x", *MODEL).code == 2


def test_edit_keeps_size_and_format(run, tmp_path, vector):
    draw((90, 60), 1).save("photo.jpg", quality=70)
    result = run("edit", "photo.jpg", "--vector", "dot", "--strength", 1.5, *MODEL)
    assert result.paths == ["photo-dot+1.5.jpg"]
    with Image.open("photo-dot+1.5.jpg") as edited, Image.open("photo.jpg") as original:
        assert (edited.format, edited.size) == ("JPEG", (90, 60))
        assert edited.quantization == original.quantization


def test_edit_leaves_what_lies_outside_the_box(run, photo, vector):
    result = run("edit", photo, "--vector", "dot=1000", "--box", "10,5,30,30", *MODEL)
    before, after = pixels(photo), pixels(result.paths[0])
    changed = (before != after).any(axis=2)
    assert changed[5:35, 10:40].any()
    assert changed.sum() == changed[5:35, 10:40].sum()


def test_edit_takes_the_strength_of_each_vector(run, photo, vector):
    result = run("edit", photo, "--vector", "dot=1", "--vector", "dot=-0.5", *MODEL)
    assert result.paths == ["face-dot+1-dot-0.5.png"]


def test_folders_in_are_folders_out(run, tmp_path, vector):
    draw_folder(tmp_path / "album" / "sub", 2)
    (tmp_path / "album" / "bad.png").write_text("text")
    result = run("edit", "album", "--vector", "dot", *MODEL)
    assert result.code == 1
    assert result.paths == ["album-dot+1/sub/000.png", "album-dot+1/sub/001.png"]
    assert "skipped: album/bad.png is not a readable image" in result.err
    assert "edited 2 of 3 photos" in result.err
    again = run("edit", "album", "--vector", "dot", *MODEL)
    assert again.paths == []
    assert "2 outputs existed and were kept" in again.err


def test_stems_that_meet_keep_their_suffix(run, tmp_path, vector):
    (tmp_path / "album").mkdir()
    draw((20, 20), 1).save("album/a.png")
    draw((20, 20), 2).save("album/a.jpg")
    result = run("apply-vector", "album", "--vector", "dot", *MODEL)
    assert sorted(result.paths) == ["album-dot+1/a.jpg.png", "album-dot+1/a.png.png"]


def test_a_vector_of_another_model_is_refused(run, photo, vector, tmp_path):
    write_model(tmp_path / "models" / "other", seed=1)
    result = run("edit", photo, "--vector", "models/tiny/vectors/dot.safetensors", "--model", "other")
    assert result.code == 1
    assert "was made with model" in result.err
    result = run("edit", photo, "--vector", "models/tiny/vectors/dot.safetensors")
    assert result.code == 0
    assert "model: tiny" in result.err


# which model


def test_the_own_model_that_finished_last_is_taken_and_said(run, tmp_path):
    write_model(tmp_path / "models" / "newer", seed=1, finished_at="2026-02-02T00:00:00+00:00")
    os.utime("models/tiny/model.safetensors")
    result = run("sample", "--n", 1)
    assert "model: newer" in result.err


def test_vectors_decide_which_models_count(run, photo, vector, tmp_path):
    write_model(tmp_path / "models" / "newer", seed=1, finished_at="2026-02-02T00:00:00+00:00")
    assert "model: tiny" in run("edit", photo, "--vector", "dot").err


def test_a_model_can_be_a_path(run, tmp_path):
    elsewhere = write_model(tmp_path / "elsewhere" / "mine", seed=2)
    for path in (elsewhere, elsewhere / "model.safetensors"):
        assert run("sample", "--n", 1, "--model", path).code == 0


def test_models_are_listed(run, tmp_path):
    result = run("models")
    assert "tiny" in result.out
    listed = json.loads(run("models", "--json").out)["models"]
    assert [entry["name"] for entry in listed if not entry["bundled"]] == ["tiny"]


# --json, --force, bad input


def test_json_is_one_object(run, photo):
    result = run("encode", photo, *MODEL, "--json")
    summary = json.loads(result.out)
    assert summary["outputs"] == ["face.latents.safetensors"]
    assert summary["model"] == "tiny"
    assert len(summary["model_id"]) == 12
    assert summary["skipped"] == []
    assert summary["seconds"] >= 0


def test_named_outputs_are_not_replaced_without_force(run, photo):
    Path("out.png").write_text("mine")
    result = run("sample", "--n", 1, *MODEL, "-o", "out.png")
    assert result.code == 1
    assert "out.png exists; add --force" in result.err
    assert Path("out.png").read_text() == "mine"
    assert run("sample", "--n", 1, *MODEL, "-o", "out.png", "--force").code == 0
    assert size("out.png") == (16, 16)


def test_chosen_names_step_aside(run):
    assert run("sample", "--n", 1, *MODEL).paths == ["samples-0.png"]
    assert run("sample", "--n", 1, *MODEL).paths == ["samples-0-2.png"]


@pytest.mark.parametrize(
    "command",
    [
        ["encode", "face.png", "-o", "mine.latents.safetensors"],
        ["interpolate", "face.png", "seed:1", "-o", "mine.png"],
        ["apply-vector", "face.png", "--vector", "dot", "-o", "mine.png"],
        ["edit", "face.png", "--vector", "dot", "-o", "mine.png"],
        ["decode", "face.latents.safetensors", "-o", "mine.png"],
    ],
    ids=lambda command: command[0],
)
def test_no_command_replaces_a_named_output_without_force(run, photo, vector, command):
    run("encode", photo, *MODEL)
    mine = Path(command[-1])
    mine.write_text("mine")
    result = run(*command, *MODEL)
    assert result.code == 1
    assert f"{mine} exists; add --force" in result.err
    assert mine.read_text() == "mine"
    assert run(*command, *MODEL, "--force").code == 0
    assert mine.read_bytes() != b"mine"


@pytest.mark.parametrize(
    "command",
    [
        ["sample", "--n", "2"],
        ["interpolate", "face.png", "seed:1"],
        ["apply-vector", "face.png", "--vector", "dot"],
        ["apply-vector", "face.png", "--positive", "one/yes", "--negative", "one/no", "--save", "x"],
        ["edit", "face.png", "--vector", "dot"],
        ["vectors", "fit", "x", "--positive", "one/yes", "--negative", "one/no"],
        ["vectors", "list"],
        ["models"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_every_command_prints_one_json_object(run, photo, vector, command, tmp_path):
    draw_folder(tmp_path / "one" / "yes", 1, dot=True)
    draw_folder(tmp_path / "one" / "no", 1)
    result = run(*command, "--json")
    assert result.code == 0
    assert "Infinity" not in result.out
    assert isinstance(json.loads(result.out), dict)


def test_json_of_training_names_what_was_left_out(run, tmp_path):
    draw_folder(tmp_path / "data", 8)
    (tmp_path / "data" / "bad.png").write_text("text")
    summary = json.loads(run("train", "data", "--epochs", 1, "--json").out)
    assert summary["model"] == "data"
    assert "bad.png" in summary["skipped"][0]
    assert len(summary["model_id"]) == 12
    again = json.loads(run("train", "data", "--epochs", 1, "--json").out)
    assert again["model_id"] == summary["model_id"]


def test_a_refusal_is_one_line_even_when_a_model_was_chosen(run):
    result = run("encode", "gone.png")
    assert result.err == "latentcli: gone.png does not exist; check the name\n"


def test_results_of_images_with_one_name_do_not_meet(run, vector, tmp_path):
    for folder in ("p/album", "q/album"):
        draw_folder(tmp_path / folder, 1, first_seed=len(folder) + ord(folder[0]))
    result = run("edit", "p/album", "q/album", "--vector", "dot", *MODEL)
    assert result.paths == ["album-dot+1/000.png", "album-dot+1-2/000.png"]
    result = run("edit", "p/album", "q/album", "--vector", "dot", "-o", "out", *MODEL)
    assert len(set(result.paths)) == 2
    result = run("edit", "p/album/000.png", "q/album/000.png", "--vector", "dot", *MODEL)
    assert result.paths == ["000-dot+1.png", "000-dot+1-2.png"]
    draw((20, 20), 3).save("a.png")
    draw((20, 20), 3).save("a.jpg")
    result = run("apply-vector", "a.png", "a.jpg", "--vector", "dot", *MODEL)
    assert result.paths == ["a.png-dot+1.png", "a.jpg-dot+1.png"]
    run("encode", "p/album", "q/album", *MODEL, "-o", "both.latents.safetensors")
    assert Latents.load(Path("both.latents.safetensors")).names == ("p/album/000.png", "q/album/000.png")


def test_force_redoes_a_folder(run, vector, tmp_path):
    draw_folder(tmp_path / "album", 2)
    run("edit", "album", "--vector", "dot", *MODEL)
    assert len(run("edit", "album", "--vector", "dot", *MODEL, "--force").paths) == 2


def test_a_folder_is_not_fed_its_own_results(run, vector, tmp_path, monkeypatch):
    monkeypatch.chdir(draw_folder(tmp_path / "album", 2))
    model = ("--model", tmp_path / "models" / "tiny")
    assert len(run("edit", ".", "--vector", "dot", *model).paths) == 2
    again = run("edit", ".", "--vector", "dot", *model)
    assert again.paths == []
    assert "2 outputs existed" in again.err


def test_samples_of_another_model_get_a_folder_of_their_own(run, tmp_path):
    write_model(tmp_path / "models" / "other", seed=1)
    assert run("sample", "--seeds", "1", "--each", *MODEL).paths == ["samples-1/seed-00001.png"]
    assert run("sample", "--seeds", "1", "--each", "--model", "other").paths == ["samples-1-2/seed-00001.png"]


def test_edit_turns_a_photo_upright_and_says_so_in_the_file(run, vector, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "my holiday"
    draw((60, 40), 1).save("photo.jpg", exif=exif.tobytes())
    (path,) = run("edit", "photo.jpg", "--vector", "dot", *MODEL).paths
    with Image.open(path) as edited:
        assert edited.size == (40, 60)
        assert edited.getexif().get(0x0112, 1) == 1
        assert edited.getexif()[0x010E] == "my holiday"


MODES = {
    "png": ("L", "LA", "P", "RGBA"),
    "jpg": ("L", "CMYK"),
    "tiff": ("L", "LA", "P", "RGBA", "CMYK"),
    "webp": ("L", "RGBA"),
    "bmp": ("L", "P"),
    "gif": ("L", "P"),
}


@pytest.mark.parametrize(("suffix", "mode"), [(suffix, mode) for suffix, modes in MODES.items() for mode in modes])
def test_edit_writes_readable_files_of_every_type(run, vector, suffix, mode):
    draw((40, 40), 1).convert(mode).save(f"photo.{suffix}")
    result = run("edit", f"photo.{suffix}", "--vector", "dot=1000", *MODEL)
    assert result.code == 0
    assert pixels(result.paths[0]).shape[:2] == (40, 40)


def test_lossless_webp_stays_lossless_outside_the_box(run, vector):
    picture = Image.effect_noise((60, 40), 80).convert("RGB")
    picture.save("photo.webp", lossless=True)
    (path,) = run("edit", "photo.webp", "--vector", "dot=1000", "--box", "30,10,20,20", *MODEL).paths
    np.testing.assert_array_equal(pixels(path)[:, :30], np.asarray(picture)[:, :30])


def test_what_a_file_cannot_keep_is_said(run, vector):
    frames = [draw((30, 30), seed) for seed in range(3)]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    result = run("edit", "moving.gif", "--vector", "dot", *MODEL)
    assert result.paths == ["moving-dot+1.png"]
    assert "all frames but the first cannot be kept" in result.err


def test_names_that_are_not_text_are_written_as_they_are(run, vector, photo):
    odd = os.fsdecode(b"caf\xe9.png")
    Path(photo).rename(odd)
    command = [sys.executable, "-m", "latentcli", "edit", odd, "--vector", "dot", *MODEL]
    result = subprocess.run(command, capture_output=True, check=True)
    assert result.stdout == b"caf\xe9-dot+1.png\n"
    assert os.path.exists(os.fsdecode(result.stdout.strip()))


def test_a_closed_pipe_is_no_traceback(run):
    command = f"{sys.executable} -m latentcli sample --each --n 300 --model tiny | head -1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stdout == "samples-0-299/seed-00000.png\n"
    assert "Traceback" not in result.stderr


def test_a_photo_of_another_shape_is_told_what_was_edited(run, photo, vector):
    assert "edited the centred 40x40 of 60x40 pixels" in run("edit", photo, "--vector", "dot", *MODEL).err
    assert "centred" not in run("edit", photo, "--vector", "dot", "--box", "0,0,30,30", *MODEL).err


def test_edit_keeps_the_resolution_of_a_scan(run, vector):
    draw((40, 40), 1).save("scan.jpg", dpi=(300, 300))
    (path,) = run("edit", "scan.jpg", "--vector", "dot", *MODEL).paths
    with Image.open(path) as edited:
        assert edited.info["dpi"] == (300, 300)


def test_a_damaged_model_is_not_passed_over_in_silence(run, tmp_path):
    (write_model(tmp_path / "models" / "broken") / "model.safetensors").write_text("text")
    result = run("sample", "--n", 1)
    assert "skipped: models/broken/model.safetensors is not a latentcli file" in result.err
    assert "model: tiny" in result.err


def test_an_unfinished_run_is_known_by_name(run, tmp_path):
    unfinished = tmp_path / "models" / "started"
    unfinished.mkdir()
    (unfinished / "resume.safetensors").touch()
    assert "models/started is not finished" in run("sample", "--model", "started").err
    assert "not finished: models/started" in run("models").err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
def test_a_full_disk_behind_stdout_is_no_traceback(run):
    command = f"{sys.executable} -m latentcli sample --n 1 --model tiny > /dev/full"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == "latentcli: cannot write to the standard output: No space left on device"
    assert "Traceback" not in result.stderr


def test_results_and_progress_bar_do_not_share_a_line(vector, tmp_path):
    """On a terminal, where both go to one screen."""
    draw_folder(tmp_path / "many", 100)
    slow = "import latentcli.cli.console as c; c._PATIENCE = 0; from latentcli.cli.app import main; main()"
    command = [sys.executable, "-c", slow, "edit", "many", "--vector", "dot", *MODEL]
    screen = []
    pty.spawn(command, lambda handle: screen.append(os.read(handle, 65536)) or screen[-1])
    text = b"".join(screen).decode()
    assert "editing" in text
    for line in re.split(r"[\r\n]+", text):
        assert not ("━" in line and "many-dot+1/" in line)


def bad_commands():
    images = {"missing": "gone.png", "text": "text.png", "truncated": "cut.jpg", "empty folder": "empty"}
    for what, path in images.items():
        yield f"encode {what}", ["encode", path, *MODEL]
        yield f"interpolate {what}", ["interpolate", path, "seed:1", *MODEL]
        yield f"apply-vector {what}", ["apply-vector", path, "--vector", "dot", *MODEL]
        yield f"edit {what}", ["edit", path, "--vector", "dot", *MODEL]
        if what != "truncated":
            yield f"train {what}", ["train", path]
    for command in (["encode", "face.png"], ["decode", "face.latents.safetensors"], ["sample"], ["vectors", "list"]):
        yield f"{command[0]} unknown model", [*command, "--model", "nope"]
        if command[0] != "vectors":  # it reads the header alone
            yield f"{command[0]} damaged model", [*command, "--model", "broken"]
    yield "edit unknown vector", ["edit", "face.png", "--vector", "nope", *MODEL]
    yield "edit damaged vector", ["edit", "face.png", "--vector", "text.safetensors", *MODEL]
    yield "edit missing vector file", ["edit", "face.png", "--vector", "gone.safetensors", *MODEL]
    yield "edit odd strength", ["edit", "face.png", "--vector", "dot=much", *MODEL]
    yield "edit box", ["edit", "face.png", "--vector", "dot", "--box", "50,0,90,90", *MODEL]
    yield "decode missing", ["decode", "gone.latents.safetensors", *MODEL]
    yield "decode an image", ["decode", "face.png", *MODEL]
    yield "decode a model", ["decode", "models/tiny/model.safetensors", *MODEL]
    yield "train preset", ["train", "labels", "--preset", "nope"]
    yield "train learning rate", ["train", "labels", "--learning-rate", "nan"]
    yield "train too long a name", ["train", "x" * 300]
    yield "sample too long a name", ["sample", "--model", "x" * 300]
    yield "edit endless strength", ["edit", "face.png", "--vector", "dot", "--strength", "inf", *MODEL]
    yield "edit several to one file", ["edit", "face.png", "face.png", "--vector", "dot", "-o", "x.png", *MODEL]
    yield "edit onto itself", ["edit", "labels", "--vector", "dot", "-o", "labels", "--force", *MODEL]
    yield "edit unknown output type", ["edit", "face.png", "--vector", "dot", "-o", "x.xyz", *MODEL]
    yield "sample each into a file name", ["sample", "--n", "2", "--each", "-o", "two.png", *MODEL]
    yield "encode into a picture", ["encode", "face.png", "-o", "x.png", *MODEL]
    yield "interpolate output type", ["interpolate", "face.png", "seed:1", "-o", "x.mp4", *MODEL]
    yield "interpolate fps", ["interpolate", "face.png", "seed:1", "--fps", "0", *MODEL]
    yield "train size", ["train", "labels", "--size", "1000"]
    yield "train book size", ["train", "labels", "--preset", "book", "--size", "64"]
    yield "train held-out", ["train", "labels", "--held-out", "nowhere"]
    yield "train name", ["train", "labels", "--name", "a/b"]
    yield "sample output type", ["sample", "--n", "1", *MODEL, "-o", "x.xyz"]
    yield "fit empty", ["vectors", "fit", "v", "--positive", "empty", "--negative", "labels", *MODEL]


@pytest.mark.parametrize("arguments", [a for _, a in bad_commands()], ids=[name for name, _ in bad_commands()])
def test_bad_input_is_one_line_and_changes_nothing(run, photo, vector, arguments, tmp_path):
    run("encode", photo, *MODEL)
    Path("text.png").write_text("text")
    Path("text.safetensors").write_text("text")
    Image.effect_noise((300, 300), 90).save("cut.jpg")
    Path("cut.jpg").write_bytes(Path("cut.jpg").read_bytes()[:1500])
    Path("empty").mkdir()
    broken = write_model(tmp_path / "models" / "broken", finished_at="2025-01-01") / "model.safetensors"
    broken.write_bytes(broken.read_bytes()[:-40] + bytes(40))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = run(*arguments)
    lines = result.err.splitlines()
    usage = any(text in ("dot=much", "inf") for text in map(str, arguments))  # an option that cannot be read
    assert result.code == (2 if usage else 1)
    assert result.out == ""
    assert len(lines) == 1
    assert lines[0].startswith(("latentcli: ", "skipped: "))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_unknown_commands_and_missing_options_are_usage_errors(run):
    assert run("nonsense").code == 2
    assert run("edit").code == 2


def test_a_damaged_model_is_named_in_the_list(run, tmp_path):
    (write_model(tmp_path / "models" / "broken") / "model.safetensors").write_text("text")
    result = run("models")
    assert "skipped: models/broken/model.safetensors is not a latentcli file" in result.err
    assert "tiny" in result.out


def test_nothing_written_is_a_pickle(run, photo, vector, tmp_path):
    run("encode", photo, *MODEL)
    for path in tmp_path.rglob("*.safetensors"):
        kind = tensorfile._layout(path)["__metadata__"]["latentcli"]
        assert json.loads(kind)["format"] == 1
