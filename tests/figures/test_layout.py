"""Layouts: latents as points, points as cells."""

import importlib.util

import numpy as np
import pytest

from latentcli.errors import ConfigError
from latentcli.figures import layout


def clusters(count, dimensions=8):
    """Latents in two clusters, and which is which."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, count)
    return (rng.normal(size=(count, dimensions)) + 12 * kind[:, None]).astype(np.float32), kind


def apart(points, kind):
    """Distance of the clusters' means over their spread."""
    first, second = points[kind == 0], points[kind == 1]
    spread = np.sqrt((first.var(axis=0) + second.var(axis=0)).sum())
    return np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)) / spread


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_clusters_stay_apart(method):
    z, kind = clusters(60)
    points = layout.lay_out(z, method)
    assert points.shape == (60, 2)
    assert (points.min(axis=0) >= 0).all()
    assert (points.max(axis=0) <= 1).all()
    assert apart(points, kind) > 1.5
    assert (points == layout.lay_out(z, method)).all()


def test_latents_beyond_those_that_tsne_lays_out_go_to_their_neighbours(monkeypatch):
    monkeypatch.setattr(layout, "LAID_OUT", 60)
    z, kind = clusters(150)
    assert apart(layout.lay_out(z, "tsne"), kind) > 1.5


@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_few_latents_are_laid_out_too(method, count):
    points = layout.lay_out(clusters(count)[0], method)
    assert points.shape == (count, 2)
    assert np.isfinite(points).all()


def test_latents_of_one_dimension_lie_on_a_line():
    points = layout.lay_out(np.arange(6, dtype=np.float32)[:, None], "pca")
    assert (points[:, 1] == 0).all()


def test_a_method_that_is_not_installed_is_refused_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    layout.check_method("tsne")
    with pytest.raises(ConfigError, match=r"pip install '\.\[umap\]'"):
        layout.check_method("umap")


@pytest.mark.parametrize("count", [1, 7, 12, 1500])
def test_every_point_gets_a_cell_of_its_own_near_to_it(count):
    points = np.random.default_rng(0).random((count, 2))
    columns = max(1, round(count**0.5))
    taken = layout.snap(points, columns)
    assert sorted(taken.tolist()) == list(range(count))
    rows = -(-count // columns)
    cells = np.stack([(taken % columns + 0.5) / columns, (taken // columns + 0.5) / rows], axis=1)
    assert np.linalg.norm(cells - points, axis=1).mean() < (0.1 if count > 100 else 0.45)


def test_points_that_lie_on_cells_stay_there():
    cells = np.stack([np.arange(9) % 3, np.arange(9) // 3], axis=1) / 2
    order = np.random.default_rng(0).permutation(9)
    assert layout.snap(cells[order], 3).tolist() == order.tolist()
