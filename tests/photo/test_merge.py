import numpy as np
import pytest
import torch
import torch.nn.functional as F

from latentcli.box import Box
from latentcli.concepts.edit import EditRequest
from latentcli.errors import ConfigError
from latentcli.photo.merge import Merged, merge

SIDE, MODEL = 128, 64
WHOLE = (0, 0, SIDE, SIDE)
PLACE = Box(0, 0, SIDE, SIDE)
MOUTH = slice(76, 96), slice(40, 88)


def line(length, row, side=SIDE):
    """A dark line on gray, sharp."""
    image = torch.full((3, side, side), 0.6)
    share = side // MODEL
    middle, half = side // 2, length * share // 2
    image[:, row * share : (row + 2) * share, middle - half : middle + half] = 0.15
    return image


def texture(seed=0):
    return 0.03 * torch.randn(1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)).expand(3, -1, -1)


def blurred(image):
    """As a decoder draws: at its own size, and softly."""
    kernel = torch.tensor([0.25, 0.5, 0.25])
    small = F.interpolate(image[None], (MODEL, MODEL), mode="area")
    weights = (kernel[:, None] * kernel).expand(3, 1, 3, 3)
    return F.conv2d(F.pad(small, (1, 1, 1, 1), mode="replicate"), weights, groups=3)[0]


@pytest.fixture
def lines():
    """A textured photo with a line, and decodings of it and of what is to be: the line further down."""
    before, after = line(24, 40), line(24, 45)
    return (before + texture()).clamp(0, 1), blurred(before), blurred(after)


def edges(image):
    gray = image.mean(dim=0).numpy()
    return gray[1:-1, 1:-1] * 4 - gray[:-2, 1:-1] - gray[2:, 1:-1] - gray[1:-1, :-2] - gray[1:-1, 2:]


def test_equal_decodings_change_nothing(lines):
    photo, before, _ = lines
    merged = merge(photo, WHOLE, before, before, PLACE, EditRequest())
    assert not merged.change.any()
    assert not merged.mask.any()


@pytest.mark.parametrize("way", ["residual", "ratio", "decode"])
def test_nothing_changes_outside_the_mask(lines, way):
    merged = merge(lines[0], WHOLE, *lines[1:], PLACE, EditRequest(merge=way))
    assert merged.change.abs().max() > 0.1
    assert not merged.change[:, merged.mask == 0].any()
    assert (merged.mask == 0).any()


def test_no_ghost_of_what_is_edited_away_is_left(lines):
    photo, before, after = lines
    old_line = slice(80, 84), slice(44, 84)
    ghosts = {}
    for detail in (0.5, 1.0):
        result = photo + merge(photo, WHOLE, before, after, PLACE, EditRequest(detail=detail)).change
        ghosts[detail] = float((result[:, *old_line].mean() - result[:, 20:60, 44:84].mean()).abs())
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


def test_light_that_changes_everywhere_alike_is_left_out_beside_a_local_change(lines):
    photo, before, after = lines
    warmer = (after + 0.04).clamp(0, 1)
    plain, shifted = (merge(photo, WHOLE, before, other, PLACE, EditRequest()).change for other in (after, warmer))
    assert (plain - shifted).abs().mean() < 0.004


def test_a_vector_of_light_still_lights(lines):
    photo, before, _ = lines
    change = merge(photo, WHOLE, before, (before + 0.2).clamp(0, 1), PLACE, EditRequest(detail=1)).change
    assert change[:, 40:60, 40:90].mean() == pytest.approx(0.2, abs=0.02)


def test_a_ratio_keeps_the_hue(lines):
    _, before, after = lines
    photo = torch.tensor([0.6, 0.4, 0.2])[:, None, None].expand(3, SIDE, SIDE)
    result = (
        photo + merge(photo, WHOLE, before.mean(0, True), after.mean(0, True), PLACE, EditRequest(merge="ratio")).change
    )
    assert (result - photo).abs().max() > 0.05
    torch.testing.assert_close(result[0] / result[2], torch.full((SIDE, SIDE), 3.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("roll", [0.0, 20.0, -35.0])
def test_an_edit_lies_where_its_tilted_box_does(roll):
    photo = torch.full((3, 200, 200), 0.5)
    before = torch.full((3, MODEL, MODEL), 0.5)
    after = before.clone()
    after[:, 8:24, 8:24] = 0.9  # up and to the left of the middle, which is at (16, 16) of 64
    place = Box(60, 60, 80, 80, roll)
    change = merge(photo, (0, 0, 200, 200), before, after, place, EditRequest(detail=1)).change.mean(0).clamp_min(0)
    y, x = (
        float((change * torch.arange(200.0)[shape]).sum() / change.sum()) + 0.5
        for shape in (np.s_[:, None], np.s_[None, :])
    )
    cosine, sine = place.axes
    offset = (16 / 64 - 0.5) * 80
    assert x == pytest.approx(100 + offset * cosine - offset * sine, abs=1)
    assert y == pytest.approx(100 + offset * sine + offset * cosine, abs=1)


def test_large_photos_change_as_small_ones_do():
    before, after = blurred(line(24, 40)), blurred(line(24, 45))
    large = F.interpolate(line(24, 40)[None], (1024, 1024), mode="bilinear")[0]
    big = merge(large, (0, 0, 2400, 2400), before, after, Box(0, 0, 2400, 2400), EditRequest())
    small = merge(line(24, 40), WHOLE, before, after, PLACE, EditRequest()).change
    rows = torch.cat([big.rows(top, top + 300, (2400, 2400)) for top in range(0, 2400, 300)], dim=1)
    shrunk = F.interpolate(rows[None], (SIDE, SIDE), mode="area")[0]
    assert (shrunk - small).abs().mean() < 0.01


def test_rows_of_a_change_are_those_of_the_whole():
    change = Merged(torch.rand(3, 17, 31), torch.ones(17, 31))
    whole = F.interpolate(change.change[None], (50, 90), mode="bilinear")[0]
    rows = torch.cat([change.rows(0, 20, (90, 50)), change.rows(20, 50, (90, 50))], dim=1)
    torch.testing.assert_close(rows, whole)


def test_a_box_of_few_pixels_works():
    before, after = blurred(line(24, 40)), blurred(line(24, 45))
    photo = torch.full((3, 20, 20), 0.5)
    assert merge(photo, (5, 5, 12, 12), before, after, Box(5, 5, 7, 7), EditRequest()).change.shape == (3, 20, 20)
    assert merge(photo[:, :1, :1], (0, 0, 1, 1), before, after, Box(0, 0, 1, 1), EditRequest()).change.isfinite().all()


@pytest.mark.parametrize("wrong", [{"detail": -0.1}, {"detail": 1.5}, {"detail": float("nan")}, {"merge": "paint"}])
def test_what_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"--detail|--merge"):
        EditRequest(**wrong)
