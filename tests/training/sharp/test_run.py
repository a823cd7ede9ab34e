"""Sharpening: what stays, what changes, what is refused, and that it resumes bit for bit."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentcli import load_model
from latentcli.config import SharpConfig
from latentcli.errors import ConfigError
from latentcli.evaluation.record import Record
from latentcli.events import Note, Progress
from latentcli.model.prior import StandardPrior
from latentcli.model.vae import VAE
from latentcli.presets import model_config
from latentcli.storage import catalog, tensorfile
from latentcli.storage.history import SharpMetrics
from latentcli.training import events
from latentcli.training.plan import TrainRequest
from latentcli.training.plan import prepare as prepare_training
from latentcli.training.run import run
from latentcli.training.sharp import run as sharpen
from latentcli.training.sharp import step as sharp_step
from latentcli.training.sharp.discriminator import Discriminator
from latentcli.training.sharp.plan import SharpenRequest, prepare
from latentcli.training.sharp.step import SharpState
from tests.conftest import draw_folder, fit_by_chance, shorten_sharpening

FOLDER = Path("models/d")
OPTIONS: dict[str, Any] = {
    "size": (16, 16),
    "latent_dim": 3,
    "epochs": 2,
    "batch_size": 8,
    "precision": "fp32",
    "held_out": "0.2",
}
BEFORE = SharpMetrics(psnr=25.0, sharpness=0.2, kernel=(0.3, 0.2, 0.1))


@pytest.fixture
def pictures(tmp_path):
    return draw_folder(tmp_path / "d", 40)


@pytest.fixture
def trained(pictures):
    for _ in run(prepare_training(FOLDER, pictures, TrainRequest(**OPTIONS))):
        pass
    return FOLDER


@pytest.fixture
def few_steps(monkeypatch):
    shorten_sharpening(monkeypatch, steps=12, measurements=3)


@pytest.fixture
def always(monkeypatch, few_steps):
    """Any decoder is good enough."""
    monkeypatch.setattr(sharpen, "is_better", lambda found, before: True)


def sharpened(folder=FOLDER, stop=lambda: False, **options):
    request = SharpenRequest(precision="fp32", **options)
    return list(sharpen.sharpen(prepare(catalog.find_model(str(folder)), None, request), stop))


def tensors(folder=FOLDER):
    return tensorfile.read(folder / "model.safetensors", "model")[1]


def summary(folder=FOLDER):
    training = catalog.find_model(str(folder)).header.training
    assert training
    return training


def stop_after(steps):
    calls = iter(range(10_000))
    return lambda: next(calls) + 1 >= steps


def test_the_decoder_changes_and_nothing_else(trained, always):
    before, plain = tensors(), load_model(trained)
    reports = sharpened()
    after, sharp = tensors(), load_model(trained)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {name.split(".")[1] for name in changed} == {"decoder", "sigma"}
    assert sharp.model_id == plain.model_id
    assert sharp.header.network_id != plain.header.network_id
    assert load_model(trained / "plain.safetensors").header.network_id == plain.header.network_id
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    assert np.array_equal(sharp.encode(images), plain.encode(images))
    assert isinstance(reports[-1], events.Finished)
    assert Record.of(trained, sharp.header.network_id)
    assert not (trained / "sharp.resume.safetensors").exists()


def test_the_card_and_the_summary_say_what_it_did(trained, always):
    sharpened(seed=5)
    found = summary().sharpening
    assert (found.steps, found.seed, found.precision) == (12, 5, "fp32")
    assert (
        f"PSNR {found.before.psnr:.2f} dB before and {found.after.psnr:.2f} dB after"
        in (trained / "README.md").read_text()
    )
    assert "sharpening the decoder" in (trained / "report.html").read_text()
    assert abs(summary().held_out.psnr - found.after.psnr) < 0.01


@pytest.mark.parametrize("steps", [1, 5, 11])
def test_an_interrupted_sharpening_ends_as_one_that_was_not(trained, always, steps):
    shutil.copytree(trained, "models/whole")
    sharpened(Path("models/whole"))
    stopped = sharpened(stop=stop_after(steps))
    assert isinstance(stopped[-1], events.Interrupted)
    assert summary().sharpening is None
    rest = sharpened()
    assert isinstance(rest[-1], events.Finished)
    expected, found = tensors(Path("models/whole")), tensors()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_a_decoder_that_goes_astray_is_not_taken(trained, few_steps, monkeypatch):
    before = (trained / "model.safetensors").read_bytes()
    monkeypatch.setattr(sharpen, "is_better", lambda found, before: False)
    reports = sharpened()
    assert any("the decoder stays as it was" in note.text for note in reports if isinstance(note, Note))
    assert (trained / "model.safetensors").read_bytes() == before
    assert not (trained / "plain.safetensors").exists()
    assert prepare(catalog.find_model("d"), None, SharpenRequest(precision="fp32")).finished


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({"sharpness": 0.6}, True),
        ({"sharpness": 0.6, "psnr": 23.6, "kernel": (0.3, 0.1, 0.0)}, True),
        ({"sharpness": 0.6, "psnr": 23.4}, False),
        ({"sharpness": 0.6, "kernel": (0.32, 0.1, 0.0)}, False),
        ({}, False),
    ],
)
def test_a_good_decoder_is_sharper_loses_little_and_samples_as_well(change, good):
    assert sharpen.is_better(replace(BEFORE, **change), BEFORE) == good


def test_a_kernel_distance_below_0_may_stay_as_it_is():
    before = replace(BEFORE, kernel=(-0.001, 0.2, 0.1))
    assert sharpen.is_better(replace(before, sharpness=0.6), before)


def test_pixels_gain_weight_while_more_than_the_aim_is_lost(trained, few_steps, monkeypatch):
    lost = iter([0.0, 0.3, 1.8, 1.5])
    found = []

    def meter(vae):
        return replace(BEFORE, psnr=25 - next(lost))

    monkeypatch.setattr(sharpen, "SharpMeter", lambda *arguments: meter)
    step = SharpState.step

    def watched(learner, images, number, weight):
        found.append(weight)
        return step(learner, images, number, weight)

    monkeypatch.setattr(SharpState, "step", watched)
    sharpened(threads=1)
    assert found == pytest.approx([1.0] * 4 + [math.e] * 4 + [math.exp(0.5)] * 4)


def test_the_decoder_with_the_nearest_samples_is_kept(trained, few_steps, always, monkeypatch):
    kernels = iter([0.3, 0.2, 0.1, 0.25])
    monkeypatch.setattr(
        sharpen, "SharpMeter", lambda *arguments: lambda vae: replace(BEFORE, kernel=(next(kernels),) * 3)
    )
    sharpened()
    sharpening = summary().sharpening
    assert sharpening.after.kernel == (0.1,) * 3


def test_half_of_the_latents_to_train_on_come_near_the_mean():
    z = sharpen.latents_to_train_on(StandardPrior(64))
    norms = np.linalg.norm(z, axis=1) / 8
    assert norms[: len(z) // 2].min() > 0.5
    assert norms[len(z) // 2 :].mean() == pytest.approx(0.5, abs=0.02)
    assert norms[len(z) // 2] == 0


def test_metrics_of_earlier_versions_have_a_frechet_distance():
    earlier = SharpMetrics(25.0, 0.2, frechet=2.0)
    assert (earlier.distance_name, earlier.distance) == ("Fréchet distance of samples", 2.0)
    assert BEFORE.distance == pytest.approx(0.2)


def test_both_stages_are_one_command_that_resumes(pictures, always):
    plan = prepare_training(FOLDER, pictures, TrainRequest(**OPTIONS))
    first = list(sharpen.train_and_sharpen(plan, stop_after(plan.choice.config.epochs * 4 + 3)))
    assert isinstance(first[-1], events.Interrupted)
    assert not any(isinstance(report, events.Finished) for report in first)
    again = prepare_training(FOLDER, pictures, TrainRequest(**OPTIONS))
    assert again.finished
    rest = list(sharpen.train_and_sharpen(again))
    assert [type(report).__name__ for report in rest].count("Finished") == 1
    assert summary().sharpening
    assert sharpen.plan_after(again).finished


def test_what_training_gave_is_finished_where_the_decoder_stays(pictures, few_steps, monkeypatch):
    monkeypatch.setattr(sharpen, "is_better", lambda found, before: False)
    plan = prepare_training(FOLDER, pictures, TrainRequest(**OPTIONS))
    reports = list(sharpen.train_and_sharpen(plan))
    assert isinstance(reports[-1], events.Finished)


def test_refusals_say_what_to_do(trained, pictures, few_steps, tmp_path):
    entry = catalog.find_model("d")
    with pytest.raises(ConfigError, match="train a model of your own"):
        prepare(replace(entry, header=replace(entry.header, bundled=True)), None, SharpenRequest())
    shutil.copy(trained / "model.safetensors", trained / "plain.safetensors")
    with pytest.raises(ConfigError, match="name the folder"):
        prepare(catalog.find_model("models/d/plain.safetensors"), None, SharpenRequest())
    sharpened(stop=stop_after(2))
    with pytest.raises(ConfigError, match="seed is 0 there, 1 asked"):
        prepare(entry, None, SharpenRequest(seed=1, precision="fp32"))
    with pytest.raises(ConfigError, match="the images have changed"):
        prepare(entry, draw_folder(tmp_path / "others", 30), SharpenRequest(precision="fp32"))
    shutil.rmtree(pictures)
    with pytest.raises(ConfigError, match="name their folder: latentcli sharpen d FOLDER"):
        prepare(entry, None, SharpenRequest(precision="fp32"))


def test_what_was_cut_short_after_the_sharp_model_was_written_is_done_again(trained, always):
    shutil.copytree(trained, "models/whole")
    sharpened(Path("models/whole"))
    for report in sharpen.sharpen(prepare(catalog.find_model("d"), None, SharpenRequest(precision="fp32"))):
        if isinstance(report, Progress) and summary().sharpening:
            break
    assert not Record.of(trained, catalog.find_model("d").header.network_id)
    assert isinstance(sharpened()[-1], events.Finished)
    assert Record.of(trained, catalog.find_model("d").header.network_id)
    for file in ("model.safetensors", "plain.safetensors"):
        expected, found = (tensorfile.read(folder / file, "model")[1] for folder in (Path("models/whole"), trained))
        assert all(np.array_equal(expected[name], found[name]) for name in expected)
    assert prepare(catalog.find_model("d"), None, SharpenRequest(precision="fp32")).finished


def test_a_sharp_model_without_its_record_is_not_trained_over(trained, pictures, always):
    sharpened()
    (trained / "evaluation.safetensors").unlink()
    assert prepare_training(FOLDER, pictures, TrainRequest(**OPTIONS)).finished


def test_one_held_out_image_is_not_measured_alone(tmp_path, always):
    pictures = draw_folder(tmp_path / "few", 12)
    request = TrainRequest(**OPTIONS | {"held_out": str(draw_folder(tmp_path / "one", 1, first_seed=99))})
    for _ in run(prepare_training(Path("models/few"), pictures, request)):
        pass
    reports = sharpened(Path("models/few"))
    assert isinstance(reports[-1], events.Finished)
    started = next(report for report in reports if isinstance(report, events.Started))
    assert started.held_out == 1
    assert started.before
    assert math.isfinite(started.before.distance)


def test_a_checkpoint_of_former_weights_is_left_alone(trained, always):
    sharpened(stop=stop_after(2))
    plan = prepare(catalog.find_model("d"), None, SharpenRequest(precision="fp32"))
    assert plan.resumed
    entry = catalog.find_model("d")
    other = replace(entry, header=replace(entry.header, network_id="0" * 12))
    assert prepare(other, None, SharpenRequest(precision="fp32")).resumed is None


@pytest.mark.parametrize(("side", "channels", "levels"), [(16, 3, 3), (28, 1, 3), (64, 4, 4), (128, 3, 4)])
def test_the_discriminator_judges_patches_of_any_size(side, channels, levels):
    network = Discriminator(model_config("photo", side, side, channels))
    verdicts, features = network(torch.rand(2, channels, side, side))
    assert verdicts.shape[:2] == (2, 1)
    assert len(features) == levels
    assert verdicts.shape[2:] == features[-1].shape[2:]


def test_pixels_alone_make_the_error_smaller():
    torch.manual_seed(0)
    vae = VAE(replace(model_config("photo", 16, 16, 3), latent_dim=3)).eval()
    fit_by_chance(vae)
    learner = SharpState(vae, SharpConfig(batch_size=8, precision="fp32"), torch.randn(8, 3), 200)
    images = torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8)
    errors = [float(learner.step(images, step, 0.0)["reconstruction"]) for step in range(100)]
    assert np.mean(errors[-10:]) < 0.97 * np.mean(errors[:10])


def test_the_discriminator_learns_to_tell_apart():
    torch.manual_seed(0)
    vae = VAE(replace(model_config("photo", 32, 32, 3), latent_dim=3)).eval()
    learner = SharpState(
        vae, SharpConfig(batch_size=8, precision="fp32", learning_rate=2e-3), torch.randn(8, 3), 10_000
    )
    images = torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8)
    losses = [float(learner.step(images, step, 1.0)["discriminator"]) for step in range(80)]
    assert losses[0] > 1.9
    assert min(losses) < 1


def test_errors_are_zero_for_equal_pictures_and_features():
    x = torch.rand(4, 3, 32, 32)
    assert float(sharp_step.absolute_error(x, x)) == 0
    assert float(sharp_step.features_apart([(x, x)])) == 0
    assert float(sharp_step.contrasts_apart(x, x.flip(0))) < 1e-6


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (2, 3, 50, 37), (2, 4, 16, 16)])
def test_the_contrast_of_samples_is_that_of_images(shape):
    x = torch.rand(*shape)
    pale = x.mean() + 0.8 * (x - x.mean())
    assert float(sharp_step.contrasts_apart(x, pale)) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("signs", [[1, -1, 1, -1], [1, 1, -1, -1]])
def test_a_lattice_counts_more_than_noise_of_its_strength(signs):
    x = torch.zeros(2, 1, 64, 64)
    lattice = torch.tensor(signs, dtype=torch.float32).repeat(16).expand(2, 1, 64, 64)
    noise = torch.randint(0, 2, x.shape) * 2.0 - 1
    assert float(sharp_step.absolute_error(x, lattice)) > 2 * float(sharp_step.absolute_error(x, noise))


def test_the_discriminator_sees_pictures_from_another_corner_at_each_step():
    vae = VAE(replace(model_config("photo", 32, 32, 3), latent_dim=3)).eval()
    learner = SharpState(vae, SharpConfig(batch_size=8, precision="fp32"), torch.randn(8, 3), 10)
    x = torch.arange(32.0).expand(1, 3, 32, 32)
    cut = [learner._cut(x, step) for step in range(12)]
    assert {some.shape for some in cut} == {(1, 3, 30, 30)}
    assert {float(some.min()) for some in cut} == {0, 1, 2}


def test_a_constant_shift_counts_at_every_scale():
    x = torch.full((1, 1, 32, 32), 0.5)
    assert float(sharp_step.absolute_error(x, x + 0.1)) == pytest.approx(0.1 * (1 + 3 * 0.5 + 3))
