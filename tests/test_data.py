import pytest

from latentcli import data
from latentcli.errors import ConfigError, ImageError
from tests.conftest import TINY, draw_folder


def loaded(files):
    loading = data.Loading(files, TINY)
    assert list(loading) == list(range(1, len(files) + 1))
    return loading


def test_images_become_uint8_in_order(tmp_path):
    dataset = loaded(data.index(draw_folder(tmp_path / "d", 5))).dataset()
    assert dataset.images.shape == (5, 16, 16, 3)
    assert dataset.names == ("000.png", "001.png", "002.png", "003.png", "004.png")


def test_unreadable_images_are_left_out_and_told(tmp_path):
    folder = draw_folder(tmp_path / "d", 3)
    (folder / "001.png").write_text("text")
    loading = loaded(data.index(folder))
    assert loading.dataset().names == ("000.png", "002.png")
    assert "001.png is not a readable image" in loading.unreadable[0]


def test_a_folder_of_unreadable_images_is_an_error(tmp_path):
    folder = draw_folder(tmp_path / "d", 1)
    (folder / "000.png").write_text("text")
    with pytest.raises(ImageError, match="none of the 1 images"):
        loaded(data.index(folder)).dataset()
    with pytest.raises(ImageError, match="can be read"):
        data.look(data.index(folder))


def test_the_split_of_an_image_depends_on_its_name_alone(tmp_path):
    few = data.index(draw_folder(tmp_path / "d", 40))
    train, held = data.split(few, "0.2")
    assert held is not None
    assert 0 < len(held) < 20
    assert sorted((*train.names, *held.names)) == sorted(few.names)
    more_train, more_held = data.split(data.index(draw_folder(tmp_path / "d", 80)), "0.2")
    assert set(train.names) < set(more_train.names)
    assert set(held.names) < set(more_held.names)


def test_small_folders_hold_nothing_out(tmp_path):
    files = data.index(draw_folder(tmp_path / "d", 9))
    assert data.split(files, "0.5") == (files, None)


def test_a_folder_can_be_held_out(tmp_path):
    files = data.index(draw_folder(tmp_path / "d", 3))
    train, held = data.split(files, str(draw_folder(tmp_path / "test", 2)))
    assert (len(train), len(held)) == (3, 2)


@pytest.mark.parametrize("wanted", ["nowhere", "1.5", "-0.1", "nan"])
def test_other_values_of_held_out_are_refused(tmp_path, wanted):
    with pytest.raises(ConfigError, match="--held-out"):
        data.split(data.index(draw_folder(tmp_path / "d", 12)), wanted)


def test_looking_tells_size_and_colour(tmp_path):
    look = data.look(data.index(draw_folder(tmp_path / "d", 6)))
    assert look.shorter_side == 20
    assert look.colour_share == 1
    gray = data.look(data.index(draw_folder(tmp_path / "g", 6, mode="L")))
    assert gray.colour_share == 0


def test_the_fingerprint_changes_with_the_files(tmp_path):
    folder = draw_folder(tmp_path / "d", 3)
    before = data.index(folder).fingerprint()
    assert data.index(folder).fingerprint() == before
    draw_folder(folder, 4)
    assert data.index(folder).fingerprint() != before
