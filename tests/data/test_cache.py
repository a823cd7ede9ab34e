import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from latentcli.config import ModelConfig
from latentcli.data import cache, decode
from latentcli.data.cache import Loading
from latentcli.data.sources import find_images, open_source, scan
from latentcli.errors import ImageError
from latentcli.imaging.images import read_image
from tests.conftest import TINY, draw, draw_folder


@pytest.fixture
def folder(tmp_path):
    return draw_folder(tmp_path / "d", 6)


@pytest.fixture(params=["threads", "processes"])
def workers(request, monkeypatch):
    monkeypatch.setattr(decode, "_A_FEW", 1000 if request.param == "threads" else 0)
    monkeypatch.setattr(decode, "_AT_ONCE", 4)


class Loaded(Loading):
    cached = 0  # number of images that came from the cache


def load(path, config=TINY):
    loading = Loaded(scan(open_source(path)), config)
    steps = list(loading)
    assert steps == sorted(steps)
    assert steps[-1] == len(loading.listing)
    loading.cached = steps[0]
    return loading


def expected(folder, config=TINY):
    return np.stack([read_image(path, config) for path in find_images(folder)])


def cached_files():
    return sorted(Path(os.environ["HOME"]).rglob("pixels-*.u8"))


@pytest.mark.usefixtures("workers")
def test_images_become_uint8_in_order(folder):
    loading = load(folder)
    np.testing.assert_array_equal(loading.decoded.pixels, expected(folder))
    assert loading.decoded.sides.tolist() == [[20, 20]] * 6
    assert set(loading.decoded.modes) == {b"RGB"}


@pytest.mark.usefixtures("workers")
def test_unreadable_images_are_left_out_and_named(folder):
    (folder / "001.png").write_text("text")
    loading = load(folder)
    assert loading.decoded.readable.tolist() == [True, False, True, True, True, True]
    assert list(loading.decoded.problems) == [1]
    assert "001.png is not a readable image" in loading.decoded.problems[1]


@pytest.mark.usefixtures("workers")
def test_a_file_that_disappears_after_the_listing_is_named(folder):
    loading = Loading(scan(open_source(folder)), TINY)
    (folder / "002.png").unlink()
    list(loading)
    assert "002.png does not exist" in loading.decoded.problems[2]
    assert loading.decoded.readable.sum() == 5


@pytest.mark.usefixtures("workers")
def test_an_archive_gives_what_its_folder_gives(folder, tmp_path):
    archive = tmp_path / "d.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in folder.iterdir():
            packed.write(path, f"pictures/{path.name}")
    np.testing.assert_array_equal(load(archive).decoded.pixels, expected(folder))


def test_a_picture_that_kills_the_worker_costs_only_itself(folder, monkeypatch):
    """The worker process ends itself when it is asked for 003.png, as a crash in a decoder would end it."""
    monkeypatch.setattr(decode, "_A_FEW", 0)
    code = (
        "import os; from latentcli.data import decode; read = decode.open_picture\n"
        "decode.open_picture = lambda path, content=None: os._exit(9) if '003' in path.name else read(path, content)\n"
        "decode.main()"
    )
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda command, **options: start([sys.executable, "-P", "-c", code], **options)
    )
    loading = load(folder)
    assert list(loading.decoded.problems) == [3]
    assert "cannot be decoded" in loading.decoded.problems[3]
    np.testing.assert_array_equal(np.delete(loading.decoded.pixels, 3, 0), np.delete(expected(folder), 3, 0))


def test_without_processes_it_still_works(folder, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no more processes")

    monkeypatch.setattr(decode, "_A_FEW", 0)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    np.testing.assert_array_equal(load(folder).decoded.pixels, expected(folder))


def test_the_second_time_nothing_is_decoded(folder, monkeypatch):
    before = load(folder).decoded
    monkeypatch.setattr(decode, "decode", lambda *arguments: pytest.fail("decoded again"))
    again = load(folder)
    assert again.cached == 6
    assert isinstance(again.decoded.pixels, np.memmap)
    np.testing.assert_array_equal(again.decoded.pixels, before.pixels)


def test_unreadable_files_are_remembered(folder):
    (folder / "001.png").write_text("text")
    first, second = load(folder).decoded, load(folder).decoded
    assert first.problems == second.problems
    assert first.readable.tolist() == second.readable.tolist()


def test_an_image_that_can_be_read_again_is(folder):
    picture = (folder / "001.png").read_bytes()
    (folder / "001.png").write_bytes(bytes(len(picture)))
    os.utime(folder / "001.png", (1, 1))
    assert load(folder).decoded.problems
    (folder / "001.png").write_bytes(picture)
    os.utime(folder / "001.png", (1, 1))
    again = load(folder)
    assert again.cached == 5
    assert not again.decoded.problems
    np.testing.assert_array_equal(again.decoded.pixels, expected(folder))


def test_decoding_that_is_broken_off_leaves_nothing(folder, monkeypatch):
    monkeypatch.setattr(decode, "_AT_ONCE", 2)
    loading = iter(Loading(scan(open_source(folder)), TINY))
    assert isinstance(loading, Generator)
    next(loading)
    next(loading)
    assert len(cached_files()) == 1
    loading.close()
    assert not cached_files()


def test_a_second_program_waits_for_the_first(folder, monkeypatch):
    monkeypatch.setattr(decode, "_AT_ONCE", 2)
    first = iter(Loading(scan(open_source(folder)), TINY))
    next(first)
    second = Loading(scan(open_source(folder)), TINY)
    waiting = iter(second)
    assert [next(waiting), next(waiting)] == [0, 0]
    list(first)
    assert list(waiting) == [6]


def test_workers_that_cannot_start_are_done_without(folder, monkeypatch):
    monkeypatch.setattr(decode, "_A_FEW", 0)
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda command, **options: start([sys.executable, "-c", "raise SystemExit(3)"], **options)
    )
    loading = load(folder)
    assert not loading.decoded.problems
    np.testing.assert_array_equal(loading.decoded.pixels, expected(folder))


def test_only_what_changed_is_decoded(folder):
    load(folder)
    draw((20, 20), 99).save(folder / "000a.png")
    draw((20, 20), 98).save(folder / "003.png")
    os.utime(folder / "003.png", (1, 1))
    (folder / "005.png").unlink()
    again = load(folder)
    assert again.cached == 4
    np.testing.assert_array_equal(again.decoded.pixels, expected(folder))
    assert len(cached_files()) == 1


@pytest.mark.parametrize("other", [{"width": 24}, {"crop": "none"}, {"background": "#000000"}])
def test_other_preparation_is_another_cache(folder, other):
    load(folder)
    config = ModelConfig.from_json(TINY.to_json() | other)
    again = load(folder, config)
    assert again.cached == 0
    np.testing.assert_array_equal(again.decoded.pixels, expected(folder, config))
    assert len(cached_files()) == 2


def test_other_networks_share_a_cache(folder):
    load(folder)
    assert load(folder, ModelConfig.from_json(TINY.to_json() | {"latent_dim": 7})).cached == 6


def spoil_pixel(pixels, index):
    data = bytearray(pixels.read_bytes())
    data[100] ^= 255
    pixels.write_bytes(bytes(data))


DAMAGE = {
    "a pixel": spoil_pixel,
    "short pixels": lambda pixels, index: pixels.write_bytes(pixels.read_bytes()[:-1]),
    "no pixels": lambda pixels, index: pixels.unlink(),
    "no index": lambda pixels, index: index.unlink(),
    "half an index": lambda pixels, index: index.write_bytes(index.read_bytes()[:200]),
    "an empty index": lambda pixels, index: index.write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_made_again(folder, damage):
    load(folder)
    (pixels,) = cached_files()
    DAMAGE[damage](pixels, pixels.with_name("index.safetensors"))
    again = load(folder)
    assert again.cached == 0
    np.testing.assert_array_equal(again.decoded.pixels, expected(folder))
    assert load(folder).cached == 6
    assert len(cached_files()) == 1


def test_without_room_on_the_disk_memory_serves(folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 0))
    loading = load(folder)
    assert not loading.kept
    np.testing.assert_array_equal(loading.decoded.pixels, expected(folder))
    assert not cached_files()
    monkeypatch.setattr(cache, "_available_memory", lambda: 100)
    with pytest.raises(ImageError, match="smaller `size`"):
        load(folder)


def test_without_a_cache_folder_memory_serves(folder):
    home = cache._home()
    home.parent.mkdir(parents=True)
    home.write_text("in the way")
    loading = load(folder)
    assert not loading.kept
    np.testing.assert_array_equal(loading.decoded.pixels, expected(folder))


def test_the_cache_that_was_not_used_for_longest_goes_first(tmp_path, monkeypatch):
    for number in range(3):
        load(draw_folder(tmp_path / str(number), 6))
    first, second, third = sorted(cached_files(), key=lambda path: path.stat().st_mtime_ns)
    for age, file in enumerate((second, third, first)):  # the first was used last
        os.utime(file.with_name("index.safetensors"), (1000 + age, 1000 + age))
    size = 6 * 16 * 16 * 3
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 2 * size - 1))
    load(draw_folder(tmp_path / "new", 6))
    assert not second.exists()
    assert first.exists()
    assert third.exists()


def test_a_worker_imports_no_torch():
    code = "import sys; import latentcli.data.decode; print('torch' in sys.modules, 'typer' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False False"
