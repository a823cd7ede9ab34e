"""Runs that are made to fail, and what the verdict says of them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from latentcli.config import ModelConfig
from latentcli.evaluation.evaluate import Baseline, Evaluation, Pixels, SampleFigures
from latentcli.evaluation.record import Record
from latentcli.evaluation.verdict import Evidence, verdict
from latentcli.model.figures import Figures
from latentcli.training import plan, reports, run
from tests.conftest import draw


def folder_of(tmp_path, pictures):
    folder = tmp_path / "d"
    folder.mkdir()
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:03d}.png")
    return folder


def trained(tmp_path, pictures, **options):
    """The verdict on a run, by what its findings are about."""
    request = plan.TrainRequest(**{"size": (16, 16), "held_out": "0.3", "precision": "fp32", **options})
    settled = plan.prepare(tmp_path / "models/x", folder_of(tmp_path, pictures), request)
    *_, last = run.run(settled)
    assert isinstance(last, reports.Finished)
    assert Record.load(last.folder).findings == last.findings
    return {finding.about: finding for finding in last.findings if finding.grade != "good"}


def discs(count):
    return [draw((16, 16), seed) for seed in range(count)]


def strokes(count):
    """Black and white."""
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(np.kron(rng.integers(0, 2, (4, 4)), np.ones((4, 4))).astype(np.uint8) * 255)
        for _ in range(count)
    ]


def test_collapse_by_a_large_beta_is_named(tmp_path):
    found = trained(tmp_path, discs(60), beta=3000, epochs=10)
    assert found["collapse"].grade == "problem"
    assert found["collapse"].advice == "--beta 1"


def test_images_that_are_all_the_same_are_named_and_nothing_else(tmp_path):
    found = trained(tmp_path, [draw((16, 16), 1)] * 30, epochs=3)
    assert list(found) == ["alike"]


def test_a_run_that_was_too_short_is_named(tmp_path):
    found = trained(tmp_path, discs(40), epochs=2)
    assert found["too little training"].grade == "problem"
    assert found["too little training"].advice == "the same command with --epochs 10 goes on with this run"


def test_a_latent_of_one_is_named(tmp_path):
    found = trained(tmp_path, discs(60), latent_dim=1, epochs=60, batch_size=16)
    assert found["latent too small"].grade == "problem"
    assert "--latent-dim" in found["latent too small"].advice


def test_twenty_images_learned_by_heart_are_named(tmp_path):
    found = trained(tmp_path, discs(20), epochs=100)
    assert found["overfitting"].grade == "problem"
    assert "learn by heart" in found["overfitting"].text


def test_a_likelihood_that_does_not_fit_is_named(tmp_path):
    photos = trained(tmp_path, discs(30), likelihood="bernoulli", epochs=2)
    assert photos["likelihood"].advice == "--likelihood gaussian"


def test_a_gaussian_on_black_and_white_is_named(tmp_path):
    drawings = trained(tmp_path, strokes(30), likelihood="gaussian", epochs=2)
    assert drawings["likelihood"].advice == "--likelihood bernoulli"


def test_a_run_without_held_out_images_says_so(tmp_path):
    found = trained(tmp_path, discs(12), held_out="0", epochs=2)
    assert "nothing held out" in found


# From here on the figures are made up.

FIGURES = Figures(500, 100.0, 80.0, 20.0, 25.0, 16, None)
GOOD = Evaluation(
    held_out=FIGURES,
    ssim=0.9,
    kl_per_dimension=(1.25,) * 16,
    training=Figures(2000, 99.0, 79.0, 20.0, 25.2, 16, None),
    baselines=(Baseline("mean image", 12.0, 0.1, 300.0, None), Baseline("PCA, 16 components", 19.0, 0.7, None, None)),
    samples=(
        SampleFigures("fitted prior, temperature 0.8", 500, 0.2, 0.01, 0.8, 0.6, 0.9, 0.95),
        SampleFigures("standard prior", 500, 0.4, 0.02, 0.7, 0.5, 0.9, 1.0),
    ),
    feature_space="random filters",
    pixels=Pixels(near_ends=0.1, deviation=0.25),
)
SUMMARY = {"steps": 1000, "epochs": 20.0, "seconds": 600.0, "images": 5000, "beta": 1.0, "learning_rate": 2e-3}


def line(epoch, nats, skipped=0):
    held_out = {"negative_elbo": nats, "reconstruction": nats - 20, "psnr": 20.0}
    return {"epoch": epoch, "step": 50 * epoch, "held_out": held_out, "skipped_steps": skipped}


FAR = SampleFigures("standard prior", 500, 9.0, 1.0, 0.0, 0.0, 1.0, 1.0)
ALIKE = SampleFigures("standard prior", 500, 0.2, 0.0, 1.0, 0.0, 0.3, 1.0)
COPIES = SampleFigures("standard prior", 500, 0.2, 0.0, 1.0, 0.0, 1.0, 0.2)
SETTLED = [line(epoch, 100 + 100 * 0.5**epoch) for epoch in range(1, 21)]


def judged(evaluation=GOOD, training=SUMMARY, history=SETTLED):
    changed = replace(GOOD, **evaluation) if isinstance(evaluation, dict) else evaluation
    evidence = Evidence(ModelConfig(), changed, SUMMARY | training, history)
    return {finding.about: finding for finding in verdict(evidence) if finding.grade != "good"}


def test_a_good_run_is_only_praised():
    assert judged() == {}


@pytest.mark.parametrize(
    ("about", "changes"),
    [
        ("diverged", {"history": [line(1, 100), line(2, 90), line(3, 500)]}),
        ("diverged", {"history": [line(1, 100), line(2, 90, skipped=40)]}),
        ("dead dimensions", {"evaluation": {"kl_per_dimension": (4.0,) * 5 + (0.0,) * 11}}),
        ("collapse", {"evaluation": {"kl_per_dimension": (0.0,) * 16}}),
        ("overfitting", {"history": [*SETTLED[:15], line(16, 106), line(17, 107), line(18, 108)]}),
        ("prior", {"evaluation": {"samples": (GOOD.samples[0], FAR)}}),
        ("monotonous samples", {"evaluation": {"samples": (ALIKE,)}}),
        ("copies", {"evaluation": {"samples": (COPIES,)}}),
        ("too little training", {"history": [line(epoch, 100 - epoch) for epoch in range(1, 21)]}),
        ("baseline", {"evaluation": {"baselines": (Baseline("mean image", 24.8, 0.1, 300.0, None),)}}),
    ],
)  # fmt: skip
def test_each_fault_is_told_with_what_to_do(about, changes):
    found = judged(**changes)
    assert list(found) == [about]
    assert found[about].advice
