import numpy as np
import pytest
from PIL import Image

from latentcli.errors import UsageError
from latentcli.imaging.box import Box, cut
from tests.conftest import draw


def test_an_upright_box_is_cut_as_pillow_cuts():
    picture = draw((60, 40), 1)
    expected = picture.resize((16, 16), Image.Resampling.LANCZOS, box=(10, 5, 40, 35))
    np.testing.assert_array_equal(np.asarray(cut(picture, Box(10, 5, 30, 30), (16, 16))), np.asarray(expected))


@pytest.mark.parametrize("roll", [-75.0, -20.0, 15.0, 40.0])
def test_a_tilted_box_shows_upright_what_was_turned(roll):
    picture = draw((200, 200), 2, dot=True)
    turned = picture.rotate(-roll, Image.Resampling.BICUBIC)  # clockwise
    straight = np.asarray(cut(picture, Box(70, 70, 60, 60), (32, 32))).astype(int)
    again = np.asarray(cut(turned, Box(70, 70, 60, 60, roll), (32, 32))).astype(int)
    assert np.abs(straight - again).mean() < 3


def test_beyond_the_picture_its_border_goes_on():
    picture = Image.fromarray(np.tile(np.arange(0, 200, 10, dtype=np.uint8), (20, 1)))
    shown = np.asarray(cut(picture, Box(-10, 0, 20, 20), (20, 20)))
    assert (shown[:, :8] == 0).all()
    assert shown[10, 15] == 50
    assert np.asarray(cut(picture, Box(30, 30, 5, 5), (4, 4))).min() == 190


@pytest.mark.parametrize(
    "text", ["1,2,3", "1,2,3,4,5,6", "a,b,c,d", "0,0,0,5", "0,0,5,-5", "nan,0,5,5", "0,0,inf,5", ""]
)
def test_what_is_no_box_is_refused(text):
    with pytest.raises(UsageError, match="`box`"):
        Box.parse(text)


def test_text_and_place_are_one():
    place = Box(1.25, -3, 40.5, 40.5, -12.75)
    assert Box.parse(place.text()) == place


def test_a_premultiplied_picture_stays_premultiplied():
    picture = Image.new("RGBA", (20, 20), (200, 100, 50, 128)).convert("RGBa")
    for place in (Box(0, 0, 20, 20), Box(-5, -5, 30, 30), Box(5, 5, 10, 10, 30)):
        shown = cut(picture, place, (8, 8))
        assert shown.mode == "RGBa"
        assert np.abs(np.asarray(shown).astype(int) - [100, 50, 25, 128]).max() <= 1
