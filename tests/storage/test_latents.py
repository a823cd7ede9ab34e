import numpy as np
import pytest

from latentcli.errors import FileFormatError, ModelMismatch
from latentcli.storage import tensorfile
from latentcli.storage.latents import KIND, Latents

LATENTS = Latents(np.random.default_rng(0).standard_normal((2, 4), np.float32), ("a.png", "sub/b.jpg"), "0123456789ab")


def test_they_survive_the_file(tmp_path):
    LATENTS.save(tmp_path / "x.latents.safetensors")
    read = Latents.load(tmp_path / "x.latents.safetensors")
    assert np.array_equal(read.z, LATENTS.z)
    assert (read.names, read.model_id) == (LATENTS.names, LATENTS.model_id)


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "", "a\0b.png"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    Latents(LATENTS.z[:1], (name,), "id").save(tmp_path / "x")
    with pytest.raises(FileFormatError, match="outside a folder"):
        Latents.load(tmp_path / "x")


@pytest.mark.parametrize(
    ("header", "z"),
    [
        ({"names": ["a"], "model_id": "id"}, np.zeros((2, 4), np.float32)),
        ({"names": "a", "model_id": "id"}, np.zeros((1, 4), np.float32)),
        ({"names": ["a"]}, np.zeros((1, 4), np.float32)),
        ({"names": ["a"], "model_id": "id"}, np.zeros(4, np.float32)),
        ({"names": [], "model_id": "id"}, np.zeros((0, 4), np.float32)),
        ({"names": ["a"], "model_id": "id"}, np.full((1, 4), np.nan, np.float32)),
    ],
)
def test_files_that_make_no_sense_are_refused(tmp_path, header, z):
    tensorfile.write(tmp_path / "x", KIND, header, {"z": z})
    with pytest.raises(FileFormatError):
        Latents.load(tmp_path / "x")


def test_another_model_is_refused_by_name():
    LATENTS.require_model("0123456789ab", "x", "tiny", 4)
    with pytest.raises(ModelMismatch, match="x was made with model 0123456789ab, but tiny is ffff"):
        LATENTS.require_model("ffff", "x", "tiny", 4)
    with pytest.raises(ModelMismatch, match="4 latent dimensions, tiny has 5"):
        LATENTS.require_model("0123456789ab", "x", "tiny", 5)


def test_a_row_is_found_by_name():
    assert np.array_equal(LATENTS.row("sub/b.jpg"), LATENTS.z[1])
    with pytest.raises(FileFormatError, match=r"no latents named 'c'; the first is 'a\.png'"):
        LATENTS.row("c")


def test_numbers_of_any_precision_become_single():
    assert Latents(np.zeros((2, 4)), ("a", "b"), "0123456789ab").z.dtype == np.float32
