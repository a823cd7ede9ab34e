"""The Python face: the same results as the commands, from pictures of any kind, on any device."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import latentcli
from latentcli.events import Progress
from tests.conftest import close, draw, draw_folder


@pytest.fixture
def model(tiny_model):
    return latentcli.load("tiny")


def pixels(picture):
    return np.asarray(picture)


def test_a_bundled_model_is_found_by_name():
    assert latentcli.load("faces").name == "faces"
    assert latentcli.load_model("faces").model_id == latentcli.load("faces").model_id


def test_a_model_is_found_by_folder_and_file(tiny_model, model):
    for path in (tiny_model, tiny_model / "model.safetensors"):
        assert latentcli.load(path).model_id == model.model_id


def test_an_unknown_model_is_an_error_with_a_message():
    with pytest.raises(latentcli.LatentCLIError, match="no model 'nonsense'"):
        latentcli.load("nonsense")


def test_sampling_gives_what_the_command_gives(run, model):
    (path,) = run("sample", "--model", "tiny", "--n", 5, "--seed", 3).paths
    model.sample(5, seed=3).save("python.png")
    assert Path("python.png").read_bytes() == Path(path).read_bytes()
    assert (pixels(model.sample(seeds=[7])[0]) == pixels(model.sample(2, seed=6)[1])).all()


def test_a_sample_out_of_range_is_refused(model):
    wrong: dict[str, Any]
    for wrong in ({"seeds": []}, {"seed": -1}, {"temperature": 11.0}):
        with pytest.raises(latentcli.ConfigError):
            model.sample(1, **wrong)
    with pytest.raises(latentcli.ConfigError, match="`temperature` must be 0 to 10, got 11"):
        model.sample(temperature=11)


def test_paths_pictures_and_arrays_encode_alike(model):
    picture = draw((16, 16), 1)
    picture.save("a.png")
    array = np.asarray(picture)
    z = model.encode(["a.png", picture, array, array.astype(np.float32) / 255])
    assert z.names == ("a.png", "1.png", "2.png", "3.png")
    assert z.model_id == model.model_id
    assert (z.z == z.z[0]).all()
    assert (model.encode("a.png").z == model.encode(array).z).all()


def test_a_folder_is_encoded_whole(model, tmp_path):
    draw_folder(tmp_path / "d", 3)
    assert model.encode("d").names == ("000.png", "001.png", "002.png")


def test_arrays_of_another_shape_are_refused(model):
    for wrong in (np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3), np.int64)):
        with pytest.raises(latentcli.ImageError, match="an array must be"):
            model.encode(wrong)
    with pytest.raises(latentcli.ImageError, match="one or more"):
        model.encode([])


def test_decoding_takes_latents_tensors_and_arrays(model):
    z = model.encode(draw((16, 16), 1))
    for same in (z, z.z, torch.from_numpy(z.z)):
        assert (pixels(model.decode(same)[0]) == pixels(model.decode(z)[0])).all()
    with pytest.raises(latentcli.ConfigError, match="latents must be"):
        model.decode(z.z[0])
    with pytest.raises(latentcli.ModelMismatch):
        model.decode(latentcli.Latents(z.z, z.names, "0" * 12))


def test_a_sheet_shows_and_saves_itself(model):
    sheet = model.sample(4)
    assert isinstance(sheet[0], Image.Image)
    assert sheet.picture().size == (34, 34)
    assert sheet._repr_png_().startswith(b"\x89PNG")
    assert "data:image/png" in model._repr_html_()
    with pytest.raises(latentcli.ConfigError, match="empty"):
        latentcli.Sheet([]).picture()


def test_interpolation_passes_its_keyframes(model):
    sheet = model.interpolate("seed:1", "seed:2", "seed:3", steps=3)
    assert len(sheet) == sheet.columns == 5
    assert (pixels(sheet[0]) == pixels(model.decode(model.loaded.prior.sample([1], 1.0))[0])).all()
    with pytest.raises(latentcli.ConfigError, match="two or more"):
        model.interpolate("seed:1")


def test_a_vector_is_fitted_applied_and_saved(model, tmp_path):
    draw_folder(tmp_path / "with", 6, dot=True)
    draw_folder(tmp_path / "without", 6, first_seed=20)
    seen: list[Progress] = []
    dot = model.fit_vector("with", "without", name="dot", save=True, progress=seen.append)
    assert seen
    assert all(isinstance(event, Progress) for event in seen)
    z = model.encode(draw((16, 16), 1))
    moved = model.apply(z, "dot", 2.0)
    close(moved.z, model.apply(z, dot, 2.0).z)
    close(moved.z, z.z + 2 * dot.direction)
    assert list(model.vectors) == ["dot"]
    with pytest.raises(latentcli.OutputExists):
        model.fit_vector("with", "without", name="dot", save=True)
    with pytest.raises(latentcli.ConfigError, match="no vector 'hat'"):
        model.apply(z, "hat")


def test_an_edit_is_that_of_the_command(run, model, tmp_path):
    draw_folder(tmp_path / "with", 6, dot=True)
    draw_folder(tmp_path / "without", 6, first_seed=20)
    model.fit_vector("with", "without", name="dot", save=True)
    draw((60, 40), 5).save("photo.png")
    (path,) = run("edit", "photo.png", "--vector", "dot=300", "--model", "tiny").paths
    assert (pixels(model.edit("photo.png", dot=300)) == pixels(Image.open(path))).all()
    assert (pixels(model.edit(Image.open("photo.png"), {"dot": 300})) == pixels(Image.open(path))).all()
    for wrong in ({}, {"hat": 1.0}):
        with pytest.raises(latentcli.ConfigError, match="vector"):
            model.edit("photo.png", wrong)


def test_transparency_survives_an_edit(model, tmp_path):
    draw_folder(tmp_path / "with", 6, dot=True)
    draw_folder(tmp_path / "without", 6, first_seed=20)
    model.fit_vector("with", "without", name="dot", save=True)
    picture = draw((16, 16), 5, "RGBA")
    picture.putalpha(77)
    assert set(pixels(model.edit(picture, dot=300))[:, :, 3].flat) == {77}


def test_skipped_images_are_warnings(model, tmp_path):
    draw_folder(tmp_path / "with", 6, dot=True)
    draw_folder(tmp_path / "without", 6, first_seed=20)
    (tmp_path / "with" / "000.png").write_text("text")
    with pytest.warns(UserWarning, match=r"skipped: .*000\.png"):
        model.fit_vector("with", "without")


def test_training_gives_a_model(tmp_path, capsys):
    draw_folder(tmp_path / "d", 12)
    model = latentcli.train("d", epochs=1, size=16, name="mine", progress=True)
    assert model.name == "mine"
    assert "reading 12/12" in capsys.readouterr().err
    assert latentcli.train("d", epochs=1, size=16, name="mine").model_id == model.model_id  # finished already
    evaluation = model.evaluate("d")
    assert evaluation.metrics.psnr > 0
    assert evaluation.findings


class Elsewhere(nn.Module):
    """A network part on a device of its own: what comes from another device is refused, as CUDA does."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        assert x.device.type == "meta", f"expected the tensors on the network's device, got {x.device}"
        return self.inner(x)


def test_tensors_go_to_the_device_of_the_network_and_come_back(tiny_model, monkeypatch):
    """The network lies on `meta`, which stands for a GPU; its results have shapes and no numbers."""
    model = latentcli.load("tiny", engine="torch")
    vae = model.loaded.vae.to("meta")
    vae.encoder, vae.decoder = Elsewhere(vae.encoder), Elsewhere(vae.decoder)
    assert model.device == "meta"
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: torch.zeros(tensor.shape, dtype=tensor.dtype))
    assert len(model.sample(3)) == 3
    assert model.encode(draw((16, 16), 1)).z.shape == (1, 4)


def test_an_engine_without_the_device_is_refused(tiny_model):
    with pytest.raises(latentcli.ConfigError, match="ONNX Runtime computes on the CPU"):
        latentcli.load("tiny", "cuda", engine="onnx")
    with pytest.raises(latentcli.ConfigError, match="has no mps"):
        latentcli.load("tiny", "mps")
