from dataclasses import replace

import pytest
import torch

from latentcli.concepts import ConceptVector, Labelled, add, fit
from latentcli.errors import ConfigError, FileFormatError, ModelMismatch
from latentcli.latents import Latents

GAP = torch.tensor([3.0, 0.0, 1.0, 0.0])


def labelled(count, seed, gap=GAP):
    generator = torch.Generator().manual_seed(seed)
    values = tuple(index % 2 == 0 for index in range(count))
    z = torch.randn(count, 4, generator=generator) + torch.tensor(values)[:, None] * gap
    return Labelled(z, values)


@pytest.fixture
def smile():
    return fit("smile", labelled(2000, 0), labelled(400, 1), "0123456789ab", {"column": "smile"})


@pytest.fixture
def latents():
    return Latents(torch.randn(3, 4), ("a.png", "b.png", "c.png"), "0123456789ab")


def test_the_direction_is_the_gap_between_the_means(smile):
    torch.testing.assert_close(smile.direction, GAP, atol=0.2, rtol=0)
    assert (smile.positives, smile.negatives) == (1000, 1000)


def test_strength_one_goes_from_mean_to_mean(smile):
    assert smile.mean_positive - smile.mean_negative == pytest.approx(float(smile.direction.norm()), rel=1e-4)
    assert smile.sigma == pytest.approx(1, abs=0.1)
    assert smile.gap_in_sigma == pytest.approx(10**0.5, abs=0.3)


def test_the_threshold_lies_between_the_means(smile):
    assert smile.mean_negative < smile.threshold < smile.mean_positive


def test_percentiles_are_those_of_the_training_projections(smile):
    scores = smile.score(labelled(2000, 0).z)
    assert float(smile.percentiles[0]) == pytest.approx(float(scores.min()), abs=1e-4)
    assert float(smile.percentiles[50]) == pytest.approx(float(scores.median()), abs=0.02)


def test_it_is_measured_on_images_it_was_not_fitted_on(smile):
    assert smile.auc > 0.95
    assert smile.auc_lda > 0.95
    shuffled = Labelled(labelled(400, 1).z, tuple(index % 3 == 0 for index in range(400)))
    assert fit("noise", labelled(2000, 0), shuffled, "id", {}).auc < 0.6


def test_too_few_held_out_images_give_no_auc():
    vector = fit("x", labelled(20, 0), labelled(8, 1), "id", {})
    assert vector.auc is None
    assert vector.auc_lda is None


def test_opposite_strengths_cancel(latents, smile):
    there_and_back = smile.apply(smile.apply(latents, 2.0), -2.0)
    torch.testing.assert_close(there_and_back.z, latents.z)


def test_several_vectors_add_up(latents, smile):
    moved = add(latents.z, [(smile, 1.0), (smile, 0.5)])
    torch.testing.assert_close(moved, latents.z + 1.5 * smile.direction)


def test_latents_of_another_model_are_refused(latents, smile):
    with pytest.raises(ModelMismatch):
        smile.apply(replace(latents, model_id="ffff"), 1.0)


def test_it_survives_the_file(tmp_path, smile):
    smile.save(tmp_path / "smile.safetensors")
    read = ConceptVector.load(tmp_path / "smile.safetensors")
    assert torch.equal(read.direction, smile.direction)
    assert torch.equal(read.percentiles, smile.percentiles)
    for name in ("name", "model_id", "method", "positives", "negatives", "auc", "auc_lda", "recipe", "sigma"):
        assert getattr(read, name) == getattr(smile, name)


def test_a_vector_without_its_parts_is_refused(tmp_path, smile):
    replace(smile, percentiles=torch.zeros(3)).save(tmp_path / "bad.safetensors")
    with pytest.raises(FileFormatError, match="usable direction"):
        ConceptVector.load(tmp_path / "bad.safetensors")


def test_labels_that_make_no_difference_are_refused():
    same = Labelled(torch.ones(4, 4), (True, False, True, False))
    with pytest.raises(ConfigError, match="same mean"):
        fit("x", same, same, "id", {})
    with pytest.raises(ConfigError, match="with and without"):
        fit("x", Labelled(torch.ones(2, 4), (True, True)), same, "id", {})
