"""Each way to a direction against a small case worked by hand: all of plat's `atvec` and InterFaceGAN's boundaries."""

from dataclasses import replace

import numpy as np
import pytest

from latentcli.concepts import fit
from latentcli.concepts.fit import Examples, FitSettings, Weights, find, gap_of
from latentcli.errors import ConfigError
from latentcli.model.prior import Geometry
from tests.concepts.conftest import GAP, ROUND, drawn

FLAT = Geometry(np.zeros(2), np.eye(2), lambda: np.random.default_rng(0).standard_normal((500, 2)))
# Eight latents: the concept moves the first dimension by 2, what goes along with it the second by 6.
POINTS = np.array([[0, 0], [0, 0], [0, 0], [0, 6], [2, 0], [2, 6], [2, 6], [2, 6]], dtype=float)
SHOWS = np.arange(8) >= 4
ALONG = (POINTS[:, 1] > 0).astype(int)


PLAIN = FitSettings(shrunk=False)


def test_the_default_is_the_difference_of_means():
    assert find(Examples(POINTS, SHOWS), PLAIN, FLAT).v == pytest.approx([2.0, 3.0])


def test_without_noise_the_class_gap_is_found_as_it_is():
    found = find(Examples(np.repeat(POINTS[[0, 7]], 9, axis=0), np.arange(18) >= 9), FitSettings(), FLAT)
    assert found.v == pytest.approx([2.0, 6.0], rel=1e-4)


def test_balancing_compares_within_cells():
    """Cells 0: 1 with, 3 without; 1: 3 with, 1 without. In both the concept alone is [2, 0]."""
    found = find(Examples(POINTS, SHOWS, {"along": ALONG}), PLAIN, FLAT)
    assert found.v == pytest.approx([2.0, 0.0])
    assert found.balanced == "by along, within 2 cells"
    assert found.thin == ("along 0: 1 with, 3 without", "along 1: 3 with, 1 without")


def test_cells_weigh_as_the_images_in_them_allow():
    """Gaps of 1 in a cell of 2 + 2 (weight 1) and of 4 in one of 1 + 1 (weight 1/2): (1 + 2) / 1.5 = 2."""
    z = np.array([[0, 0], [0, 0], [1, 0], [1, 0], [0, 0], [4, 0]], dtype=float)
    examples = Examples(z, np.array([0, 0, 1, 1, 0, 1], dtype=bool), {"c": np.array([0, 0, 0, 0, 1, 1])})
    assert gap_of(examples) == pytest.approx([2.0, 0.0])


def test_equal_cells_give_plat_s_balanced_vector():
    """With replication to equal cells: the mean of the cells' own differences."""
    rng = np.random.default_rng(0)
    z, shows, cell = rng.standard_normal((400, 4)), np.arange(400) % 2 == 0, np.arange(400) // 2 % 2
    by_hand = np.mean([z[shows & (cell == c)].mean(0) - z[~shows & (cell == c)].mean(0) for c in (0, 1)], axis=0)
    assert gap_of(Examples(z, shows, {"c": cell})) == pytest.approx(by_hand)


def test_where_cells_are_empty_a_regression_balances():
    """No image shows the concept in class 2; additive effects are found exactly."""
    shows = np.array([0, 1, 0, 1, 0, 0], dtype=bool)
    code = np.array([0, 0, 1, 1, 2, 2])
    z = np.stack([2.0 * shows, 5.0 * (code == 1) + 9.0 * (code == 2)], axis=1)
    found = find(Examples(z, shows, {"c": code}), FitSettings(), FLAT)
    assert found.v == pytest.approx([2.0, 0.0])
    assert "by regression on c" in found.balanced


def test_what_is_balanced_by_itself_is_refused():
    with pytest.raises(ConfigError, match="leave out a `balance_by`"):
        find(Examples(POINTS, SHOWS, {"same": SHOWS.astype(int)}), FitSettings(), FLAT)


@pytest.mark.parametrize("method", ["lda", "logistic", "svm"])
def test_a_filter_is_rescaled_to_move_its_own_score_by_one_class_gap(method):
    examples = drawn(4000, 0)
    found = find(examples, FitSettings(method, shrunk=False), ROUND).v
    gap = examples.z[examples.shows].mean(axis=0) - examples.z[~examples.shows].mean(axis=0)
    assert found @ found == pytest.approx(found @ gap, rel=1e-6)  # w = v up to its length
    assert found == pytest.approx(GAP, abs=0.25)  # in round classes all filters are the gap


def test_the_discriminant_is_the_gap_through_the_covariance():
    """Classes with variances 1 and 4: the noisier dimension counts a quarter."""
    rng = np.random.default_rng(0)
    shows = np.arange(20_000) % 2 == 0
    z = rng.standard_normal((20_000, 2)) * [1, 2] + shows[:, None] * [1.0, 1.0]
    w = fit.discriminant(Examples(z, shows), np.array([1.0, 1.0]))
    assert w[1] / w[0] == pytest.approx(0.25, abs=0.03)


def test_svm_finds_the_plane_between_two_points():
    z = np.repeat([[0.0, 0.0], [2.0, 0.0]], 10, axis=0)
    found = find(Examples(z, np.arange(20) >= 10), FitSettings("svm"), FLAT).v
    assert found == pytest.approx([2.0, 0.0], abs=1e-3)


@pytest.mark.parametrize("method", ["mean", "lda", "logistic", "svm"])
def test_every_method_can_be_balanced(method):
    """The second dimension shows only what goes along."""
    rng = np.random.default_rng(0)
    along = rng.integers(0, 2, 4000)
    shows = rng.random(4000) < np.where(along == 1, 0.8, 0.2)
    z = rng.standard_normal((4000, 4)) + shows[:, None] * [2.0, 0, 0, 0] + along[:, None] * [0, 3.0, 0, 0]
    plain, balanced = (
        find(Examples(z, shows, cells), FitSettings(method), ROUND).v for cells in ({}, {"along": along})
    )
    assert abs(balanced[1]) < 0.25
    assert abs(balanced[1]) <= abs(plain[1]) + 0.05
    assert balanced[0] == pytest.approx(2, abs=0.4)


def test_orthogonal_in_plain_space_is_interfacegan_s_projection():
    """n1 - (n1 . n2) n2, and least squares for two conditions."""
    examples = Examples(np.array([[0.0] * 4, [3.0, 4.0, 5.0, 0.0]] * 4), np.arange(8) % 2 == 1)
    one = find(examples, replace(PLAIN, others=[np.array([0.0, 2.0, 0, 0])], whitened=False), ROUND)
    assert one.v == pytest.approx([3, 0, 5, 0])
    assert one.kept == pytest.approx((34 / 50) ** 0.5)
    others = [np.array([0.0, 1.0, 0, 0]), np.array([0.0, 1.0, 1.0, 0])]
    assert find(examples, replace(PLAIN, others=others, whitened=False), ROUND).v == pytest.approx([3, 0, 0, 0])


def test_orthogonal_in_whitened_space_leaves_the_other_s_discriminant_alone():
    covariance = np.array([[2.0, 1.0], [1.0, 2.0]], dtype=np.float32)
    where = Geometry(np.zeros(2), covariance, FLAT.draw)
    other = np.array([1.0, 0.0])
    found = find(Examples(POINTS, SHOWS), FitSettings(others=[other]), where).v
    probe = np.linalg.inv(covariance) @ other
    assert probe @ found == pytest.approx(0, abs=1e-4)


def test_what_has_nothing_left_is_refused():
    examples = Examples(POINTS, SHOWS)
    with pytest.raises(ConfigError, match="nothing of the concept is left after"):
        find(examples, replace(PLAIN, others=[np.array([2.0, 3.0])]), FLAT)
    with pytest.raises(ConfigError, match="same mean latent"):
        find(Examples(np.ones((4, 2)), np.arange(4) % 2 == 0), FitSettings(), FLAT)
    with pytest.raises(ConfigError, match="got 8 and 0"):
        find(Examples(POINTS, np.ones(8, dtype=bool)), FitSettings(), FLAT)


def test_the_error_of_a_class_gap_is_that_of_many_draws():
    """Plain, within cells, by regression and in pairs: the said covariance against the scatter of 2,000 gaps."""
    cell = np.arange(40) // 2 % 3
    shows = np.arange(40) % 2 == 0
    for cells, pairs in (
        ({}, None),
        ({"c": cell}, None),
        ({"c": np.where(shows, cell, 3 * (cell == 0))}, None),
        ({}, np.arange(40) // 2),
    ):
        gaps, said = [], []
        for seed in range(2000):
            rng = np.random.default_rng(seed)
            shared = 2 * rng.standard_normal((20, 2)).repeat(2, axis=0) if pairs is not None else 0
            examples = Examples(rng.standard_normal((40, 2)) * [1, 2] + shared, shows, cells, pairs)
            weights = Weights.of(examples)
            gaps.append(weights.w @ examples.z)
            said.append(np.diag(weights.noise(examples, FLAT.covariance).covariance))
        assert np.mean(said, axis=0) == pytest.approx(np.var(gaps, axis=0), rel=0.1)


def test_halves_keep_pairs_together_and_kinds_even():
    examples = drawn(40, 0)
    for half in examples.halves(np.random.default_rng(0)):
        assert (half.shows.sum(), len(half)) == (10, 20)
    pairs = np.arange(40) // 2
    a, b = drawn(40, 0, pairs=pairs).halves(np.random.default_rng(0))
    assert set(a.pairs).isdisjoint(b.pairs)
    assert len(a) == len(b) == 20
