"""`latentcli map`: planes of the latent space, and maps of images."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentcli.config import ModelConfig
from latentcli.model.modelfile import load_model
from latentcli.model.prior import StandardPrior
from latentcli.storage.latents import Latents
from tests.cli.conftest import MODEL, pixels, size
from tests.conftest import draw, draw_folder, write_model

PLAIN = ("--no-labels",)


@pytest.fixture
def flat_model(tmp_path):
    """A 2-D model without a fitted prior, as `models/flat`."""
    config = ModelConfig(width=16, height=16, channels=1, latent_dim=2, widths=(8, 8))
    return write_model(tmp_path / "models" / "flat", config, prior=StandardPrior(2))


def decoded(model, z):
    """Gray levels of one latent."""
    found = load_model(Path("models") / model).decode(np.array([z], dtype=np.float32))
    return np.rint(found[0].transpose(1, 2, 0) * 255).squeeze()


def test_the_plane_of_a_2d_model_goes_by_quantiles_of_the_standard_prior(run, flat_model):
    assert run("map", "--cells", 5, "--model", "flat", *PLAIN).paths == ["flat-z0-z1.png"]
    plane = pixels("flat-z0-z1.png")
    assert plane.shape[:2] == (80, 80)
    for row, column, z in ((4, 0, (-1.645, -1.645)), (2, 2, (0, 0)), (0, 4, (1.645, 1.645)), (2, 3, (0.603, 0))):
        cell = plane[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        wanted = decoded("flat", z)
        assert abs(cell.squeeze() - wanted).max() <= 2, (row, column)


def test_any_model_has_a_plane_of_components_or_vectors_around_a_photo(run, photo):
    draw_folder(Path("with"), 6, dot=True)
    draw_folder(Path("without"), 6, first_seed=6)
    assert run("vectors", "fit", "dot", "--positive", "with", "--negative", "without", *MODEL).code == 0
    assert run("map", *MODEL).paths == ["tiny-pc1-pc2.png"]
    assert size("tiny-pc1-pc2.png")[0] > 15 * 16
    result = run("map", "--axes", "dot,z3", "--of", photo, "--cells", "3x5", "--spacing", "quantiles", *PLAIN, *MODEL)
    assert result.paths == ["tiny-dot-z3-face.png"]
    assert size("tiny-dot-z3-face.png") == (48, 80)


def test_a_fan_shows_every_dimension(run):
    assert run("map", "--axes", "fan", "--cells", 4, *MODEL).paths == ["tiny-fan.png"]


def test_a_plane_may_be_a_disc_or_a_honeycomb(run, flat_model):
    for shape in ("square", "disc", "hexagons"):
        options = ("--cells", 7, "--shape", shape, "--model", "flat", *PLAIN, "-o", f"{shape}.png")
        assert run("map", *options).code == 0
    square, disc, hexagons = (pixels(f"{shape}.png") for shape in ("square", "disc", "hexagons"))
    assert (disc[:16, :16] == 255).all()
    assert (disc[48:64, 48:64] == square[48:64, 48:64]).all()
    assert hexagons.shape[0] < square.shape[0] * 0.9
    assert (hexagons[0, 0] == 255).all()
    assert run("map", "--axes", "fan", "--shape", "hexagons", "--cells", 4, *MODEL).code == 0


@pytest.fixture
def tree(tmp_path):
    """Two sub-folders of pictures."""
    draw_folder(tmp_path / "d" / "cats", 5)
    draw_folder(tmp_path / "d" / "dogs", 4, first_seed=9)
    return tmp_path / "d"


def test_images_are_mapped_with_a_frame_for_each_sub_folder(run, tree):
    assert run("map", "d", *MODEL).paths == ["d-map.png"]
    colours = {tuple(colour) for colour in pixels("d-map.png").reshape(-1, 3).astype(int).tolist()}
    assert {(0, 114, 178), (230, 159, 0)} <= colours
    result = run("map", "d", "--grid", "--columns", 3, "--method", "pca", *PLAIN, *MODEL, "-o", "grid.png")
    assert result.code == 0
    width, height = size("grid.png")
    assert width == height


def test_images_are_coloured_by_a_column_of_a_table(run, tree):
    Path("t.csv").write_text("file,age\n" + "".join(f"cats/{number:03d}.png,{number}\n" for number in range(5)))
    assert run("map", "d", "--table", "t.csv", "--column", "age", *MODEL).code == 0
    result = run("map", "d", "--table", "t.csv", "--column", "nope", *MODEL)
    assert "has no column 'nope'; it has age" in result.err
    Path("u.csv").write_text("file,age\nelsewhere.png,3\n")
    assert "names none of the images" in run("map", "d", "--table", "u.csv", "--column", "age", *MODEL).err


def test_latents_and_samples_are_mapped_by_their_decodings(run, tree):
    run("encode", "d", *MODEL)
    assert run("map", "d.latents.safetensors", *MODEL).paths == ["d-map.png"]
    assert run("map", "seed:0-8", "--method", "pca", *MODEL).paths == ["seed0-8-map.png"]


def test_the_nearest_images_are_mapped(run, tree):
    assert run("map", "d", "--near", tree / "cats" / "003.png", "--n", 4, *MODEL, "-o", "near.html").code == 0
    data = json.loads(re.findall(r"const data = (.*);$", Path("near.html").read_text(), re.MULTILINE)[0])
    assert len(data["names"]) == 4
    assert data["names"][0] == "cats/003.png"
    assert "--near takes one image" in run("map", "d", "--near", "seed:0-2", *MODEL).err
    assert "--n goes with --near" in run("map", "d", "--n", 3, *MODEL).err


def test_a_page_holds_names_points_and_pictures_and_loads_nothing(run, tree):
    (tree / "cats" / "<script>alert(1)<script>.png").write_bytes((tree / "cats" / "000.png").read_bytes())
    assert run("map", "d", *MODEL, "-o", "map.html").paths == ["map.html"]
    page = Path("map.html").read_text()
    assert page.count("<script>") == 1
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    data = json.loads(re.findall(r"const data = (.*);$", page, re.MULTILINE)[0])
    assert "cats/<script>alert(1)<script>.png" in data["names"]
    assert len(data["points"]) == len(data["names"]) == len(data["colours"]) == 10
    assert set(data["groups"]) == {"cats", "dogs"}
    assert run("map", "d", "--grid", *MODEL, "-o", "grid.html").code == 0


def test_an_unreadable_image_is_told_and_left_out(run, tree):
    (tree / "cats" / "broken.png").write_bytes(b"no picture")
    result = run("map", "d", *MODEL)
    assert result.code == 1
    assert "broken.png" in result.err
    assert os.path.exists("d-map.png")


def test_a_file_of_many_latents_is_mapped(run, tiny_model):
    rng = np.random.default_rng(0)
    model = load_model(tiny_model)
    names = tuple(f"{number}.png" for number in range(300))
    Latents(rng.normal(size=(300, 4)).astype(np.float32), names, model.model_id).save(Path("m.latents.safetensors"))
    assert run("map", "m.latents.safetensors", "--grid", *MODEL).code == 0
    with Image.open("m-map.png") as found:
        assert found.width * found.height < 5e6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--axes", "pc1"], "--axes takes two names"),
        (["--axes", "pc1,pc1"], "different names"),
        (["--axes", "pc1,pc2,pc3"], "up to 2 different names"),
        (["--axes", "pc1,pc9"], "the model has pc1 to pc4"),
        (["--axes", "z0,z4"], "the model has z0 to z3"),
        (["--axes", "z0,nothing"], "no vector nothing"),
        (["--axes", "fan", "--range", "2"], "leave out --of, --range and --spacing"),
        (["--cells", "1"], "--cells takes 2 or more"),
        (["--cells", "x"], "--cells takes 15 or 30x20"),
        (["--cells", "200"], "--cells takes 2 or more a side"),
        (["--cells", "90", "--scale", "32"], "megapixels"),
        (["--range", "0"], "--range takes more than 0"),
        (["--range", "nan"], "--range takes more than 0"),
        (["--of", "nowhere.png"], "nowhere.png"),
        (["--of", "seed:0-3"], "--of takes one image or latent, got 4"),
        (["--grid"], "take images"),
        (["seed:0-9", "--near", "seed:1", "--n", "1"], "--n takes 2"),
        (["seed:0-3", "--axes", "pc1,pc2"], "leave out the images"),
        (["seed:0-3", "--table", "t.csv"], "--table CSV and --column NAME go together"),
        (["seed:3"], "a map takes 2 to 100,000 images, got 1"),
        (["nowhere"], "nowhere"),
        (["seed:0-3", "-o", "map.avi"], "cannot write map.avi"),
    ],
)
def test_what_cannot_be_mapped_is_refused_in_a_line(run, arguments, message):
    result = run("map", *arguments, *MODEL)
    assert result.code in (1, 2)
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert not list(Path().glob("*.png"))


def test_a_1d_model_has_no_plane_but_rows(run, tmp_path):
    config = ModelConfig(width=16, height=16, channels=1, latent_dim=1, widths=(8, 8))
    write_model(tmp_path / "models" / "line", config, prior=StandardPrior(1))
    assert "takes two latent dimensions" in run("map", "--model", "line").err
    assert run("traverse", "--model", "line").code == 0
    draw_folder(tmp_path / "d", 5)
    draw((20, 20), 3).save("d/x.png")
    assert run("map", "d", "--model", "line").code == 0
