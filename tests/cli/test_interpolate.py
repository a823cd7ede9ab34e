"""`latentcli interpolate`: strips, animations and grids."""

import importlib.util
import os

import av
import pytest
from PIL import Image, ImageSequence

from tests.cli.conftest import MODEL, pixels, size
from tests.conftest import draw_folder


def test_a_walk_is_a_strip(run, photo):
    result = run("interpolate", photo, "seed:3", *MODEL)
    assert result.paths == ["face-seed3.png"]
    assert size("face-seed3.png") == (9 * 18 - 2, 16)


def test_a_walk_can_move_and_loop(run):
    result = run("interpolate", "seed:1", "seed:2", "seed:3", "--steps", 4, "--loop", *MODEL, "-o", "walk.gif")
    assert result.code == 0
    with Image.open("walk.gif") as gif:
        assert gif.info["loop"] == 0
        assert 2 <= len(list(ImageSequence.Iterator(gif))) <= 9  # Pillow joins frames that are the same


def test_rows_of_a_latents_file_are_keyframes(run, tmp_path):
    draw_folder(tmp_path / "d", 3)
    run("encode", "d", *MODEL)
    assert run("interpolate", "d.latents.safetensors", "--steps", 3, *MODEL).paths == ["d.png"]
    assert size("d.png")[0] == 5 * 18 - 2
    assert run("interpolate", "d.latents.safetensors#001.png", "seed:1", *MODEL).paths == ["001-seed1.png"]
    result = run("interpolate", "d.latents.safetensors#nope", "seed:1", *MODEL)
    assert "no latents named 'nope'" in result.err


def test_a_range_of_seeds_is_a_keyframe_each(run):
    assert run("interpolate", "seed:0-2", "--steps", 3, *MODEL).paths == ["seed0-2.png"]
    run("interpolate", "seed:0", "seed:1", "seed:2", "--steps", 3, *MODEL)
    assert (pixels("seed0-2.png") == pixels("seed0-seed2.png")).all()


@pytest.mark.parametrize("method", ["lerp", "slerp", "gaussian", "spline"])
def test_every_method_meets_the_keyframes(run, method):
    run("interpolate", "seed:0-2", "--steps", 3, "--method", method, *MODEL, "-o", "walk.png")
    run("sample", "--n", 3, "--columns", 3, *MODEL, "-o", "ends.png")
    walk, ends = pixels("walk.png"), pixels("ends.png")
    for number in range(3):
        assert abs(walk[:, 36 * number : 36 * number + 16] - ends[:, 18 * number : 18 * number + 16]).max() <= 1


def test_a_video_is_as_long_as_asked(run):
    result = run(
        "interpolate", "seed:0-2", "--loop", "--method", "spline", "--even", "--seconds", 2, "--fps", 24,
        "--scale", 3, *MODEL, "-o", "walk.mp4",
    )  # fmt: skip
    assert result.code == 0, result.err
    with av.open("walk.mp4") as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == 48
    assert frames[0].shape == (48, 48, 3)


def test_keyframes_are_held_and_labelled(run):
    run("interpolate", "seed:0", "seed:1", "--steps", 3, "--hold", 2, *MODEL, "-o", "held.png")
    held = pixels("held.png")
    assert held.shape[1] == 7 * 18 - 2
    assert (held[:, :16] == held[:, 36:52]).all()
    run("interpolate", "seed:0", "seed:1", "--labels", "--title", "Two", *MODEL, "-o", "labelled.png")
    assert size("labelled.png")[1] > 16 + 20


def test_a_grid_has_a_keyframe_at_every_crossing(run):
    assert run("interpolate", "seed:0-5", "--grid", "2x3", "--steps", 3, *MODEL).paths == ["seed0-5-grid.png"]
    assert size("seed0-5-grid.png") == (5 * 18 - 2, 3 * 18 - 2)
    run("sample", "--n", 6, "--columns", 3, *MODEL, "-o", "six.png")
    grid, six = pixels("seed0-5-grid.png"), pixels("six.png")
    assert abs(grid[36:52, 72:88] - six[18:34, 36:52]).max() <= 1


def test_corners_are_a_grid_of_two_by_two(run):
    run("interpolate", "seed:0-3", "--corners", "--steps", 4, *MODEL, "-o", "corners.png")
    run("interpolate", "seed:0-3", "--grid", "2x2", "--steps", 4, *MODEL, "-o", "grid.png")
    assert (pixels("corners.png") == pixels("grid.png")).all()


def test_an_analogy_stands_between_its_originals(run, photo):
    result = run("interpolate", photo, "seed:1", "seed:2", "--analogy", "--steps", 3, *MODEL, "-o", "j.png")
    assert result.code == 0
    assert size("j.png") == (5 * 18 - 2, 3 * 18 - 2)
    shown = pixels("j.png")
    assert (shown[18:34, :16] == 255).all()
    assert (shown[:16, :16] != 255).any()
    assert (shown[36:, 72:] == 255).all()  # nobody has seen the fourth corner


def test_a_chain_takes_a_row_and_a_column(run):
    assert run("interpolate", "seed:0-3", "--grid", "2x3", "--chain", "--steps", 3, "--labels", *MODEL).code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed:1"], "two keyframes"),
        (["seed:1", "seed:2", "seed:3", "--corners"], "--corners takes 4 keyframes, got 3"),
        (["seed:1", "seed:2", "--analogy"], "--analogy takes 3 keyframes, got 2"),
        (["seed:0-4", "--grid", "2x3"], "a grid of 2x3 takes 6 keyframes, got 5"),
        (["seed:0-4", "--grid", "2x3", "--chain"], "--chain takes 4 keyframes, got 5"),
        (["seed:0-4", "--chain"], "--chain goes with --grid"),
        (["seed:0-3", "--corners", "--analogy"], "one of --grid, --corners and --analogy"),
        (["seed:0-3", "--corners", "--loop"], "a grid takes --steps and --method"),
        (["seed:0-3", "--grid", "x"], "--grid takes ROWSxCOLUMNS"),
        (["seed:0-3", "--grid", "0x4"], "--grid takes ROWSxCOLUMNS"),
        (["seed:0-3", "--grid", "2x2", "--steps", "200"], "a sheet takes up to 10,000 images"),
        (["seed:0-1", "--seconds", "3"], "--seconds is of an animation"),
        (["seed:0-1", "--seconds", "0", "-o", "a.gif"], "--seconds must be above 0"),
        (["seed:0-1", "--hold", "-1"], "--hold must be 0"),
        (["seed:0-1", "--hold", "9", "--seconds", "1", "-o", "a.gif"], "too few for 2 keyframes"),
        (["seed:0-1", "--steps", "200000"], "--steps must be 2 to 10,000"),
        (["seed:0-1", "--fps", "0"], "--fps must be 0.1 to 100"),
        (["seed:0-1", "--seconds", "3600", "--fps", "100", "-o", "a.mp4"], "a walk takes up to 100,000 images"),
        (["seed:0-1", "--steps", "9000", "--scale", "32"], "megapixels"),
        (["seed:0-1", "--steps", "9000", "--scale", "32", "-o", "a.gif"], "megapixels"),
        (["seed:0-1", "--labels", "-o", "a.gif"], "--columns, --labels and --title are of a sheet"),
        (["seed:0-1", "--scale", "99"], "--scale takes 1 to 32, got 99"),
        (["seed:0-1", "-o", "a.avi"], "cannot write a.avi"),
        (["seed:x", "seed:1"], "seed: takes numbers and ranges"),
        (["seed:0-99999", "seed:1"], "seed: takes up to 10,000"),
    ],
)
def test_what_cannot_be_walked_is_refused_in_a_line(run, arguments, message):
    result = run("interpolate", *arguments, *MODEL)
    assert result.code in (1, 2)
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert not [name for name in os.listdir() if name.endswith((".png", ".gif", ".mp4"))]


def test_a_video_without_its_encoder_is_refused_before_anything_is_decoded(run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = run("interpolate", "seed:0-1", *MODEL, "-o", "a.webm")
    assert result.code == 1
    assert "pip install '.[video]'" in result.err
    assert not os.path.exists("a.webm")
