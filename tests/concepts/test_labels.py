import numpy as np
import pytest

from latentcli.concepts import labels
from latentcli.concepts.label_source import LabelSource
from latentcli.concepts.labels import Cut, from_table
from latentcli.errors import ConfigError, ImageError, LatentCLIError, ModelMismatch, UsageError
from latentcli.storage.latents import Latents
from tests.conftest import draw_folder


def values(found, place=0):
    return found.concepts[place].values.tolist()


def test_folders_are_named_from_where_they_part(tmp_path):
    draw_folder(tmp_path / "d" / "yes", 2)
    draw_folder(tmp_path / "d" / "no", 1)
    found = labels.from_folders("smile", tmp_path / "d" / "yes", tmp_path / "d" / "no")
    assert found.names == ("yes/000.png", "yes/001.png", "no/000.png")
    assert values(found) == [1, 1, 0]
    assert found.concepts[0].recipe == {"positive": "yes", "negative": "no"}


def test_the_same_or_nested_folders_are_refused(tmp_path):
    folder = draw_folder(tmp_path / "d", 2)
    draw_folder(folder / "sub", 2)
    for pair in ((folder, folder), (folder, folder / "sub"), (folder / "sub", folder)):
        with pytest.raises(ConfigError, match="overlap"):
            labels.from_folders("x", *pair)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="empty holds no images"):
        labels.from_folders("x", draw_folder(tmp_path / "d", 1), tmp_path / "empty")


def test_pairs_go_by_name_and_the_rest_is_left_out(tmp_path):
    draw_folder(tmp_path / "after", 3)
    draw_folder(tmp_path / "before", 2)
    found = labels.from_folders("x", tmp_path / "after", tmp_path / "before", paired=True)
    assert found.pairs is not None
    assert found.pairs.tolist() == [0, 1, -1, 0, 1]
    assert values(found) == [1, 1, -1, 0, 0]
    assert found.notes == ("1 images have no partner of the same name and were left out",)
    draw_folder(tmp_path / "other" / "deep", 2)
    with pytest.raises(ConfigError, match="`paired` needs before and after"):
        labels.from_folders("x", tmp_path / "after", tmp_path / "other", paired=True)


def test_each_sub_folder_is_against_the_rest(tmp_path):
    for name, count in (("cat", 2), ("dog", 1)):
        draw_folder(tmp_path / "pets" / name, count)
    draw_folder(tmp_path / "pets", 1)
    found = labels.from_subfolders(tmp_path / "pets")
    assert [concept.name for concept in found.concepts] == ["cat", "dog"]
    assert found.names == ("000.png", "cat/000.png", "cat/001.png", "dog/000.png")
    assert values(found, 0) == [-1, 1, 1, 0]
    assert "1 images" in found.notes[0]
    with pytest.raises(ConfigError, match="has 0 sub-folders"):
        labels.from_subfolders(draw_folder(tmp_path / "flat", 2))


def test_latents_files_are_labels_too(tmp_path):
    files = [tmp_path / f"{name}.latents.safetensors" for name in ("a", "b", "c")]
    for number, (path, model) in enumerate(zip(files, ("m", "m", "other"), strict=True)):
        Latents(np.full((2, 3), float(number), dtype=np.float32), ("x.png", "y.png"), model).save(path)
    found = labels.from_folders("x", files[0], files[1])
    assert found.latents
    assert found.latents.z[:, 0].tolist() == [0, 0, 1, 1]
    assert values(found) == [1, 1, 0, 0]
    with pytest.raises(ModelMismatch):
        labels.from_folders("x", files[0], files[2])


# from a table


@pytest.fixture
def table(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.png", "sub/c.png", "d.png"):
        (tmp_path / name).touch()
    path = tmp_path / "attributes.csv"
    path.write_text("file,age,smile,pet\na.png,30,0.95,cat\nb.png,40,0.5,dog\nsub/c.png,50,0.05,cat\nd.png,60,,\n")
    return path


def labels_of(table, column=None, name="x", **more):
    every = column is None
    return from_table(LabelSource(labels=table, column=column, every=every, name=None if every else name, **more))


def smile(table, **more):
    return labels_of(table, "smile", "smile", **more)


def test_a_table_has_two_thresholds(table, tmp_path):
    found = smile(table, above=0.9, below=0.1)
    assert found.names == ("a.png", "b.png", "sub/c.png", "d.png")
    assert values(found) == [1, -1, 0, -1]
    assert found.root == tmp_path
    assert found.notes == ("1 rows have no usable smile and were left out (d.png)",)


def test_one_threshold_divides_everything(table):
    assert values(smile(table)) == [1, 1, 0, -1]
    assert values(smile(table, above=0.9)) == [1, 0, 0, -1]
    assert values(labels_of(table, "age", below=40)) == [0, 0, 1, 1]


def test_numbers_can_be_between_or_at_the_extremes(table):
    assert values(labels_of(table, "age", above=60, between="35,45")) == [-1, 0, -1, 1]
    assert values(labels_of(table, "age", extremes=0.25)) == [0, -1, -1, 1]
    assert values(labels_of(table, "age")) == [
        0,
        -1,
        -1,
        1,
    ]  # the quarters of numbers beyond 0 to 1


def test_images_between_the_thresholds_have_a_class_by_one_threshold():
    def between(values: np.ndarray, above: float, below: float | None = None, other: str | None = None) -> list[int]:
        cut = Cut.of(above, below, other)
        assert cut
        found: list[int] = cut.between(values).tolist()
        return found

    scores = np.array([0.0, 0.05, 0.3, 0.49, 0.5, 0.7, 0.96, 1.0, np.nan])
    assert between(scores, 0.95, 0.05) == [-1, -1, 0, 0, 1, 1, -1, -1, -1]
    ages = np.array([10.0, 25.0, 30.0, 40.0, 59.0, 70.0])  # the median, 35, is not above what lacks the concept
    assert between(ages, 60, other="20,37") == [0, -1, -1, 1, 1, -1]
    assert between(ages, 60, other="20,30") == [0, -1, -1, 1, 1, -1]
    assert between(scores[:-1], 0.5) == [-1] * 8


def test_a_text_is_against_the_rest(table):
    assert values(labels_of(table, "pet", name="cat", one="cat")) == [1, 0, 1, -1]
    with pytest.raises(ConfigError, match="no row"):
        labels_of(table, "pet", one="horse")


def test_every_column_makes_a_concept(table):
    table.write_text(table.read_text().replace("pet\n", "pet,same,id\n").replace("cat\n", "cat,1,q\n"))
    found = labels_of(table, thresholds=["age=60,20:35"])
    assert [concept.name for concept in found.concepts] == ["age", "smile", "pet-cat", "pet-dog"]
    assert values(found, 0) == [0, -1, -1, 1]
    assert any(note.startswith("same was left out") for note in found.notes)
    assert any(note.startswith("id was left out: it has 1 different texts") for note in found.notes)


def test_columns_to_balance_by_become_classes(table):
    cells = smile(table, balance_by=("age", "pet", "smile"), thresholds=["smile=0.9,0.1"]).cells
    assert cells["age"].tolist() == [0, 1, 2, 3]
    assert cells["pet"].tolist() == [0, 1, 0, -1]
    assert cells["smile"].tolist() == [1, -1, 0, -1]


def test_many_numbers_are_balanced_in_quarters(tmp_path):
    draw_folder(tmp_path, 40)
    rows = "".join(f"{number:03d}.png,{number % 2},{number}\n" for number in range(40))
    (tmp_path / "t.csv").write_text("file,x,age\n" + rows)
    cells = labels_of(tmp_path / "t.csv", "x", balance_by=("age",)).cells["age"]
    assert np.bincount(cells).tolist() == [10, 10, 10, 10]


def test_files_that_are_not_there_are_named(table, tmp_path):
    (tmp_path / "b.png").unlink()
    found = smile(table)
    assert found.names == ("a.png", "sub/c.png", "d.png")
    assert any("1 files" in note and "(b.png)" in note and "`root`" in note for note in found.notes)


def test_bad_tables_are_refused(table, tmp_path):
    with pytest.raises(ConfigError, match="no column 'frown'; it has age, smile, pet"):
        labels_of(table, "frown")
    with pytest.raises(ConfigError, match="no column 'size'"):
        smile(table, balance_by=("size",))
    with pytest.raises(ConfigError, match="less than `above`"):
        Cut.of(0.1, 0.9)
    with pytest.raises(ConfigError, match=r"nowhere\.csv does not exist"):
        smile(tmp_path / "nowhere.csv")
    with pytest.raises(ConfigError, match="`root`"):
        smile(table, root=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="name their folder with `root`"):
        smile(table, root=tmp_path / "sub")
    with pytest.raises(ConfigError, match="no numbers"):
        labels_of(table, "pet")
    table.write_text("file,smile\na.png,1\na.png,0\n")
    with pytest.raises(ConfigError, match=r"names a\.png more than once"):
        smile(table)
    table.write_text("file,smile\na.png,nan\nb.png,inf\n")
    with pytest.raises(ConfigError, match="no numbers"):
        smile(table)
    table.write_text("file,smile\na.png,1\nb.png,1\n")
    with pytest.raises(ConfigError, match="no column usable for a vector"):
        labels_of(table)
    table.write_bytes(b"file,smile\n\xff\xfe\x00,1\n")
    with pytest.raises(LatentCLIError, match="CSV"):
        smile(table)
    table.write_text("")
    with pytest.raises(ConfigError, match="is empty"):
        smile(table)


@pytest.mark.parametrize("text", ["smile", "=1,2", "smile=", "smile=a,b", "smile=1,2:3:4", "smile=1,0,0"])
def test_thresholds_that_cannot_be_read_are_refused(text):
    with pytest.raises(UsageError, match="`thresholds`"):
        Cut.parse(text)


def test_one_kind_alone_makes_no_vector(table):
    with pytest.raises(ConfigError, match="smile: a vector needs images with and without the concept, got 0 and 3"):
        smile(table, above=2).concepts[0].check()


def test_awkward_columns_do_not_keep_the_others_from_being_fitted(tmp_path):
    draw_folder(tmp_path, 8)
    rows = "".join(f"{n:03d}.png,{n % 2},{1 if n else -1},{'dark brown' if n % 2 else 'red/x'},0.1\n" for n in range(8))
    (tmp_path / "t.csv").write_text("file,x,rare,hair,low\n" + rows)
    found = labels_of(tmp_path / "t.csv", balance_by=("x",))
    assert [concept.name for concept in found.concepts] == ["rare", "hair-dark-brown", "hair-red-x"]
    assert values(found, 0) == [0, 1, 1, 1, 1, 1, 1, 1]
    assert any(note.startswith("low was left out") for note in found.notes)


def test_a_column_that_is_mostly_one_number_is_still_balanced_by(tmp_path):
    draw_folder(tmp_path, 20)
    rows = "".join(f"{n:03d}.png,{n % 2},{max(0, n - 15)}\n" for n in range(20))
    (tmp_path / "t.csv").write_text("file,x,score\n" + rows)
    cells = labels_of(tmp_path / "t.csv", "x", balance_by=("score",)).cells["score"]
    assert len(np.unique(cells)) > 1


def test_the_column_that_names_files_is_found(tmp_path):
    draw_folder(tmp_path, 2)
    (tmp_path / "t.csv").write_text("img,name,x\n000.png,Ann,1\n001.png,Bob,0\n")
    assert labels_of(tmp_path / "t.csv", "x").names == ("000.png", "001.png")
