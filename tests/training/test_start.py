"""What a run begins with: principal components, the decision to mirror, weights of another model."""

from functools import partial

import pytest
import torch

from latentcli.config import ModelConfig
from latentcli.data.dataset import Dataset
from latentcli.errors import ConfigError
from latentcli.events import Note
from latentcli.model.linear import LinearPath
from latentcli.model.modelfile import load_model
from latentcli.presets import model_config
from latentcli.training import events, start
from latentcli.training.plan import TrainRequest, prepare
from latentcli.training.run import run
from tests.conftest import draw_folder, write_model

CONFIG = model_config("photo", 16, 16, 3, latent_dim=8)


def notes_of(source, folder, **options):
    request = TrainRequest(**{"epochs": 1, "precision": "fp32", "latent_dim": 8, "size": (16, 16), **options})
    return [report.text for report in run(prepare(folder, source, request)) if isinstance(report, Note)]


def noisy(images):
    """Float images (n, 16, 16) as a dataset, with noise."""
    images = images + 10 * torch.randn_like(images)
    return Dataset.from_images(images.clamp(0, 255).byte()[..., None].expand(-1, -1, -1, 3).contiguous())


def are_alike(images, change, times):
    """Whether float images (n, 16, 16), with noise, look the same after a change."""
    return start._comparison(LinearPath(CONFIG), noisy(images), 8)(change, times)


def look_the_same_mirrored(images):
    return are_alike(images, lambda x: x.flip(2), start._ALIKE_MIRRORED)


def look_the_same_moved(images):
    return are_alike(images, partial(start._moved, shift=0.1), start._ALIKE_MOVED)


def test_images_that_look_the_same_in_a_mirror_are_mirrored():
    torch.manual_seed(0)
    left = torch.rand(300, 1, 1) * 200 * torch.ones(300, 16, 8)
    assert look_the_same_mirrored(torch.cat([left, left], dim=2))


def test_images_that_look_the_same_when_moved_are_moved():
    torch.manual_seed(0)
    plain = torch.rand(300, 1, 1) * 200 * torch.ones(300, 16, 16)
    assert look_the_same_moved(plain)


def test_images_that_are_drawn_to_one_grid_are_not_moved():
    torch.manual_seed(0)
    stripes = torch.rand(300, 1, 1) * 200 * (torch.arange(16) % 2).expand(300, 16, 16)
    assert not look_the_same_moved(stripes)


def test_images_with_a_left_and_a_right_are_not():
    torch.manual_seed(0)
    left = torch.rand(300, 1, 1) * 200 * torch.ones(300, 16, 8)
    assert not look_the_same_mirrored(torch.cat([left, 0 * left], dim=2))


def test_a_run_says_whether_it_mirrors(tmp_path):
    folder = draw_folder(tmp_path / "d", 40)
    assert any("mirrored" in text for text in notes_of(folder, tmp_path / "models/a"))
    assert not any("mirrored" in text for text in notes_of(folder, tmp_path / "models/b", flip=False))


def test_the_noise_is_that_of_images_which_were_not_fitted():
    torch.manual_seed(0)
    few = Dataset.from_images(torch.randint(0, 256, (20, 16, 16, 3), dtype=torch.uint8))
    assert start.fit(LinearPath(CONFIG), few, 18, mirrored=False).noise > 0.05  # fitted images are known by heart


def test_a_run_from_a_model_takes_over_all_of_it_and_its_size(tmp_path):
    folder = draw_folder(tmp_path / "d", 40)
    other = write_model(tmp_path / "models/other", CONFIG)
    notes = notes_of(folder, tmp_path / "models/m", start_from=other / "model.safetensors", size=None)
    assert "starting from other: 100% of the weights are taken over" in notes
    model = load_model(tmp_path / "models/m")
    assert (model.config.width, model.config.widths) == (16, CONFIG.widths)
    assert (model.weights["linear.basis"] == load_model(other).weights["linear.basis"]).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_model_of_other_channels_fits_but_for_its_components(tmp_path, channels):
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    folder = draw_folder(tmp_path / "d", 40, mode=mode)
    other = write_model(
        tmp_path / "models/other", model_config("photo", 16, 16, 1 if channels > 2 else 3, latent_dim=8)
    )
    notes_of(folder, tmp_path / "models/m", start_from=other / "model.safetensors")
    model = load_model(tmp_path / "models/m")
    assert model.config.channels == channels
    assert model.weights["linear.mean"].mean() != pytest.approx(0.5, abs=1e-3)  # fitted, unlike the other model's


def test_gray_is_read_by_a_colour_model_as_three_equal_colours():
    weight = torch.randn(3, 5, 4, 4)  # by the channel read
    colour, gray = model_config("photo", 16, 16, 3), model_config("photo", 16, 16, 1)
    x = torch.rand(5, 4, 4)
    read = start._channels(weight, colour, gray, reads=True)
    torch.testing.assert_close((read[0] * x).sum(), (weight * x).sum())


def test_components_of_another_size_are_fitted_anew(tmp_path):
    """And nothing that is trained reads or writes the old ones."""
    folder = draw_folder(tmp_path / "d", 40)
    other = write_model(tmp_path / "models/other", CONFIG)
    settled = prepare(
        tmp_path / "models/m", folder, TrainRequest(start_from=other / "model.safetensors", size=(32, 32))
    )
    weights, share = start._that_fit(load_model(other), settled.choice.model)
    assert "encoder.downs.0.0.weight" in weights
    assert not [name for name in weights if name.startswith(("linear.", "encoder.mean", "decoder.ups", "decoder.last"))]
    assert 0 < share < 1


def test_a_model_that_goes_on_keeps_its_beta_and_learns_more_slowly(tmp_path):
    folder = draw_folder(tmp_path / "d", 40)
    other = write_model(
        tmp_path / "models/other",
        CONFIG,
        training={"images": 9, "steps": 9, "epochs": 1.0, "seconds": 1.0, "beta": 10.0, "learning_rate": 1e-3},
    )
    request = TrainRequest(start_from=other / "model.safetensors")
    config = prepare(tmp_path / "models/m", folder, request).choice.config
    assert (config.beta, config.beta_warmup) == (10.0, 0.0)
    assert config.learning_rate < prepare(tmp_path / "models/n", folder, TrainRequest()).choice.config.learning_rate


def test_a_handful_of_images_is_not_mirrored(tmp_path):
    assert any("too few to tell" in text for text in notes_of(draw_folder(tmp_path / "d", 3), tmp_path / "models/m"))


def test_a_model_without_a_linear_path_is_a_start_too(tmp_path):
    folder = draw_folder(tmp_path / "d", 40)
    plain = ModelConfig(width=16, height=16, latent_dim=4, widths=(8, 8))
    other = write_model(tmp_path / "models/other", plain)
    notes = notes_of(folder, tmp_path / "models/m", start_from=other / "model.safetensors", size=None, latent_dim=None)
    assert "starting from other: 100% of the weights are taken over" in notes


def test_a_run_from_a_model_is_resumed_only_from_the_same(tmp_path):
    folder = draw_folder(tmp_path / "d", 40)
    other = write_model(tmp_path / "models/other", CONFIG)
    notes_of(folder, tmp_path / "models/m", start_from=other / "model.safetensors")
    with pytest.raises(ConfigError, match="start from is"):
        notes_of(folder, tmp_path / "models/m")


def test_another_preset_cannot_start_from_a_model(tmp_path):
    folder = draw_folder(tmp_path / "d", 40)
    other = write_model(tmp_path / "models/other", CONFIG)
    with pytest.raises(ConfigError, match="is no start for another"):
        notes_of(folder, tmp_path / "models/m", start_from=other / "model.safetensors", preset="digits")


def test_a_fitted_network_survives_the_checkpoint(tmp_path):
    """Stopped after a step and resumed, it has the components that it began with."""
    folder = draw_folder(tmp_path / "d", 40)
    request = TrainRequest(epochs=2, precision="fp32", latent_dim=8, size=(16, 16))
    for report in run(prepare(tmp_path / "models/m", folder, request), lambda: True):
        last = report
    assert isinstance(last, events.Interrupted)
    list(run(prepare(tmp_path / "models/m", folder, request)))
    list(run(prepare(tmp_path / "models/whole", folder, request)))
    resumed, whole = (load_model(tmp_path / "models" / name).weights for name in ("m", "whole"))
    assert all((resumed[name] == whole[name]).all() for name in whole)
