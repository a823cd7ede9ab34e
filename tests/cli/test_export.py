"""`latentcli export`: a model as ONNX files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from latentcli import load_model
from latentcli.config import ModelConfig
from latentcli.errors import LatentCLIError
from latentcli.model import graphs, modelfile
from latentcli.pipelines import export
from latentcli.presets import model_config
from tests.conftest import TINY, write_model

SHAPES = [
    ("book", 28, 28, 1), ("digits", 28, 28, 1), ("photo", 16, 16, 3), ("photo", 51, 37, 1), ("photo", 96, 64, 3),
    ("photo", 20, 32, 2), ("photo", 40, 24, 4), ("photo", 136, 72, 3),
]  # fmt: skip


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_network_gives_the_same_images_and_latents(run, tmp_path, shape):
    preset, width, height, channels = shape
    write_model(tmp_path / "models" / "m", model_config(preset, width, height, channels, latent_dim=5))
    result = run("export", "m", "--onnx", "out")
    assert result.paths == ["out/encoder.onnx", "out/decoder.onnx"]
    model = load_model("m")
    z = model.prior.sample(range(70), 1.0)
    images = model.decode(z)
    (decoded,) = session("out/decoder.onnx").run(None, {"z": z})
    (encoded,) = session("out/encoder.onnx").run(None, {"images": images})
    np.testing.assert_allclose(decoded, images, atol=1e-5)
    expected = model.encode_float(images)
    np.testing.assert_allclose(encoded, expected, atol=1e-4 * np.abs(expected).max())


def test_the_files_say_what_they_take(run, tiny_model):
    run("export", "tiny", "--onnx", "out")
    metadata = session("out/encoder.onnx").get_modelmeta().custom_metadata_map
    assert ModelConfig.from_json(json.loads(metadata["config"])) == load_model(tiny_model).config
    assert "/ 255" in metadata["preprocessing"]


@pytest.mark.parametrize(("channels", "layout"), [(4, "RGBA"), (2, "gray and alpha")])
def test_the_files_say_that_they_take_premultiplied_images(run, tmp_path, channels, layout):
    write_model(tmp_path / "models" / "m", replace(TINY, channels=channels))
    run("export", "m", "--onnx", "out")
    preprocessing = session("out/encoder.onnx").get_modelmeta().custom_metadata_map["preprocessing"]
    assert preprocessing.startswith(f"{layout}, premultiplied")


def test_nothing_is_replaced_without_force(run, tiny_model):
    run("export", "tiny", "--onnx", "out")
    before = Path("out/decoder.onnx").read_bytes()
    again = run("export", "tiny", "--onnx", "out")
    assert again.code == 1
    assert "--force" in again.err
    assert Path("out/decoder.onnx").read_bytes() == before
    assert run("export", "tiny", "--onnx", "out", "--force").code == 0


def test_a_graph_that_differs_is_not_written(tiny_model, monkeypatch):
    wrong = graphs.decoder

    def spoiled(config, weights):
        return wrong(config, {name: array + 0.1 for name, array in weights.items()})

    monkeypatch.setattr(graphs, "decoder", spoiled)
    model = modelfile.load_model(tiny_model, "torch")
    encoder, decoder = graphs.encoder(model.config, model.weights), spoiled(model.config, model.weights)
    with pytest.raises(LatentCLIError, match="nothing was written"):
        export._check(model, {"encoder.onnx": encoder, "decoder.onnx": decoder})
    assert np.isfinite(model.decode(model.prior.sample([0], 1.0))).all()
