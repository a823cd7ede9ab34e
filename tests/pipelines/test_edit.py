"""`latentcli edit` and `rerun` from outside."""

import io
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence, PngImagePlugin

from latentcli.photo.metadata import read_request
from tests.conftest import TINY, draw, draw_folder, write_model

MODEL = ("--model", "tiny")
HOPPER = Path(__file__).parents[2] / "examples" / "grace-hopper.jpg"


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


@pytest.fixture(autouse=True)
def vector(run, tiny_model, tmp_path):
    folders = draw_folder(tmp_path / "yes", 12, dot=True), draw_folder(tmp_path / "no", 12, first_seed=12)
    run("vectors", "fit", "dot", "--positive", folders[0], "--negative", folders[1], *MODEL)


@pytest.fixture
def faces_model(run, vector, tmp_path):
    """A tiny model of faces, with the vector `dot`."""
    folder = write_model(tmp_path / "models" / "portraits", replace(TINY, crop="face", aligned=True))
    run("vectors", "fit", "dot", "--positive", "yes", "--negative", "no", "--model", "portraits")
    return folder


# the file


def test_strength_0_copies_the_file(run, photo):
    draw((50, 40), 3).save("me.jpg", quality=50)
    (path,) = run("edit", "me.jpg", "--vector", "dot=0", *MODEL).paths
    assert Path(path).read_bytes() == Path("me.jpg").read_bytes()
    (path,) = run("edit", photo, "--vector", "dot=1", "--vector", "dot=-1", "-o", "same.png", *MODEL).paths
    assert Path(path).read_bytes() == photo.read_bytes()


def test_the_file_tells_what_was_done_unless_it_is_not_to(run, photo):
    result = read_request(Path(run("edit", photo, "--vector", "dot=1000", *MODEL).paths[0]))
    assert result.vectors[0].strength == 1000
    assert [box.text() for box in result.boxes] == ["10,0,40,40"]
    assert result.original == "face.png"
    (path,) = run("edit", photo, "--vector", "dot=900", "--no-metadata", *MODEL).paths
    assert b"latentcli" not in Path(path).read_bytes()


def test_sixteen_bits_stay_outside_the_box(run):
    deep = np.random.default_rng(0).integers(0, 65536, (40, 60)).astype(np.uint16)
    Image.fromarray(deep).save("scan.png")
    (path,) = run("edit", "scan.png", "--vector", "dot=1000", "--box", "30,10,20,20", *MODEL).paths
    with Image.open(path) as edited:
        assert edited.mode == "I;16"
        after = np.asarray(edited)
    np.testing.assert_array_equal(after[:, :30], deep[:, :30])
    assert (after[15:25, 35:45] != deep[15:25, 35:45]).any()


# rerun


@pytest.mark.parametrize(
    "options",
    [
        ["--vector", "dot=1000"],
        ["--vector", "dot", "--sigma", "300", "--detail", "0.2", "--merge", "decode", "--stay-typical"],
        ["--vector", "dot", "--to", "p90", "--vector", "dot=500", "--compare"],
        ["--vector", "dot", "--strip", "-1:900:3", "--refine", "--box", "5,5,30,30,12.5"],
    ],
)
def test_an_edit_can_be_done_again(run, photo, options):
    (path,) = run("edit", photo, *options, *MODEL).paths
    (again,) = run("rerun", path).paths
    assert again != path
    assert Path(again).read_bytes() == Path(path).read_bytes()


def test_an_edit_can_be_done_to_another_photo(run, photo):
    (path,) = run("edit", photo, "--vector", "dot=1000", *MODEL).paths
    draw((50, 40), 9).save("you.jpg")
    result = run("rerun", path, "--photo", "you.jpg")
    assert result.paths == ["you-dot+1000.jpg"]
    assert "is not the photo that was edited" in result.err


def test_what_cannot_be_done_again_is_refused(run, photo, tmp_path):
    (path,) = run("edit", photo, "--vector", "dot=1000", *MODEL).paths
    assert "holds no edit by latentcli" in run("rerun", photo).err
    assert run("rerun", "gone.png").code == 1
    write_model(tmp_path / "models" / "other", seed=1)
    shutil.copytree("models/tiny/vectors", "models/other/vectors")
    assert "was made with model tiny" in run("rerun", path, "--model", "other").err
    photo.unlink()
    draw((60, 40), 8).save("face.png")  # another photo of that name
    result = run("rerun", path)
    assert result.code == 1
    assert "name it with --photo FILE" in result.err


def test_an_edited_photo_is_not_taken_for_its_original(run, tmp_path):
    draw_folder(tmp_path / "album", 2)
    path = run("edit", "album", "--vector", "dot=1000", "-o", "out", *MODEL).paths[0]
    shutil.move("album", tmp_path.parent / f"{tmp_path.name}-away")
    assert "name it with --photo FILE" in run("rerun", path).err
    Path("photos").mkdir()
    shutil.move(tmp_path.parent / f"{tmp_path.name}-away" / "000.png", "photos/000.png")
    (again,) = run("rerun", path, "-o", "again.png").paths
    assert Path(again).read_bytes() == Path(path).read_bytes()


def test_an_animation_can_be_made_again(run, photo):
    run("edit", photo, "--vector", "dot=900", "--animate", "dot.webp", "--fps", 5, *MODEL)
    (again,) = run("rerun", "dot.webp").paths
    assert again == "dot-2.webp"
    assert Path(again).read_bytes() == Path("dot.webp").read_bytes()


def test_a_type_that_cannot_store_the_edit_is_reported(run, photo):
    assert ".bmp files cannot store edit metadata" in run("edit", photo, "--vector", "dot=9", "-o", "a.bmp", *MODEL).err


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_closed_streams_are_reported(run, monkeypatch, photo, stream):
    monkeypatch.setattr(sys, stream, None)
    result = run(
        "edit", *(["-", "-o", "a.png"] if stream == "stdin" else [photo, "-o", "-"]), "--vector", "dot", *MODEL
    )
    if opened := getattr(sys, stream):  # the program opens it for as long as it runs
        opened.close()
    assert result.code in (1, 2)


def test_one_damaged_photo_of_several_is_left_out(run, photo):
    Path("bad.png").write_text("text")
    result = run("edit", "bad.png", photo, "--vector", "dot=900", *MODEL)
    assert (result.code, result.paths) == (1, ["face-dot+900.png"])
    assert "skipped: bad.png is not a readable image" in result.err


def test_a_vector_fitted_anew_is_reported(run, photo):
    (path,) = run("edit", photo, "--vector", "dot=1000", *MODEL).paths
    run("vectors", "fit", "dot", "--positive", "no", "--negative", "yes", *MODEL, "--force")
    assert "dot has been fitted again since" in run("rerun", path).err


# pipes


class Pipe(io.TextIOWrapper):
    def __init__(self, content=b"", is_terminal=False):
        self.bytes = io.BytesIO(content)
        super().__init__(self.bytes)
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


@pytest.mark.parametrize("arguments", [["-"], ["-", "--output", "-"]])
def test_a_photo_can_come_and_go_through_pipes(run, monkeypatch, arguments):
    draw((50, 40), 3).save("me.jpg", quality=50)
    monkeypatch.setattr(sys, "stdin", Pipe(Path("me.jpg").read_bytes()))
    monkeypatch.setattr(sys, "stdout", out := Pipe())
    result = run("edit", *arguments, "--vector", "dot=1000", *MODEL)
    assert result.code == 0
    written = out.bytes.getvalue()
    assert Image.open(io.BytesIO(written)).format == "JPEG"
    run("edit", "me.jpg", "--vector", "dot=1000", "-o", "named.jpg", *MODEL)
    np.testing.assert_array_equal(pixels(io.BytesIO(written)), pixels("named.jpg"))


def test_a_piped_photo_can_go_into_a_file_and_a_file_into_a_pipe(run, monkeypatch, photo):
    monkeypatch.setattr(sys, "stdin", Pipe(photo.read_bytes()))
    assert run("edit", "-", "--vector", "dot=1000", "-o", "out.png", *MODEL).paths == ["out.png"]
    monkeypatch.setattr(sys, "stdout", out := Pipe())
    run("edit", photo, "--vector", "dot=1000", "-o", "-", *MODEL)
    np.testing.assert_array_equal(pixels(io.BytesIO(out.bytes.getvalue())), pixels("out.png"))


def test_no_picture_is_printed_to_a_terminal_or_into_json(run, monkeypatch, photo):
    assert run("edit", photo, "--vector", "dot", "-o", "-", "--json", *MODEL).code == 2
    monkeypatch.setattr(sys, "stdout", Pipe(is_terminal=True))
    assert run("edit", photo, "--vector", "dot", "-o", "-", *MODEL).code == 2


def test_a_pipe_takes_one_photo(run, photo, tmp_path):
    draw_folder(tmp_path / "album", 2)
    result = run("edit", "album", "--vector", "dot", "-o", "-", *MODEL)
    assert result.code == 1
    assert "takes one result" in result.err


def test_a_pipe_without_a_picture_is_reported(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Pipe(b"text"))
    result = run("edit", "-", "--vector", "dot", "-o", "x.png", *MODEL)
    assert result.code == 1
    assert "standard input is not a readable image" in result.err


# strips, animations, comparisons


def test_a_strip_has_a_photo_for_each_strength(run, photo):
    (path,) = run("edit", photo, "--vector", "dot", "--strip", "0:900:3", *MODEL).paths
    assert path == "face-dot+0..900x3.png"
    assert pixels(path).shape == (40, 184, 3)
    np.testing.assert_array_equal(pixels(path)[:, :60], pixels(photo))
    assert (pixels(path)[:, 124:] != pixels(photo)).any()


def test_an_animation_goes_there_and_back(run, photo):
    result = run("edit", photo, "--vector", "dot=900", "--animate", "dot.gif", *MODEL)
    assert result.paths == ["dot.gif"]
    with Image.open("dot.gif") as moving:
        assert moving.size == (60, 40)
        assert 12 < len(list(ImageSequence.Iterator(moving))) <= 24  # those that look the same are one
        assert moving.info["loop"] == 0
    assert run("edit", photo, "--vector", "dot", "--animate", "dot.gif", *MODEL).code == 1
    assert run("edit", photo, "--vector", "dot", "--sigma", 900, "--animate", "a.gif", *MODEL).paths == ["a.gif"]
    assert run("edit", photo, "--vector", "dot", "--animate", "a.avi", *MODEL).code == 2


def test_a_comparison_shows_before_reconstruction_and_after(run, photo):
    (path,) = run("edit", photo, "--vector", "dot=1000", "--compare", *MODEL).paths
    assert path == "face-dot+1000-compared.png"
    shown = pixels(path)
    assert shown.shape == (40, 184, 3)
    np.testing.assert_array_equal(shown[:, :60], pixels(photo))
    (alone,) = run("edit", photo, "--vector", "dot=1000", *MODEL).paths
    np.testing.assert_array_equal(shown[:, 124:], pixels(alone))


# the face


def test_the_face_of_a_photo_is_found_and_edited(run, faces_model):
    shutil.copy(HOPPER, "hopper.jpg")
    Image.open("hopper.jpg").save("hopper.png")
    result = run("edit", "hopper.png", "--vector", "dot=1000", "--model", "portraits")
    assert "edited the face at --box" in result.err
    changed = (pixels(result.paths[0]) != pixels("hopper.png")).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert 100 < rows.min() < rows.max() < 360
    assert 140 < columns.min() < columns.max() < 390


def test_every_face_is_edited_when_asked_for(run, faces_model):
    two = Image.new("RGB", (1100, 600), "white")
    with Image.open(HOPPER) as hopper:
        two.paste(hopper, (0, 0))
        two.paste(hopper.resize((410, 480)), (600, 0))
    two.save("two.png")
    options = ("--vector", "dot=1000", "--model", "portraits")

    def halves(*more):
        changed = (pixels(run("edit", "two.png", *options, *more).paths[0]) != pixels("two.png")).any(axis=2)
        return bool(changed[:, :560].any()), bool(changed[:, 560:].any())

    assert halves() == (True, False)
    assert halves("--face", 2) == (False, True)
    assert halves("--all-faces") == (True, True)
    two.save("other.png", compress_level=1)
    (path,) = run("edit", "two.png", *options, "--face", 2, "-o", "second.png").paths
    (again,) = run("rerun", path, "--photo", "other.png", "--model", "portraits").paths
    np.testing.assert_array_equal(pixels(again), pixels(path))
    result = run("edit", "two.png", *options, "--face", 3)
    assert result.code == 1
    assert "two.png shows 2 faces" in result.err


def test_a_photo_without_a_face_is_reported(run, photo, faces_model):
    result = run("edit", photo, "--vector", "dot=1000", "--model", "portraits")
    assert result.code == 1
    assert "face.png shows no face" in result.err
    assert "--box" in result.err
    assert run("edit", photo, "--vector", "dot=1000", "--model", "portraits", "--no-align").code == 0
    assert run("edit", photo, "--vector", "dot=999", "--model", "portraits", "--box", "0,0,40,40,30").code == 0


def test_a_small_square_picture_is_a_face_crop_where_no_face_is_found(run, faces_model):
    draw((60, 60), 3).save("crop.png")
    options = ("--vector", "dot=1000", "--model", "portraits")
    result = run("edit", "crop.png", *options)
    assert result.code == 0
    assert "treating crop.png as a face crop (no face was found)" in result.err


def test_training_pictures_are_cropped_to_their_faces(run, tmp_path):
    folder = tmp_path / "people"
    folder.mkdir()
    for number in range(12):
        with Image.open(HOPPER) as hopper:
            hopper.rotate(number - 6, expand=True).save(folder / f"{number}.jpg")
    draw((60, 60), 1).save(folder / "no-face.png")
    result = run("train", folder, "--crop", "face", "--size", 16, "--epochs", 1, "--name", "people")
    assert result.code == 0
    assert "no-face.png shows no face" in result.err
    (path,) = run("encode", HOPPER, "--model", "people", "-o", "hopper.safetensors").paths
    assert os.path.exists(path)


@pytest.mark.parametrize(
    "options",
    [
        ["--box", "0,0,30,30", "--face", "2"],
        ["--box", "0,0,30"],
        ["--no-align", "--all-faces"],
        ["--compare", "--strip", "0:1:2"],
        ["--animate", "a.gif", "-o", "b.gif"],
        ["--jobs", "0"],
        ["--merge", "paint"],
        ["--vector", "dot=1e30"],
        ["--strip", "0:nan:3"],
    ],
)
def test_options_that_do_not_go_together_are_refused(run, photo, options):
    before = sorted(os.listdir())
    assert run("edit", photo, "--vector", "dot", *options, *MODEL).code == 2
    assert sorted(os.listdir()) == before


# bad input


@pytest.mark.parametrize(
    "recipe",
    [
        '{"latentcli": 1, "vectors": 5}',
        '{"latentcli": 1, "boxes": null, "vectors": [{}]}',
        '{"model": 5}',
        '{"rows": ["0:1:2", "0:1:2"]}',
        '{"vectors": [{"name": "dot", "strength": 1e308}]}',
        '{"vectors": [{"name": "dot", "sigma": Infinity}]}',
        '{"vectors": []}',
        '{"boxes": ["-50000,-50000,100000,100000,5"]}',
    ],
)
def test_no_text_in_a_file_can_do_harm(run, photo, recipe):
    good = json.loads(read_text(run("edit", photo, "--vector", "dot=900", *MODEL).paths[0]))
    text = recipe if "latentcli" in recipe else json.dumps(good | json.loads(recipe))
    chunk = PngImagePlugin.PngInfo()
    chunk.add_itxt("latentcli", text)
    with Image.open(photo) as picture:
        picture.save("hostile.png", pnginfo=chunk)
    again = run("rerun", "hostile.png", "--model", "tiny")
    assert again.code == 1
    assert again.err.count("\n") == 1
    assert run("edit", "hostile.png", "--vector", "dot=900", *MODEL).code == 0


def read_text(path):
    with Image.open(path) as picture:
        assert isinstance(picture, PngImagePlugin.PngImageFile)
        return picture.text["latentcli"]


def test_an_animation_never_replaces_its_photo(run):
    draw((40, 40), 1).save("me.webp")
    before = Path("me.webp").read_bytes()
    result = run("edit", "me.webp", "--vector", "dot", "--animate", "me.webp", "--force", *MODEL)
    assert result.code == 1
    assert "would replace an original" in result.err
    assert Path("me.webp").read_bytes() == before


def test_a_box_far_larger_than_the_photo_is_refused(run, photo):
    result = run("edit", photo, "--vector", "dot", "--box=-50000,-50000,100000,100000,5", *MODEL)
    assert result.code == 1
    assert "far larger than the photo" in result.err


def test_more_versions_than_a_picture_can_hold_are_refused(run):
    Image.new("RGB", (2000, 1500)).save("large.png")
    result = run("edit", "large.png", "--vector", "dot", "--strip", "0:1:100", *MODEL)
    assert result.code == 1
    assert "100 versions are 300 megapixels" in result.err


def test_only_edit_reads_the_standard_input(run):
    result = run("encode", "-", *MODEL)
    assert result.code == 1
    assert "- does not exist" in result.err


def test_photos_above_the_limit_are_refused(run, photo):
    result = run("edit", photo, "--vector", "dot", "--max-megapixels", "0.001", *MODEL)
    assert result.code == 1
    assert "0.001 megapixels" in result.err


def test_a_photo_of_one_pixel_is_edited(run):
    Image.new("RGB", (1, 1), "red").save("dot.png")
    assert run("edit", "dot.png", "--vector", "dot=1000", *MODEL).code == 0


def test_jobs_change_nothing_but_the_time(run, tmp_path):
    draw_folder(tmp_path / "album", 5)
    (tmp_path / "album" / "bad.png").write_text("text")
    result = [run("edit", "album", "--vector", "dot=500", "-j", jobs, "-o", f"out{jobs}", *MODEL) for jobs in (1, 4)]
    assert [one.code for one in result] == [1, 1]
    for one, other in zip(*(one.paths for one in result), strict=True):
        assert Path(one).read_bytes() == Path(other).read_bytes()


def test_json_tells_the_outputs(run, photo):
    result = json.loads(run("edit", photo, "--vector", "dot=1000", "--json", *MODEL).out)
    assert result["outputs"] == ["face-dot+1000.png"]
