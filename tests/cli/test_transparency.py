"""A model with transparency from outside: what each command writes."""

import pytest
from PIL import Image

from latentcli.api import load
from tests.cli.conftest import pixels
from tests.conftest import TINY_ALPHA, draw_cut_out, draw_folder, write_model

MODEL = ("--model", "clear")


@pytest.fixture(autouse=True)
def clear(run, tmp_path):
    """An untrained model with transparency, with the vector `dot`."""
    folder = write_model(tmp_path / "models" / "clear", TINY_ALPHA)
    yes = draw_folder(tmp_path / "yes", 12, dot=True, mode="RGBA")
    no = draw_folder(tmp_path / "no", 12, first_seed=50, mode="RGBA")
    assert run("vectors", "fit", "dot", "--positive", yes, "--negative", no, *MODEL).code == 0
    return folder


def mode(path):
    with Image.open(path) as picture:
        return picture.mode


def test_single_pictures_have_alpha_and_sheets_do_not(run):
    assert mode(run("sample", "--n", 2, "--each", *MODEL).paths[0]) == "RGBA"
    assert mode(run("sample", "--n", 2, *MODEL).paths[0]) == "RGB"


def test_latents_are_decoded_with_alpha_or_onto_white(run):
    run("encode", "yes/000.png", *MODEL)
    latents = "000.latents.safetensors"
    assert mode(run("decode", latents, "-o", "one.png", *MODEL).paths[0]) == "RGBA"
    assert mode(run("decode", latents, "-o", "one.jpg", *MODEL).paths[0]) == "RGB"


@pytest.mark.parametrize("suffix", ["png", "gif", "webp"])
def test_a_walk_lies_on_a_checkerboard(run, suffix):
    path = run("interpolate", "yes/000.png", "no/000.png", "-o", f"walk.{suffix}", *MODEL).paths[0]
    with Image.open(path) as picture:
        assert picture.convert("RGBA").getchannel("A").getextrema() == (255, 255)


def test_apply_vector_writes_alpha_and_strips_without(run):
    assert mode(run("apply-vector", "yes/000.png", "--vector", "dot=2", *MODEL).paths[0]) == "RGBA"
    strip = run("apply-vector", "yes/000.png", "--vector", "dot", "--strip", "0:1:3", *MODEL).paths[0]
    assert mode(strip) == "RGB"


def test_a_transparent_picture_is_edited_with_its_alpha(run):
    draw_cut_out((40, 40), 3).save("cut.png")
    before, after = pixels("cut.png"), pixels(run("edit", "cut.png", "--vector", "dot=3000", *MODEL).paths[0])
    assert after.shape == (40, 40, 4)
    assert (after[:, :, 3] != before[:, :, 3]).any()


def test_an_opaque_picture_is_edited_and_stays_opaque(run, photo):
    path = run("edit", photo, "--vector", "dot=3000", *MODEL).paths[0]
    assert mode(path) == "RGB"
    assert (pixels(path) != pixels(photo)).any()


def test_the_python_model_takes_and_gives_transparent_pictures():
    model = load("models/clear")
    z = model.encode(draw_cut_out((20, 20), 1))
    assert [picture.mode for picture in model.decode(z)] == ["RGBA"]
    assert model.decode(z).picture().mode == "RGB"
