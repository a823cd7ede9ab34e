"""Sheets: pictures in rows and columns with captions."""

import numpy as np
import pytest
from PIL import Image

from latentcli.errors import UsageError
from latentcli.figures.sheet import GAP, Captions, Look, caption_font, enlarged, sheet, shortened
from tests.conftest import draw


def test_a_sheet_holds_every_picture():
    pictures = [draw((8, 6), seed) for seed in range(5)]
    page = sheet(pictures, columns=3)
    assert page.size == (3 * 8 + 2 * GAP, 2 * 6 + GAP)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, 3)
        left, top = column * (8 + GAP), row * (6 + GAP)
        assert page.crop((left, top, left + 8, top + 6)).tobytes() == picture.tobytes()


def test_gray_pictures_make_a_gray_sheet_and_mixed_ones_a_coloured_one():
    assert sheet([draw((8, 8), 0, "L")] * 2, 2).mode == "L"
    assert sheet([draw((8, 8), 0, "L"), draw((8, 8), 1)], 2).mode == "RGB"


def test_a_sheet_shows_transparency_on_a_checkerboard():
    clear = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    page = np.asarray(sheet([clear, draw((32, 32), 1)], columns=2))
    squares = page[:, :32].reshape(4, 8, 4, 8, 3)
    assert squares[0, :, 0].min() == squares[1, :, 1].max() == 255
    assert len(np.unique(squares[0, :, 1])) == 1
    assert 200 < squares[0, :, 1].max() < 255
    np.testing.assert_array_equal(page[:, 34:], np.asarray(draw((32, 32), 1)))


def colours(picture):
    return np.unique(np.asarray(picture).reshape(-1, 3), axis=0)


def test_small_pictures_are_enlarged_by_whole_pixels_and_others_smoothly():
    small, large = draw((16, 16), 0), draw((64, 64), 0)
    assert (np.asarray(enlarged(small, 3))[::3, ::3] == np.asarray(small)).all()
    assert len(colours(enlarged(small, 3))) == len(colours(small))
    assert len(colours(enlarged(large, 3))) > len(colours(large))
    assert enlarged(large, 3).size == (192, 192)


def test_captions_stand_below_beside_and_above_and_leave_the_pictures_alone():
    pictures = [draw((64, 64), seed) for seed in range(4)]
    bare = sheet(pictures, 2)
    captions = Captions(below=["a", "b", "c", "d"], rows=["first", "second"], columns=["left", "right"])
    page = sheet(pictures, 2, captions, title="Four")
    assert page.width > bare.width
    assert page.height > bare.height + 4 * 10
    found = [
        (left, top)
        for left in range(page.width - 64)
        for top in range(page.height - 64)
        if page.getpixel((left, top)) == pictures[3].getpixel((0, 0))
        and page.crop((left, top, left + 64, top + 64)).tobytes() == pictures[3].tobytes()
    ]
    assert len(found) == 1
    left, top = found[0]
    assert np.asarray(page)[top + 64 :, left : left + 64].min() < 200  # its caption


def test_the_same_sheet_has_the_same_bytes():
    pictures = [draw((20, 20), seed) for seed in range(3)]
    pages = [sheet(pictures, 2, Captions(below=["x", "y", "z"]), 2, "Title").tobytes() for _ in range(2)]
    assert pages[0] == pages[1]


def test_captions_are_cut_to_the_width_of_their_picture():
    font = caption_font(64)
    cut = shortened("a very long name of a picture", font, 64)
    assert cut.endswith("…")
    assert font.getlength(cut) <= 64
    assert shortened("7", font, 64) == "7"


def test_control_characters_are_shown_and_lines_do_not_break():
    page = sheet([draw((200, 200), 0)], 1, Captions(below=["a\nb\x1b"]), title="x\ny")
    assert isinstance(page, Image.Image)
    assert shortened("a\nb", caption_font(64), 500) == "a\\x0ab"


def test_a_sheet_that_no_memory_holds_is_refused_before_it_is_drawn():
    with pytest.raises(UsageError, match=r"would have .* pixels, above 250 megapixels"):
        sheet([draw((200, 200), 0)] * 100, 10, scale=32)
    with pytest.raises(UsageError, match="fewer images or a smaller `scale`"):
        Look(scale=32).check(10_000, 100, (64, 64))


@pytest.mark.parametrize("values", [{"scale": 0}, {"scale": 33}, {"columns": 0}])
def test_a_look_checks_itself(values):
    with pytest.raises(UsageError, match=f"`{next(iter(values))}` takes"):
        Look(**values)
