"""Animations: one table of suffixes."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentcli.animation import ENCODERS, check_animation, encode_animation, is_animation
from latentcli.errors import UsageError
from tests.conftest import draw, draw_cut_out


@pytest.mark.parametrize("suffix", [*ENCODERS, ".png", ".GIF"])
def test_every_suffix_is_written_as_an_animation(suffix):
    content = encode_animation([draw((20, 20), seed) for seed in range(3)], suffix, fps=10)
    with Image.open(io.BytesIO(content)) as animation:
        assert animation.n_frames == 3
        assert animation.info["loop"] == 0


def test_png_is_a_still_picture_by_name_and_an_old_spelling_of_an_animation():
    assert [is_animation(Path(f"x{suffix}")) for suffix in (*ENCODERS, ".png")] == [True, True, True, False]
    check_animation(Path("x.png"))
    with pytest.raises(UsageError, match=r"\.gif, \.webp, \.apng, got x\.mp4"):
        check_animation(Path("x.mp4"))


@pytest.mark.parametrize("suffix", ENCODERS)
def test_what_is_transparent_lies_on_a_checkerboard(suffix):
    content = encode_animation([draw_cut_out((24, 24), seed) for seed in range(3)], suffix, fps=10)
    with Image.open(io.BytesIO(content)) as animation:
        animation.seek(2)
        shown = np.asarray(animation.convert("RGBA"))
    assert (shown[:, :, 3] == 255).all()
    assert shown[0, [0, 12], :3].min() > 200
