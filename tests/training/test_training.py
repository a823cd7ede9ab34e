import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from latentcli import load_model, tensorfile
from latentcli.config import TrainConfig, model_config
from latentcli.errors import ConfigError, LatentCLIError
from latentcli.training import reports, resume, schedule, selftest
from latentcli.training.loop import Learner, batches
from latentcli.training.plan import TrainRequest, prepare
from latentcli.training.run import run
from tests.conftest import draw_folder

FOLDER = Path("models/d")
SMALL = {"size": (16, 16), "latent_dim": 3, "epochs": 3, "batch_size": 8, "precision": "fp32", "held_out": "0.2"}


def request(**options):
    return TrainRequest(FOLDER, **{**SMALL, **options})


def train(source, stop=lambda: False, **options):
    return list(run(prepare(source, request(**options)), stop))


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
    told = train(pictures)
    assert sorted(path.name for path in FOLDER.iterdir()) == [
        "README.md", "history.jsonl", "model.safetensors", "reconstructions.png", "resume.safetensors", "samples.png",
    ]  # fmt: skip
    model = load_model(FOLDER)
    assert isinstance(told[-1], reports.Finished)
    assert told[-1].model_id == model.model_id
    assert model.header["finished_at"] > "2026"
    assert model.header["training"]["images"] + model.header["training"]["held_out_images"] == 40
    lines = [json.loads(line) for line in (FOLDER / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[-1]["held_out"]["negative_elbo"] == told[-1].held_out.negative_elbo


def test_training_learns(pictures):
    told = [report for report in train(pictures, epochs=40) if isinstance(report, reports.EpochReport)]
    assert told[-1].reconstruction < told[0].reconstruction - 100
    assert told[-1].held_out.psnr > told[0].held_out.psnr + 2


def test_the_same_seed_gives_the_same_weights(pictures):
    train(pictures)
    first = weights()
    list(run(prepare(pictures, TrainRequest(Path("models/again"), **SMALL))))
    again = weights(Path("models/again"))
    assert all((first[name] == again[name]).all() for name in first)


@pytest.mark.parametrize("steps", [1, 4, 9])
def test_an_interrupted_run_ends_as_one_that_was_not(pictures, steps):
    whole = list(run(prepare(pictures, TrainRequest(Path("models/whole"), **SMALL))))
    stopped = train(pictures, stop_after(steps))
    assert isinstance(stopped[-1], reports.Interrupted)
    assert not (FOLDER / "model.safetensors").exists()
    rest = train(pictures)
    assert isinstance(rest[-1], reports.Finished)
    expected, found = weights(Path("models/whole")), weights()
    assert all((expected[name] == found[name]).all() for name in expected)
    for told in (whole, rest):
        last = [report for report in told if isinstance(report, reports.EpochReport)][-1]
        assert last.epoch == 3
    history = [Path(folder, "history.jsonl").read_text().splitlines() for folder in ("models/whole", FOLDER)]
    strip = [[{**json.loads(line), "seconds": 0} for line in lines] for lines in history]
    assert strip[0] == strip[1]


def test_momentum_of_rmsprop_is_resumed_too(tmp_path):
    source = draw_folder(tmp_path / "g", 20, mode="L")
    options = {"preset": "book", "size": None, "latent_dim": 2, "epochs": 2, "batch_size": 4}
    list(run(prepare(source, TrainRequest(Path("models/whole"), **{**SMALL, **options}))))
    train(source, stop_after(3), **options)
    train(source, **options)
    expected, found = weights(Path("models/whole")), weights()
    assert all((expected[name] == found[name]).all() for name in expected)


def test_a_killed_run_goes_on_as_if_nothing_had_been(pictures, tmp_path):
    options = ["--size=16", "--latent-dim=3", "--epochs=12", "--batch-size=8", "--precision=fp32", "--held-out=0.2"]
    eager = "from latentcli.training import run; run._SAVING = 1e9; from latentcli.cli.app import main; main()"
    command = [sys.executable, "-c", eager, "train", str(pictures), *options]
    victim = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(victim, "epoch 3")
    time.sleep(0.05)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert not (FOLDER / "model.safetensors").exists()
    assert resume.read_position(FOLDER / "resume.safetensors")[1].step > 0
    train(pictures, epochs=12)
    list(run(prepare(pictures, TrainRequest(Path("models/whole"), **{**SMALL, "epochs": 12}))))
    expected, found = weights(Path("models/whole")), weights()
    assert all((expected[name] == found[name]).all() for name in expected)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(pictures, number, code):
    command = [sys.executable, "-m", "latentcli", "train", str(pictures), "--size", "16", "--epochs", "500"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(process, "epoch 2")
    process.send_signal(number)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert "the same command goes on" in told
    assert "Traceback" not in told
    assert resume.read_position(FOLDER / "resume.safetensors")[1].step > 0


def test_other_options_are_refused_by_name(pictures):
    train(pictures, stop_after(2))
    before = (FOLDER / "resume.safetensors").read_bytes()
    with pytest.raises(ConfigError, match=r"latent dim is 3 there, 5 asked; beta is 1\.0 there, 2 asked"):
        prepare(pictures, request(latent_dim=5, beta=2))
    assert (FOLDER / "resume.safetensors").read_bytes() == before


def test_a_finished_run_is_known(pictures):
    train(pictures)
    assert prepare(pictures, request()).finished
    with pytest.raises(ConfigError, match="epochs is 3 there, 4 asked"):
        prepare(pictures, request(epochs=4))


def test_changed_images_are_refused(pictures):
    train(pictures)
    draw_folder(pictures, 45)
    with pytest.raises(ConfigError, match="the images have changed"):
        prepare(pictures, request())


def test_a_model_without_its_run_is_not_overwritten(pictures):
    train(pictures)
    (FOLDER / "resume.safetensors").unlink()
    with pytest.raises(ConfigError, match="choose another --name"):
        prepare(pictures, request())


def test_two_programs_in_one_folder_exclude_each_other(pictures):
    plan = prepare(pictures, request())
    first = run(plan)
    next(first)
    with pytest.raises(ConfigError, match="another latentcli trains"):
        next(run(plan))
    first.close()


def test_minutes_become_steps_once(pictures, monkeypatch):
    monkeypatch.setattr(selftest, "measure", lambda *arguments: ("fp32", 0.5))
    told = train(pictures, stop_after(2), epochs=None, minutes=0.25)
    steps = next(report.steps for report in told if isinstance(report, reports.Started))
    assert 2 < steps <= 30
    monkeypatch.setattr(selftest, "measure", lambda *arguments: ("fp32", 0.001))
    rest = train(pictures, epochs=None, minutes=0.25)
    started = next(report for report in rest if isinstance(report, reports.Started))
    assert (started.step, started.steps, started.estimated_seconds) == (2, steps, None)


def test_epochs_and_minutes_exclude_each_other(pictures):
    with pytest.raises(ConfigError, match="not both"):
        prepare(pictures, request(minutes=1))


def test_choices_follow_the_images(tmp_path):
    def chosen(mode, count=4, **options):
        source = draw_folder(tmp_path / f"{mode}{len(options)}", count, mode=mode)
        return prepare(source, TrainRequest(FOLDER, **options)).model

    assert (chosen("RGB").preset, chosen("RGB").channels, chosen("RGB").width) == ("photo", 3, 16)
    assert (chosen("L").preset, chosen("L").channels) == ("digits", 1)
    assert chosen("L", size=(64, 48)).preset == "photo"
    assert (chosen("RGB", preset="book").width, chosen("RGB", preset="book").channels) == (28, 1)


def test_beta_zero_is_an_autoencoder(pictures):
    train(pictures, beta=0.0)
    model = load_model(FOLDER)
    assert model.prior.sample(range(3), 1.0).isfinite().all()


def test_one_image_is_not_enough(tmp_path):
    with pytest.raises(ConfigError, match="1 image to train on"):
        prepare(draw_folder(tmp_path / "one", 1), request())


def test_unreadable_images_are_told_and_left_out(pictures):
    (pictures / "007.png").write_text("text")
    started = next(report for report in train(pictures) if isinstance(report, reports.Started))
    assert started.images + started.held_out == 39
    assert "007.png" in started.unreadable[0]


def test_batch_statistics_come_from_all_kinds_of_images():
    """Folders of classes are read in order: the first images are all of one class."""
    model = model_config("photo", 16, 16, 3, latent_dim=3)
    learner = Learner(model, TrainConfig(precision="fp32"), steps=10)
    black = torch.zeros(600, 16, 16, 3, dtype=torch.uint8)
    noise = torch.randint(0, 256, (600, 16, 16, 3), dtype=torch.uint8)
    norm = learner.evaluated(black).encoder.downs[0][1]
    of_one_kind = norm.running_mean.clone()
    learner.evaluated(torch.cat([black, noise]))
    assert not torch.allclose(norm.running_mean, of_one_kind, atol=1e-3)


def test_batch_statistics_fit_the_averaged_weights():
    learner = Learner(model_config("photo", 16, 16, 3, latent_dim=3), TrainConfig(precision="fp32"), steps=10)
    images = torch.randint(0, 256, (100, 16, 16, 3), dtype=torch.uint8)
    for step in range(5):
        learner.step(images[:32], step)
    vae = learner.evaluated(images)
    (x,) = batches(images)
    stored = vae.encode(x).mean
    vae.train()  # statistics of the batch itself
    torch.testing.assert_close(stored, vae.encode(x).mean, atol=0.02, rtol=0.05)


def test_a_held_out_folder_inside_the_data_is_not_trained_on(tmp_path):
    draw_folder(tmp_path / "d" / "train", 8)
    draw_folder(tmp_path / "d" / "test", 5)
    plan = prepare(tmp_path / "d", request(held_out=str(tmp_path / "d" / "test")))
    assert len(plan.train) == 8
    assert len(plan.held_out) == 5


def test_training_on_the_current_folder_can_be_resumed(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    train(Path("."), stop_after(2))
    assert isinstance(train(Path("."))[-1], reports.Finished)


def test_unreadable_held_out_images_do_not_end_the_training(tmp_path):
    source = draw_folder(tmp_path / "d", 6)
    held = draw_folder(tmp_path / "h", 1)
    (held / "000.png").write_text("text")
    told = train(source, held_out=str(held))
    assert isinstance(told[-1], reports.Finished)
    assert told[-1].held_out is None


def test_a_step_without_finite_gradients_is_skipped_and_counted(pictures, monkeypatch):
    spoiled = iter([False, True] + [False] * 1000)
    original = schedule.noise

    def noise(*position):
        return original(*position) * (float("nan") if next(spoiled) else 1)

    monkeypatch.setattr(schedule, "noise", noise)
    monkeypatch.setattr(selftest, "measure", lambda *arguments: ("fp32", 0.5))
    stopped = train(pictures, stop_after(3))
    assert isinstance(stopped[-1], reports.Interrupted)
    told = [report for report in train(pictures) if isinstance(report, reports.EpochReport)]
    assert told[-1].skipped_steps == 1
    assert all(torch.from_numpy(array).isfinite().all() for array in weights().values())


def test_a_run_that_goes_astray_says_so(pictures, monkeypatch):
    monkeypatch.setattr(schedule, "noise", lambda *position: torch.full(position[2:], float("nan")))
    monkeypatch.setattr(selftest, "measure", lambda *arguments: ("fp32", 0.5))
    with pytest.raises(LatentCLIError, match="went astray"):
        train(pictures, epochs=100)


def test_schedules():
    config = TrainConfig(learning_rate=1.0)
    rates = [schedule.learning_rate(config, step, 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[0] < 0.1
    assert rates[-1] < 1e-4
    betas = [schedule.beta(config, step, 1000) for step in (0, 50, 100, 999)]
    assert betas[0] < 0.02
    assert betas[1] == pytest.approx(0.5, abs=0.01)
    assert betas[2:] == [1, 1]
    constant = TrainConfig(cosine=False, learning_rate_warmup=0, beta_warmup=0)
    assert schedule.learning_rate(constant, 0, 10) == schedule.learning_rate(constant, 9, 10) == 1e-3
    assert schedule.beta(constant, 0, 10) == 1


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own():
    first, second = schedule.order(0, 0, 50), schedule.order(0, 1, 50)
    assert sorted(first.tolist()) == list(range(50))
    assert not torch.equal(first, second)
    assert torch.equal(first, schedule.order(0, 0, 50))
    assert not torch.equal(schedule.noise(0, 1, 4, 3), schedule.noise(0, 2, 4, 3))
