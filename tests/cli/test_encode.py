"""`latentcli encode`: latents files, their names and rows."""

from pathlib import Path

import numpy as np

from latentcli.storage.latents import Latents
from tests.cli.conftest import MODEL
from tests.conftest import draw_folder


def test_encode_writes_posterior_means_named_after_the_image(run, photo):
    result = run("encode", photo, *MODEL)
    assert (result.code, result.paths) == (0, ["face.latents.safetensors"])
    assert Latents.load(Path("face.latents.safetensors")).names == ("face.png",)


def test_an_image_has_the_same_latents_alone_in_a_batch_and_twice(run, tmp_path):
    folder = draw_folder(tmp_path / "many", 400)
    for output in ("a", "b"):
        run("encode", folder, *MODEL, "-o", f"{output}.latents.safetensors")
    run("encode", folder / "033.png", *MODEL, "-o", "one.latents.safetensors")
    a, b, one = (Latents.load(Path(f"{name}.latents.safetensors")) for name in ("a", "b", "one"))
    np.testing.assert_array_equal(a.z, b.z)
    np.testing.assert_allclose(a.row("033.png"), one.z[0], atol=1e-4)


def test_several_arguments_are_encoded_together(run, photo, tmp_path):
    draw_folder(tmp_path / "d", 2)
    result = run("encode", photo, "d", *MODEL)
    assert result.paths == ["images.latents.safetensors"]
    assert Latents.load(Path(result.paths[0])).names == ("face.png", "000.png", "001.png")
