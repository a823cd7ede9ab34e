"""Trainings that are made to fail, and the findings of their diagnosis."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from latentcli.config import ModelConfig
from latentcli.evaluation.diagnosis import Evidence, diagnose
from latentcli.evaluation.record import Record
from latentcli.evaluation.result import Baseline, Evaluation, Pixels, SampleMetrics
from latentcli.storage.history import EpochReport, Metrics, Sharpening, SharpMetrics, TrainingSummary
from latentcli.training import events, plan, run
from tests.conftest import draw, moving_discs


def folder_of(tmp_path, pictures):
    folder = tmp_path / "d"
    folder.mkdir()
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:03d}.png")
    return folder


def trained(tmp_path, pictures, **options):
    """The notes and problems of a training, by topic."""
    request = plan.TrainRequest(**{"size": (16, 16), "held_out": "0.3", "precision": "fp32", **options})
    settled = plan.prepare(tmp_path / "models/x", folder_of(tmp_path, pictures), request)
    *_, last = run.run(settled)
    assert isinstance(last, events.Finished)
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
    found = trained(tmp_path, moving_discs(60), beta=3000, epochs=10)
    assert found["collapse"].grade == "problem"
    assert found["collapse"].advice == "`beta` 1"


def test_images_that_are_all_the_same_are_named_and_nothing_else(tmp_path):
    found = trained(tmp_path, [draw((16, 16), 1)] * 30, epochs=3)
    assert list(found) == ["alike"]


def test_a_run_that_was_too_short_is_named(tmp_path):
    found = trained(tmp_path, moving_discs(60), latent_dim=4, epochs=2)
    assert found["too little training"].grade == "problem"
    assert found["too little training"].advice == "run the same command with `epochs` 10 to resume this run"


def test_a_latent_of_one_is_named(tmp_path):
    found = trained(tmp_path, moving_discs(60), latent_dim=1, epochs=60, batch_size=16)
    assert found["latent too small"].grade == "problem"
    assert "`latent_dim`" in found["latent too small"].advice


def test_twenty_images_learned_by_heart_are_named(tmp_path):
    found = trained(tmp_path, moving_discs(20), epochs=100)
    assert found["overfitting"].grade == "problem"
    assert "learn by heart" in found["overfitting"].text


def test_a_likelihood_that_does_not_fit_is_named(tmp_path):
    photos = trained(tmp_path, discs(30), likelihood="bernoulli", epochs=2)
    assert photos["likelihood"].advice == "`likelihood` gaussian"


def test_a_gaussian_on_black_and_white_is_named(tmp_path):
    drawings = trained(tmp_path, strokes(30), likelihood="gaussian", epochs=2)
    assert drawings["likelihood"].advice == "`likelihood` bernoulli"


def test_a_run_without_held_out_images_says_so(tmp_path):
    found = trained(tmp_path, discs(12), held_out="0", epochs=2)
    assert "nothing held out" in found


def test_a_handful_of_images_gets_one_note_on_its_number(tmp_path):
    found = trained(tmp_path, discs(4), epochs=10)
    assert "overfitting" not in found
    assert found["nothing held out"].text.startswith("4 images are too few to hold some out")


@pytest.mark.parametrize(("images", "compared"), [(30, False), (60, True)])
def test_images_that_pca_knows_by_heart_are_no_comparison(tmp_path, images, compared):
    trained(tmp_path, discs(images), held_out="0", epochs=1, latent_dim=4)
    names = [baseline.name for baseline in Record.load(tmp_path / "models/x").evaluation.baselines]
    assert ("PCA, 4 components" in names) == compared


# From here on the metrics are made up.

METRICS = Metrics(500, 100.0, 80.0, 20.0, 25.0, 16, None)
GOOD = Evaluation(
    held_out=METRICS,
    ssim=0.9,
    kl_per_dimension=(1.25,) * 16,
    training=Metrics(2000, 99.0, 79.0, 20.0, 25.2, 16, None),
    baselines=(Baseline("mean image", 12.0, 0.1, 300.0, None), Baseline("PCA, 16 components", 19.0, 0.7, None, None)),
    samples=(
        SampleMetrics("fitted prior, temperature 0.8", 500, 0.2, 0.01, 0.8, 0.6, 0.9, 0.95),
        SampleMetrics("standard prior", 500, 0.4, 0.02, 0.7, 0.5, 0.9, 1.0),
    ),
    feature_space="whitened filters",
    pixels=Pixels(images=2000, near_ends=0.1, deviation=0.25),
)
SUMMARY = TrainingSummary(images=5000, steps=1000, epochs=20.0, seconds=600.0, beta=1.0, learning_rate=2e-3)


def line(epoch, nats, training=None, skipped=0, images=500):
    """An epoch's line; without `training` the training loss is the held-out one."""
    held_out = Metrics(images, nats, nats - 20, 20.0, 20.0, 16, None)
    return EpochReport(
        epoch, 50 * epoch, 1, 0.0, (nats if training is None else training) - 20, 20.0, skipped, held_out
    )


FAR = SampleMetrics("standard prior", 500, 9.0, 1.0, 0.0, 0.0, 1.0, 1.0)
ALIKE = SampleMetrics("standard prior", 500, 0.2, 0.0, 1.0, 0.0, 0.3, 1.0)
COPIES = SampleMetrics("standard prior", 500, 0.2, 0.0, 1.0, 0.0, 1.0, 0.9, 0.3, 0.001)
SETTLED = [line(epoch, 100 + 100 * 0.5**epoch) for epoch in range(1, 21)]


def findings_of(evaluation=GOOD, training=None, history=SETTLED, foreign=False):
    changed = replace(GOOD, **evaluation) if isinstance(evaluation, dict) else evaluation
    evidence = Evidence(ModelConfig(), changed, replace(SUMMARY, **(training or {})), history, foreign)
    return {finding.about: finding for finding in diagnose(evidence) if finding.grade != "good"}


def test_a_good_run_is_only_praised():
    assert findings_of() == {}


@pytest.mark.parametrize(
    ("about", "changes"),
    [
        ("diverged", {"history": [line(1, 100), line(2, 90), line(3, 500)]}),
        ("diverged", {"history": [line(1, 100), line(2, 90, skipped=40)]}),
        ("dead dimensions", {"evaluation": {"kl_per_dimension": (4.0,) * 5 + (0.0,) * 11}}),
        ("collapse", {"evaluation": {"kl_per_dimension": (0.0,) * 16}}),
        ("overfitting", {"history": [*SETTLED[:15], line(16, 106), line(17, 107), line(18, 108)]}),
        ("overfitting", {"history": [line(epoch, 100 + 9 * epoch, 100 - epoch) for epoch in range(1, 21)]}),
        ("collapse", {"evaluation": {"kl_per_dimension": (0.05,) * 16}}),
        ("prior", {"evaluation": {"samples": (GOOD.samples[0], FAR)}}),
        ("monotonous samples", {"evaluation": {"samples": (ALIKE,)}}),
        ("copies", {"evaluation": {"samples": (COPIES,)}}),
        ("too little training", {"history": [line(epoch, 100 - epoch) for epoch in range(1, 21)]}),
        ("baseline", {"evaluation": {"baselines": (Baseline("mean image", 24.8, 0.1, 300.0, None),)}}),
    ],
)  # fmt: skip
def test_each_fault_is_named_with_advice(about, changes):
    found = findings_of(**changes)
    assert list(found) == [about]
    assert found[about].advice


def test_a_strong_beta_that_leaves_some_dimensions_at_work_is_no_collapse():
    found = findings_of({"kl_per_dimension": (40.0,) * 6 + (0.0,) * 10}, {"beta": 4.0})
    assert list(found) == ["dead dimensions"]


def near_pca(psnr, ours, **changes):
    """The finding where PCA reaches `psnr` and the model `ours`, in dB."""
    evaluation = replace(
        GOOD, baselines=(Baseline("PCA, 16 components", psnr, 0.7, None, None),), held_out=replace(METRICS, psnr=ours)
    )
    training, history = changes.get("training", SUMMARY), changes.get("history", SETTLED)
    evidence = Evidence(ModelConfig(), evaluation, training, history)
    (finding,) = (finding for finding in diagnose(evidence) if finding.about == "baseline")
    return finding


def test_a_network_that_has_settled_at_pca_is_not_advised_to_train_longer():
    assert "a longer run will not help" in near_pca(24.8, 25.0).advice


def test_a_network_that_was_trained_briefly_is_advised_to_train_longer_though_its_curve_is_flat():
    advice = near_pca(24.8, 25.0, training=replace(SUMMARY, epochs=15.0, minutes=0.4)).advice
    assert advice == "run the same command with `minutes` 5 to resume this run"


def test_a_network_that_still_learns_is_advised_to_train_longer():
    still = [line(epoch, 100 - epoch) for epoch in range(1, 21)]
    assert "resume this run" in near_pca(24.8, 25.0, history=still).advice


def test_images_that_pca_describes_almost_exactly_are_no_defeat():
    assert near_pca(58.5, 58.4).grade == "good"


def test_consequences_of_a_collapse_are_left_out():
    worse = (Baseline("mean image", 24.9, 0.1, 300.0, None),)
    assert list(findings_of({"kl_per_dimension": (0.0,) * 16, "samples": (ALIKE,), "baselines": worse})) == ["collapse"]


def test_the_last_point_of_a_curve_is_left_out_when_it_is_measured_on_more_images():
    assert findings_of(history=[*SETTLED, line(21, 190, images=9000)]) == {}


def test_a_curve_that_turned_has_not_settled():
    evidence = Evidence(ModelConfig(), GOOD, SUMMARY, [*SETTLED[:15], line(16, 106), line(17, 107), line(18, 108)])
    assert "length" not in {finding.about for finding in diagnose(evidence)}


def test_a_few_passes_over_very_many_images_are_no_short_training():
    assert findings_of(training={"images": 1_000_000, "epochs": 3.0}, history=SETTLED[:3]) == {}


def test_other_images_than_those_trained_on_say_nothing_of_the_training():
    spoiled = {
        "held_out": replace(METRICS, psnr=20.0),
        "kl_per_dimension": (0.0,) * 16,
        "pixels": Pixels(images=500, near_ends=0.9, deviation=0.0),
    }
    assert list(findings_of(spoiled, {"epochs": 1.0}, foreign=True)) == ["other images"]


def test_images_of_another_kind_accuse_no_samples_of_being_copies():
    assert "copies" not in findings_of({"samples": (COPIES,)}, foreign=True)


def test_where_nothing_was_held_out_nothing_is_compared_with_training_images(tmp_path):
    trained(tmp_path, discs(12), held_out="0", epochs=2)
    found = Record.load(tmp_path / "models/x").evaluation
    assert found.on_training
    assert found.training is None
    assert [row.nearest for row in found.samples] == [None, None]
    assert "training images" not in [row.name for row in found.samples]


TURNED = [*SETTLED[:10], *(line(epoch, 100 + 5 * (epoch - 10)) for epoch in range(11, 21))]


def test_an_early_stop_is_named_with_the_epoch_of_the_weights():
    found = findings_of(training={"images": 300, "planned_epochs": 500.0, "kept_epoch": 10}, history=TURNED)
    assert found["length"].text == (
        "training stopped early, at epoch 20 of 500: held-out images came out best at epoch 10, whose weights are kept"
    )


def test_a_curve_that_turned_is_no_overfitting_where_the_best_weights_are_kept():
    assert list(findings_of(training={"kept_epoch": 10}, history=TURNED)) == ["length"]
    assert list(findings_of(history=TURNED)) == ["overfitting"]


def test_weights_kept_from_near_the_end_are_not_worth_a_word():
    assert findings_of(training={"kept_epoch": 20}) == {}


def test_few_images_are_advised_to_start_from_another_model():
    found = findings_of({"training": replace(METRICS, psnr=30.0)}, {"images": 300})
    assert "`start_from` MODEL" in found["overfitting"].advice


def test_samples_are_not_judged_by_a_handful_of_images():
    few = tuple(replace(row, images=9) for row in (GOOD.samples[0], replace(FAR, diversity=0.3)))
    assert findings_of({"samples": few}) == {}
    assert findings_of({"samples": (replace(ALIKE, images=9),)}) == {}


def test_what_sharpening_gave_up_is_no_fault():
    before, after = SharpMetrics(26.0, 0.2, 2.0), SharpMetrics(25.0, 0.7, 1.0)
    sharpening = Sharpening(500, 32, 60.0, "fp32", 0, before, after)
    baselines = (Baseline("mean image", 12.0, 0.1, 300.0, None), Baseline("PCA, 16 components", 25.5, 0.7, None, None))
    found = findings_of({"baselines": baselines}, training={"sharpening": sharpening})["baseline"]
    assert found.text.startswith("sharpening gave up 1.0 dB for detail")
    assert not found.advice
