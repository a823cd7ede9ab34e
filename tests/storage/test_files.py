import errno
import os
import stat
from pathlib import Path

import pytest

from latentcli.errors import LatentCLIError, OutputExists
from latentcli.storage import files


def test_a_file_is_written_with_the_umask(tmp_path):
    path = tmp_path / "new" / "x"
    before = os.umask(0o027)
    try:
        files.write_whole(path, b"data")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"data"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    files.write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, broken):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(LatentCLIError, match="No space left on device"):
        files.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_an_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_whole(tmp_path / "x", b"new")
    assert os.listdir(tmp_path) == []


def test_taken_names_get_numbers(tmp_path):
    for name in ("a.png", "a-2.png", "b.latents.safetensors"):
        (tmp_path / name).touch()
    assert files.free_name(tmp_path / "a.png").name == "a-3.png"
    assert files.free_name(tmp_path / "b.latents.safetensors").name == "b-2.latents.safetensors"
    assert files.free_name(tmp_path / "c.png").name == "c.png"


def test_a_wanted_name_must_be_free_or_forced(tmp_path):
    taken = tmp_path / "a.png"
    taken.touch()
    with pytest.raises(OutputExists, match="add `force`"):
        files.output_file(taken, taken, force=False)
    assert files.output_file(taken, taken, force=True) == taken
    assert files.output_file(tmp_path, taken, force=False) == tmp_path / "a-2.png"


def test_a_name_that_latentcli_chooses_is_replaced_by_force(tmp_path):
    taken = tmp_path / "a.png"
    taken.touch()
    assert files.output_file(None, taken, force=False) == tmp_path / "a-2.png"
    assert files.output_file(None, taken, force=True) == taken
    assert files.output_file(tmp_path, taken, force=True) == taken


def test_folders_of_one_name_are_numbered_without_end():
    taken: set[str] = set()
    for expected in ("pics+1.5", "pics+1.5-2", "pics+1.5-3"):
        found = files.free_name(Path("pics+1.5"), taken, on_disk=False, is_folder=True)
        assert found.name == expected
        taken.add(str(found).casefold())
