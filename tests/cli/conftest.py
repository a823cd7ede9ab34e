"""Fixtures of the command-line tests: a tiny model under `models/`, a vector of it, and pixels of files."""

import numpy as np
import pytest
from PIL import Image

from tests.conftest import draw_folder

MODEL = ("--model", "tiny")


@pytest.fixture(autouse=True)
def model(tiny_model):
    return tiny_model


@pytest.fixture
def vector(run, tmp_path):
    """The vector `dot` of the tiny model."""
    yes = draw_folder(tmp_path / "labels" / "yes", 12, dot=True)
    no = draw_folder(tmp_path / "labels" / "no", 12, first_seed=50)
    assert run("vectors", "fit", "dot", "--positive", yes, "--negative", no, *MODEL).code == 0
    return "dot"


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


def size(path):
    return pixels(path).shape[1::-1]
