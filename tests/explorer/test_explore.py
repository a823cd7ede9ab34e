"""`latentcli explore` on the command line, and the page it writes."""

import base64
import gzip
import importlib.util
import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from latentcli.model.modelfile import load_model
from latentcli.presets import model_config
from tests.conftest import TINY, write_model

MODEL = ("--model", "tiny")


@pytest.mark.parametrize("config", [model_config("photo", 16, 16, 3, latent_dim=4), TINY], ids=["linear", "without"])
def test_the_page_holds_the_networks_and_asks_nobody(run, tmp_path, config):
    folder = write_model(tmp_path / "models" / "tiny", config)
    assert run("explore", "--static", "page.html", *MODEL).paths == ["page.html"]
    page = Path("page.html").read_text()
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    facts = json.loads(re.findall(r'id="model">(.*?)</script>', page)[0])
    assert facts["dimensions"] == 4

    def part(name):
        return gzip.decompress(base64.b64decode(re.findall(rf'id="{name}">(.*?)</script>', page)[0]))

    def network(name):
        rest, cut = part(name), facts["cuts"][name]
        return onnxruntime.InferenceSession(rest[:cut] + part("shared") + rest[cut:])

    numbers = np.frombuffer(part("numbers"), dtype="<f4").reshape(-1, 4)
    model = load_model(folder)
    assert bool(part("shared")) == config.linear
    assert len(numbers) == facts["seeds"] + len(facts["vectors"])
    z = model.prior.sample([3])
    np.testing.assert_allclose(numbers[3:4], z, rtol=1e-6)
    decoded = network("decoder").run(None, {"z": z})[0]
    assert abs(decoded - model.decode(z)).max() < 2 / 255
    images = np.random.default_rng(0).random((1, config.channels, 16, 16), dtype=np.float32)
    encoded = network("encoder").run(None, {"images": images})[0]
    np.testing.assert_allclose(encoded, model.encode_float(images), atol=0.02)


def test_a_page_that_is_there_is_not_written_over(run, tiny_model):
    Path("page.html").touch()
    again = run("explore", "--static", "page.html", *MODEL)
    assert again.code == 1
    assert "--force" in again.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--static", "page.png"], "ends in .html"),
        (["--static", "page.html", "--port", 1], "leave out --images and --port"),
        (["--static", "page.html", "--map", "nowhere"], "nowhere"),
        (["--map", "."], "--map goes with --static"),
        (["--port", 0], "--port takes 1 to 65535"),
        (["--images", "nowhere", "--no-browser"], "nowhere"),
        (["--model", "nothing"], "there is no model 'nothing'"),
    ],
)
def test_what_cannot_be_explored_is_refused_in_a_line(run, tiny_model, arguments, message):
    result = run("explore", *arguments, *([] if "--model" in arguments else MODEL))
    assert result.code in (1, 2)
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_without_the_extra_the_line_that_installs_it_is_given(run, tiny_model, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install '.[explore]'" in run("explore", *MODEL).err


def test_it_serves_until_it_is_interrupted(tiny_model):
    command = [sys.executable, "-m", "latentcli", "explore", "--no-browser", *MODEL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            with urllib.request.urlopen(address, timeout=60) as response:
                assert b"latentcli explore" in response.read()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors
