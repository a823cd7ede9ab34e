"""Animations: one table of suffixes."""

import importlib.util
import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from latentcli.errors import ConfigError, UsageError
from latentcli.imaging.animation import SUFFIXES, check_animation, encode_animation, is_animation
from tests.conftest import draw, draw_cut_out

PILLOW = (".gif", ".webp", ".apng")


@pytest.mark.parametrize("suffix", [*PILLOW, ".png", ".GIF"])
def test_every_suffix_is_written_as_an_animation(suffix):
    content = encode_animation([draw((20, 20), seed) for seed in range(3)], suffix, fps=10)
    with Image.open(io.BytesIO(content)) as animation:
        assert len(list(ImageSequence.Iterator(animation))) == 3
        assert animation.info["loop"] == 0


def test_png_is_a_still_picture_by_name_and_an_old_spelling_of_an_animation():
    assert [is_animation(Path(f"x{suffix}")) for suffix in (*SUFFIXES, ".png")] == [True] * 5 + [False]
    check_animation(Path("x.png"))
    with pytest.raises(UsageError, match=r"\.gif, \.webp, \.apng, \.mp4, \.webm, got x\.avi"):
        check_animation(Path("x.avi"))


@pytest.mark.parametrize("suffix", PILLOW)
def test_what_is_transparent_lies_on_a_checkerboard(suffix):
    content = encode_animation([draw_cut_out((24, 24), seed) for seed in range(3)], suffix, fps=10)
    with Image.open(io.BytesIO(content)) as animation:
        animation.seek(2)
        shown = np.asarray(animation.convert("RGBA"))
    assert (shown[:, :, 3] == 255).all()
    assert shown[0, [0, 12], :3].min() > 200


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_video_has_every_picture_at_an_even_size(suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(encode_animation([draw((21, 17), seed) for seed in range(5)], suffix, fps=10))
    with av.open(path) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert float(video.duration) / 1e6 == pytest.approx(0.5, abs=0.05)
    assert len(frames) == 5
    assert frames[0].shape == (18, 22, 3)
    wanted = np.asarray(draw((21, 17), 2), dtype=float)
    assert abs(frames[2][:17, :21].astype(float) - wanted)[5:12, 5:12].mean() < 12


def test_a_video_without_its_encoder_is_refused_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_animation(Path("x.webp"))
    with pytest.raises(ConfigError, match=r"pip install '\.\[video\]'"):
        check_animation(Path("x.mp4"))
