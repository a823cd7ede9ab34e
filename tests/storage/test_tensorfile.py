import json
import struct

import numpy as np
import pytest

from latentcli.errors import FileFormatError
from latentcli.storage import tensorfile
from tests.conftest import write_bytes

ARRAYS: dict[str, np.ndarray] = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float16)}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "x.safetensors"
    tensorfile.write(path, "test", {"note": "später"}, ARRAYS)
    return path


def test_what_is_written_is_read(file):
    header, arrays = tensorfile.read(file, "test")
    assert header["note"] == "später"
    assert header["format"] == 1
    assert header["sha256"] == tensorfile.digest(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_shapes_and_types_can_be_judged_before_the_tensors(file):
    layout = {}
    tensorfile.read(file, "test", lambda header, found: layout.update(found))
    assert {name: shape for name, (_, shape) in layout.items()} == {"a": (2, 3), "b": (2,)}
    assert layout["a"][0] == "F32"


def test_a_flipped_byte_is_noticed(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(FileFormatError, match="is damaged"):
        tensorfile.read(file, "test")


@pytest.mark.parametrize("length", [0, 7, 8, 40, 200])
def test_a_truncated_file_is_refused(file, length):
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(FileFormatError):
        tensorfile.read(file, "test")


def test_another_kind_is_refused_by_name(file):
    with pytest.raises(FileFormatError, match="is a test file, not a model file"):
        tensorfile.read_header(file, "model")


def test_a_newer_format_is_refused(tmp_path):
    path = tmp_path / "new.safetensors"
    tensorfile.write(path, "test", {"format": 2}, ARRAYS)
    with pytest.raises(FileFormatError, match="newer latentcli"):
        tensorfile.read(path, "test")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileFormatError, match=r"gone\.safetensors does not exist"):
        tensorfile.read(tmp_path / "gone.safetensors", "test")


@pytest.mark.parametrize(
    "data",
    [
        b"hello, I am a text",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 6) + b"\xff\xfe\xfd\xfc\xfb\xfa",
    ],
)
def test_foreign_files_are_refused(tmp_path, data):
    with pytest.raises(FileFormatError, match="not a latentcli file"):
        tensorfile.read(write_bytes(tmp_path / "x.safetensors", data), "test")


def test_a_name_that_stands_twice_is_refused(file):
    header = json.dumps({"__metadata__": {}})[:-1] + ', "__metadata__": {}}'
    file.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    with pytest.raises(FileFormatError):
        tensorfile.read_header(file, "test")


def test_no_byte_of_the_header_can_crash_the_reader(file):
    good = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(good)
        for position in rng.integers(0, len(data), 3):
            data[position] = rng.integers(0, 256)
        file.write_bytes(bytes(data))
        try:
            tensorfile.read(file, "test")
        except FileFormatError:
            continue


def test_arrays_are_written_in_the_order_of_their_rows(tmp_path):
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    tensorfile.write(tmp_path / "a.safetensors", "model", {}, {"x": turned, "number": np.array(7)})
    found = tensorfile.read(tmp_path / "a.safetensors", "model")[1]
    assert (found["x"] == turned).all()
    assert found["number"].shape == ()
    assert found["number"] == 7
