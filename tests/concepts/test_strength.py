"""How far: relative, in standard deviations, to a place; and never out of what is typical."""

from dataclasses import replace

import pytest
import torch

from latentcli.concepts.strength import Amount, describe, move
from latentcli.errors import ConfigError, UsageError
from tests.concepts.conftest import ROUND


@pytest.fixture
def z():
    return torch.randn(50, 4, generator=torch.Generator().manual_seed(0))


def test_strengths_of_several_vectors_add_up(z, smile):
    moved = move(z, [(smile, Amount(1.0)), (smile, Amount(0.5))])
    torch.testing.assert_close(moved, z + 1.5 * smile.direction)


def test_sigma_counts_within_class_deviations(z, smile):
    moved = move(z, [(smile, Amount(None, sigma=2.0))])
    assert (smile.score(moved) - smile.score(z)).tolist() == pytest.approx([2 * smile.sigma] * 50, rel=1e-4)


@pytest.mark.parametrize("place", ["p90", "positive", "negative"])
def test_to_a_place_is_the_same_place_for_all_who_are_not_beyond_it(z, smile, place):
    moved = move(z, [(smile, Amount(None, to=place))])
    there, before = smile.projection_of(place), smile.score(z)
    wanted = before.clamp(max=there) if place == "negative" else before.clamp(min=there)
    torch.testing.assert_close(smile.score(moved), wanted, atol=1e-4, rtol=0)
    again = move(moved, [(smile, Amount(None, to=place))])
    torch.testing.assert_close(again, moved, atol=1e-4, rtol=0)


def test_typical_latents_stay_where_they_are_and_far_ones_come_back(z, smile):
    near = move(z, [(smile, Amount(0.1))], ROUND)
    typical = ROUND.drawn.square().sum(dim=1).quantile(0.995)
    inside = (z + 0.1 * smile.direction).square().sum(dim=1) < typical
    torch.testing.assert_close(near[inside], (z + 0.1 * smile.direction)[inside])
    far = move(z, [(smile, Amount(20.0))], ROUND)
    assert far.square().sum(dim=1).max() <= max(float(typical), float(z.square().sum(dim=1).max())) * 1.001
    assert (smile.score(far) > smile.score(z)).all()


def test_what_is_far_out_already_is_not_pushed_farther(smile):
    z = torch.full((1, 4), 9.0)
    torch.testing.assert_close(move(z, [(smile, Amount(1.0))], ROUND), z)


def test_the_way_is_told_in_each_unit(z, smile):
    (line,) = describe(z[:1], [(smile, Amount(1.0))])
    assert line.startswith("smile: strength +1.00 = +3.")
    assert "of the images" in line
    there, back = describe(z, [(smile, Amount(1.0)), (smile, Amount(-0.5))])
    assert "strength +1.00" in there
    assert "strength -0.50" in back
    (limited,) = describe(z, [(smile, Amount(50.0))], ROUND)
    assert "strength +50" not in limited


def test_deviations_that_are_not_known_are_refused(z, smile):
    with pytest.raises(ConfigError, match="too few images"):
        move(z, [(replace(smile, sigma=0.0), Amount(None, sigma=1.0))])


@pytest.mark.parametrize("options", [(1.0, 2.0, None), (None, None, "p101"), (None, None, "up"), (None, None, None)])
def test_amounts_that_cannot_be_are_refused(options):
    with pytest.raises(UsageError):
        Amount(*options)


def test_amounts_stand_in_names():
    assert [Amount(1.5).tag(), Amount(-1).tag(), Amount(None, 2).tag(), Amount(None, None, "p90").tag()] == [
        "+1.5", "-1", "+2sd", "-p90",
    ]  # fmt: skip
