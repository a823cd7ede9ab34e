import math

import numpy as np
import pytest

from latentcli.model.interpolation import Pace, Walk, analogy, chain, gaussian, lerp, mesh, slerp
from tests.conftest import close

A, B = np.array([1.0, 0.0], dtype=np.float32), np.array([0.0, 2.0], dtype=np.float32)
T = np.linspace(0, 1, 5, dtype=np.float32)


def test_both_paths_meet_their_ends():
    far = np.array([12.0, -9.0], dtype=np.float32)  # where the normal CDF is 1 and 0
    for method in (lerp, slerp, gaussian):
        for b in (B, far):
            path = method(A, b, T)
            close(path[0], A)
            close(path[-1], b)


def test_slerp_of_equal_lengths_keeps_the_length():
    path = slerp(A, np.array([math.cos(2), math.sin(2)], dtype=np.float32), T)
    close(np.linalg.norm(path, axis=1), np.ones(5))


def test_slerp_falls_back_to_the_line_where_there_is_no_circle():
    for b in (A, -A, 3 * A, np.zeros(2, dtype=np.float32)):
        close(slerp(A, b, T), lerp(A, b, T))
    assert np.isfinite(slerp(0 * A, 0 * A, T)).all()


def test_gaussian_walks_through_the_quantile_between():
    close(gaussian(np.zeros(1), np.full(1, 1.2815516), np.array([0.5]))[0], np.array([0.5244005]))  # of 0.5 and 0.9


STOPS = np.stack([A, B, A + B])


def images(z):
    """As if a decoder gave the latents themselves."""
    return z


@pytest.mark.parametrize("method", ["lerp", "slerp", "gaussian", "spline"])
@pytest.mark.parametrize("loop", [False, True])
def test_a_walk_meets_its_keyframes_once(method, loop):
    walk = Walk(STOPS, method, loop)
    positions = Pace(4).positions(walk, images)
    path = walk.at(positions)
    assert len(path) == (9 if loop else 7)
    close(path[[0, 3, 6]], STOPS)
    assert path.dtype == np.float32


def test_a_loop_stops_short_of_its_start():
    walk = Walk(STOPS, loop=True)
    close(walk.at(Pace(4).positions(walk, images))[-1], A + B / 3)


def test_a_closed_spline_has_no_corner_where_it_closes():
    walk = Walk(STOPS, "spline", loop=True)
    before, at, after = walk.at(np.array([3 - 1e-3, 0.0, 1e-3]))
    close(at - before, after - at, atol=1e-4)


def test_an_even_walk_changes_as_much_from_image_to_image():
    stops = np.array([[0.0], [1.0], [4.0]], dtype=np.float32)

    def bent(z):
        return np.sign(z) * np.square(z)

    walk = Walk(stops)
    steps = np.diff(bent(walk.at(Pace(9, even=True).positions(walk, bent)))[:, 0])
    assert steps.max() / steps.min() < 1.15
    uneven = np.diff(bent(walk.at(Pace(9).positions(walk, bent)))[:, 0])
    assert uneven.max() / uneven.min() > 5


def test_an_even_loop_closes_without_a_jump():
    walk = Walk(np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32), "spline", loop=True)
    path = walk.at(Pace(2, total=120, even=True).positions(walk, images))
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert np.linalg.norm(path[0] - path[-1]) < 1.1 * steps.mean()
    assert steps.max() < 1.1 * steps.mean()


def test_keyframes_are_held_and_approached_slowly():
    walk = Walk(STOPS[:2])
    positions = Pace(6, ease=True, hold=2).positions(walk, images)
    assert positions.tolist()[:3] == [0, 0, 0]
    assert positions.tolist()[-3:] == [1, 1, 1]
    steps = np.diff(positions[2:-2])
    assert steps[0] < steps[2] / 2
    assert steps[-1] < steps[2] / 2


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("even", [False, True])
def test_an_animation_is_as_long_as_it_is_asked_to_be(loop, even):
    walk = Walk(STOPS, loop=loop)
    assert len(Pace(2, total=50, even=even, hold=3).positions(walk, images)) == 50


def test_keyframes_that_are_the_same_are_no_division_by_zero():
    walk = Walk(np.stack([A, A]))
    assert np.isfinite(Pace(5, even=True).positions(walk, images)).all()


def test_a_mesh_goes_along_rows_and_then_columns():
    anchors = np.stack([np.stack([A, B]), np.stack([-A, A + B])])
    grid = mesh(anchors, 3, "lerp")
    assert grid.shape == (3, 3, 2)
    close(grid[::2, ::2], anchors)
    close(grid[1, 1], anchors.mean(axis=(0, 1)))
    assert mesh(anchors[:1], 3, "spline").shape == (1, 3, 2)


def test_an_analogy_goes_from_c_as_b_goes_from_a():
    close(analogy(A, B, A + B)[1, 1], A + B + (B - A))


def test_a_chain_goes_on_from_a_row_and_a_column():
    anchors = chain([A, B, 2 * A], 2, 2)
    close(anchors[0], np.stack([A, B]))
    close(anchors[1, 0], 2 * A)
    found = B + 2 * A - A
    close(anchors[1, 1], found / np.linalg.norm(found) * 5 / 3)  # lengths 1, 2 and 2
