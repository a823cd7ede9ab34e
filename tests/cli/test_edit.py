"""`latentcli edit`: edited photos, their files and names."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from latentcli.storage.latents import Latents
from tests.cli.conftest import MODEL, pixels, size
from tests.conftest import draw, draw_folder, write_model


def test_edit_keeps_size_and_format(run, tmp_path, vector):
    draw((90, 60), 1).save("photo.jpg", quality=70)
    result = run("edit", "photo.jpg", "--vector", "dot", "--strength", 1.5, *MODEL)
    assert result.paths == ["photo-dot+1.5.jpg"]
    with Image.open("photo-dot+1.5.jpg") as edited, Image.open("photo.jpg") as original:
        assert (edited.format, edited.size) == ("JPEG", (90, 60))
        assert isinstance(edited, JpegImageFile)
        assert isinstance(original, JpegImageFile)
        assert edited.quantization == original.quantization


def test_edit_changes_nothing_outside_the_box(run, photo, vector):
    result = run("edit", photo, "--vector", "dot=1000", "--box", "10,5,30,30", *MODEL)
    before, after = pixels(photo), pixels(result.paths[0])
    changed = (before != after).any(axis=2)
    assert changed[5:35, 10:40].any()
    assert changed.sum() == changed[5:35, 10:40].sum()


def test_edit_takes_the_strength_of_each_vector(run, photo, vector):
    result = run("edit", photo, "--vector", "dot=1", "--vector", "dot=-0.5", *MODEL)
    assert result.paths == ["face-dot+1-dot-0.5.png"]


def test_folders_in_are_folders_out(run, tmp_path, vector):
    draw_folder(tmp_path / "album" / "sub", 2)
    (tmp_path / "album" / "bad.png").write_text("text")
    result = run("edit", "album", "--vector", "dot", *MODEL)
    assert result.code == 1
    assert result.paths == ["album-dot/sub/000.png", "album-dot/sub/001.png"]
    assert "skipped: album/bad.png is not a readable image" in result.err
    assert "edited 2 of 3 photos" in result.err
    again = run("edit", "album", "--vector", "dot", *MODEL)
    assert again.paths == []
    assert "2 outputs existed and were kept" in again.err


def test_a_vector_of_another_model_is_refused(run, photo, vector, tmp_path):
    write_model(tmp_path / "models" / "other", seed=1)
    result = run("edit", photo, "--vector", "models/tiny/vectors/dot.safetensors", "--model", "other")
    assert result.code == 1
    assert "was made with model" in result.err
    result = run("edit", photo, "--vector", "models/tiny/vectors/dot.safetensors")
    assert result.code == 0
    assert "model: tiny" in result.err


def test_results_of_images_with_one_name_do_not_meet(run, vector, tmp_path):
    for folder in ("p/album", "q/album"):
        draw_folder(tmp_path / folder, 1, first_seed=len(folder) + ord(folder[0]))
    result = run("edit", "p/album", "q/album", "--vector", "dot", *MODEL)
    assert result.paths == ["album-dot/000.png", "album-dot-2/000.png"]
    result = run("edit", "p/album", "q/album", "--vector", "dot", "-o", "out", *MODEL)
    assert len(set(result.paths)) == 2
    result = run("edit", "p/album/000.png", "q/album/000.png", "--vector", "dot", *MODEL)
    assert result.paths == ["000-dot.png", "000-dot-2.png"]
    draw((20, 20), 3).save("a.png")
    draw((20, 20), 3).save("a.jpg")
    result = run("apply-vector", "a.png", "a.jpg", "--vector", "dot", *MODEL)
    assert result.paths == ["a.png-dot.png", "a.jpg-dot.png"]
    run("encode", "p/album", "q/album", *MODEL, "-o", "both.latents.safetensors")
    assert Latents.load(Path("both.latents.safetensors")).names == ("p/album/000.png", "q/album/000.png")


def test_force_redoes_a_folder(run, vector, tmp_path):
    draw_folder(tmp_path / "album", 2)
    run("edit", "album", "--vector", "dot", *MODEL)
    assert len(run("edit", "album", "--vector", "dot", *MODEL, "--force").paths) == 2


def test_a_folder_is_not_fed_its_own_results(run, vector, tmp_path, monkeypatch):
    monkeypatch.chdir(draw_folder(tmp_path / "album", 2))
    model = ("--model", tmp_path / "models" / "tiny")
    assert len(run("edit", ".", "--vector", "dot", *model).paths) == 2
    again = run("edit", ".", "--vector", "dot", *model)
    assert again.paths == []
    assert "2 outputs existed" in again.err


def test_edit_turns_a_photo_upright_and_says_so_in_the_file(run, vector, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "my holiday"
    draw((60, 40), 1).save("photo.jpg", exif=exif.tobytes())
    (path,) = run("edit", "photo.jpg", "--vector", "dot", *MODEL).paths
    with Image.open(path) as edited:
        assert edited.size == (40, 60)
        assert edited.getexif().get(0x0112, 1) == 1
        assert edited.getexif()[0x010E] == "my holiday"


MODES = {
    "png": ("L", "LA", "P", "RGBA"),
    "jpg": ("L", "CMYK"),
    "tiff": ("L", "LA", "P", "RGBA", "CMYK"),
    "webp": ("L", "RGBA"),
    "bmp": ("L", "P"),
    "gif": ("L", "P"),
}


@pytest.mark.parametrize(("suffix", "mode"), [(suffix, mode) for suffix, modes in MODES.items() for mode in modes])
def test_edit_writes_readable_files_of_every_type(run, vector, suffix, mode):
    draw((40, 40), 1).convert(mode).save(f"photo.{suffix}")
    result = run("edit", f"photo.{suffix}", "--vector", "dot=1000", *MODEL)
    assert result.code == 0
    assert pixels(result.paths[0]).shape[:2] == (40, 40)


def test_lossless_webp_stays_lossless_outside_the_box(run, vector):
    picture = Image.effect_noise((60, 40), 80).convert("RGB")
    picture.save("photo.webp", lossless=True)
    (path,) = run("edit", "photo.webp", "--vector", "dot=1000", "--box", "30,10,20,20", *MODEL).paths
    np.testing.assert_array_equal(pixels(path)[:, :30], np.asarray(picture)[:, :30])


def test_what_a_file_cannot_keep_is_said(run, vector):
    frames = [draw((30, 30), seed) for seed in range(3)]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    result = run("edit", "moving.gif", "--vector", "dot", *MODEL)
    assert result.paths == ["moving-dot.png"]
    assert "all frames but the first cannot be kept" in result.err


def test_the_edited_part_of_a_photo_of_another_shape_is_named(run, photo, vector):
    assert "edited the centred 40x40 of 60x40 pixels" in run("edit", photo, "--vector", "dot", *MODEL).err
    assert "centred" not in run("edit", photo, "--vector", "dot", "--box", "0,0,30,30", *MODEL).err


def test_edit_keeps_the_resolution_of_a_scan(run, vector):
    draw((40, 40), 1).save("scan.jpg", dpi=(300, 300))
    (path,) = run("edit", "scan.jpg", "--vector", "dot", *MODEL).paths
    with Image.open(path) as edited:
        assert edited.info["dpi"] == (300, 300)


def test_a_strip_of_a_photo_says_its_strengths(run, photo, vector):
    assert run("edit", photo, "--vector", vector, "--strip", "0:1:3", *MODEL, "-o", "plain.png").code == 0
    assert (
        run("edit", photo, "--vector", vector, "--strip", "0:1:3", "--labels", *MODEL, "-o", "labelled.png").code == 0
    )
    assert size("labelled.png")[1] > size("plain.png")[1]
    assert run("edit", photo, "--vector", vector, "--compare", "--labels", *MODEL, "-o", "compared.png").code == 0
    assert run("edit", photo, "--vector", vector, "--title", "x", *MODEL).code == 2
