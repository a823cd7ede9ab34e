"""Threads while another program wants a core."""

import pytest
import torch

from latentcli.training import threads as threads_module
from latentcli.training.threads import ThreadWatch


@pytest.fixture
def threads(monkeypatch):
    """Four threads, as far as can be seen, and a clock that stands still."""
    state = {"threads": 4, "now": 0.0}
    monkeypatch.setattr(torch, "get_num_threads", lambda: state["threads"])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: state.update(threads=count))
    monkeypatch.setattr(threads_module.time, "monotonic", lambda: state["now"])
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
