"""Near-duplicates: what counts as one, and which images form a group."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter
from sklearn.datasets import load_digits

from latentcli.data import duplicates
from latentcli.data.duplicates import first_alike, has_alike


def scene(seed):
    """A 64x64 picture of soft shapes, like no other."""
    levels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(levels).resize((64, 64), Image.Resampling.BICUBIC)


def recompressed(picture):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=50)
    return Image.open(file)


def batch(pictures):
    return torch.stack([torch.from_numpy(np.array(picture.convert("RGB"))) for picture in pictures])


def groups(pictures):
    return first_alike([batch(pictures)], len(pictures)).tolist()


@pytest.mark.parametrize(
    "change",
    [
        recompressed,
        lambda picture: picture.resize((58, 58)).resize((64, 64)),
        lambda picture: ImageEnhance.Brightness(picture).enhance(0.9),
        lambda picture: ImageEnhance.Contrast(picture).enhance(1.2),
        lambda picture: picture.crop((1, 1, 64, 64)).resize((64, 64)),
        lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
    ],
)
def test_a_copy_that_was_changed_a_little_is_a_near_duplicate(change):
    pictures = [scene(seed) for seed in range(20)]
    assert groups([*pictures, change(pictures[3])]) == [*range(20), 3]


def test_other_pictures_mirrored_and_plain_ones_are_none():
    first = scene(0)
    mirrored = first.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    plain = [Image.new("RGB", (64, 64), colour) for colour in ("white", "white", "gray")]
    assert groups([first, mirrored, *plain]) == [0, 1, 2, 3, 4]


def test_copies_of_copies_are_one_group_named_by_its_first():
    first, second = scene(0), scene(1)
    half, most = Image.blend(first, second, 0.12), Image.blend(first, second, 0.24)
    assert groups([second, most, half, first])[1:] == [1, 1, 1]


def test_pictures_of_a_set_without_gaps_are_not_chained():
    first, second = scene(0), scene(1)
    found = first_alike([batch([Image.blend(first, second, part / 200) for part in range(200)])], 200)
    assert np.bincount(found).max() <= 10


def test_a_picture_added_leaves_the_groups_of_others_as_they_are():
    pictures = [scene(seed) for seed in range(12)] + [recompressed(scene(5))]
    assert groups([*pictures, scene(99), recompressed(scene(7))])[:13] == groups(pictures)


def test_transparent_pictures_are_compared_on_white():
    rng = np.random.default_rng(0)
    shapes = [Image.fromarray(rng.integers(0, 2, (4, 4)).astype(np.uint8) * 255).resize((64, 64)) for _ in range(5)]
    black = torch.stack([torch.from_numpy(np.array(shape)) for shape in shapes])
    x = torch.cat([torch.zeros(5, 64, 64, 3, dtype=torch.uint8), black[..., None]], dim=3)
    assert first_alike([torch.cat([x, x[2:3]])], 6).tolist() == [0, 1, 2, 3, 4, 2]


def test_very_many_images_are_not_compared(monkeypatch):
    monkeypatch.setattr(duplicates, "_MOST", 1)
    assert groups([scene(0), scene(0)]) == [0, 1]


def test_near_duplicates_in_another_set_are_found():
    pictures = [scene(seed) for seed in range(20)]
    others = [recompressed(scene(seed)) for seed in range(15, 40)]
    assert np.flatnonzero(has_alike([batch(pictures)], [batch(others)])).tolist() == [15, 16, 17, 18, 19]


def test_one_of_many_alike_in_another_set_is_no_near_duplicate():
    kind = [Image.blend(scene(0), scene(seed), 0.1) for seed in range(1, 30)]
    assert not has_alike([batch(kind[:1])], [batch(kind[1:])]).any()


def test_plain_pictures_of_a_kind_are_alike_without_being_near_duplicates():
    """Digits scaled up from 8x8 pixels: those of one figure are as alike as recompressed photos, but none is a copy."""
    digits = [Image.fromarray((pixels * 15.9).astype(np.uint8)) for pixels in load_digits().images[:600]]
    scaled = [digit.resize((20, 20), Image.Resampling.BICUBIC).convert("RGB") for digit in digits]
    high = [picture.point(lambda level: min(255, max(0, 3 * level - 255))) for picture in scaled]
    found = groups([*high, ImageEnhance.Brightness(high[5]).enhance(0.9)])
    assert found[-1] == found[5]
    assert np.unique(found, return_counts=True)[1].max() <= 3
    assert len(set(found)) >= 0.95 * 600
