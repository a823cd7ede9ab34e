"""Estimates of a class gap from few images, against the gap that the images were drawn with."""

import numpy as np
import pytest

from latentcli.concepts.fit import Examples, FitSettings, Weights, find
from latentcli.concepts.shrink import Noise, estimate, means
from latentcli.model.prior import Geometry

# A latent space whose concepts lie in its few leading directions, as those of faces do.
SPREAD = np.geomspace(2, 0.5, 64)
SPACE = Geometry(np.zeros(64), np.diag(SPREAD), lambda: np.zeros((1, 64)))


def drawn(seed, each, size=1.0):
    """A random class gap of mean length 3 times `size`, and latents of `each` images of both classes."""
    rng = np.random.default_rng(seed)
    gap = rng.standard_normal(64) * SPREAD**2
    gap *= 3 * size / np.linalg.norm(gap)
    shows = np.arange(2 * each) % 2 == 0
    return gap, Examples(rng.standard_normal((2 * each, 64)) * np.sqrt(SPREAD) + shows[:, None] * gap, shows)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.fixture(scope="module")
def draws():
    """Cosine with the truth, plain and shrunk; the cosine said; and length over the true one, plain and shrunk."""
    rows = []
    for seed in range(60):
        gap, examples = drawn(seed, 20)
        plain, found = (find(examples, FitSettings(shrunk=shrunk), SPACE) for shrunk in (False, True))
        assert found.estimate
        lengths = [np.linalg.norm(v) / np.linalg.norm(gap) for v in (plain.v, found.v)]
        rows.append((cosine(plain.v, gap), cosine(found.v, gap), found.estimate.cosine, *lengths))
    return np.median(rows, axis=0)


def test_a_shrunk_direction_is_nearer_to_the_truth(draws):
    assert draws[1] > draws[0] + 0.05


def test_the_expected_cosine_is_the_one_with_the_truth(draws):
    assert draws[2] == pytest.approx(draws[1], abs=0.05)


def test_strength_one_is_as_long_as_the_true_class_gap(draws):
    assert draws[3] > 1.2
    assert draws[4] == pytest.approx(1, abs=0.1)


def test_without_a_concept_a_direction_is_short_but_never_zero():
    lengths = []
    for seed in range(20):
        _, examples = drawn(seed, 20, size=1e-6)
        plain, found = (find(examples, FitSettings(shrunk=shrunk), SPACE).v for shrunk in (False, True))
        lengths.append((np.linalg.norm(found), np.linalg.norm(found) / np.linalg.norm(plain)))
    assert np.min(lengths) > 0.1
    assert np.median(lengths, axis=0)[1] < 0.75


def test_many_images_leave_the_gap_as_it_is():
    gap, examples = drawn(0, 20_000)
    found, plain = (find(examples, FitSettings(shrunk=shrunk), SPACE).v for shrunk in (True, False))
    assert cosine(found, plain) > 0.9995
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(gap), rel=0.02)


def test_one_image_of_each_class_is_as_noisy_as_any_latent():
    _, examples = drawn(0, 1)
    noise = Weights.of(examples).noise(examples, SPACE.covariance)
    assert noise.covariance == pytest.approx(2 * np.diag(SPREAD))
    assert np.isfinite(find(examples, FitSettings(), SPACE).v).all()


def test_many_gaps_at_once_are_shrunk_as_one():
    noise = Noise(0.1 * np.diag(SPREAD), 38)
    gaps = np.random.default_rng(0).standard_normal((3, 64))
    together = means(gaps, noise, SPACE)
    for gap, mean in zip(gaps, together, strict=True):
        assert estimate(gap, noise, SPACE).mean == pytest.approx(mean)


def test_gains_of_the_decoder_are_used_where_they_are_known():
    """A concept in the dimensions that change the image most, of a space whose covariance says nothing."""
    gains = np.geomspace(1, 1e-3, 64)
    blind, seeing = (Geometry(np.zeros(64), np.eye(64), SPACE.draw, gains=known) for known in (None, gains))
    differences = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        gap = rng.standard_normal(64) * np.sqrt(gains)
        gap *= 3 / np.linalg.norm(gap)
        shows = np.arange(40) % 2 == 0
        examples = Examples(rng.standard_normal((40, 64)) + shows[:, None] * gap, shows)
        a, b = (cosine(find(examples, FitSettings(), where).v, gap) for where in (blind, seeing))
        differences.append(b - a)
    assert np.median(differences) > 0.05
