"""Edits: strengths in three measures, the return of latents that are not typical, names."""

from dataclasses import replace

import numpy as np
import pytest

from latentcli.concepts.edit import Strength, describe, move
from latentcli.errors import ConfigError, UsageError
from tests.concepts.conftest import ROUND
from tests.conftest import close


def by(strength=None, **measure):
    return Strength("smile", strength=strength, **measure)


@pytest.fixture
def z():
    return np.random.default_rng(0).standard_normal((50, 4), np.float32)


def test_strengths_of_several_vectors_add_up(z, smile):
    moved = move(z, [smile, smile], [by(1.0), by(0.5)])
    close(moved, z + 1.5 * smile.direction)


def test_sigma_counts_within_class_deviations(z, smile):
    moved = move(z, [smile], [by(sigma=2.0)])
    assert (smile.score(moved) - smile.score(z)).tolist() == pytest.approx([2 * smile.sigma] * 50, rel=1e-4)


@pytest.mark.parametrize("place", ["p90", "positive", "negative"])
def test_to_a_place_is_the_same_place_for_all_who_are_not_beyond_it(z, smile, place):
    moved = move(z, [smile], [by(to=place)])
    there, before = smile.projection_of(place), smile.score(z)
    wanted = np.minimum(before, there) if place == "negative" else np.maximum(before, there)
    close(smile.score(moved), wanted, atol=1e-4, rtol=0)
    again = move(moved, [smile], [by(to=place)])
    close(again, moved, atol=1e-4, rtol=0)


def test_typical_latents_stay_where_they_are_and_far_ones_come_back(z, smile):
    near = move(z, [smile], [by(0.1)], ROUND)
    typical = np.quantile(np.square(ROUND.drawn).sum(axis=1), 0.995)
    inside = np.square(z + 0.1 * smile.direction).sum(axis=1) < typical
    close(near[inside], (z + 0.1 * smile.direction)[inside])
    far = move(z, [smile], [by(20.0)], ROUND)
    assert np.square(far).sum(axis=1).max() <= max(typical, np.square(z).sum(axis=1).max()) * 1.001
    assert (smile.score(far) > smile.score(z)).all()


def test_what_is_far_out_already_is_not_pushed_farther(smile):
    z = np.full((1, 4), 9.0, dtype=np.float32)
    close(move(z, [smile], [by(1.0)], ROUND), z)


def test_the_distance_is_described_in_each_unit(z, smile):
    (line,) = describe(z[:1], [smile], [by(1.0)])
    assert line.startswith("smile: strength +1.00 = +3.")
    assert "of the images" in line
    there, back = describe(z, [smile, smile], [by(1.0), by(-0.5)])
    assert "strength +1.00" in there
    assert "strength -0.50" in back
    (limited,) = describe(z, [smile], [by(50.0)], ROUND)
    assert "strength +50" not in limited


def test_deviations_that_are_not_known_are_refused(z, smile):
    with pytest.raises(ConfigError, match="too few images"):
        move(z, [replace(smile, sigma=0.0)], [by(sigma=1.0)])


@pytest.mark.parametrize("options", [(1.0, 2.0, None), (None, None, "p101"), (None, None, "up"), (None, None, None)])
def test_amounts_that_cannot_be_are_refused(options):
    with pytest.raises(UsageError):
        Strength("smile", "", *options)


def test_amounts_stand_in_names():
    assert [by(1.5).tag(), by(-1).tag(), by(sigma=2).tag(), by(to="p90").tag()] == [
        "+1.5", "-1", "+2sd", "-p90",
    ]  # fmt: skip
