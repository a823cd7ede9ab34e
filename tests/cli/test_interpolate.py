"""`latentcli interpolate`: strips and animations."""

from PIL import Image

from tests.cli.conftest import MODEL, size
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
