"""`latentcli sample`: sheets and single images by seed."""

import os
from pathlib import Path

import pytest

from tests.cli.conftest import MODEL, pixels, size
from tests.conftest import draw_folder, flow_prior, write_model


def test_sample_draws_a_sheet(run):
    result = run("sample", "--n", 5, "--seed", 2, *MODEL)
    assert result.paths == ["samples-2-6.png"]
    assert size("samples-2-6.png") == (3 * 18 - 2, 2 * 18 - 2)


def test_single_images_can_be_enlarged_and_have_no_captions(run):
    assert run("sample", "--n", 2, "--each", "--scale", 3, *MODEL, "-o", "large").code == 0
    assert size("large/seed-00001.png") == (48, 48)
    result = run("sample", "--n", 2, "--each", "--labels", *MODEL)
    assert result.code == 2
    assert "leave them out with --each" in result.err


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
        ("--n=0", "--n takes 1 to 1000000, got 0"),
        ("--seed=-1", "--seed takes 0 to 4611686018427387904, got -1"),
        ("--temperature=nan", "--temperature takes 0 or more, got nan"),
    ],
)
def test_numbers_out_of_range_are_usage_errors_that_say_the_range(run, option, message):
    result = run("sample", option, *MODEL)
    assert (result.code, result.err) == (2, f"latentcli: {message}\n")


def test_samples_are_drawn_near_an_image_and_moved_along_a_vector(run, photo):
    draw_folder(Path("with"), 6, dot=True)
    draw_folder(Path("without"), 6, first_seed=6)
    assert run("vectors", "fit", "dot", "--positive", "with", "--negative", "without", *MODEL).code == 0
    for spread in ("0", "1"):
        assert run("sample", "--near", photo, "--spread", spread, "--n", 2, "--each", "-o", spread, *MODEL).code == 0
    assert (pixels("0/seed-00000.png") == pixels("0/seed-00001.png")).all()
    assert (pixels("1/seed-00000.png") != pixels("1/seed-00001.png")).any()
    moved = run("sample", "--n", 2, "--with", "dot=2", *MODEL)
    assert moved.paths == ["samples-dot+2-0-1.png"]
    run("sample", "--n", 2, *MODEL)
    assert (pixels("samples-dot+2-0-1.png") != pixels("samples-0-1.png")).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--like", "cats"], "knows no parts"),
        (["--guidance", 2], "--guidance is of a flow"),
        (["--spread", 0.5], "--spread goes with --near"),
        (["--near", "seed:1", "--temperature", 1], "--near takes --spread"),
        (["--near", "seed:1", "--spread", 2], "--spread takes 0 to 1"),
        (["--near", "nowhere.png"], "nowhere.png"),
        (["--with", "nothing"], "tiny has no vector nothing"),
    ],
)
def test_what_a_model_cannot_draw_is_refused_in_a_line(run, options, message):
    result = run("sample", *options, *MODEL)
    assert result.code in (1, 2)
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_a_file_of_several_latents_is_no_image_to_draw_near(run):
    draw_folder(Path("d"), 3)
    run("encode", "d", *MODEL)
    assert "name one, like FILE#name" in run("sample", "--near", "d.latents.safetensors", *MODEL).err
    assert run("sample", "--near", "d.latents.safetensors#000.png", "--n", 1, *MODEL).code == 0


def test_a_flow_draws_from_the_parts_that_it_knows(run):
    folder = write_model(
        Path("models/pets"), prior=flow_prior(4, 3, values=3), parts={"kind": ["cats", "dogs"], "in": ["yes"]}
    )
    assert folder.exists()
    choices: dict[str, list[object]] = {
        "all": [],
        "cats": ["--like", "cats"],
        "both": ["--like", "kind=cats", "--like", "in=yes"],
        "far": ["--guidance", 5],
    }
    drawn = {
        name: run("sample", "--n", 1, "--model", "pets", "-o", f"{name}.png", *options)
        for name, options in choices.items()
    }
    assert all(result.code == 0 for result in drawn.values()), drawn
    pictures = [pixels(f"{name}.png").tobytes() for name in drawn]
    assert len(set(pictures)) == 4
    assert run("sample", "--n", 1, "--model", "pets", "--like", "in=yes").paths == ["samples-in-yes-0.png"]
    for wanted, message in (
        ("birds", "kind=cats, kind=dogs, in=yes"),
        ("kind=birds", "knows no images like 'kind=birds'"),
    ):
        assert message in run("sample", "--model", "pets", "--like", wanted).err
    twice = run("sample", "--model", "pets", "--like", "cats", "--like", "dogs")
    assert "one value of a column" in twice.err
