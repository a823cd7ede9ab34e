from dataclasses import replace

import pytest
import torch

from latentcli.config import TrainConfig
from latentcli.data.dataset import Dataset
from latentcli.presets import model_config
from latentcli.training import hardware

CPU = torch.device("cpu")
MODEL = model_config("photo", 16, 16, 3, latent_dim=3)
CONFIG = TrainConfig(batch_size=8)
IMAGES = Dataset.from_images(torch.randint(0, 256, (40, 16, 16, 3), dtype=torch.uint8))


def answer(monkeypatch, fp32, bf16, product=2.0):
    """What timing finds: seconds per step, squared error, KL in each precision, and a product's speed in bf16."""
    monkeypatch.setattr(hardware, "_product_speed", lambda device: product)
    times = {"fp32": fp32, "bf16": bf16}
    timed = {name: (seconds, tuple(quality)) for name, (seconds, *quality) in times.items()}
    monkeypatch.setattr(hardware, "time_steps", lambda model, config, *rest: timed[config.precision])


@pytest.mark.parametrize(
    ("fp32", "bf16", "chosen"),
    [
        ((1.0, 0.02, 9.0), (0.5, 0.0201, 9.1), "bf16"),
        ((1.0, 0.02, 0.01), (0.5, 0.02, 0.02), "bf16"),
        ((1.0, 0.02, 9.0), (0.95, 0.02, 9.0), "fp32"),
        ((1.0, 0.02, 9.0), (1.5, 0.02, 9.0), "fp32"),
        ((1.0, 0.02, 9.0), (0.5, 0.03, 9.0), "fp32"),
        ((1.0, 0.02, 2.8), (0.5, 0.02, 611.2), "fp32"),
        ((1.0, 0.02, 9.0), (0.5, float("nan"), 9.0), "fp32"),
        ((1.0, 0.02, 9.0), (0.5, 0.02, float("nan")), "fp32"),
    ],
)
def test_bf16_is_taken_where_it_is_faster_and_as_good(monkeypatch, fp32, bf16, chosen):
    answer(monkeypatch, fp32, bf16)
    assert hardware.choose(MODEL, CONFIG, IMAGES, CPU).precision == chosen


def test_a_network_is_not_tried_in_bf16_where_its_products_are_slow(monkeypatch):
    answer(monkeypatch, (1.0, 0.02, 9.0), (0.5, 0.02, 9.0), product=0.5)
    assert hardware.choose(MODEL, CONFIG, IMAGES, CPU).describe() == "fp32 (bf16 is 0.5 times as fast as fp32 here)"


def test_the_choice_is_said_with_its_reason(monkeypatch):
    answer(monkeypatch, (1.0, 0.02, 9.0), (0.5, 0.02, 9.0))
    assert hardware.choose(MODEL, CONFIG, IMAGES, CPU).describe() == "bf16 (bf16 is 2.0 times as fast as fp32 here)"


def test_the_answer_is_kept_for_the_machine_and_the_network(monkeypatch):
    first = hardware.choose(MODEL, CONFIG, IMAGES, CPU)
    monkeypatch.setattr(hardware, "time_steps", lambda *arguments: pytest.fail("measured again"))
    assert hardware.choose(MODEL, CONFIG, IMAGES, CPU) == first


def test_a_damaged_answer_is_found_again(monkeypatch):
    answer(monkeypatch, (1.0, 0.02, 9.0), (0.5, 0.02, 9.0))
    file = hardware._file(MODEL, CONFIG, CPU)
    for text in ("{}", "", "[1]", '{"precision": "fp32"}'):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        assert hardware.choose(MODEL, CONFIG, IMAGES, CPU).precision == "bf16"


def test_a_wanted_precision_is_only_timed():
    speed = hardware.choose(MODEL, TrainConfig(batch_size=8, precision="fp32"), IMAGES, CPU)
    assert (speed.precision, speed.describe()) == ("fp32", "fp32")


def test_muon_trains_in_bf16_as_in_fp32():
    small = replace(CONFIG, optimizer="muon")
    timed = {
        name: hardware.time_steps(MODEL, replace(small, precision=name), IMAGES, CPU, 6) for name in ("fp32", "bf16")
    }
    assert timed["bf16"][1] == pytest.approx(timed["fp32"][1], rel=0.05)
