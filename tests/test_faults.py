"""Each file operation of each command fails once, as on a full or failing disk (SQLite tests itself so).

Afterwards inputs and earlier outputs are as they were, an output is whole or not there, and there is one line and the
exit code 1; or the command got by without the operation, and everything is as it would have been.
"""

import contextlib
import errno
import json
import os
import sys

import pytest
from PIL import Image
from safetensors import safe_open

from latentcli.storage import tensorfile
from tests.conftest import draw, draw_folder

MODEL = ("--model", "models/tiny")
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
COMMANDS = {
    "encode": ["encode", "yes", *MODEL],
    "decode": ["decode", "yes.latents.safetensors", *MODEL],
    "sample": ["sample", "--n", "4", *MODEL],
    "sample --each": ["sample", "--n", "3", "--each", *MODEL],
    "interpolate": ["interpolate", "seed:1", "face.png", *MODEL],
    "animation": ["interpolate", "seed:1", "seed:2", "-o", "walk.gif", *MODEL],
    "video": ["interpolate", "seed:1", "seed:2", "-o", "walk.mp4", *MODEL],
    "grid": ["interpolate", "seed:0-3", "--corners", "--steps", "2", *MODEL],
    "plane": ["map", "--cells", "3", *MODEL],
    "map": ["map", "yes", "--method", "pca", *MODEL],
    "map page": ["map", "seed:0-5", "--method", "pca", "-o", "map.html", *MODEL],
    "traverse": ["traverse", "--axes", "pcs", "--of", "face.png", *MODEL],
    "discover": ["vectors", "discover", "--n", "2", *MODEL],
    "edit": ["edit", "face.png", "--vector", "dot", "--no-align", *MODEL],
    "edit a folder": ["edit", "no", "--vector", "dot", "--no-align", *MODEL],
    "rerun": ["rerun", "edited.png", "-o", "again.png"],
    "apply-vector": ["apply-vector", "no", "--vector", "dot", *MODEL],
    "fit": ["vectors", "fit", "spot", "--positive", "yes", "--negative", "no", *MODEL],
    "combine": ["vectors", "combine", "dot=2", "--save", "twice", *MODEL],
    "vectors report": ["vectors", "report", *MODEL],
    "report": ["report", "-o", "page.html", *MODEL],
    "evaluate": ["evaluate", "yes", *MODEL],
    "models": ["models"],
    "check": ["check", "yes"],
    "train": [
        "train",
        "yes",
        "--epochs",
        "1",
        "--size",
        "16",
        "--latent-dim",
        "3",
        "--precision",
        "fp32",
        "--name",
        "new",
    ],
}


LONG = ("train", "check", "edit a folder", "fit", "apply-vector", "evaluate")  # commands with many operations
_IN_LONG, _IN_SHORT = 10, 3  # every tenth of their operations fails, every third of the others; in slow tests all


class Faults:
    """Counts the file operations below a folder, and lets one of them fail."""

    def __init__(self):
        self.below, self.count, self.fails_at, self.error = "", 0, 0, errno.EIO

    def start(self, below, fails_at=0, error=errno.EIO):
        self.below, self.count, self.fails_at, self.error = os.path.realpath(below), 0, fails_at, error

    def stop(self):
        self.below = ""

    def happens(self, path):
        if not self.below or not isinstance(path, str | bytes | os.PathLike):
            return
        place = os.path.join(os.getcwd(), os.fsdecode(path))
        if place.startswith(self.below):
            self.step()

    def step(self):
        if not self.below:
            return
        self.count += 1
        if self.count == self.fails_at:
            raise OSError(self.error, os.strerror(self.error))


FAULTS = Faults()
EVENTS = {
    "open",
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.scandir",
    "os.listdir",
    "os.link",
    "os.truncate",
    "os.rmdir",
}


def _audited(event, arguments):
    if event in EVENTS and FAULTS.below:
        FAULTS.happens(arguments[0])


sys.addaudithook(_audited)


@pytest.fixture
def workplace(run, tmp_path, tiny_model, monkeypatch):
    draw_folder(tmp_path / "yes", 12, dot=True)
    draw_folder(tmp_path / "no", 12, first_seed=12)
    draw((60, 40), seed=5).save("face.png")
    assert run("vectors", "fit", "dot", "--positive", "yes", "--negative", "no", *MODEL).code == 0
    assert run("encode", "yes", *MODEL).code == 0
    assert run("edit", "face.png", "--vector", "dot", "--no-align", "-o", "edited.png", *MODEL).code == 0
    fsync = os.fsync

    def failing_fsync(handle):
        FAULTS.step()
        fsync(handle)

    monkeypatch.setattr(os, "fsync", failing_fsync)
    yield tmp_path
    FAULTS.stop()


def files(top):
    """The content of every file that a user sees."""
    found = (path for path in top.rglob("*") if path.is_file())
    return {path.relative_to(top): path.read_bytes() for path in found if not path.name.startswith(".")}


def restored(top, before):
    """Only what was there before, as it was."""
    for path in list(files(top)):
        if path not in before:
            (top / path).unlink()
    for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):  # it holds something
            folder.rmdir()
    for path, content in before.items():
        if not (top / path).exists() or (top / path).read_bytes() != content:
            (top / path).write_bytes(content)


def is_whole(path):
    """Whether a file can be read to its end."""
    if path.suffix == ".safetensors":
        with safe_open(path, "np") as file:
            header = json.loads(file.metadata()["latentcli"])
        return tensorfile.read(path, header["kind"])[0] == header
    if path.suffix in (".png", ".gif"):
        with Image.open(path) as picture:
            picture.load()
    if path.suffix == ".html":
        return path.read_text().rstrip().endswith("</html>")
    if path.suffix == ".jsonl":
        return all(map(json.loads, path.read_text().splitlines()))
    return True


@pytest.mark.parametrize("name", COMMANDS)
def test_any_operation_may_fail_once(run, workplace, name):
    check(run, workplace, COMMANDS[name], every=_IN_LONG if name in LONG else _IN_SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_each_operation_may_fail_once(run, workplace, name):
    check(run, workplace, COMMANDS[name], every=1)


def check(run, workplace, command, every):
    """Run a command once as it is, then with each of its operations failing, or some of them."""
    before = files(workplace)
    FAULTS.start(workplace)
    first = run(*command)
    FAULTS.stop()
    assert first.code == 0, first
    count = FAULTS.count
    restored(workplace, before)
    for number in range(1, count + 1, every):
        FAULTS.start(workplace, number, ERRORS[number % len(ERRORS)])
        outcome = run(*command)
        FAULTS.stop()
        after = files(workplace)
        where = f"operation {number} of {count}: {outcome}"
        assert "Traceback" not in outcome.err, where
        assert outcome.code in (0, 1), where
        assert outcome.code == 0 or outcome.err, where
        assert all(after.get(path) == content for path, content in before.items()), where
        for path in set(after) - set(before):
            assert path.parts[0] == "home" or is_whole(workplace / path), f"{path}, {where}"
        restored(workplace, before)
