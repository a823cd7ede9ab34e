"""The search for copies: its parts against other implementations, and what it finds and does not find."""

import pytest
import torch
from scipy.stats import mannwhitneyu
from sklearn.neighbors import NearestNeighbors

from latentcli.evaluation.copies import compare, copied, nearest, thumbnails

DIMENSIONS = 20


def drawn(count, seed):
    return torch.randn(count, DIMENSIONS, generator=torch.Generator().manual_seed(seed))


def judged(samples, held_out, train):
    return copied(nearest(samples, [train])[0], nearest(held_out, [train])[0])


def test_the_nearest_are_those_of_scikit_learn_however_candidates_come():
    points, train = drawn(30, 0), drawn(100, 1)
    distances, rows = NearestNeighbors(n_neighbors=10).fit(train.numpy()).kneighbors(points.numpy())
    for batches in ([train], torch.split(train, 7)):
        found = nearest(points, batches)
        torch.testing.assert_close(found[0], torch.from_numpy(distances).float(), atol=1e-4, rtol=1e-4)
        assert (found[1] == torch.from_numpy(rows)).all()


def test_a_handful_of_candidates_is_enough():
    assert nearest(drawn(5, 0), [drawn(3, 1)])[0].shape == (5, 3)


@pytest.mark.parametrize("digits", [6, 1])
def test_the_probability_is_that_of_scipy_with_ties_too(digits):
    torch.manual_seed(0)
    samples, held_out = ((torch.rand(count, 10).sort().values * 9).round(decimals=digits) + 1 for count in (60, 80))
    ratios = [(distances[:, 0] / distances[:, -1]).numpy() for distances in (samples, held_out)]
    assert copied(samples, held_out)[1] == pytest.approx(mannwhitneyu(*ratios, alternative="less").pvalue, abs=1e-6)


@pytest.mark.parametrize("twins", [0, 3, 6, 10])
def test_copies_are_found_though_held_out_images_have_twins(twins):
    train, held_out = drawn(1000, 0), drawn(100, 1)
    share, chance = judged(train[:100] + 0.3 * drawn(100, 2), held_out, torch.cat([train, held_out[:twins]]))
    assert share > 0.7
    assert chance < 1e-6


def test_a_fifth_of_copies_is_found_and_counted():
    train = drawn(2000, 0)
    samples = torch.cat([train[:80] + 0.1 * drawn(80, 1), drawn(320, 2)])
    share, chance = judged(samples, drawn(400, 3), train)
    assert share == pytest.approx(0.2, abs=0.08)
    assert chance < 0.01


@pytest.mark.parametrize("change", [lambda z: z, lambda z: 0.8 * z, lambda z: z * (torch.arange(DIMENSIONS) < 12)])
def test_new_pictures_are_no_copies_though_of_low_temperature_or_blurred(change):
    share, chance = judged(change(drawn(200, 1)), drawn(200, 2), drawn(2000, 0))
    assert chance > 0.05
    assert share < 0.1


def test_blur_and_transparency_hardly_change_a_thumbnail():
    images = torch.rand(4, 4, 48, 48, generator=torch.Generator().manual_seed(0))
    images[:, :3] *= images[:, 3:]
    blurred = torch.nn.functional.avg_pool2d(images, 3).repeat_interleave(3, 2).repeat_interleave(3, 3)
    assert thumbnails(images).shape == (4, 3 * 8 * 8)
    torch.testing.assert_close(thumbnails(blurred), thumbnails(images))
    hidden = torch.zeros(1, 4, 48, 48)
    torch.testing.assert_close(thumbnails(hidden), torch.ones(1, 192))


def test_copies_in_one_of_the_two_spaces_are_enough():
    train = drawn(1000, 0)
    new, usual = (nearest(drawn(100, seed), [train])[0] for seed in (1, 2))
    copies = nearest(train[:100] + 0.1 * drawn(100, 3), [train])[0]
    for samples in ((new, copies), (copies, new)):
        assert compare(samples, (usual, usual)).by_chance < 1e-6
    assert compare((new, new), (usual, usual)).by_chance > 0.05
