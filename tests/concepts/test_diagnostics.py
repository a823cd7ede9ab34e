"""Diagnostics of vectors that are good, useless, unreliable or confounded."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from latentcli.concepts import diagnostics
from latentcli.concepts.diagnostics import Shift, Verdict, judge
from latentcli.concepts.fit import Examples, FitSettings, find
from latentcli.model.prior import Geometry
from tests.concepts.conftest import GAP, ROUND, drawn


def measure(examples, held_out, settings, where):
    return diagnostics.measure(examples, held_out, settings, where, find(examples, settings, where))


@pytest.fixture(scope="module")
def good():
    return measure(drawn(2000, 0), drawn(400, 1), FitSettings(), ROUND)[0]


def test_a_good_vector_needs_no_advice(good):
    assert good.auc > 0.97
    assert good.auc_lda > 0.97
    assert good.cosine > 0.99
    assert judge(good, 32) == Verdict("good")


def test_it_is_measured_on_the_held_out_images():
    train, held_out = drawn(600, 0), drawn(200, 1)
    found, scores = measure(train, held_out, FitSettings(), ROUND)
    v = find(train, FitSettings(), ROUND).v
    assert found.auc == pytest.approx(roc_auc_score(held_out.shows, held_out.z @ v))
    assert found.measured_on == "100 with and 100 without: held-out images"
    assert len(scores.shows) == 200
    assert scores.some().shows.sum() == 100


def test_without_held_out_images_it_is_cross_validated():
    found, _ = measure(drawn(60, 0), drawn(4, 1), FitSettings(), ROUND)
    assert "5-fold cross-validated" in found.measured_on
    assert found.auc > 0.9
    noise = drawn(60, 0, np.zeros(4))
    assert measure(noise, drawn(0, 1), FitSettings(), ROUND)[0].auc < 0.75  # not of the images it was fitted on


def test_shuffled_labels_are_no_better_than_chance():
    shuffled, held_out = (
        replace(drawn(count, seed), shows=np.random.default_rng(seed).permutation(count) % 2 == 0)
        for count, seed in ((400, 0), (200, 1))
    )
    found, _ = measure(shuffled, held_out, FitSettings(), ROUND)
    assert found.chance > 0.5
    assert judge(found, 32).advice.startswith("no better than chance")


def noise(seed, each, **more):
    """Latents of 48 dimensions whose labels mean nothing."""
    rng = np.random.default_rng(seed)
    return Examples(rng.standard_normal((2 * each, 48)), np.arange(2 * each) % 2 == 0, **more)


WIDE = Geometry(np.zeros(48), np.eye(48), lambda: np.zeros((1, 48)))


@pytest.mark.parametrize(("each", "held_out"), [(10, 0), (40, 0), (40, 60)])
def test_the_gap_of_random_labels_is_zero_within_its_interval(each, held_out, monkeypatch):
    monkeypatch.setattr(diagnostics, "_SHUFFLES", 1)
    inside = []
    for seed in range(40):
        found, _ = measure(noise(seed, each), noise(1000 + seed, held_out), FitSettings(), WIDE)
        inside.append(abs(found.gap) <= found.margin)
    assert np.sum(inside) >= 35


@pytest.mark.parametrize("pairs", [None, np.arange(40) // 2])
def test_p_values_of_random_labels_are_spread_evenly(pairs, monkeypatch):
    monkeypatch.setattr(diagnostics, "_SHUFFLES", 39)
    values = [measure(noise(seed, 20, pairs=pairs), noise(0, 0), FitSettings(), WIDE)[0].p_value for seed in range(60)]
    assert np.mean(values) == pytest.approx(0.5, abs=0.12)
    assert np.mean(np.array(values) <= 0.05) < 0.15


def test_p_values_of_a_concept_are_as_small_as_the_shuffles_allow(good):
    assert (good.shuffles, good.p_value) == (199, 1 / 200)
    slow, _ = measure(drawn(60, 0), drawn(0, 0), FitSettings("lda"), ROUND)
    assert (slow.shuffles, slow.p_value) == (19, 1 / 20)


def test_shuffles_keep_the_counts_of_folds_and_cells_and_swap_pairs():
    cell = np.arange(40) // 2 % 2
    folds = diagnostics._Folds(drawn(40, 0, cells={"c": cell}), np.arange(40) // 8, (0, 1, 2, 3, 4))
    for permutation in folds.shuffles(5, np.random.default_rng(0)):
        assert sorted(permutation) == list(range(40))
        assert np.array_equal(folds.fold[permutation], folds.fold)
        assert np.array_equal(cell[permutation], cell)
    pairs = np.arange(40) // 2
    paired = diagnostics._Folds(drawn(40, 0, pairs=pairs), pairs % 5, (0, 1, 2, 3, 4))
    for permutation in paired.shuffles(5, np.random.default_rng(0)):
        assert np.array_equal(pairs[permutation], pairs)


def test_the_auc_of_all_counts_the_images_between_the_thresholds():
    held_out = drawn(400, 1)
    hard = drawn(400, 2, GAP / 5)
    hard = replace(hard, z=hard.z + GAP * 2 / 5)
    args = drawn(600, 0), held_out, FitSettings(), ROUND
    direction = find(drawn(600, 0), FitSettings(), ROUND)
    found = diagnostics.measure(*args, direction, hard)[0]
    scores = np.concatenate([held_out.z, hard.z]) @ direction.v
    assert found.auc_all == pytest.approx(roc_auc_score(np.concatenate([held_out.shows, hard.shows]), scores))
    heavier = diagnostics.measure(*args, direction, hard, 20.0)[0]
    assert heavier.auc_all
    assert found.auc_all
    assert found.auc
    assert heavier.auc_all < found.auc_all < found.auc


def test_areas_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, shows = rng.integers(0, 9, (50, 2)).astype(float), rng.random((50, 2)) < 0.4
    expected = [roc_auc_score(shows[:, column], scores[:, column]) for column in range(2)]
    assert diagnostics.areas(scores, shows) == pytest.approx(expected)


def test_five_and_five_images_give_a_figure_and_a_warning():
    found, _ = measure(drawn(10, 0), drawn(0, 0), FitSettings(), ROUND)
    assert found.auc is not None
    found, _ = measure(drawn(8, 0), drawn(0, 0), FitSettings(), ROUND)
    assert found.auc is None
    assert "label 20 or more" in judge(found, 32).advice


def test_the_expected_cosine_of_a_classifier_is_that_with_the_true_vector():
    """Spearman-Brown from halves against the truth, over many draws."""
    gap = np.zeros(40)
    gap[0] = 1.5
    where = Geometry(np.zeros(40), np.eye(40), lambda: np.zeros((1, 40)))
    settings, said, true = FitSettings("lda", shrunk=False), [], []
    for seed in range(20):
        examples = drawn(100, seed, gap)
        direction = find(examples, settings, where)
        said.append(diagnostics._expected_cosine(examples, settings, where, direction, np.random.default_rng(0)) or 0)
        true.append(direction.v[0] / np.linalg.norm(direction.v))
    assert np.mean(said) == pytest.approx(np.mean(true), abs=0.06)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"auc": 0.6, "auc_lda": 0.6, "chance": 0.55}, "barely encodes the concept"),
        ({"cosine": 0.2}, "too few images"),
        ({"own_shift": Shift("smile", 3.0), "side_effects": (Shift("male", -1.2),)}, "try `balance_by` male"),
        (
            {"own_shift": Shift("smile", 3.0), "side_effects": (Shift("male", 1.2),), "balanced": "x"},
            "`orthogonal_to` male",
        ),
        ({"kept": 0.4}, "only 40% of its length is left"),
        ({"auc": 0.8}, "other factors vary along this direction"),
        ({"auc": None}, "too few images to measure"),
    ],
)
def test_the_worst_problem_comes_with_a_remedy(good, changes, text):
    assert text in judge(replace(good, **changes), 32).advice


def test_paired_images_are_measured_pair_by_pair():
    rng = np.random.default_rng(0)
    before = 5 * rng.standard_normal((60, 4))
    after = before + np.array([1.0, 0, 0, 0])
    pairs = np.tile(np.arange(60), 2)
    examples = Examples(np.concatenate([after, before]), np.arange(120) < 60, {}, pairs)
    found, _ = measure(examples, examples.take(np.zeros(120, dtype=bool)), FitSettings(), ROUND)
    assert find(examples, FitSettings(), ROUND).v == pytest.approx([1, 0, 0, 0])
    assert found.cosine == pytest.approx(1)


def test_few_images_in_cells_are_fitted_all_the_same():
    """Halves, folds and shuffles of them may have empty cells."""
    examples = drawn(10, 0, cells={"c": np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])})
    found, _ = measure(examples, drawn(0, 0), FitSettings(), ROUND)
    assert found.balanced


def test_folders_cannot_be_balanced_and_the_advice_does_not_say_so(good):
    confounded = replace(good, own_shift=Shift("smile", 3.0), side_effects=(Shift("male", -1.2),))
    assert "try `orthogonal_to` male" in judge(confounded, 32, has_columns=False).advice


def test_in_a_small_latent_space_the_model_is_to_blame_not_the_labels(good):
    absent = replace(good, auc=0.58, auc_lda=0.58, chance=0.55)
    assert "too small for this concept" in judge(absent, 2).advice
    assert judge(replace(absent, p_value=0.3), 2).advice.endswith("train with more latent dimensions")


def test_opposites_differ_from_twins(good):
    five = replace(good, own_shift=Shift("five", 1.4), side_effects=(Shift("six", -1.32),))
    assert judge(five, 2) == Verdict("opposite of six", "opposite of six (-1.32 sd) in this 2-D latent space")
    assert "one vector will do" in judge(five, 32).advice
    assert judge(replace(five, side_effects=(Shift("six", 1.32),)), 32).word == "same as six"


def test_a_vector_that_separates_poorly_is_weak_without_more_advice(good):
    assert judge(replace(good, auc=0.73, auc_lda=0.73), 32) == Verdict("weak")
