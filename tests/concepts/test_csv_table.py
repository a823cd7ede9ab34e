"""Tables as spreadsheets write them: separators, decimal commas, encodings, backslashes."""

import numpy as np
import pytest

from latentcli.concepts.csv_table import CsvTable
from latentcli.errors import ConfigError, LatentCLIError


def read(folder, content):
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return CsvTable.read(path, folder)


@pytest.mark.parametrize(("separator", "word"), [(",", None), (";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_separators_are_found(tmp_path, separator, word):
    found = read(tmp_path, f"file{separator}smile{separator}pet\r\na.png{separator}0.5{separator}cat\r\n")
    assert (found.names, found.texts) == (["a.png"], {"smile": ["0.5"], "pet": ["cat"]})
    assert (found.notes == []) == (word is None)
    assert word is None or word in found.notes[0]


def test_decimal_commas_are_points(tmp_path):
    found = read(tmp_path, "file;smile;said\na.png;0,95;yes, please\nb.png;1;no\nc.png;;no\nd.png;-2,5e3;no\n")
    np.testing.assert_allclose(found.column("smile"), [0.95, 1, np.nan, -2500])
    assert found.texts["said"][0] == "yes, please"
    assert found.notes == [f"read {tmp_path / 't.csv'} with semicolons between columns, with decimal commas"]


@pytest.mark.parametrize(
    ("encoding", "word"), [("utf-8", None), ("utf-8-sig", None), ("utf-16", "as utf-16"), ("cp1252", "as cp1252")]
)
def test_encodings_are_found(tmp_path, encoding, word):
    found = read(tmp_path, "file,ort\ncafé.png,Zürich\n".encode(encoding))
    assert (found.names, found.texts) == (["café.png"], {"ort": ["Zürich"]})
    assert [note for note in found.notes if word and word in note] == found.notes


def test_backslashes_are_folders(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").touch()
    found = read(tmp_path, "id,where\n1,sub\\a.png\n")
    assert found.names == ["1"]  # no column is known to hold files but by its name or by those that exist
    found = read(tmp_path, "file,x\nsub\\a.png,1\n")
    assert found.names == ["sub/a.png"]
    assert found.find_in(tmp_path).all()


@pytest.mark.parametrize("content", [b"", b"\n", b"\x81\x8d\x8f"])
def test_what_is_no_table_is_refused(tmp_path, content):
    with pytest.raises((ConfigError, LatentCLIError)):
        read(tmp_path, content)
