import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import convolve

from latentcli.concepts.edit import EditRequest
from latentcli.errors import ConfigError
from latentcli.imaging.box import Box
from latentcli.photo.merge import Merged, merge
from tests.conftest import close

SIDE, MODEL = 128, 64
WHOLE = (0, 0, SIDE, SIDE)
PLACE = Box(0, 0, SIDE, SIDE)
MOUTH = slice(76, 96), slice(40, 88)


def line(length, row, side=SIDE):
    """A dark line on gray, sharp."""
    image = np.full((3, side, side), 0.6, dtype=np.float32)
    share = side // MODEL
    middle, half = side // 2, length * share // 2
    image[:, row * share : (row + 2) * share, middle - half : middle + half] = 0.15
    return image


def texture(seed=0):
    return 0.03 * np.random.default_rng(seed).standard_normal((1, SIDE, SIDE), np.float32)


def blurred(image):
    """As a decoder draws: at its own size, and softly."""
    kernel = np.array([0.25, 0.5, 0.25], dtype=np.float32)
    small = resized(image, (MODEL, MODEL), Image.Resampling.BOX)
    return np.stack([convolve(layer, kernel[:, None] * kernel, mode="nearest") for layer in small])


def resized(image, size, way=Image.Resampling.BILINEAR):
    return np.stack([np.asarray(Image.fromarray(layer).resize(size, way)) for layer in image])


@pytest.fixture
def lines():
    """A textured photo with a line, and decodings of it and of what is to be: the line further down."""
    before, after = line(24, 40), line(24, 45)
    return np.clip(before + texture(), 0, 1), blurred(before), blurred(after)


def edges(image):
    gray = image.mean(axis=0)
    return gray[1:-1, 1:-1] * 4 - gray[:-2, 1:-1] - gray[2:, 1:-1] - gray[1:-1, :-2] - gray[1:-1, 2:]


def test_equal_decodings_change_nothing(lines):
    photo, before, _ = lines
    merged = merge(photo, WHOLE, before, before, PLACE, EditRequest())
    assert not merged.change.any()
    assert not merged.mask.any()


@pytest.mark.parametrize("way", ["residual", "ratio", "decode"])
def test_nothing_changes_outside_the_mask(lines, way):
    photo, before, after = lines
    merged = merge(photo, WHOLE, before, after, PLACE, EditRequest(merge=way))
    assert np.abs(merged.change).max() > 0.1
    assert not merged.change[:, merged.mask == 0].any()
    assert (merged.mask == 0).any()


def test_no_ghost_of_what_is_edited_away_is_left(lines):
    photo, before, after = lines
    old_line = slice(80, 84), slice(44, 84)
    ghosts = {}
    for detail in (0.5, 1.0):
        result = photo + merge(photo, WHOLE, before, after, PLACE, EditRequest(detail=detail)).change
        ghosts[detail] = abs(float(result[:, *old_line].mean() - result[:, 20:60, 44:84].mean()))
    assert ghosts[0.5] < 0.5 * ghosts[1.0]


def test_it_is_sharper_than_what_the_decoder_draws(lines):
    photo, before, after = lines
    sharpness = {}
    for name, how in {"residual": EditRequest(), "decode": EditRequest(merge="decode")}.items():
        result = photo + merge(photo, WHOLE, before, after, PLACE, how).change
        sharpness[name] = edges(result)[MOUTH].var() / edges(photo)[MOUTH].var()
    assert sharpness["residual"] < 1.2
    assert sharpness["decode"] < 0.5 * sharpness["residual"]


def test_texture_stays_where_the_photo_is_redrawn(lines):
    photo, before, after = lines
    result = photo + merge(photo, WHOLE, before, after, PLACE, EditRequest()).change
    beside = slice(70, 76), slice(44, 84)
    kept = np.corrcoef(edges(result)[beside].ravel(), edges(photo)[beside].ravel())[0, 1]
    assert kept > 0.7


def test_a_vector_of_light_still_lights(lines):
    photo, before, _ = lines
    change = merge(photo, WHOLE, before, np.clip(before + 0.2, 0, 1), PLACE, EditRequest(detail=1)).change
    assert change[:, 40:60, 40:90].mean() == pytest.approx(0.2, abs=0.02)


def test_a_ratio_keeps_the_hue(lines):
    _, before, after = lines
    photo = np.array([0.6, 0.4, 0.2], dtype=np.float32)[:, None, None] * np.ones((1, SIDE, SIDE), dtype=np.float32)
    before, after = (decoded.mean(0, keepdims=True) for decoded in (before, after))
    result = photo + merge(photo, WHOLE, before, after, PLACE, EditRequest(merge="ratio")).change
    assert np.abs(result - photo).max() > 0.05
    close(result[0] / result[2], np.full((SIDE, SIDE), 3.0, dtype=np.float32), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("roll", [0.0, 20.0, -35.0])
def test_an_edit_lies_where_its_tilted_box_does(roll):
    photo = np.full((3, 200, 200), 0.5, dtype=np.float32)
    before = np.full((3, MODEL, MODEL), 0.5, dtype=np.float32)
    after = before.copy()
    after[:, 8:24, 8:24] = 0.9  # up and to the left of the middle, which is at (16, 16) of 64
    place = Box(60, 60, 80, 80, roll)
    change = merge(photo, (0, 0, 200, 200), before, after, place, EditRequest(detail=1)).change.mean(0).clip(0)
    y, x = (
        float((change * np.arange(200.0)[shape]).sum() / change.sum()) + 0.5
        for shape in (np.s_[:, None], np.s_[None, :])
    )
    cosine, sine = place.axes
    offset = (16 / 64 - 0.5) * 80
    assert x == pytest.approx(100 + offset * cosine - offset * sine, abs=1)
    assert y == pytest.approx(100 + offset * sine + offset * cosine, abs=1)


def test_large_photos_change_as_small_ones_do():
    before, after = blurred(line(24, 40)), blurred(line(24, 45))
    large = resized(line(24, 40), (1024, 1024))
    big = merge(large, (0, 0, 2400, 2400), before, after, Box(0, 0, 2400, 2400), EditRequest())
    small = merge(line(24, 40), WHOLE, before, after, PLACE, EditRequest()).change
    rows = np.concatenate([big.rows(top, top + 300, (2400, 2400)) for top in range(0, 2400, 300)], axis=1)
    shrunk = resized(rows, (SIDE, SIDE), Image.Resampling.BOX)
    assert np.abs(shrunk - small).mean() < 0.01


def test_rows_of_a_change_are_those_of_the_whole():
    change = Merged(np.random.default_rng(0).random((3, 17, 31), np.float32), np.ones((17, 31), dtype=np.float32))
    whole = resized(change.change, (90, 50))
    rows = np.concatenate([change.rows(0, 20, (90, 50)), change.rows(20, 50, (90, 50))], axis=1)
    close(rows, whole)


def test_a_box_of_few_pixels_works():
    before, after = blurred(line(24, 40)), blurred(line(24, 45))
    photo = np.full((3, 20, 20), 0.5, dtype=np.float32)
    assert merge(photo, (5, 5, 12, 12), before, after, Box(5, 5, 7, 7), EditRequest()).change.shape == (3, 20, 20)
    one = merge(photo[:, :1, :1], (0, 0, 1, 1), before, after, Box(0, 0, 1, 1), EditRequest())
    assert np.isfinite(one.change).all()


@pytest.mark.parametrize("wrong", [{"detail": -0.1}, {"detail": 1.5}, {"detail": float("nan")}, {"merge": "paint"}])
def test_what_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"`detail`|`merge`"):
        EditRequest(**wrong)
