import os
import zipfile
from pathlib import Path

import pytest
import torch
from numpy import arange

from latentcli.data.dataset import Dataset, split, survey
from latentcli.data.fingerprint import Fingerprints
from latentcli.data.sources import open_source, scan
from latentcli.errors import ConfigError, ImageError
from tests.conftest import draw_folder


def listed(folder):
    return scan(open_source(folder))


def names(selection):
    return [selection.listing.name(row) for row in selection.rows]


def test_the_split_of_an_image_depends_on_its_name_alone(tmp_path):
    few = listed(draw_folder(tmp_path / "d", 40))
    train, held = split(few, "0.2")
    assert held is not None
    assert 0 < len(held) < 20
    assert sorted((*names(train), *names(held))) == [few.name(row) for row in range(40)]
    more_train, more_held = split(listed(draw_folder(tmp_path / "d", 80)), "0.2")
    assert set(names(train)) < set(names(more_train))
    assert more_held
    assert set(names(held)) < set(names(more_held))


def test_small_folders_hold_nothing_out(tmp_path):
    train, held = split(listed(draw_folder(tmp_path / "d", 9)), "0.5")
    assert len(train) == 9
    assert held is None


def test_a_folder_can_be_held_out(tmp_path):
    files = listed(draw_folder(tmp_path / "d", 3))
    train, held = split(files, str(draw_folder(tmp_path / "test", 2)))
    assert held
    assert (len(train), len(held)) == (3, 2)


def test_a_held_out_folder_inside_the_data_is_taken_out_of_it(tmp_path):
    draw_folder(tmp_path / "d" / "test", 2)
    draw_folder(tmp_path / "d" / "test-2", 3)
    train, held = split(listed(tmp_path / "d"), str(tmp_path / "d" / "test"))
    assert {name.split("/")[0] for name in names(train)} == {"test-2"}
    assert held
    assert len(held) == 2


def test_whatever_is_held_out_by_a_list_is_not_trained_on(tmp_path):
    folder = draw_folder(tmp_path / "d", 6)
    (folder / "test.txt").write_text("./001.png\n../d/003.png\n")
    train, held = split(listed(folder), str(folder / "test.txt"))
    assert names(train) == ["000.png", "002.png", "004.png", "005.png"]
    assert held
    assert len(held) == 2
    (tmp_path / "all.txt").write_text("".join(f"{path}\n" for path in folder.glob("*.png")))
    train, held = split(listed(tmp_path / "all.txt"), str(folder))
    assert held
    assert (len(train), len(held)) == (0, 6)


@pytest.mark.parametrize("wanted", ["nowhere", "1.5", "-0.1", "nan"])
def test_other_values_of_held_out_are_refused(tmp_path, wanted):
    with pytest.raises(ConfigError, match="`held_out`"):
        split(listed(draw_folder(tmp_path / "d", 12)), wanted)


def test_a_survey_finds_size_and_colour(tmp_path):
    seen = survey(split(listed(draw_folder(tmp_path / "d", 6)), "0")[0])
    assert seen.shorter_side == 20
    assert seen.colour_share == 1
    gray = survey(split(listed(draw_folder(tmp_path / "g", 6, mode="L")), "0")[0])
    assert gray.colour_share == 0


@pytest.mark.parametrize(("mode", "share"), [("RGBA", 1), ("LA", 1), ("RGB", 0)])
def test_a_survey_counts_pictures_with_transparency(tmp_path, mode, share):
    assert survey(split(listed(draw_folder(tmp_path / "d", 6, mode=mode)), "0")[0]).transparent_share == share


def test_a_survey_without_readable_pictures_is_an_error(tmp_path):
    folder = draw_folder(tmp_path / "d", 1)
    (folder / "000.png").write_text("text")
    with pytest.raises(ImageError, match="can be read"):
        survey(split(listed(folder), "0")[0])


def test_a_dataset_gathers_the_rows_it_is_asked_for():
    pixels = torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1)
    some = Dataset(pixels, torch.tensor([1, 3, 5, 7, 9]))
    assert some.take(torch.tensor([4, 0])).flatten().tolist() == [9, 1]
    assert torch.cat(list(some.batches())).flatten().tolist() == [1, 3, 5, 7, 9]
    assert torch.cat(list(some.spread(2).batches())).flatten().tolist() == [1, 7]
    assert len(some.spread(100)) == 5


def test_changes_of_the_files_are_named(tmp_path):
    folder = draw_folder(tmp_path / "d", 6)
    before = Fingerprints.of([listed(folder)])
    before.write(tmp_path, arange(2))
    assert Fingerprints.of([listed(folder)]).digest == before.digest
    draw_folder(folder, 8)
    (folder / "000.png").unlink()
    (folder / "003.png").write_bytes(b"0")
    now = Fingerprints.of([listed(folder)])
    assert now.digest != before.digest
    assert now.changes_since(tmp_path) == "2 new (006.png, 007.png), 1 gone (000.png), 1 changed (003.png)"


def test_an_archive_that_was_packed_anew_with_other_pictures_has_changed(tmp_path):
    """Same names, same sizes: the CRC tells."""
    for name, byte in (("a.zip", b"0"), ("b.zip", b"1")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("x.png", byte * 100)
    first, second = (Fingerprints.of([listed(tmp_path / name)]) for name in ("a.zip", "b.zip"))
    first.write(tmp_path, arange(2))
    assert second.changes_since(tmp_path) == "1 changed (x.png)"


def test_files_of_the_same_name_in_two_folders_are_two_files(tmp_path):
    first, second = (listed(draw_folder(tmp_path / name, 3)) for name in "ab")
    Fingerprints.of([first]).write(tmp_path, arange(2))
    assert Fingerprints.of([first, second]).changes_since(tmp_path) == "3 new (000.png, 001.png, 002.png)"


def test_a_missing_list_of_files_is_reported(tmp_path):
    now = Fingerprints.of([listed(draw_folder(tmp_path / "d", 3))])
    assert now.changes_since(tmp_path) == "files.safetensors is missing or damaged"


def test_times_do_not_count_as_changes(tmp_path):
    folder = draw_folder(tmp_path / "d", 3)
    before = Fingerprints.of([listed(folder)]).digest
    os.utime(folder / "001.png", (1, 1))
    assert Fingerprints.of([listed(folder)]).digest == before
    assert Path(folder, "001.png").stat().st_mtime == 1
