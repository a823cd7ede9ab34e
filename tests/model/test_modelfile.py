import numpy as np
import pytest
import torch

from latentcli import load_model
from latentcli.errors import ConfigError, FileFormatError
from latentcli.model import modelfile
from latentcli.model.modelfile import KIND, save_model
from latentcli.model.prior import Geometry, MixturePrior, StandardPrior
from latentcli.model.vae import VAE
from latentcli.presets import model_config
from latentcli.storage import tensorfile
from tests.conftest import TINY, close, flow_prior, write_model


def rewrite(folder, change):
    path = folder / "model.safetensors"
    header, arrays = tensorfile.read(path, KIND)
    header.pop("sha256")
    change(header, arrays)
    tensorfile.write(path, KIND, header, arrays)
    return path


def test_a_model_survives_the_file(tmp_path):
    torch.manual_seed(1)
    vae = VAE(TINY).eval()
    model_id = save_model(tmp_path / "m" / "model.safetensors", vae, StandardPrior(4), {})
    model = load_model(tmp_path / "m")
    assert (model.model_id, model.name, model.config) == (model_id, "m", TINY)
    z = torch.randn(2, 4)
    close(model.decode(z.numpy()), vae.decode(z).detach().numpy())
    assert not model.vae.training


@pytest.mark.parametrize(
    "config",
    [
        *(model_config("photo", side, side, channels) for side in (16, 51, 128) for channels in (1, 2, 3, 4)),
        model_config("photo", 96, 64, 3),
        model_config("digits", 28, 28, 1),
        model_config("book", 28, 28, 1),
    ],
    ids=lambda config: f"{config.preset} {config.width}x{config.height}x{config.channels}",
)
def test_both_engines_draw_the_same_pictures_and_find_the_same_latents(tmp_path, config):
    path = write_model(tmp_path / "m", config)
    fast, exact = modelfile.load_model(path), modelfile.load_model(path, "torch", "cpu")
    z = exact.prior.sample(range(70), 1.0)
    images = exact.decode(z)
    close(fast.decode(z), images, atol=0.5 / 255)
    latents = exact.encode_float(images)
    close(fast.encode_float(images), latents, atol=1e-4 * np.abs(latents).max())


def test_nothing_decodes_to_nothing(tiny_model):
    model = load_model(tiny_model)
    assert model.decode(np.empty((0, 4), dtype=np.float32)).shape == (0, 3, 16, 16)


def test_half_precision_halves_the_file_and_changes_little(tmp_path):
    torch.manual_seed(1)
    vae = VAE(TINY).eval()
    ids = [
        save_model(tmp_path / str(half) / "model.safetensors", vae, StandardPrior(4), {}, half)
        for half in (False, True)
    ]
    assert ids[0] != ids[1]
    full, half = (load_model(tmp_path / name / "model.safetensors") for name in ("False", "True"))
    z = torch.randn(2, 4)
    torch.testing.assert_close(half.vae.decode(z), full.vae.decode(z), atol=5e-3, rtol=0)
    assert half.vae.sigma.dtype == torch.float32


def test_the_model_id_is_that_of_the_network_alone(tmp_path):
    torch.manual_seed(1)
    vae = VAE(TINY).eval()
    first = save_model(tmp_path / "a.safetensors", vae, StandardPrior(4), {})
    second = save_model(tmp_path / "b.safetensors", vae, StandardPrior(4), {"finished_at": "later"})
    vae.sigma += 0.1
    third = save_model(tmp_path / "c.safetensors", vae, StandardPrior(4), {})
    assert first == second != third


def test_the_prior_survives_the_file(tiny_model):
    prior = load_model(tiny_model).prior
    assert prior.sample([0, 1], 0.8).shape == (2, 4)
    assert isinstance(prior, MixturePrior)
    assert len(prior.weights) == 2


def saved(folder, prior):
    save_model(folder / "model.safetensors", VAE(TINY).eval(), prior, {})
    return folder


def test_a_flow_survives_the_file(tmp_path):
    prior = flow_prior(4, 3)
    found = load_model(saved(tmp_path / "m", prior)).prior
    close(found.sample(range(5), 0.9), prior.sample(range(5), 0.9), atol=0.01)  # its matrices are stored in 16 bits
    geometry = Geometry.of(found)
    close(geometry.mean, np.array([1, 1, 1, 0]))
    close(geometry.covariance, np.diag([4, 4, 4, 1]))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda arrays: arrays.pop("prior.flow.first.weight"),
        lambda arrays: arrays.pop("prior.mean"),
        lambda arrays: arrays.pop("prior.paths.means"),
        lambda arrays: arrays.update({"prior.paths.means": np.zeros((1, 1), dtype=np.float32)}),
        lambda arrays: arrays.update({"prior.paths.more": np.zeros((1, 1), dtype=np.float32)}),
        lambda arrays: arrays.update({"prior.mean": arrays["prior.mean"][:2]}),
        lambda arrays: arrays.update({"prior.basis": arrays["prior.basis"][:2]}),
        lambda arrays: arrays.update({"prior.flow.last.bias": arrays["prior.flow.last.bias"][:2]}),
        lambda arrays: arrays.update({"prior.flow.blocks.0.up.weight": np.ones((3, 3), dtype=np.float32)}),
        lambda arrays: arrays.update({"prior.more": np.ones(3, dtype=np.float32)}),
    ],
)
def test_a_flow_that_does_not_fit_is_refused(tmp_path, spoil):
    path = rewrite(saved(tmp_path / "m", flow_prior(4, 3)), lambda header, arrays: spoil(arrays))
    with pytest.raises(FileFormatError, match="holds a prior that does not fit its config"):
        load_model(path)


def test_labels_of_a_prior_have_names(tmp_path):
    path = saved(tmp_path / "m", flow_prior(4, 3, values=2))
    with pytest.raises(FileFormatError, match="holds a prior that does not fit its config"):
        load_model(path)
    rewrite(path, lambda header, arrays: header.update(parts={"folder": ["cats", "dogs"]}))
    assert load_model(path).parts.columns == {"folder": ("cats", "dogs")}
    rewrite(path, lambda header, arrays: header.update(parts=["cats", 2]))
    with pytest.raises(FileFormatError, match="parts is a list and not an object"):
        load_model(path)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no model '.*nowhere'"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(FileFormatError, match=r"nowhere does not exist"):
        modelfile.load_model(tmp_path / "nowhere")


def test_a_network_that_does_not_fit_its_config_is_refused(tiny_model):
    path = rewrite(tiny_model, lambda header, arrays: header["config"].update(latent_dim=5))
    with pytest.raises(FileFormatError, match="does not hold the network its config describes"):
        load_model(path)


def test_an_absurd_config_is_refused_before_anything_is_built(tiny_model):
    path = rewrite(tiny_model, lambda header, arrays: header["config"].update(width=10**9))
    with pytest.raises(FileFormatError, match="no usable config"):
        load_model(path)


def test_weights_that_are_not_numbers_are_refused(tiny_model):
    def spoil(header, arrays):
        name = next(name for name in arrays if name.endswith("mean.weight"))
        arrays[name] = arrays[name].copy()
        arrays[name][0, 0] = float("nan")

    with pytest.raises(FileFormatError, match="not numbers"):
        load_model(rewrite(tiny_model, spoil))


def test_a_prior_that_does_not_fit_is_refused(tiny_model):
    path = rewrite(tiny_model, lambda header, arrays: arrays.pop("prior.means"))
    with pytest.raises(FileFormatError, match="prior"):
        load_model(path)


def test_a_flipped_byte_is_noticed(tmp_path):
    path = write_model(tmp_path / "m") / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-100] ^= 64
    path.write_bytes(bytes(data))
    with pytest.raises(FileFormatError, match="is damaged"):
        load_model(path)
