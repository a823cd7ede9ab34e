import os
import zipfile

import numpy as np
import pytest

from latentcli.data import sources
from latentcli.data.sources import find_images, open_source, scan
from latentcli.errors import ImageError
from tests.conftest import draw, draw_folder


def names(path):
    listing = scan(open_source(path))
    return [listing.name(row) for row in range(len(listing))]


def packed(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_folders_are_searched_in_order_past_what_is_no_image(tmp_path):
    folder = draw_folder(tmp_path / "d" / "sub", 2).parent
    draw((8, 8), 0).save(folder / "UPPER.PNG")
    draw_folder(folder / ".hidden", 1)
    (folder / "notes.txt").write_text("no image")
    (folder / "dir.png").mkdir()
    (folder / "dangling.png").symlink_to("nowhere")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "link.png").symlink_to("UPPER.PNG")
    (folder / "elsewhere").symlink_to("sub")
    os.mkfifo(folder / "pipe.png")
    assert names(folder) == ["UPPER.PNG", "link.png", "sub/000.png", "sub/001.png"]
    assert [path.relative_to(folder).as_posix() for path in find_images(folder)] == names(folder)
    assert scan(open_source(folder)).passed_over.counts == {
        sources.DANGLING: 2, sources.LINKED_FOLDERS: 1, sources.OTHER: 1, sources.SPECIAL: 1,
    }  # fmt: skip
    assert list(scan(open_source(folder)).passed_over.noteworthy()) == [
        "passed over: 2 links that lead nowhere (dangling.png, loop.png)",
        "passed over: 1 links to folders (elsewhere)",
        "passed over: 1 pipes, devices and the like (pipe.png)",
    ]


def test_folders_of_models_are_no_data(tmp_path):
    folder = draw_folder(tmp_path / "d", 2)
    model = draw_folder(folder / "models" / "d", 1)
    (model / "model.safetensors").write_bytes(b"")
    assert names(folder) == ["000.png", "001.png"]


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(ImageError, match="holds no images"):
        find_images(tmp_path)
    with pytest.raises(ImageError, match="is not a folder"):
        find_images(tmp_path / "nowhere")
    with pytest.raises(ImageError, match="does not exist"):
        open_source(tmp_path / "nowhere")


def test_an_empty_folder_says_what_was_passed_over(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "elsewhere").symlink_to(draw_folder(tmp_path / "e", 1))
    with pytest.raises(ImageError, match="passed over: 1 links to folders"):
        names(tmp_path / "d")


def test_names_are_sorted_and_survive_whatever_bytes_they_have(tmp_path):
    folder = draw_folder(tmp_path / "d", 1)
    odd = os.fsdecode(b"caf\xe9.png")
    for name in (odd, "ü.png", "a b.png", "-x.png"):
        (folder / name).write_bytes((folder / "000.png").read_bytes())
    found = names(folder)
    assert sorted(found, key=os.fsencode) == found
    assert set(found) == {"000.png", odd, "ü.png", "a b.png", "-x.png"}


def test_an_archive_is_a_folder(tmp_path):
    picture = (draw_folder(tmp_path / "d", 1) / "000.png").read_bytes()
    entries = {"b/2.PNG": picture, "a.jpg": b"1", "__MACOSX/b/2.PNG": b"x", ".hidden.png": b"x", "readme.txt": b"x"}
    source = open_source(packed(tmp_path / "d.zip", entries))
    assert source.kind == "zip"
    assert names(source.path) == ["a.jpg", "b/2.PNG"]
    assert scan(source).passed_over.counts == {sources.OTHER: 1}
    with source.reader() as locate:
        assert locate("b/2.PNG") == (source.path / "b/2.PNG", picture)
        with pytest.raises(ImageError, match="cannot be read from"):
            locate("nowhere.png")


def test_a_damaged_archive_is_an_image_error(tmp_path):
    path = packed(tmp_path / "d.zip", {f"{number}.png": os.urandom(500) for number in range(9)})
    data = bytearray(path.read_bytes())
    data[200:300] = bytes(100)
    path.write_bytes(bytes(data))
    with open_source(path).reader() as locate, pytest.raises(ImageError, match="pack it again"):
        locate("0.png")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 400] + whole[-22:])  # an end that points past it
    with pytest.raises(ImageError):
        scan(open_source(path))


def test_huge_entries_are_refused_unread(tmp_path, monkeypatch):
    path = packed(tmp_path / "d.zip", {"a.png": bytes(1000)})
    monkeypatch.setattr(sources, "_LARGEST_ENTRY", 999)
    with open_source(path).reader() as locate, pytest.raises(ImageError, match="the limit for an archived image"):
        locate("a.png")


def test_a_text_file_lists_paths_from_its_own_folder(tmp_path, monkeypatch):
    folder = draw_folder(tmp_path / "d", 3)
    text = f"# mine\nd/002.png\n\n{folder / '000.png'}\nd/002.png\nd/gone.png\n"
    (tmp_path / "list.txt").write_text(text, encoding="utf-8-sig")
    monkeypatch.chdir(folder)
    source = open_source(tmp_path / "list.txt")
    listing = scan(source)
    assert names(source.path) == sorted([str(folder / "000.png"), "d/002.png", "d/gone.png"])
    assert listing.passed_over.counts == {sources.TWICE: 1}
    assert sorted(np.sign(listing.sizes)) == [-1, 1, 1]
    with source.reader() as locate:
        assert locate("d/002.png") == (tmp_path / "d/002.png", None)


def test_what_is_no_source_is_refused(tmp_path):
    picture = draw_folder(tmp_path / "d", 1) / "000.png"
    with pytest.raises(ImageError, match="single image"):
        open_source(picture)
    (tmp_path / "junk").write_bytes(b"\xff\xfe\x00junk")
    with pytest.raises(ImageError, match="not a list of images"):
        scan(open_source(tmp_path / "junk"))
    (tmp_path / "list.txt").write_text("one.png\ntwo.png\n")
    (tmp_path / "photos.zip").write_bytes(b"PK not really")
    with pytest.raises(ImageError, match="not a readable zip"):
        scan(open_source(tmp_path / "photos.zip"))
    with pytest.raises(ImageError, match="none of the 2 files"):
        scan(open_source(tmp_path / "list.txt"))


def test_many_names_are_packed_in_parts(tmp_path, monkeypatch):
    folder = draw_folder(tmp_path / "d", 7)
    monkeypatch.setattr(sources, "_AT_ONCE", 3)
    assert names(folder) == [f"{number:03d}.png" for number in range(7)]
