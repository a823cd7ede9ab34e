import pytest

from latentcli import labels
from latentcli.errors import ConfigError, ImageError, LatentCLIError
from tests.conftest import draw_folder


@pytest.fixture
def table(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.png", "sub/c.png", "d.png"):
        (tmp_path / name).touch()
    path = tmp_path / "attributes.csv"
    path.write_text("file,age,smile\na.png,30,0.95\nb.png,40,0.5\nsub/c.png,50,0.05\nd.png,60,\n")
    return path


def test_folders_are_named_from_where_they_part(tmp_path):
    draw_folder(tmp_path / "d" / "yes", 2)
    draw_folder(tmp_path / "d" / "no", 1)
    found = labels.from_folders(tmp_path / "d" / "yes", tmp_path / "d" / "no")
    assert found.names == ("yes/000.png", "yes/001.png", "no/000.png")
    assert found.values == (True, True, False)
    assert found.recipe == {"positive": "yes", "negative": "no"}


def test_the_same_or_nested_folders_are_refused(tmp_path):
    folder = draw_folder(tmp_path / "d", 2)
    draw_folder(folder / "sub", 2)
    for pair in ((folder, folder), (folder, folder / "sub"), (folder / "sub", folder)):
        with pytest.raises(ConfigError, match="overlap"):
            labels.from_folders(*pair)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="empty holds no images"):
        labels.from_folders(draw_folder(tmp_path / "d", 1), tmp_path / "empty")


def test_a_table_has_two_thresholds(table, tmp_path):
    found = labels.from_table(table, "smile", above=0.9, below=0.1)
    assert found.names == ("a.png", "b.png", "sub/c.png")
    assert found.values == (True, None, False)
    assert found.root == tmp_path
    assert found.left_out == 1


def test_one_threshold_divides_everything(table):
    assert labels.from_table(table, "smile").values == (True, True, False)
    assert labels.from_table(table, "smile", above=0.9).values == (True, False, False)
    assert labels.from_table(table, "age", below=40).values == (False, False, True, True)


def test_bad_tables_are_refused(table, tmp_path):
    with pytest.raises(ConfigError, match="no column 'frown'; it has file, age, smile"):
        labels.from_table(table, "frown")
    with pytest.raises(ConfigError, match="less than --above"):
        labels.from_table(table, "smile", above=0.1, below=0.9)
    with pytest.raises(ConfigError, match=r"nowhere\.csv does not exist"):
        labels.from_table(tmp_path / "nowhere.csv", "smile")
    with pytest.raises(ConfigError, match="--root"):
        labels.from_table(table, "smile", root=tmp_path / "nowhere")
    table.write_bytes(b"file,smile\n\xff\xfe\x00,1\n")
    with pytest.raises(LatentCLIError, match="CSV"):
        labels.from_table(table, "smile")


def test_one_kind_alone_makes_no_vector(table):
    with pytest.raises(ConfigError, match="got 0 and 3"):
        labels.from_table(table, "smile", above=2).check()
