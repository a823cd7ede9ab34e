import math

import numpy as np

from latentcli.latents import lerp, slerp, walk
from tests.conftest import close

A, B = np.array([1.0, 0.0], dtype=np.float32), np.array([0.0, 2.0], dtype=np.float32)
T = np.linspace(0, 1, 5, dtype=np.float32)


def test_both_paths_meet_their_ends():
    for path in (lerp(A, B, T), slerp(A, B, T)):
        close(path[0], A)
        close(path[-1], B)


def test_slerp_of_equal_lengths_keeps_the_length():
    path = slerp(A, np.array([math.cos(2), math.sin(2)], dtype=np.float32), T)
    close(np.linalg.norm(path, axis=1), np.ones(5))


def test_slerp_falls_back_to_the_line_where_there_is_no_circle():
    for b in (A, -A, 3 * A, np.zeros(2, dtype=np.float32)):
        close(slerp(A, b, T), lerp(A, b, T))
    assert np.isfinite(slerp(0 * A, 0 * A, T)).all()


def test_a_walk_shares_its_inner_stops():
    stops = np.stack([A, B, A + B])
    path = walk(stops, 4, "lerp")
    assert len(path) == 2 * 3 + 1
    close(path[[0, 3, 6]], stops)


def test_a_loop_comes_back_without_repeating_its_start():
    stops = np.stack([A, B, A + B])
    path = walk(stops, 4, "lerp", loop=True)
    assert len(path) == 3 * 3
    close(path[[0, 3, 6]], stops)
    close(path[-1], A + B / 3)
