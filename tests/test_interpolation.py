import math

import torch

from latentcli.latents import lerp, slerp, walk

A, B = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
T = torch.linspace(0, 1, 5)


def test_both_paths_meet_their_ends():
    for path in (lerp(A, B, T), slerp(A, B, T)):
        torch.testing.assert_close(path[0], A)
        torch.testing.assert_close(path[-1], B)


def test_slerp_of_equal_lengths_keeps_the_length():
    path = slerp(A, torch.tensor([math.cos(2), math.sin(2)]), T)
    torch.testing.assert_close(path.norm(dim=1), torch.ones(5))


def test_slerp_falls_back_to_the_line_where_there_is_no_circle():
    for b in (A, -A, 3 * A, torch.zeros(2)):
        torch.testing.assert_close(slerp(A, b, T), lerp(A, b, T))
    assert slerp(torch.zeros(2), torch.zeros(2), T).isfinite().all()


def test_a_walk_shares_its_inner_stops():
    stops = torch.stack([A, B, A + B])
    path = walk(stops, 4, "lerp")
    assert len(path) == 2 * 3 + 1
    torch.testing.assert_close(path[[0, 3, 6]], stops)


def test_a_loop_comes_back_without_repeating_its_start():
    stops = torch.stack([A, B, A + B])
    path = walk(stops, 4, "lerp", loop=True)
    assert len(path) == 3 * 3
    torch.testing.assert_close(path[[0, 3, 6]], stops)
    torch.testing.assert_close(path[-1], torch.lerp(A + B, A, torch.tensor(2 / 3)))
