from dataclasses import replace

import numpy as np
import pytest

from latentcli.concepts.diagnostics import Shift
from latentcli.concepts.fit import Examples, FitSettings
from latentcli.concepts.vector import ConceptVector, combine, fit, probe
from latentcli.errors import ConfigError, FileFormatError, ModelMismatch
from latentcli.storage.latents import Latents
from tests.concepts.conftest import GAP, ROUND, drawn
from tests.conftest import close


@pytest.fixture
def latents():
    return Latents(
        np.random.default_rng(0).standard_normal((3, 4), np.float32), ("a.png", "b.png", "c.png"), "0123456789ab"
    )


def test_the_direction_is_the_gap_between_the_means(smile):
    assert smile.direction == pytest.approx(GAP, abs=0.2)
    assert (smile.positives, smile.negatives) == (1000, 1000)


def test_class_means_and_deviation_are_those_of_images_that_it_was_not_fitted_on(smile):
    held_out = drawn(400, 1)
    scores = smile.score(held_out.z)
    assert smile.mean_positive == pytest.approx(scores[held_out.shows].mean(), abs=1e-3)
    assert smile.mean_negative == pytest.approx(scores[~held_out.shows].mean(), abs=1e-3)
    assert smile.sigma == pytest.approx(1, abs=0.1)
    assert smile.gap_in_sigma == pytest.approx(10**0.5, abs=0.3)
    assert smile.length_in_sigma == pytest.approx(10**0.5, abs=0.3)


def test_the_threshold_lies_between_the_means(smile):
    assert smile.mean_negative < smile.threshold < smile.mean_positive


def test_the_threshold_is_the_best_of_all(smile):
    """plat's search assumes one hill; the scan does not."""
    examples = drawn(400, 1)
    scores = examples.z @ (smile.direction / np.linalg.norm(smile.direction))

    def rates(cut):
        return (scores[examples.shows] >= cut).mean() + (scores[~examples.shows] < cut).mean()

    assert rates(smile.threshold + 1e-4) >= max(rates(cut) for cut in np.linspace(-3, 6, 500)) - 0.006


def test_percentiles_are_those_of_the_measured_images(smile):
    scores = smile.score(drawn(400, 1).z.astype(np.float32))
    assert float(smile.percentiles[0]) == pytest.approx(float(scores.min()), abs=1e-3)
    assert smile.percentile(scores).mean() == pytest.approx(50, abs=1)


def test_with_too_few_images_to_measure_the_model_s_latents_stand_for_them():
    few = fit("few", drawn(6, 0), drawn(0, 1), FitSettings(), ROUND, "0123456789ab", {})
    assert (few.auc, few.gap_in_words) == (None, "-")
    assert few.mean_positive - few.mean_negative == pytest.approx(float(np.linalg.norm(few.direction)), rel=1e-4)
    assert few.sigma == pytest.approx(1, abs=0.1)


def test_images_that_are_alike_have_no_deviation_to_measure_a_gap_in():
    examples = Examples(np.arange(20)[:, None] % 2 * np.array([1.1, 0.3, 0, 0]), np.arange(20) % 2 == 1)
    alike = fit("alike", examples, drawn(0, 1), FitSettings(), ROUND, "0123456789ab", {})
    assert (alike.auc, alike.sigma, alike.gap_in_words) == (1, 0, "-")


def test_a_gap_is_said_with_its_interval_and_without_labels_it_is_the_length(smile):
    assert smile.gap_in_words == f"{smile.diagnostics.gap:.2f} ± {smile.diagnostics.margin:.2f}"
    double = combine("double", [(smile, 2.0)], ROUND)
    assert double.gap_in_words == f"{double.length_in_sigma:.2f}"


def test_a_probe_s_scores_have_a_deviation_of_one_within_a_class():
    examples = drawn(4000, 0)
    scores = examples.z @ probe(examples)
    assert scores[examples.shows].std() == pytest.approx(1, abs=0.05)
    assert scores[examples.shows].mean() - scores[~examples.shows].mean() == pytest.approx(10**0.5, abs=0.15)


def test_opposite_strengths_cancel(latents, smile):
    there_and_back = smile.apply(smile.apply(latents, 2.0), -2.0)
    close(there_and_back.z, latents.z)


def test_latents_of_another_model_are_refused(latents, smile):
    with pytest.raises(ModelMismatch):
        smile.apply(replace(latents, model_id="ffff"), 1.0)


def test_it_survives_the_file(tmp_path, smile):
    shifts = {"own_shift": Shift("smile", 3.0), "side_effects": (Shift("male", -0.1, -0.6),)}
    smile = replace(smile, diagnostics=replace(smile.diagnostics, **shifts))
    smile.save(tmp_path / "smile.safetensors")
    read = ConceptVector.load(tmp_path / "smile.safetensors")
    for name in ("direction", "percentiles", "probe"):
        assert np.array_equal(getattr(read, name), getattr(smile, name))
    for name in ("name", "model_id", "method", "positives", "negatives", "diagnostics", "recipe", "sigma", "threshold"):
        assert getattr(read, name) == getattr(smile, name)
    assert read.scores
    assert read.scores.projection == pytest.approx(smile.scores.projection, abs=1e-5)


@pytest.mark.parametrize(
    "change", [{"percentiles": np.zeros(3, dtype=np.float32)}, {"direction": np.zeros(4, dtype=np.float32)}]
)
def test_a_vector_that_cannot_be_used_is_refused(tmp_path, smile, change):
    replace(smile, **change).save(tmp_path / "bad.safetensors")
    with pytest.raises(FileFormatError, match="usable direction"):
        ConceptVector.load(tmp_path / "bad.safetensors")


def test_a_sum_of_vectors_is_a_vector(smile):
    other = fit("up", drawn(2000, 2, np.array([0, 2.0, 0, 0])), drawn(400, 3), FitSettings(), ROUND, "0123456789ab", {})
    both = combine("both", [(smile, 1.0), (other, -0.5)], ROUND)
    close(both.direction, smile.direction - 0.5 * other.direction)
    assert both.recipe == {"combine": [["smile", 1.0], ["up", -0.5]]}
    assert both.sigma == pytest.approx(1, abs=1e-5)
    assert both.mean_positive - both.mean_negative == pytest.approx(float(np.linalg.norm(both.direction)), rel=1e-5)
    with pytest.raises(ConfigError, match="cancel"):
        combine("none", [(smile, 1.0), (smile, -1.0)], ROUND)


def test_cosines(smile):
    assert smile.cosine(smile) == pytest.approx(1)
    assert smile.cosine(replace(smile, direction=-smile.direction)) == pytest.approx(-1)
