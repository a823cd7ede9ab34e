import pytest
import torch

from latentcli.training import augment, schedule
from latentcli.training.schedule import Stage


def images(channels=3):
    """Random images (n, height, width, channels), uint8."""
    return torch.randint(0, 256, (5, 8, 6, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_shift_moves_an_image_down_and_right():
    moved = augment.shifted(images(), torch.tensor([[2, 1]] * 5))
    assert torch.equal(moved[:, 2:, 1:], images()[:, :-2, :-1])


def test_the_edge_is_repeated_where_an_image_was_moved_from():
    moved = augment.shifted(images(), torch.tensor([[0, -2]] * 5))
    assert torch.equal(moved[:, :, -1], images()[:, :, -1])
    assert torch.equal(moved[:, :, -3], images()[:, :, -1])


def test_each_image_is_moved_by_its_own_shift():
    moved = augment.shifted(images(), torch.tensor([[0, 0], [1, 0], [0, 0], [0, 1], [0, 0]]))
    assert torch.equal(moved[::2], images()[::2])
    assert torch.equal(moved[1, 1:], images()[1, :-1])


def test_shifts_reach_as_far_as_they_may_and_no_farther():
    drawn = schedule.shifts(0, 3, 2000, (2, 5))
    assert drawn.amin(0).tolist() == [-2, -5]
    assert drawn.amax(0).tolist() == [2, 5]
    assert torch.equal(drawn, schedule.shifts(0, 3, 2000, (2, 5)))
    assert not torch.equal(drawn, schedule.shifts(0, 4, 2000, (2, 5)))


def test_fewer_images_are_moved_as_a_stage_goes_on():
    stage = Stage(100, 200)
    assert [schedule.shifted_share(step, stage) for step in (100, 150, 199)] == pytest.approx([1, 0.5, 0.01])
    some = schedule.shifts(0, 3, 2000, (50, 50), share=0.25)
    assert 400 < int((some != 0).any(dim=1).sum()) < 600


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_keeps_black_white_and_the_range(channels):
    x = torch.linspace(0, 1, 11).expand(4, channels, 3, 11)
    changed = augment.jittered(x, torch.tensor([[0.5, 0.5], [-0.5, 0.5], [0.5, -0.5], [-0.5, -0.5]]))
    assert torch.equal(changed[..., 0], x[..., 0])
    assert torch.equal(changed[..., -1], x[..., -1])
    assert (changed.diff(dim=3) >= 0).all()  # brighter stays brighter


def test_no_jitter_changes_nothing():
    x = torch.rand(4, 3, 3, 5)
    assert torch.equal(augment.jittered(x, torch.zeros(4, 2)), x)


@pytest.mark.parametrize("channels", [2, 4])
def test_jitter_keeps_alpha_and_colours_below_it(channels):
    x = torch.rand(6, channels, 5, 4)
    x[:, :-1] *= x[:, -1:]  # premultiplied
    x[0, :, 0] = 0
    changed = augment.jittered(x, schedule.jitters(0, 0, 6, 0.5))
    assert torch.equal(changed[:, -1], x[:, -1])
    assert (changed[:, :-1] <= x[:, -1:] + 1e-6).all()
    assert (changed[0, :, 0] == 0).all()


def test_jitter_of_an_opaque_image_is_that_of_its_colours():
    x = torch.cat([torch.rand(3, 3, 5, 4), torch.ones(3, 1, 5, 4)], dim=1)
    jitters = schedule.jitters(0, 0, 3, 0.5)
    torch.testing.assert_close(augment.jittered(x, jitters)[:, :3], augment.jittered(x[:, :3], jitters))
