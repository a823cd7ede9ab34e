"""Scatters: thumbnails at points or in cells, framed in the colours of their groups."""

import numpy as np
import pytest

from latentcli.errors import UsageError
from latentcli.figures import scatter
from latentcli.figures.scatter import COLOURS, OTHER, Groups
from latentcli.figures.sheet import Look
from tests.conftest import draw


def test_the_most_frequent_group_has_the_first_colour():
    groups = Groups.of(["b", "a", "b", ""])
    assert groups.colours == [COLOURS[0], COLOURS[1], COLOURS[0], OTHER]
    assert groups.legend == [("b", COLOURS[0]), ("a", COLOURS[1])]


def test_one_group_is_no_group():
    assert Groups.of(["a", "a"]).colours == []


def test_many_numbers_are_shaded_from_low_to_high():
    groups = Groups.of([str(number) for number in range(40)])
    assert [name for name, _ in groups.legend] == ["0", "39"]
    assert groups.colours[0] == groups.legend[0][1]
    assert groups.colours[39] == groups.legend[1][1]
    assert len(set(groups.colours)) > 30


def test_groups_beyond_the_colours_share_one():
    groups = Groups.of([f"name {number}" for number in range(20)])
    assert groups.legend[-1] == (f"{20 - len(COLOURS)} others", OTHER)


def test_thumbnails_lie_where_their_points_are():
    thumbnails = [draw((20, 20), 1), draw((20, 20), 2)]
    points = np.array([[0.0, 0.0], [1.0, 1.0]])
    page = scatter.draw(thumbnails, points, Groups([]), None, Look())
    low, high = page.size[0] // 2, page.size[1] // 2
    first, second = (thumbnail.getpixel((10, 10)) for thumbnail in thumbnails)
    colours = [
        set(map(tuple, np.asarray(page.crop(box)).reshape(-1, 3).tolist()))
        for box in ((0, high, low, page.size[1]), (low, 0, page.size[0], high))
    ]
    assert first in colours[0]  # below, at the left
    assert second in colours[1]
    assert first not in colours[1]


def test_a_grid_has_no_holes_and_its_legend_below():
    thumbnails = [draw((20, 20), seed) for seed in range(6)]
    groups = Groups.of(["a", "b"] * 3)
    bare = scatter.draw(thumbnails, np.arange(6), groups, 3, Look())
    page = scatter.draw(thumbnails, np.arange(6), groups, 3, Look(labels=True, title="Six"))
    assert page.height > bare.height
    assert bare.width == page.width
    framed = np.asarray(bare)
    assert (framed[16, 16] == [0, 114, 178]).all()  # the first colour


def test_a_map_that_no_memory_holds_is_refused():
    with pytest.raises(UsageError, match="megapixels"):
        scatter.draw([draw((20, 20), 0)] * 2, np.zeros((2, 2)), Groups([]), None, Look(scale=20))
