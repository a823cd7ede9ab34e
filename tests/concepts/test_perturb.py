from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from latentcli.concepts import perturb
from latentcli.config import AUGMENTATIONS
from latentcli.errors import UsageError
from latentcli.imaging.images import to_model_size
from tests.conftest import TINY_ALPHA, draw, draw_cut_out


def pixels(mode="RGB"):
    found = np.asarray(draw((24, 16), 3, mode, dot=True))
    return found if found.ndim == 3 else found[:, :, None]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_each_change_changes_the_picture_and_not_its_shape(kind, mode):
    if (kind, mode) == ("hue", "L"):
        with pytest.raises(UsageError, match="colour"):
            perturb.parse(kind)(pixels(mode))
        return
    before = pixels(mode)
    after = perturb.parse(kind)(before)
    assert (after.shape, after.dtype) == (before.shape, np.dtype(np.uint8))
    assert (after != before).any()


def test_what_is_turned_fully_round_or_left_alone_is_the_same():
    before = pixels()
    for text in ("brightness=1", "contrast=1", "rotate=0", "zoom=1"):
        assert np.array_equal(perturb.parse(text)(before), before)


def test_brightness_is_a_factor():
    gray = np.full((4, 4, 1), 100, np.uint8)
    assert perturb.parse("brightness=1.5")(gray).max() == 150


def test_zooming_enlarges_the_middle():
    picture = np.zeros((8, 8, 1), np.uint8)
    picture[3:5, 3:5] = 255
    assert (perturb.parse("zoom=2")(picture) > 127).sum() > 9


def test_rotating_brings_no_black_corners_in():
    bright = np.asarray(Image.new("RGB", (16, 16), (200, 200, 200)))
    assert perturb.parse("rotate=45")(bright).min() == 200


@pytest.mark.parametrize("text", ["spin", "blur=x", "blur=-1", "zoom=0", "", "hue=400", "rotate=nan"])
def test_changes_that_cannot_be_are_refused(text):
    with pytest.raises(UsageError, match="`augment`"):
        perturb.parse(text)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [2, 4])
def test_a_change_of_a_transparent_image_adds_nothing_where_nothing_is(kind, channels):
    if (kind, channels) == ("hue", 2):
        return
    before = to_model_size(draw_cut_out((16, 16), 1), replace(TINY_ALPHA, channels=channels))
    after = perturb.parse(kind)(before)
    assert (after != before).any()
    assert (after[:, :, :-1].astype(int) <= after[:, :, -1:].astype(int) + 8).all()  # bicubic overshoots


@pytest.mark.parametrize("kind", ["brightness", "contrast", "hue"])
def test_a_change_of_colours_leaves_the_outline(kind):
    before = to_model_size(draw_cut_out((16, 16), 1), TINY_ALPHA)
    after = perturb.parse(kind)(before)
    np.testing.assert_array_equal(after[:, :, 3], before[:, :, 3])
