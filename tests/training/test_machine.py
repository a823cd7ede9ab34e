import time
from dataclasses import replace

import pytest
import torch

from latentcli.config import TrainConfig
from latentcli.data.dataset import Dataset
from latentcli.presets import model_config
from latentcli.training import machine
from latentcli.training.machine import ThreadWatch

CPU = torch.device("cpu")
MODEL = model_config("photo", 16, 16, 3, latent_dim=3)
CONFIG = TrainConfig(batch_size=8)
IMAGES = Dataset.from_images(torch.randint(0, 256, (40, 16, 16, 3), dtype=torch.uint8))


def answer(monkeypatch, fp32, bf16, product=2.0):
    """What timing finds: seconds per step, squared error, KL in each precision, and a product's speed in bf16."""
    monkeypatch.setattr(machine, "_product_speed", lambda device: product)
    times = {"fp32": fp32, "bf16": bf16}
    timed = {name: (seconds, tuple(quality)) for name, (seconds, *quality) in times.items()}
    monkeypatch.setattr(machine, "_steps", lambda model, config, *rest: config.precision)
    monkeypatch.setattr(machine, "time_in_turn", lambda makers, steps: [timed[maker] for maker in makers])


@pytest.fixture
def quiet(monkeypatch):
    """A machine without other programs."""
    monkeypatch.setattr(machine.Undisturbed, "__call__", lambda self: True)


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
    assert machine.choose(MODEL, CONFIG, IMAGES, CPU).precision == chosen


def test_a_network_is_not_tried_in_bf16_where_its_products_are_slow(monkeypatch):
    answer(monkeypatch, (1.0, 0.02, 9.0), (0.5, 0.02, 9.0), product=0.5)
    assert machine.choose(MODEL, CONFIG, IMAGES, CPU).describe() == "fp32 (bf16 is 0.5 times as fast as fp32 here)"


def test_the_choice_is_said_with_its_reason(monkeypatch):
    answer(monkeypatch, (1.0, 0.02, 9.0), (0.5, 0.02, 9.0))
    assert machine.choose(MODEL, CONFIG, IMAGES, CPU).describe() == "bf16 (bf16 is 2.0 times as fast as fp32 here)"


def test_the_answer_is_kept_for_the_machine_and_the_network(monkeypatch, quiet):
    first = machine.choose(MODEL, CONFIG, IMAGES, CPU)
    monkeypatch.setattr(machine, "_steps", lambda *arguments: pytest.fail("measured again"))
    assert machine.choose(MODEL, CONFIG, IMAGES, CPU) == first


def test_an_answer_of_a_busy_moment_is_used_and_not_kept(monkeypatch):
    monkeypatch.setattr(machine.Undisturbed, "__call__", lambda self: False)
    answer(monkeypatch, (1.0, 0.02, 9.0), (0.95, 0.02, 9.0))
    assert machine.choose(MODEL, CONFIG, IMAGES, CPU).precision == "fp32"
    answer(monkeypatch, (1.0, 0.02, 9.0), (0.5, 0.02, 9.0))
    assert machine.choose(MODEL, CONFIG, IMAGES, CPU).precision == "bf16"


def test_a_program_that_gets_half_of_the_time_of_its_threads_is_disturbed(monkeypatch):
    clocks = {"perf_counter": 0.0, "process_time": 0.0}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for name in clocks:
        monkeypatch.setattr(time, name, lambda name=name: clocks[name])
    undisturbed, on_gpu = machine.Undisturbed(CPU), machine.Undisturbed(torch.device("cuda"))
    clocks |= {"perf_counter": 10.0, "process_time": 19.0}
    assert undisturbed()
    clocks["process_time"] = 10.0
    assert not undisturbed()
    assert on_gpu()


@pytest.mark.parametrize(("seconds", "kept"), [(0.3, 0.3), (0.4, 0.5), (0.6, 0.5), (0.7, 0.7)])
def test_a_kept_speed_is_replaced_when_training_goes_at_another(monkeypatch, quiet, seconds, kept):
    answer(monkeypatch, (16.0, 0.02, 9.0), (4.0, 0.02, 9.0))
    assert machine.choose(MODEL, CONFIG, IMAGES, CPU).seconds_per_image == 0.5
    machine.confirm(MODEL, replace(CONFIG, precision="fp32"), CPU, 9.0)
    assert machine.choose(MODEL, CONFIG, IMAGES, CPU).seconds_per_image == 0.5
    machine.confirm(MODEL, replace(CONFIG, precision="bf16"), CPU, seconds)
    assert machine.choose(MODEL, CONFIG, IMAGES, CPU) == machine.Speed("bf16", kept, 4.0)


def test_what_is_timed_takes_turns():
    calls = []

    def maker(name):
        return lambda step: calls.append((name, step))

    assert len(machine.time_in_turn([maker("a"), maker("b")], 2)) == 2
    assert calls == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def test_a_damaged_answer_is_found_again(monkeypatch):
    answer(monkeypatch, (1.0, 0.02, 9.0), (0.5, 0.02, 9.0))
    file = machine._file(MODEL, CONFIG, CPU)
    for text in ("{}", "", "[1]", '{"precision": "fp32"}'):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        assert machine.choose(MODEL, CONFIG, IMAGES, CPU).precision == "bf16"


def test_a_wanted_precision_is_only_timed():
    speed = machine.choose(MODEL, TrainConfig(batch_size=8, precision="fp32"), IMAGES, CPU)
    assert (speed.precision, speed.describe()) == ("fp32", "fp32")


def test_muon_trains_in_bf16_as_in_fp32():
    small = replace(CONFIG, optimizer="muon")
    timed = {
        name: machine.time_steps(MODEL, replace(small, precision=name), IMAGES, CPU, 6) for name in ("fp32", "bf16")
    }
    assert timed["bf16"][1] == pytest.approx(timed["fp32"][1], rel=0.05)


@pytest.fixture
def threads(monkeypatch):
    """Four threads, as far as can be seen, and a clock that stands still."""
    state = {"threads": 4, "now": 0.0}
    monkeypatch.setattr(torch, "get_num_threads", lambda: state["threads"])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: state.update(threads=count))
    monkeypatch.setattr(time, "monotonic", lambda: state["now"])
    return state


def step(watch, times, seconds):
    for _ in range(times):
        watch.stepped(seconds)


def test_training_is_left_to_one_thread_while_all_are_slower(threads):
    watch = ThreadWatch(one_thread=1.0, threads=4)
    step(watch, 10, 0.5)
    assert threads["threads"] == 4
    step(watch, 10, 3.0)
    assert threads["threads"] == 1


def test_one_slow_step_changes_nothing(threads):
    watch = ThreadWatch(one_thread=1.0, threads=4)
    for seconds in (0.5, 0.5, 9.0, 0.5, 0.5, 9.0, 0.5, 0.5):
        watch.stepped(seconds)
    assert threads["threads"] == 4


def test_all_threads_are_tried_again_and_stay_where_they_are_faster(threads):
    watch = ThreadWatch(one_thread=1.0, threads=4)
    step(watch, 8, 3.0)
    threads["now"] = 30.0
    watch.stepped(1.0)
    assert threads["threads"] == 4
    step(watch, 5, 0.5)
    assert threads["threads"] == 4


def test_all_threads_are_left_at_once_where_they_still_are_slower(threads):
    watch = ThreadWatch(one_thread=1.0, threads=4)
    step(watch, 8, 3.0)
    threads["now"] = 30.0
    step(watch, 4, 3.0)
    assert threads["threads"] == 1
