import numpy as np
import pytest
import torch
from PIL import Image

from latentcli.config import model_config
from latentcli.errors import ConfigError
from latentcli.photo import Photo, soft_threshold
from latentcli.photofile import FileTraits
from tests.conftest import TINY, draw

GRAY = model_config("digits", 16, 16, 1)
BOX = (10, 5, 30, 30)


def of(mode="RGB", alpha=None):
    return Photo(draw((60, 40), 1, mode), alpha, FileTraits())


def test_no_change_leaves_every_pixel():
    photo = of()
    merged = photo.merge(torch.zeros(3, 16, 16), BOX)
    np.testing.assert_array_equal(np.asarray(merged), np.asarray(photo.picture))


def test_a_change_stays_inside_the_box():
    photo = of()
    before, after = np.asarray(photo.picture), np.asarray(photo.merge(torch.full((3, 16, 16), 0.2), BOX))
    changed = (before != after).any(axis=2)
    assert changed[5:35, 10:40].any()
    changed[5:35, 10:40] = False
    assert not changed.any()


def test_the_middle_of_the_box_changes_by_what_was_asked():
    photo = Photo(Image.new("RGB", (60, 40), (100, 100, 100)), None, FileTraits())
    middle = np.asarray(photo.merge(torch.full((3, 16, 16), 0.2), BOX))[20, 25]
    np.testing.assert_array_equal(middle, [150, 150, 150])  # 0.2 less one gray level


def test_small_changes_are_dropped():
    levels = torch.tensor([-0.5, -0.003, 0.0, 0.003, 0.5])
    np.testing.assert_allclose(soft_threshold(levels).numpy(), [-0.496, 0, 0, 0, 0.496], atol=1e-3)


def test_a_gray_model_changes_all_channels_alike_and_a_gray_photo_stays_gray():
    colour = Photo(Image.new("RGB", (60, 40), (100, 120, 140)), None, FileTraits())
    change = np.asarray(colour.merge(torch.full((1, 16, 16), 0.1), BOX)).astype(int)[20, 25] - [100, 120, 140]
    assert len(set(change)) == 1
    assert of("L").merge(torch.full((3, 16, 16), 0.1), BOX).mode == "L"


def test_a_gray_photo_stored_as_colour_gets_no_tint():
    photo = Photo(draw((60, 40), 1, "L").convert("RGB"), None, FileTraits())
    tint = torch.tensor([0.3, 0.0, -0.2])[:, None, None].expand(3, 16, 16)
    after = np.asarray(photo.merge(tint, BOX))
    assert (after != np.asarray(photo.picture)).any()
    np.testing.assert_array_equal(after[:, :, 0], after[:, :, 1])
    np.testing.assert_array_equal(after[:, :, 0], after[:, :, 2])


def test_transparency_survives():
    alpha = Image.new("L", (60, 40), 77)
    merged = of(alpha=alpha).merge(torch.full((3, 16, 16), 0.2), BOX)
    assert merged.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(merged.getchannel("A")), 77)


def test_the_box_is_the_centre_or_what_was_asked():
    assert of().box(TINY, None) == (10, 0, 40, 40)
    assert of().box(TINY, (1, 2, 20, 20)) == (1, 2, 20, 20)


@pytest.mark.parametrize("box", [(50, 0, 20, 20), (0, 30, 20, 20), (0, 0, 0, 0), (0, 0, 30, 20)])
def test_boxes_outside_the_photo_or_of_another_shape_are_refused(box):
    with pytest.raises(ConfigError, match="--box"):
        of().box(TINY, box)


def test_the_crop_has_the_models_size():
    assert of().crop(TINY, BOX).shape == (16, 16, 3)
    assert of().crop(GRAY, BOX).shape == (16, 16, 1)
