"""`latentcli decode`: one image per row of a latents file."""

from tests.cli.conftest import MODEL, size
from tests.conftest import draw_folder, write_model


def test_decode_writes_one_png_per_name(run, tmp_path):
    draw_folder(tmp_path / "d" / "sub", 2)
    run("encode", "d", *MODEL)
    result = run("decode", "d.latents.safetensors", *MODEL)
    assert result.paths == ["d-decoded/sub/000.png", "d-decoded/sub/001.png"]  # d holds the originals
    assert run("decode", "d.latents.safetensors", *MODEL).paths[0] == "d-decoded-2/sub/000.png"
    forced = run("decode", "d.latents.safetensors", *MODEL, "--force")
    assert forced.paths == ["d-decoded/sub/000.png", "d-decoded/sub/001.png"]
    result = run("decode", "d.latents.safetensors", *MODEL, "-o", "out")
    assert result.paths == ["out/sub/000.png", "out/sub/001.png"]
    assert size("out/sub/000.png") == (16, 16)
    again = run("decode", "d.latents.safetensors", *MODEL, "-o", "out")
    assert (again.code, again.paths) == (0, [])
    assert "2 outputs existed and were kept" in again.err


def test_latents_of_another_model_are_refused(run, photo, tmp_path):
    write_model(tmp_path / "models" / "other", seed=1)
    run("encode", photo, *MODEL)
    result = run("decode", "face.latents.safetensors", "--model", "other")
    assert result.code == 1
    assert "was made with model" in result.err
    assert result.err.count("\n") == 1
