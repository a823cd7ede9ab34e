"""One rule for the model: what decides in which order, and that every command follows it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from latentcli.errors import LatentCLIError
from latentcli.imaging.images import to_pictures, write_picture
from latentcli.model.modelfile import open_model
from latentcli.pipelines import choose as chooser
from latentcli.pipelines.choose import choose
from latentcli.storage import catalog
from latentcli.storage.latents import Latents
from tests.conftest import draw, draw_folder, write_model

EXAMPLES = Path(__file__).parents[2] / "examples"
VECTORS = [catalog.VectorRequest("smile", None)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A photo of a face, pictures like those that three bundled models learned from, and a landscape."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, seed in (("avatars", 3), ("emoji", 2), ("digits", 5)):
        model = open_model(catalog.find_model(name))
        z = model.prior.sample([seed])
        write_picture(to_pictures(model.decode(z))[0], folder / f"{name}.png")
    land = Image.linear_gradient("L").resize((300, 200)).convert("RGB")
    pen = ImageDraw.Draw(land)
    pen.polygon([(0, 200), (60, 80), (130, 160), (220, 60), (300, 200)], fill=(60, 110, 40))
    land.save(folder / "land.png")
    return {path.stem: path for path in folder.iterdir()} | {"faces": EXAMPLES / "grace-hopper.jpg"}


def test_a_line_says_the_model_why_and_a_licence_that_is_not_free(run, pictures):
    line = (
        f"model: faces (bundled, non-commercial research) explains {pictures['faces']} best of 5; another with --model"
    )
    assert line in run("encode", pictures["faces"]).err


@pytest.mark.parametrize("kind", ["faces", "avatars", "emoji", "digits"])
def test_without_own_models_a_picture_goes_to_the_bundled_model_that_explains_it(pictures, kind):
    choice = choose(None, [], [pictures[kind]])
    assert choice.entry.name == kind
    assert "best of 5" in choice.why
    assert not choice.notes


def test_a_picture_that_no_model_explains_is_taken_all_the_same_and_that_is_said(pictures):
    choice = choose(None, [], [pictures["land"]])
    assert choice.entry.name != "faces"  # which would have no face to move
    assert "unlike the images of" in choice.notes[0]


def test_a_named_vector_narrows_the_choice_and_the_picture_decides_the_rest(pictures):
    assert choose(None, VECTORS, [pictures["faces"]]).entry.name == "faces"
    assert choose(None, VECTORS, [pictures["avatars"]]).entry.name == "avatars"
    choice = choose(None, [catalog.VectorRequest("wink", None)], [pictures["faces"]])
    assert choice.entry.name == "avatars"
    assert choice.why == "has the vector wink"
    assert choice.notes == (f"{pictures['faces']} is unlike the images of avatars; faces explains it better",)


def test_a_named_model_is_taken_and_a_better_one_is_named(pictures):
    choice = choose("digits", [], [pictures["faces"]])
    assert choice.entry.name == "digits"
    assert not choice.why
    assert "faces explains it better" in choice.notes[0]


def test_without_pictures_the_latest_of_ones_own_is_taken(tmp_path):
    assert catalog.choose(None).entry.name == "avatars"
    assert catalog.choose(None, bundled=catalog.PHOTO_MODEL).entry.name == "faces"
    write_model(tmp_path / "models" / "old", finished_at="2026-01-01T00:00:00+00:00")
    write_model(tmp_path / "models" / "new", seed=1, finished_at="2026-01-02T00:00:00+00:00")
    choice = catalog.choose(None)
    assert (choice.entry.name, choice.why) == ("new", "is your latest")
    assert choose(None, [], ["seed:3"]).entry.name == "new"


def test_the_latest_of_ones_own_is_taken_for_what_it_knows_and_another_for_the_rest(tmp_path, monkeypatch, pictures):
    write_model(tmp_path / "models" / "mine")
    monkeypatch.setattr(chooser, "_limit", lambda entry: 1.0 if entry.name == "mine" else 0.01)
    choice = choose(None, [], [pictures["faces"]])
    assert choice.entry.name == "mine"
    assert choice.why.startswith("is your latest, and knows")
    monkeypatch.setattr(chooser, "_limit", lambda entry: 0.0001 if entry.name == "mine" else 0.01)
    assert choose(None, [], [pictures["faces"]]).entry.name == "faces"


def test_an_own_model_that_was_never_measured_may_know_anything(tmp_path, pictures):
    write_model(tmp_path / "models" / "mine")
    assert choose(None, [], [pictures["faces"]]).entry.name == "mine"


def test_latents_go_to_the_model_that_made_them():
    entry = catalog.find_model("emoji")
    Latents(np.zeros((1, 192)), ("a.png",), entry.model_id).save(Path("a.latents.safetensors"))
    for subject in ("a.latents.safetensors", "a.latents.safetensors#a.png"):
        choice = choose(None, [], [subject])
        assert (choice.entry.name, choice.why) == ("emoji", "made these latents")


def test_a_folder_is_judged_by_some_of_its_pictures(pictures):
    folder = Path("digits")
    folder.mkdir()
    for number in range(7):
        (folder / f"{number}.png").write_bytes(pictures["digits"].read_bytes())
    (folder / "broken.png").write_bytes(b"no picture")
    assert choose(None, [], [folder]).entry.name == "digits"


def test_pictures_that_cannot_be_read_leave_the_choice_to_the_rest_of_the_rule(tmp_path):
    (tmp_path / "empty").mkdir()
    assert choose(None, [], ["missing.png", tmp_path / "empty"]).entry.name == "avatars"


def test_a_choice_that_loaded_the_model_does_not_load_it_again(pictures):
    entry = choose(None, [], [pictures["digits"]]).entry
    assert open_model(entry) is entry.loaded


COMMANDS = {
    "edit": ("edit", "me.png", "--vector", "z0"),
    "apply-vector": ("apply-vector", "me.png", "--vector", "z0"),
    "interpolate": ("interpolate", "seed:1", "me.png"),
    "encode": ("encode", "me.png"),
    "sample": ("sample", "--near", "me.png"),
    "traverse": ("traverse", "--of", "me.png"),
    "map --of": ("map", "--of", "me.png"),
    "map": ("map", "me.png", "seed:0"),
    "map --near": ("map", "seed:0-3", "--near", "me.png"),
    "vectors fit": ("vectors", "fit", "x", "--positive", "me.png", "--negative", "not"),
    "explore": ("explore", "--static", "page.html", "--map", "me.png"),
    "decode": ("decode", "me.png"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_that_is_given_pictures_chooses_by_them(run, monkeypatch, command):
    draw((60, 40), seed=5).save("me.png")
    draw_folder(Path("not"), 2)
    seen: list[str] = []

    def watched(wanted, vectors, subjects, *rest):
        seen.extend(map(str, subjects))
        raise LatentCLIError("seen")

    monkeypatch.setattr(chooser, "choose", watched)
    assert run(*command).err == "latentcli: seen\n"
    assert "me.png" in seen
