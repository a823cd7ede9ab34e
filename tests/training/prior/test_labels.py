"""Parts of the images of a run: sub-folders, and the columns of a table."""

import numpy as np
import pytest
import torch

from latentcli.errors import LatentCLIError
from latentcli.training.plan import TrainRequest, choose
from tests.conftest import draw_folder


def folders(top, *names, count=14):
    for name in names:
        draw_folder(top / name, count)
    return top


def chosen(source, **options):
    return choose(source, TrainRequest(size=(16, 16), **options))


def values(choice, of_held_out=False):
    """What is known of each image, by name."""
    selection = choice.held_out if of_held_out else choice.train
    known = choice.labelled.known(of_held_out, selection.rows)
    all_values = [value for _, value in choice.labelled.parts.values()]
    return {
        name: [value for value, is_known in zip(all_values, row, strict=True) if is_known]
        for name, row in zip(map(selection.listing.name, selection.rows), known.bool().tolist(), strict=True)
    }


def test_sub_folders_are_parts(tmp_path):
    choice = chosen(folders(tmp_path / "pets", "all/cats/old", "all/dogs", "all"))
    assert choice.labelled.parts.columns == {"folder": ("cats", "dogs")}
    found = values(choice) | values(choice, of_held_out=True)
    assert found["all/cats/old/003.png"] == ["cats"]
    assert found["all/dogs/003.png"] == ["dogs"]
    assert found["all/003.png"] == []


@pytest.mark.parametrize("names", [("",), ("a",), ("a/b",)])
def test_one_folder_is_no_part(tmp_path, names):
    assert chosen(folders(tmp_path / "d", *names)).labelled is None


def test_folders_of_a_few_images_are_no_parts(tmp_path):
    top = folders(tmp_path / "d", "a", "b")
    draw_folder(top / "c", 3)
    choice = chosen(top)
    assert choice.labelled.parts.columns == {"folder": ("a", "b")}
    assert {tuple(found) for name, found in values(choice).items() if name.startswith("c/")} == {()}


def test_a_folder_held_out_has_the_same_parts(tmp_path):
    train, held_out = folders(tmp_path / "train", "a", "b"), folders(tmp_path / "test", "b", "c", count=4)
    found = values(chosen(train, held_out=str(held_out)), of_held_out=True)
    assert found["b/001.png"] == ["b"]
    assert found["c/001.png"] == []


def table(path, rows, head="file,kind,indoors,age,id"):
    path.write_text("\n".join([head, *rows]))
    return path


def test_columns_of_a_table_are_parts(tmp_path):
    draw_folder(tmp_path / "d", 60)
    rows = [f"{i:03d}.png,{'cat' if i % 2 else 'dog'},{i % 3 > 0:d},{i},{i}x" for i in range(60) if i != 7]
    choice = chosen(tmp_path / "d", labels=table(tmp_path / "t.csv", rows), held_out="0")
    assert choice.labelled.parts.columns == {
        "kind": ("cat", "dog"),
        "indoors": ("no", "yes"),
        "age": ("high", "low", "middle"),
    }
    assert choice.labelled.notes == ("columns that tell no parts of the images apart: id",)
    found = values(choice)
    assert found["000.png"] == ["dog", "no", "low"]
    assert found["031.png"] == ["cat", "yes", "middle"]
    assert found["059.png"] == ["cat", "yes", "high"]
    assert found["007.png"] == []
    assert choice.labelled.known(False, np.array([0])).dtype == torch.float32


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["x.png,cat,1,3,x"], "names none of the images"),
        (["000.png,cat,1,3,x"], "no column of .* has two to"),
        (None, "does not exist"),
    ],
)
def test_a_table_that_tells_nothing_apart_is_refused(tmp_path, rows, message):
    draw_folder(tmp_path / "d", 30)
    path = table(tmp_path / "t.csv", rows) if rows else tmp_path / "nothing.csv"
    with pytest.raises(LatentCLIError, match=message):
        chosen(tmp_path / "d", labels=path)


def test_a_column_without_numbers_or_texts_is_left_out(tmp_path):
    draw_folder(tmp_path / "d", 30)
    rows = [f"{i:03d}.png,{'cat' if i % 2 else 'dog'},," for i in range(30)]
    choice = chosen(tmp_path / "d", labels=table(tmp_path / "t.csv", rows))
    assert list(choice.labelled.parts.columns) == ["kind"]
