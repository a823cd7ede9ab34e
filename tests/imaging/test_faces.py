"""On the public-domain portraits in `examples/`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from latentcli.config import ModelConfig
from latentcli.imaging import faces
from latentcli.imaging.faces import Face, find_faces
from tests.conftest import draw

EXAMPLES = Path(__file__).parents[2] / "examples"
HOPPER, COLLINS = (171.0, 130.0, 189.0), (175.0, 76.0, 98.0)  # left, top and side of the box, by eye


@pytest.fixture(scope="module")
def hopper():
    with Image.open(EXAMPLES / "grace-hopper.jpg") as picture:
        return picture.convert("RGB")


@pytest.fixture(scope="module")
def collins():
    with Image.open(EXAMPLES / "astronaut.png") as picture:
        return picture.convert("RGB")


def is_at(face, expected, tolerance=0.18):  # detectors differ by as much
    left, top, side = expected
    wanted = np.array([left + side / 2, top + side / 2, side])
    return np.abs(np.array([face.x, face.y, face.side]) - wanted).max() < tolerance * side


def test_a_face_is_found_where_it_is(hopper, collins):
    (face,), (other,) = find_faces(hopper), find_faces(collins)
    assert is_at(face, HOPPER)
    assert is_at(other, COLLINS)
    assert abs(face.roll) < 8
    assert abs(other.roll) < 12


@pytest.mark.parametrize("roll", [-30, -15, 15, 30])
def test_a_tilted_head_is_found_with_its_tilt(hopper, roll):
    (straight,) = find_faces(hopper)
    (face,) = find_faces(hopper.rotate(-roll, Image.Resampling.BICUBIC, center=(straight.x, straight.y)))
    assert face.roll - straight.roll == pytest.approx(roll, abs=8)
    assert (face.x, face.y) == pytest.approx((straight.x, straight.y), abs=0.1 * straight.side)


def test_a_head_on_its_side_is_found(hopper):
    (face,) = find_faces(hopper.rotate(-90, expand=True))
    assert face.roll == pytest.approx(90, abs=12)


@pytest.mark.parametrize("scale", [0.35, 4])
def test_small_and_large_photos_are_searched(hopper, scale):
    size = round(hopper.width * scale), round(hopper.height * scale)
    (face,) = find_faces(hopper.resize(size, Image.Resampling.LANCZOS))
    assert is_at(face, [scale * value for value in HOPPER])


def test_a_small_face_in_a_large_photo_is_found(hopper):
    wide = Image.new("RGB", (4000, 3000), (120, 140, 120))
    wide.paste(hopper.resize((410, 480)), (3000, 1500))
    (face,) = find_faces(wide)
    assert face.x == pytest.approx(3000 + 0.8 * 265, abs=30)


def test_faces_come_largest_first_and_smaller_ones_when_asked_for(hopper, collins):
    both = Image.new("RGB", (2600, 1200), "white")
    both.paste(hopper.resize((1024, 1200)), (0, 0))
    both.paste(collins, (1700, 300))
    found = find_faces(both, at_least=2)
    assert len(found) == 2
    assert found[0].side > found[1].side
    assert found[1].x > 1700


def test_no_face_is_seen_where_there_is_none():
    assert find_faces(draw((300, 200), 3)) == []
    assert find_faces(Image.new("RGB", (1, 1))) == []


def test_a_place_frames_the_face_as_training_crops_are():
    place = Face(100.0, 100.0, 50.0, 0.0, 1.0).place(ModelConfig().framing)
    assert place.width == pytest.approx(55.3, abs=0.01)
    assert (100 - place.x) / place.width == pytest.approx(0.503, abs=0.001)
    assert (100 - place.y) / place.height == pytest.approx(0.491, abs=0.001)
    tilted = Face(100.0, 100.0, 50.0, 90.0, 1.0).place((1.0, 0.5, 0.4))
    assert tilted.middle == pytest.approx((95.0, 100.0))  # the crop's middle is below the box's: to the left, turned


def test_a_dark_face_is_found(hopper):
    (face,) = find_faces(ImageEnhance.Brightness(hopper).enhance(0.2))
    assert is_at(face, HOPPER)


def test_what_only_one_network_takes_for_a_face_is_none(hopper, monkeypatch):
    run = faces._run

    def doubtful(view):
        points, scores = run(view)
        return points, scores if len(view) == 256 else 0 * scores

    monkeypatch.setattr(faces, "_run", doubtful)
    assert find_faces(hopper) == []


def test_a_face_does_not_vouch_for_a_place_beside_it(hopper):
    (face,) = find_faces(hopper)
    for shift in (0.8, 1.0):
        beside = replace(face, x=face.x + shift * face.side)
        assert faces._checked(lambda times: hopper.reduce(2**times) if times else hopper, beside).score < 0.5


def test_an_upside_down_head_has_a_roll_of_half_a_turn_at_most(hopper):
    for face in find_faces(hopper.rotate(180)):
        assert -180 <= face.roll <= 180
