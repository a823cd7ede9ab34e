"""One layout for the checkpoints of every training."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from latentcli.errors import FileFormatError
from latentcli.training import checkpoint
from latentcli.training.checkpoint import Position

FILE = Path("a.safetensors")


@dataclass(kw_only=True, slots=True)
class Counted(Position):
    """A position of its own."""

    skipped: int


def tensors(value, side=3):
    return {"averaged.x": torch.full((side, 2, 4, 4), value).to(memory_format=torch.channels_last)}


def saved(**best):
    checkpoint.save(FILE, {"seed": 1, "beta": 2.0}, Counted(step=4, steps=9, skipped=2), tensors(5.0), best)


def test_what_was_saved_is_restored_in_place_and_in_its_memory_layout():
    saved(x=torch.ones(3, 2, 4, 4))
    found = tensors(0.0)
    best = checkpoint.restore(FILE, found)
    assert torch.equal(found["averaged.x"], tensors(5.0)["averaged.x"])
    assert found["averaged.x"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(best["x"], torch.ones(3, 2, 4, 4))


def test_the_position_is_of_its_training():
    saved()
    assert checkpoint.read(FILE, Counted).position == Counted(step=4, steps=9, skipped=2)
    assert not checkpoint.read(FILE, Counted).position.has_ended


def test_other_options_are_named():
    saved()
    differences = checkpoint.read(FILE, Counted).differences({"seed": 1, "beta": 1.0, "clip": 3}, besides=["clip"])
    assert differences == ["beta is 2.0 there, 1.0 asked"]


@pytest.mark.parametrize("other", [tensors(0.0, side=1), tensors(0.0) | {"more": torch.zeros(1)}, {}])
def test_tensors_of_another_network_are_refused(other):
    saved()
    with pytest.raises(FileFormatError, match="does not fit its training; remove it"):
        checkpoint.restore(FILE, other)


def test_best_weights_of_another_network_are_refused():
    saved(x=torch.ones(3, 2, 4, 5))
    with pytest.raises(FileFormatError, match="does not fit"):
        checkpoint.restore(FILE, tensors(0.0))
