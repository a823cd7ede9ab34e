import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentcli import load_model, presets
from latentcli.config import TrainConfig
from latentcli.data.dataset import Dataset
from latentcli.data.fingerprint import Fingerprints
from latentcli.data.sources import held_out_then, is_held_out
from latentcli.errors import ConfigError, FileFormatError, ImageError, LatentCLIError
from latentcli.evaluation.record import Record
from latentcli.events import Note
from latentcli.presets import DEFAULTS, model_config
from latentcli.storage import files, tensorfile
from latentcli.storage.catalog import find_model
from latentcli.storage.history import EpochReport
from latentcli.training import checkpoint, early_stop, events, loop, machine, results, schedule
from latentcli.training.early_stop import LossCurve
from latentcli.training.plan import TrainingPosition, TrainRequest, prepare
from latentcli.training.prior import flow
from latentcli.training.run import run
from latentcli.training.schedule import Stage
from latentcli.training.sharp.plan import SharpenRequest
from latentcli.training.sharp.plan import prepare as prepare_sharpening
from latentcli.training.step import TrainState, untrained
from tests.conftest import draw_folder

FOLDER = Path("models/d")
CPU = torch.device("cpu")
SMALL = {"size": (16, 16), "latent_dim": 3, "epochs": 3, "batch_size": 8, "precision": "fp32", "held_out": "0.2"}


def planned(source, folder=FOLDER, **options):
    return prepare(folder, source, TrainRequest(**{**SMALL, **options}))


def train(source, stop=lambda: False, folder=FOLDER, **options):
    return list(run(planned(source, folder, **options), stop))


def weights(folder=FOLDER):
    return tensorfile.read(folder / "model.safetensors", "model")[1]


@pytest.fixture
def pictures(tmp_path):
    return draw_folder(tmp_path / "d", 40)


def stop_after(steps):
    calls = iter(range(10_000))
    return lambda: next(calls) + 1 >= steps


def wait_for(process, text):
    """Read what the program says until it says `text`."""
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the program ended without saying {text!r}")


def test_a_run_leaves_a_model_and_its_files(pictures):
    result = train(pictures)
    assert sorted(path.name for path in FOLDER.iterdir() if not path.name.startswith(".")) == [
        "README.md", "evaluation.safetensors", "files.safetensors", "history.jsonl", "model.safetensors",
        "reconstructions.png", "report.html", "resume.safetensors", "samples.png", "snapshots",
    ]  # fmt: skip
    model = load_model(FOLDER)
    assert isinstance(result[-1], events.Finished)
    assert result[-1].held_out
    assert result[-1].model_id == model.model_id
    assert model.header.finished_at > "2026"
    assert summary().images + summary().held_out_images == 40
    lines = [json.loads(line) for line in (FOLDER / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    assert min(line["held_out"]["negative_elbo"] for line in lines) == result[-1].held_out.negative_elbo


def test_training_learns(pictures):
    reports = train(pictures, epochs=40, likelihood="bernoulli")
    result = [report for report in reports if isinstance(report, EpochReport)]
    assert result[-1].reconstruction < result[0].reconstruction - 30
    first, last = result[0].held_out, result[-1].held_out
    assert first
    assert last
    assert last.psnr > first.psnr + 1


def test_the_same_seed_gives_the_same_weights(pictures):
    train(pictures)
    first = weights()
    train(pictures, folder=Path("models/again"))
    again = weights(Path("models/again"))
    assert all((first[name] == again[name]).all() for name in first)


@pytest.mark.parametrize("steps", [1, 4, 9])
def test_an_interrupted_run_ends_as_one_that_was_not(pictures, steps):
    whole = train(pictures, folder=Path("models/whole"))
    stopped = train(pictures, stop_after(steps))
    assert isinstance(stopped[-1], events.Interrupted)
    assert not (FOLDER / "model.safetensors").exists()
    rest = train(pictures)
    assert isinstance(rest[-1], events.Finished)
    expected, found = weights(Path("models/whole")), weights()
    assert all((expected[name] == found[name]).all() for name in expected)
    for result in (whole, rest):
        last = [report for report in result if isinstance(report, EpochReport)][-1]
        assert last.epoch == 3
    history = [Path(folder, "history.jsonl").read_text().splitlines() for folder in ("models/whole", FOLDER)]
    strip = [[{**json.loads(line), "seconds": 0} for line in lines] for lines in history]
    assert strip[0] == strip[1]


def test_momentum_of_rmsprop_is_resumed_too(tmp_path):
    source = draw_folder(tmp_path / "g", 20, mode="L")
    options = {"preset": "book", "size": None, "latent_dim": 2, "epochs": 2, "batch_size": 4}
    train(source, folder=Path("models/whole"), **options)
    train(source, stop_after(3), **options)
    train(source, **options)
    expected, found = weights(Path("models/whole")), weights()
    assert all((expected[name] == found[name]).all() for name in expected)


def test_a_killed_run_goes_on_as_if_nothing_had_been(pictures, tmp_path):
    options = ["--size=16", "--latent-dim=3", "--epochs=12", "--batch-size=8", "--precision=fp32", "--held-out=0.2"]
    eager = "from latentcli.training import loop; loop._SAVING = 1e9; from latentcli.cli.app import main; main()"
    command = [sys.executable, "-c", eager, "train", str(pictures), *options]
    victim = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(victim, "epoch 3")
    time.sleep(0.05)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert not (FOLDER / "model.safetensors").exists()
    assert checkpoint.read(FOLDER / "resume.safetensors", TrainingPosition).position.step > 0
    train(pictures, epochs=12)
    train(pictures, folder=Path("models/whole"), epochs=12)
    expected, found = weights(Path("models/whole")), weights()
    assert all((expected[name] == found[name]).all() for name in expected)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(pictures, number, code):
    command = [sys.executable, "-m", "latentcli", "train", str(pictures), "--size", "16", "--epochs", "500"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(process, "epoch 2")
    process.send_signal(number)
    result = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert "the same command resumes it" in result
    assert "Traceback" not in result
    assert checkpoint.read(FOLDER / "resume.safetensors", TrainingPosition).position.step > 0


def test_other_options_are_refused_by_name(pictures):
    train(pictures, stop_after(2))
    before = (FOLDER / "resume.safetensors").read_bytes()
    with pytest.raises(ConfigError, match=r"latent dim is 3 there, 5 asked; beta is 1\.0 there, 2 asked"):
        planned(pictures, latent_dim=5, beta=2)
    assert (FOLDER / "resume.safetensors").read_bytes() == before


def test_a_finished_run_is_known(pictures):
    train(pictures)
    assert planned(pictures).finished
    with pytest.raises(ConfigError, match="3 epochs there, 2 epochs asked"):
        planned(pictures, epochs=2)
    with pytest.raises(ConfigError, match="3 epochs there, 9 minutes asked"):
        planned(pictures, epochs=None, minutes=9)
    with pytest.raises(ConfigError, match="3 epochs there"):
        planned(pictures, epochs=None)  # the preset's default is no wish to go on


def test_more_epochs_after_the_end_are_a_new_stage(pictures):
    first = train(pictures)[-1]
    result = train(pictures, epochs=5)
    started = next(report for report in result if isinstance(report, events.Started))
    assert (started.step, started.stage, started.steps) == (12, 2, 20)
    assert result[-1].model_id != first.model_id
    lines = [json.loads(line) for line in (FOLDER / "history.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["stage"]) for line in lines] == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]
    assert summary().stages == 2
    assert planned(pictures, epochs=5).finished
    with pytest.raises(ConfigError, match="5 epochs there, 3 epochs asked"):
        planned(pictures)


def test_an_interrupted_second_stage_goes_on(pictures):
    whole = Path("models/whole")
    train(pictures, folder=whole)
    train(pictures, folder=whole, epochs=5)
    train(pictures)
    train(pictures, stop_after(3), epochs=5)
    with pytest.raises(ConfigError, match="5 epochs there, 3 epochs asked"):
        planned(pictures)
    train(pictures, epochs=5)
    expected, found = weights(whole), weights()
    assert all((expected[name] == found[name]).all() for name in expected)


@pytest.fixture
def over_at_20(monkeypatch):
    """Runs on few images are stopped at step 20, and the start counts as the best."""
    monkeypatch.setattr(LossCurve, "is_over", lambda self, step, stage, patience: step == 20)
    monkeypatch.setattr(early_stop, "loss", lambda metrics, beta: -metrics.images)


def summary(folder=FOLDER):
    training = load_model(folder).header.training
    assert training
    return training


def test_a_run_on_few_images_keeps_the_best_weights(pictures, monkeypatch):
    losses = iter([9, 3, 2, 1, 4, 5])
    monkeypatch.setattr(early_stop, "loss", lambda metrics, beta: next(losses))
    result = train(pictures, epochs=5)
    third = next(report for report in result if isinstance(report, EpochReport) and report.epoch == 3)
    assert summary().kept_epoch == 3
    assert third.held_out
    assert result[-1].held_out == third.held_out
    assert Record.load(FOLDER).evaluation.held_out.psnr == pytest.approx(third.held_out.psnr, abs=1e-4)


def test_a_run_on_few_images_keeps_the_start_where_training_makes_it_worse(pictures, monkeypatch):
    losses = iter(range(9))
    monkeypatch.setattr(early_stop, "loss", lambda metrics, beta: next(losses))
    result = train(pictures)
    start = next(report for report in result if isinstance(report, EpochReport))
    assert (start.epoch, summary().kept_epoch) == (0, 0)
    assert result[-1].held_out == start.held_out


def test_a_run_that_stops_early_says_so(pictures, over_at_20):
    result = train(pictures, epochs=10)
    notes = [report.text for report in result if isinstance(report, Note)]
    told = "stopped early at epoch 5 of 10: held-out images came out best at epoch 0, whose weights are kept"
    assert told in notes
    assert (summary().steps, summary().epochs, summary().planned_epochs) == (20, 5, 10)
    assert planned(pictures, epochs=10).finished


@pytest.mark.parametrize("steps", [1, 6, 17])
def test_an_interrupted_run_that_stops_early_ends_as_one_that_was_not_interrupted(pictures, over_at_20, steps):
    train(pictures, folder=Path("models/whole"), epochs=10)
    train(pictures, stop_after(steps), epochs=10)
    train(pictures, epochs=10)
    expected, found = weights(Path("models/whole")), weights()
    assert all((expected[name] == found[name]).all() for name in expected)


def test_a_stopped_run_killed_while_it_finishes_does_the_rest_next_time(pictures, over_at_20, monkeypatch):
    train(pictures, folder=Path("models/whole"), epochs=10)

    def killed(*arguments, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(results, "save_model", killed)
        with pytest.raises(KeyboardInterrupt):
            train(pictures, epochs=10)
    assert isinstance(train(pictures, epochs=10)[-1], events.Finished)
    expected, found = weights(Path("models/whole")), weights()
    assert all((expected[name] == found[name]).all() for name in expected)
    assert summary().steps == 20


def test_a_prior_whose_fit_was_stopped_is_fitted_on(pictures, monkeypatch):
    for name, value in (("_WIDTH", 16), ("_HIDDEN", 16), ("_BLOCKS", 1), ("_MEASURED", 64)):
        monkeypatch.setattr(flow, name, value)
    monkeypatch.setattr(results, "steps_after", lambda images, pixels, minutes: 300)
    monkeypatch.setattr(results, "_COMPARED", 1)
    train(pictures, folder=Path("models/whole"))
    stopped = train(pictures, stop_after(150))
    assert isinstance(stopped[-1], events.Interrupted)
    assert (stopped[-1].what, stopped[-1].steps) == ("fitting the prior", 300)
    assert not (FOLDER / "model.safetensors").exists()
    steps = [report.step for report in train(pictures) if getattr(report, "what", "") == "fitting the prior"]
    assert steps[0] > stopped[-1].step > 100
    assert not (FOLDER / "prior.resume.safetensors").exists()
    found, expected = weights(), weights(Path("models/whole"))
    assert all((found[name] == array).all() for name, array in expected.items())


def test_more_epochs_after_an_early_stop_are_a_new_stage(pictures, over_at_20):
    train(pictures, epochs=10)
    result = train(pictures, epochs=12)
    started = next(report for report in result if isinstance(report, events.Started))
    assert (started.step, started.stage, started.steps) == (20, 2, 48)
    assert (summary().steps, summary().planned_epochs) == (48, None)


def test_short_epochs_are_not_all_measured(pictures):
    result = train(pictures, epochs=45, batch_size=32)
    measured = [report.epoch for report in result if isinstance(report, EpochReport)]
    assert measured == [0, *range(2, 45, 2), 45]


def test_photos_and_few_digits_may_be_augmented(pictures, monkeypatch):
    photos = planned(pictures).choice.config
    assert (photos.augment, photos.shift, photos.jitter) == (None, DEFAULTS["photo"].shift, DEFAULTS["photo"].jitter)
    alone = planned(pictures, augment=False).choice.config
    assert (alone.augment, alone.shift, alone.jitter, alone.patience) == (False, 0, 0, 0.2)
    few = planned(pictures, preset="digits").choice.config
    assert (few.augment, few.shift, few.jitter) == (None, DEFAULTS["digits"].shift, 0)
    monkeypatch.setattr(presets, "FEW_IMAGES", 30)
    many = planned(pictures).choice.config
    assert (many.augment, many.shift, many.patience) == (None, photos.shift, 0)
    assert planned(pictures, preset="digits").choice.config.augment is False
    assert planned(pictures, preset="digits", augment=True).choice.config.shift == few.shift


@pytest.mark.parametrize("found", [True, False])
def test_what_was_found_out_about_the_images_outlives_an_interruption(pictures, found, monkeypatch):
    monkeypatch.setattr("latentcli.training.start._ALIKE_MIRRORED", 1e9 * found)
    monkeypatch.setattr("latentcli.training.start._ALIKE_MOVED", 1e9 * found)
    monkeypatch.setattr("latentcli.training.start._TOO_FEW", 10)
    train(pictures, folder=Path("models/whole"))
    train(pictures, stop_after(3))
    train(pictures)
    assert all((weights(Path("models/whole"))[name] == weights()[name]).all() for name in weights())
    assert (summary().flip, summary().shift > 0, summary().jitter > 0) == (found, found, found)


def test_the_preset_book_stays_as_the_chapter_has_it(tmp_path):
    gray = draw_folder(tmp_path / "g", 20, mode="L")
    chosen = planned(gray, preset="book", size=None).choice.config
    assert (chosen.shift, chosen.jitter, chosen.patience) == (0, 0, 0)


def test_augmentation_changes_what_is_learned(pictures, monkeypatch):
    monkeypatch.setattr(presets, "FEW_IMAGES", 30)  # the last weights are stored
    train(pictures, folder=Path("models/plain"), epochs=1)
    train(pictures, augment=True, epochs=1)
    plain, augmented = weights(Path("models/plain")), weights()
    assert any((plain[name] != augmented[name]).any() for name in plain)


@pytest.mark.parametrize("moment", ["save_model", "write_pictures", "evaluate", "build"])
@pytest.mark.parametrize("stages", [1, 2])
def test_a_run_killed_while_it_finishes_does_the_rest_next_time(pictures, monkeypatch, stages, moment):
    whole = Path("models/whole")
    for epochs in (3, 5)[:stages]:
        train(pictures, folder=whole, epochs=epochs)
    if stages == 2:
        train(pictures)

    def killed(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(results, moment, killed)
    with pytest.raises(KeyboardInterrupt):
        train(pictures, epochs=(3, 5)[stages - 1])
    monkeypatch.undo()
    monkeypatch.chdir(pictures.parent)
    plan = planned(pictures, epochs=(3, 5)[stages - 1])
    assert not plan.finished
    assert not plan.grows
    assert isinstance(list(run(plan))[-1], events.Finished)
    expected, found = weights(whole), weights()
    assert all((expected[name] == found[name]).all() for name in expected)
    assert Record.load(FOLDER).model_id == load_model(FOLDER).header.network_id
    assert planned(pictures, epochs=(3, 5)[stages - 1]).finished


def test_what_cannot_be_measured_does_not_cost_the_weights(pictures, monkeypatch):
    def broken(subject):
        raise LatentCLIError("out of memory")

    monkeypatch.setattr(results, "evaluate", broken)
    with pytest.raises(LatentCLIError):
        train(pictures)
    assert load_model(FOLDER).config.latent_dim == 3


def test_other_readable_images_than_at_the_start_are_refused(pictures):
    path = pictures / "007.png"
    data = path.read_bytes()
    train(pictures, stop_after(2))
    path.write_bytes(bytes(len(data)))
    with pytest.raises(ConfigError, match="other images can be read"):
        train(pictures)


def test_what_a_killed_save_left_is_removed(pictures):
    train(pictures, stop_after(2))
    (FOLDER / ".resume.safetensors.x.part").write_bytes(b"half")
    (FOLDER / "snapshots").mkdir(exist_ok=True)
    (FOLDER / "snapshots/.00000004.png.x.part").write_bytes(b"half")
    train(pictures)
    assert not list(FOLDER.rglob(".*.part"))


def test_a_run_of_an_older_version_is_refused_in_one_line(pictures):
    train(pictures, stop_after(2))
    file = FOLDER / "resume.safetensors"
    header, arrays = tensorfile.read(file, checkpoint.KIND)
    tensorfile.write(file, checkpoint.KIND, {"options": header["options"], "step": 2}, {"x": arrays["network.sigma"]})
    with pytest.raises(FileFormatError, match="holds a header that makes no sense"):
        planned(pictures)


def test_the_first_minute_confirms_the_speed_once(pictures, monkeypatch):
    confirmed = []
    monkeypatch.setattr(loop, "_REPORT_EVERY", 0)
    monkeypatch.setattr(machine, "CONFIRMED_AFTER", 0)
    monkeypatch.setattr(machine.Undisturbed, "__call__", lambda self: True)
    monkeypatch.setattr(machine, "confirm", lambda model, config, device, seconds: confirmed.append(seconds))
    train(pictures)
    assert len(confirmed) == 1
    assert 0 < confirmed[0] < 60


def test_more_minutes_after_the_end_are_a_new_stage(pictures, monkeypatch):
    monkeypatch.setattr(machine, "measure", lambda *arguments: machine.Speed("fp32", 0.1))
    train(pictures, epochs=None, minutes=0.1)
    steps = planned(pictures, epochs=None, minutes=0.1).resumed.position.step
    result = train(pictures, epochs=None, minutes=0.2)
    started = next(report for report in result if isinstance(report, events.Started))
    assert (started.step, started.steps) == (steps, 2 * steps)


def test_changed_images_are_refused(pictures):
    train(pictures)
    draw_folder(pictures, 45)
    with pytest.raises(ConfigError, match=r"the images have changed .*: 5 new \(040\.png, 041\.png, 042\.png, …\)"):
        planned(pictures)


def test_a_model_without_its_run_is_not_overwritten(pictures):
    train(pictures)
    (FOLDER / "resume.safetensors").unlink()
    with pytest.raises(ConfigError, match="choose another `name`"):
        planned(pictures)


def test_two_programs_in_one_folder_exclude_each_other(pictures):
    plan = planned(pictures)
    first = run(plan)
    assert isinstance(first, Generator)
    next(first)
    with pytest.raises(ConfigError, match="another latentcli works in"):
        next(run(plan))
    first.close()


def test_minutes_become_steps_once(pictures, monkeypatch):
    monkeypatch.setattr(machine, "measure", lambda *arguments: machine.Speed("fp32", 0.1))
    result = train(pictures, stop_after(2), epochs=None, minutes=0.25)
    steps = next(report.steps for report in result if isinstance(report, events.Started))
    assert 2 < steps <= 30
    monkeypatch.setattr(machine, "measure", lambda *arguments: machine.Speed("fp32", 0.001))
    rest = train(pictures, epochs=None, minutes=0.25)
    started = next(report for report in rest if isinstance(report, events.Started))
    assert (started.step, started.steps, started.estimated_seconds) == (2, steps, None)


def test_epochs_and_minutes_exclude_each_other(pictures):
    with pytest.raises(ConfigError, match="not both"):
        planned(pictures, minutes=1)


def test_choices_follow_the_images(tmp_path):
    def chosen(mode, count=4, **options):
        source = draw_folder(tmp_path / f"{mode}{len(options)}", count, mode=mode)
        return prepare(FOLDER, source, TrainRequest(**options)).choice.model

    assert (chosen("RGB").preset, chosen("RGB").channels, chosen("RGB").width) == ("photo", 3, 16)
    assert (chosen("L").preset, chosen("L").channels) == ("digits", 1)
    assert chosen("L", size=(64, 48)).preset == "photo"
    assert (chosen("RGB", preset="book").width, chosen("RGB", preset="book").channels) == (28, 1)


@pytest.mark.parametrize(
    ("mode", "options", "preset", "channels"),
    [
        ("RGBA", {}, "photo", 4),
        ("LA", {}, "photo", 2),
        ("RGBA", {"background": "white"}, "photo", 3),
        ("LA", {"background": "white"}, "digits", 1),
        ("LA", {"preset": "digits"}, "digits", 1),
        ("RGBA", {"preset": "book"}, "book", 1),
        ("RGBA", {"crop": "face", "size": (16, 16)}, "photo", 3),
        ("RGBA", {"aligned": True, "size": (16, 16)}, "photo", 3),
    ],
)
def test_transparent_pictures_get_a_model_with_transparency(tmp_path, mode, options, preset, channels):
    model = prepare(FOLDER, draw_folder(tmp_path / "d", 4, mode=mode), TrainRequest(**options)).choice.model
    assert (model.preset, model.channels) == (preset, channels)


def test_a_few_transparent_pictures_are_laid_on_the_background(tmp_path):
    folder = draw_folder(tmp_path / "d", 40)
    draw_folder(folder / "cut out", 1, mode="RGBA")
    assert prepare(FOLDER, folder, TrainRequest()).choice.model.channels == 3


def test_the_choice_names_transparency(tmp_path):
    choice = prepare(FOLDER, draw_folder(tmp_path / "d", 4, mode="RGBA"), TrainRequest(epochs=1)).choice
    assert "16x16 colour with transparency" in choice.describe()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pictures_train_to_the_end(tmp_path, mode):
    train(draw_folder(tmp_path / "d", 12, mode=mode), epochs=1)
    config = load_model(FOLDER).config
    assert (config.has_alpha, config.has_colour) == (True, mode == "RGBA")
    assert "with transparency" in (FOLDER / "report.html").read_text()


def test_beta_zero_is_an_autoencoder(pictures):
    train(pictures, beta=0.0)
    model = load_model(FOLDER)
    assert np.isfinite(model.prior.sample(range(3), 1.0)).all()


def test_one_image_is_not_enough(tmp_path):
    with pytest.raises(ConfigError, match="1 image to train on"):
        planned(draw_folder(tmp_path / "one", 1))


def test_unreadable_images_are_told_and_left_out(pictures):
    (pictures / "007.png").write_text("text")
    started = next(report for report in train(pictures) if isinstance(report, events.Started))
    assert started.images + started.held_out == 39
    assert "007.png" in started.unreadable[0]


def learner_of(size=16, **options):
    model = model_config("photo", size, size, 3, latent_dim=3)
    return TrainState(untrained(model, 0), TrainConfig(precision="fp32", **options), Stage(0, 10), CPU)


def settling_batches(learner, images):
    """Batches (n, channels, height, width) that the encoder sees when statistics and sigma are computed."""
    seen = []
    learner.averaged.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    learner.evaluated(Dataset.from_images(images))
    return seen


def test_sigma_is_that_of_held_out_images():
    """The error on images that are known by heart is too small."""
    learner = learner_of()
    black = Dataset.from_images(torch.zeros(20, 16, 16, 3, dtype=torch.uint8))
    noise = Dataset.from_images(torch.randint(0, 2, (20, 16, 16, 3), dtype=torch.uint8) * 255)
    alone = float(learner.evaluated(black).sigma)
    assert float(learner.evaluated(black, noise).sigma) > 2 * alone


def test_batch_statistics_come_from_all_kinds_of_images():
    """Folders of classes are read in order: the first images are all of one class."""
    learner = learner_of()
    black = torch.zeros(600, 16, 16, 3, dtype=torch.uint8)
    noise = torch.randint(0, 256, (600, 16, 16, 3), dtype=torch.uint8)
    norm = next(module for module in learner.averaged.modules() if isinstance(module, torch.nn.BatchNorm2d))
    learner.evaluated(Dataset.from_images(black))
    assert norm.running_mean is not None
    of_one_kind = norm.running_mean.clone()
    learner.evaluated(Dataset.from_images(torch.cat([black, noise])))
    assert not torch.allclose(norm.running_mean, of_one_kind, atol=1e-3)


def test_half_of_the_images_of_batch_statistics_are_mirrored_where_training_mirrors():
    dark_at_the_left = torch.full((100, 16, 16, 3), 255, dtype=torch.uint8)
    dark_at_the_left[:, :, :8] = 0
    of_statistics, of_sigma = settling_batches(learner_of(flip=True), dark_at_the_left)
    assert 30 < (of_statistics[:, 0, 0, 0] == 1).sum() < 70
    assert (of_sigma[:, 0, 0, 0] == 0).all()


def test_batch_statistics_come_from_batches_of_one_size():
    """All batches weigh the same."""
    batches = settling_batches(learner_of(), torch.zeros(300, 16, 16, 3, dtype=torch.uint8))
    assert [len(x) for x in batches[:2]] == [150, 150]


def test_batch_statistics_fit_the_averaged_weights():
    learner = learner_of()
    images = Dataset.from_images(torch.randint(0, 256, (100, 16, 16, 3), dtype=torch.uint8))
    for step in range(5):
        learner.step(images.take(torch.arange(32)), step)
    vae = learner.evaluated(images)
    (x,) = images.floats()
    stored = vae.encode(x).mean
    vae.train()  # statistics of the batch itself
    torch.testing.assert_close(stored, vae.encode(x).mean, atol=0.02, rtol=0.05)


def test_a_held_out_folder_inside_the_data_is_not_trained_on(tmp_path):
    draw_folder(tmp_path / "d" / "train", 8)
    draw_folder(tmp_path / "d" / "test", 5)
    plan = planned(tmp_path / "d", held_out=str(tmp_path / "d" / "test"))
    assert len(plan.choice.train) == 8
    assert len(plan.choice.held_out) == 5


@pytest.fixture
def twins(tmp_path):
    """A folder of 20 different pictures, 10 of them twice."""
    folder = tmp_path / "d"
    folder.mkdir()
    for number in range(30):
        rng = np.random.default_rng(number % 20)
        levels = rng.integers(0, 256, (6, 6, 3)).astype(np.uint8)
        Image.fromarray(levels).resize((16, 16), Image.Resampling.BICUBIC).save(folder / f"{number:03d}.png")
    return folder


def sides():
    """Whether each picture of `twins` was held out, from the list of files."""
    return ~np.isin(np.arange(30), Fingerprints.load(FOLDER).trained)


def test_near_duplicates_are_on_one_side_of_the_split(twins):
    by_path = is_held_out([b"%03d.png" % number for number in range(30)], 0.2)
    assert (by_path[:10] != by_path[20:]).any()
    started = next(report for report in train(twins) if isinstance(report, events.Started))
    assert (sides() == np.concatenate([by_path[:20], by_path[:10]])).all()
    assert started.notes[-1].startswith("20 images are near-duplicates, in 10 groups")


def test_a_model_file_alone_knows_which_images_were_held_out(twins):
    train(twins)
    found = held_out_then([b"%03d.png" % number for number in range(30)], summary())
    assert (found == sides()).all()


def test_the_report_does_not_list_the_hashes_of_moved_images(twins):
    train(twins)
    assert summary().moved
    assert f"{summary().moved[0]:,}" not in (FOLDER / "report.html").read_text()


def test_a_folder_whose_images_were_all_damaged_since_the_plan_is_refused(pictures):
    plan = planned(pictures)
    for path in pictures.iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(ImageError, match="none of the"):
        list(run(plan))


def test_a_run_that_was_split_by_paths_alone_is_resumed_with_its_sides(twins, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr("latentcli.training.images.first_alike", lambda images, count: np.arange(count))
        train(twins, stop_after(2))
        before = sides()
    assert isinstance(train(twins)[-1], events.Finished)
    assert (sides() == before).all()
    assert not summary().moved


def test_sharpening_keeps_the_sides_of_the_training(twins):
    train(twins)
    plan = prepare_sharpening(find_model(str(FOLDER)), None, SharpenRequest())
    assert (~np.isin(np.arange(30), plan.choice.train.rows) == sides()).all()


def test_near_duplicates_in_a_held_out_folder_are_counted(twins, tmp_path):
    (tmp_path / "h").mkdir()
    for number in (3, 4, 15):
        (twins / f"{number:03d}.png").rename(tmp_path / "h" / f"{number:03d}.png")
    started = next(
        report for report in train(twins, held_out=str(tmp_path / "h")) if isinstance(report, events.Started)
    )
    assert started.notes[-1].startswith("2 of 3 held-out images are near-duplicates of training images")


def test_training_on_the_current_folder_can_be_resumed(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    train(Path("."), stop_after(2))
    assert isinstance(train(Path("."))[-1], events.Finished)


def test_unreadable_held_out_images_do_not_end_the_training(tmp_path):
    source = draw_folder(tmp_path / "d", 6)
    held = draw_folder(tmp_path / "h", 1)
    (held / "000.png").write_text("text")
    result = train(source, held_out=str(held))
    assert isinstance(result[-1], events.Finished)
    assert result[-1].held_out is None


def test_a_step_without_finite_gradients_is_skipped_and_counted(pictures, monkeypatch):
    spoiled = iter([False, True] + [False] * 1000)
    original = schedule.noise

    def noise(*position):
        return original(*position) * (float("nan") if next(spoiled) else 1)

    monkeypatch.setattr(schedule, "noise", noise)
    monkeypatch.setattr(machine, "measure", lambda *arguments: machine.Speed("fp32", 0.5))
    stopped = train(pictures, stop_after(3))
    assert isinstance(stopped[-1], events.Interrupted)
    result = [report for report in train(pictures) if isinstance(report, EpochReport)]
    assert result[-1].skipped_steps == 1
    assert all(torch.from_numpy(array).isfinite().all() for array in weights().values())


def test_a_run_that_diverges_says_so(pictures, monkeypatch):
    monkeypatch.setattr(schedule, "noise", lambda *position: torch.full(position[2:], float("nan")))
    monkeypatch.setattr(machine, "measure", lambda *arguments: machine.Speed("fp32", 0.5))
    with pytest.raises(LatentCLIError, match="training diverged"):
        train(pictures, epochs=100)


def test_schedules():
    ordinary, stage = TrainConfig(learning_rate=1.0), Stage(0, 1000)
    rates = [schedule.learning_rate(ordinary, step, stage) for step in range(1000)]
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[0] < 0.1
    assert rates[-1] < 1e-4
    betas = [schedule.beta(ordinary, step, stage) for step in (0, 50, 100, 999)]
    assert betas[0] < 0.02
    assert betas[1] == pytest.approx(0.5, abs=0.01)
    assert betas[2:] == [1, 1]
    constant = TrainConfig(cosine=False, learning_rate=1e-3, learning_rate_warmup=0, beta_warmup=0)
    few = Stage(0, 10)
    assert schedule.learning_rate(constant, 0, few) == schedule.learning_rate(constant, 9, few) == 1e-3
    assert schedule.beta(constant, 0, few) == 1


def test_a_second_stage_has_a_cosine_of_its_own_and_no_beta_warm_up():
    again, second = TrainConfig(learning_rate=1.0), Stage(1000, 1100, number=2)
    rates = [schedule.learning_rate(again, step, second) for step in range(1000, 1100)]
    assert rates[2:5] == pytest.approx([1, 1, 1], abs=0.02)
    assert rates[50] == pytest.approx(0.5, abs=0.02)
    assert rates[-1] < 1e-3
    assert schedule.beta(again, 1000, second) == 1


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own():
    first, second = schedule.order(0, 0, 50), schedule.order(0, 1, 50)
    assert sorted(first.tolist()) == list(range(50))
    assert not torch.equal(first, second)
    assert torch.equal(first, schedule.order(0, 0, 50))
    assert not torch.equal(schedule.noise(0, 1, 4, 3), schedule.noise(0, 2, 4, 3))


def test_a_full_disk_while_saving_costs_nothing(pictures, monkeypatch):
    """Training goes on with a word about it; what was saved before stays."""
    train(pictures, stop_after(2))
    before = (FOLDER / "resume.safetensors").read_bytes()
    write, fail = files.write_whole, [True]

    def write_whole(path, data):
        if fail[0] and "resume" in str(path):
            raise LatentCLIError(f"cannot write {path}: No space left on device; nothing was changed")
        write(path, data)

    monkeypatch.setattr(tensorfile, "write_whole", write_whole)
    running = run(planned(pictures))
    for report in running:
        if isinstance(report, Note):
            assert "No space left" in report.text
            assert (FOLDER / "resume.safetensors").read_bytes() == before
            fail[0] = False
            break
    assert isinstance(list(running)[-1], events.Finished)


def test_a_folder_that_cannot_be_written_to_is_refused_before_training(pictures, monkeypatch):
    plan = planned(pictures)
    Path("models").mkdir()
    FOLDER.write_text("in the way")
    with pytest.raises(LatentCLIError, match="cannot write to"):
        next(run(plan))


def test_nothing_is_left_behind_when_nothing_was_trained(pictures):
    running = run(planned(pictures))
    assert isinstance(running, Generator)
    next(running)
    running.close()
    assert not FOLDER.exists()


def test_running_out_of_memory_is_told_with_advice(pictures, monkeypatch):
    def step(*arguments):
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory: you tried"
        )

    monkeypatch.setattr(TrainState, "step", step)
    with pytest.raises(LatentCLIError, match="`batch_size` 4 or a smaller `size`"):
        train(pictures)
    assert not FOLDER.exists()


def test_identical_images_train_and_are_noted(tmp_path):
    source = draw_folder(tmp_path / "d", 1)
    for number in range(1, 30):
        (source / f"{number:03d}.png").write_bytes((source / "000.png").read_bytes())
    result = train(source)
    started = next(report for report in result if isinstance(report, events.Started))
    assert any("all images are the same" in note for note in started.notes)
    assert np.isfinite(load_model(FOLDER).prior.sample(range(3), 1.0)).all()


def test_images_smaller_than_the_network_are_scaled_up_with_a_warning(pictures):
    started = next(report for report in train(pictures, size=(32, 32)) if isinstance(report, events.Started))
    assert "images are smaller than 32x32 and are scaled up" in started.notes[0]


def test_long_epochs_are_saved_in_between(pictures, monkeypatch):
    monkeypatch.setattr(loop, "_SAVE_EVERY", 0.0)
    saved = []
    monkeypatch.setattr(checkpoint, "save", lambda path, options, position, *tensors: saved.append(position.step))
    train(pictures, epochs=1, batch_size=4)
    assert saved == list(range(1, saved[-1] + 1))


def test_a_chosen_device_must_be_there(pictures):
    with pytest.raises(ConfigError, match="has no cuda"):
        planned(pictures, device="cuda")


def test_the_device_may_change_within_a_run(pictures):
    train(pictures, stop_after(2), device="cpu")
    assert isinstance(train(pictures, device="auto")[-1], events.Finished)


def test_crop_and_background_are_recorded(pictures):
    train(pictures, crop="none", background="black")
    assert (load_model(FOLDER).config.crop, load_model(FOLDER).config.background) == ("none", "#000000")
