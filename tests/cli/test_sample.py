"""`latentcli sample`: sheets and single images by seed."""

import os

import pytest

from tests.cli.conftest import MODEL, pixels, size
from tests.conftest import write_model


def test_sample_draws_a_sheet(run):
    result = run("sample", "--n", 5, "--seed", 2, *MODEL)
    assert result.paths == ["samples-2-6.png"]
    assert size("samples-2-6.png") == (3 * 18 - 2, 2 * 18 - 2)


def test_a_seed_is_the_same_image_in_any_batch(run):
    run("sample", "--seeds", "3,7", "--each", *MODEL)
    run("sample", "--seeds", "0-63", "--each", *MODEL)
    difference = pixels("samples-3,7/seed-00007.png") - pixels("samples-0-63/seed-00007.png")
    assert abs(difference).max() <= 1
    assert len(os.listdir("samples-0-63")) == 64


def test_seeds_replace_n_and_seed(run):
    result = run("sample", "--seeds", "1", "--n", 3, *MODEL)
    assert result.code == 2


@pytest.mark.parametrize("seeds", ["x", "3-", "-3", "5-3", "", "0-9223372036854775806", "99999999999999999999"])
def test_bad_seeds_are_refused(run, seeds):
    result = run("sample", f"--seeds={seeds}", *MODEL)
    assert result.code == 2
    assert "--seeds takes" in result.err


def test_the_standard_prior_differs_from_the_fitted_one(run):
    run("sample", "--n", 1, *MODEL, "-o", "fitted.png")
    run("sample", "--n", 1, *MODEL, "--prior", "standard", "-o", "standard.png")
    assert (pixels("fitted.png") != pixels("standard.png")).any()


def test_samples_of_another_model_get_a_folder_of_their_own(run, tmp_path):
    write_model(tmp_path / "models" / "other", seed=1)
    assert run("sample", "--seeds", "1", "--each", *MODEL).paths == ["samples-1/seed-00001.png"]
    assert run("sample", "--seeds", "1", "--each", "--model", "other").paths == ["samples-1-2/seed-00001.png"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--n=0", "--n takes 1 or more, got 0"),
        ("--seed=-1", "--seed takes 0 to 4611686018427387904, got -1"),
        ("--temperature=nan", "--temperature takes 0 or more, got nan"),
    ],
)
def test_numbers_out_of_range_are_usage_errors_that_say_the_range(run, option, message):
    result = run("sample", option, *MODEL)
    assert (result.code, result.err) == (2, f"latentcli: {message}\n")
