"""Each metric of samples against a case worked by hand, or another implementation; the feature spaces."""

import numpy as np
import pytest
import torch
from scipy import linalg

from latentcli.errors import ConfigError, FileFormatError
from latentcli.evaluation import sample_metrics
from latentcli.evaluation.sample_metrics import open_features


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_distance_of_gaussians_is_that_of_the_matrix_root():
    x = torch.randn(300, 6, generator=rng()) @ torch.randn(6, 6, generator=rng(1))
    y = torch.randn(200, 6, generator=rng(2)) + 1
    a, b = (np.cov(part.double().numpy(), rowvar=False) for part in (x, y))
    means = ((x.double().mean(0) - y.double().mean(0)) ** 2).sum().item()
    expected = means + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    assert sample_metrics.gaussian_distance(x.double(), y.double()) == pytest.approx(expected, rel=1e-6)


def test_the_frechet_distance_does_not_depend_on_the_number_of_pictures():
    shift = 0.3  # in each of 10 features, so the distance is 10 * 0.3^2 = 0.9
    for count in (40, 400):
        drawn = [torch.randn(2, count, 10, generator=rng(seed)).double() for seed in range(20)]
        assert np.mean([sample_metrics.frechet(x, y + shift) for x, y in drawn]) == pytest.approx(0.9, abs=0.1)
    assert np.mean([sample_metrics.gaussian_distance(x, y + shift) for x, y in drawn]) > 0.9


def test_too_few_pictures_have_no_frechet_distance():
    assert sample_metrics.frechet(torch.randn(39, 20, generator=rng()), torch.randn(99, 20, generator=rng(1))) is None


def test_the_kernel_distance_is_the_mean_over_pairs():
    x, y = torch.randn(7, 4, generator=rng()), torch.randn(5, 4, generator=rng(1)) + 0.5
    width = float(y.var(dim=0).sum())

    def k(a, b):
        return float(torch.exp(-(a - b).square().sum() / (2 * width)))

    same_x = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    same_y = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    assert sample_metrics.kernel_distance(x, y)[0] == pytest.approx(same_x + same_y - 2 * across, rel=1e-4)


@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_the_interval_of_the_kernel_distance_holds_the_true_one(shift):
    def found(count, seed):
        x, y = torch.randn(count, 10, generator=rng(2 * seed)), torch.randn(count, 10, generator=rng(2 * seed + 1))
        return sample_metrics.kernel_distance(x + shift, y)

    true = np.mean([found(1000, 100 + seed)[0] for seed in range(4)])
    assert sum(abs(value - true) <= margin for value, margin in (found(80, seed) for seed in range(40))) >= 36


def test_precision_falls_with_strays_and_recall_with_gaps():
    real = torch.randn(300, 2, generator=rng())
    strays = torch.cat([torch.randn(150, 2, generator=rng(1)), torch.full((150, 2), 50.0)])
    half = torch.randn(300, 2, generator=rng(2)).abs()
    assert sample_metrics.precision_recall(real, torch.randn(300, 2, generator=rng(3)))[0] > 0.9
    assert sample_metrics.precision_recall(real, strays)[0] == pytest.approx(0.5, abs=0.05)
    precision, recall = sample_metrics.precision_recall(real, half)
    assert precision > 0.85
    assert recall < 0.6


def test_spread_is_the_mean_root_mean_square_over_pairs():
    images = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4), torch.ones(1, 4, 4)])
    assert sample_metrics.spread(images) == pytest.approx(2 / 3)
    assert sample_metrics.spread(images[:1]) == 0


def faces(count, seed, side=48):
    """Drawn faces (count, 3, side, side): a head with eyes, a mouth and shading from one side, before a background."""
    place, random = torch.linspace(-1, 1, side), torch.rand(count, 12, generator=rng(seed))[:, :, None, None]
    down, right = place[:, None], place[None, :]

    def oval(x, y, width, height):
        return torch.sigmoid(20 * (1 - ((right - x) / width) ** 2 - ((down - y) / height) ** 2)).clamp(0, 1)

    x, y = 0.1 * random[:, 0] - 0.05, 0.1 * random[:, 1] - 0.05
    head = oval(x, y, 0.55 + 0.1 * random[:, 2], 0.75 + 0.1 * random[:, 3])
    parts = sum(oval(x + at, y - 0.2, 0.12, 0.08 + 0.03 * random[:, 4]) for at in (-0.25, 0.25))
    parts = parts + oval(x, y + 0.4, 0.2 + 0.1 * random[:, 5], 0.06 + 0.04 * random[:, 6])
    light = 0.6 + 0.3 * random[:, 7] + (0.4 * random[:, 8] - 0.2) * right
    gray = head * (light - 0.4 * parts) + (1 - head) * (0.2 + 0.5 * random[:, 9] + 0.1 * down)
    grain = 0.02 * torch.randn(count, 1, side, side, generator=rng(seed + 1))
    tint = torch.stack([torch.ones_like(random[:, 0]), 0.8 + 0.2 * random[:, 10], 0.6 + 0.4 * random[:, 11]], dim=1)
    return (gray[:, None] * tint + grain).clamp(0, 1)


def shuffled(images):
    """The four blocks of each quadrant, turned round by half a turn without turning the blocks."""
    half, quarter = images.shape[-1] // 2, images.shape[-1] // 4
    quadrants = images.unflatten(3, (2, half)).unflatten(2, (2, half))
    return quadrants.roll((quarter, quarter), (3, 5)).flatten(4, 5).flatten(2, 3)


def mesh(images, period):
    """Images with a mesh of two gray levels, root mean square."""
    wave = torch.cos(2 * torch.pi * torch.arange(images.shape[-1]) / period)
    return (images + 2 / 255 * (wave[:, None] + wave)).clamp(0, 1)


@pytest.fixture(scope="module")
def distance():
    """Function from changed images to their kernel distance from others, and its margin, in the whitened space."""
    space = open_features(None).whitened([faces(400, 0)])
    real = space(faces(200, 2))
    return lambda change: sample_metrics.kernel_distance(space(change(faces(200, 4))), real)


def contrast(images):
    return ((images - 0.5) * 1.05 + 0.5).clamp(0, 1)


def test_images_are_at_no_distance_from_other_images(distance):
    value, margin = distance(lambda images: images)
    assert abs(value) < margin


@pytest.mark.parametrize(
    "destroy",
    [
        shuffled,
        lambda images: torch.cat([images[..., :24], images.roll(1, 0)[..., 24:]], dim=3),
        lambda images: images.flip(2),
        lambda images: torch.nn.functional.avg_pool2d(images, 5, 1, 2),
        lambda images: (images + 0.1 * torch.randn(images.shape, generator=rng(9))).clamp(0, 1),
    ],
    ids=["shuffled blocks", "halves of two faces", "upside down", "blurred", "noisy"],
)
def test_destroyed_structure_is_five_times_as_far_as_contrast(distance, destroy):
    assert distance(destroy)[0] > 5 * max(distance(contrast))


@pytest.mark.parametrize("period", [4, 8])
def test_a_mesh_of_two_levels_is_beyond_three_intervals(distance, period):
    floor = distance(lambda images: images)[0]
    value, margin = distance(lambda images: mesh(images, period))
    assert value - floor > 3 * margin


def test_whitened_features_of_the_training_images_are_uncorrelated():
    images = faces(600, 6, side=64)
    features = open_features(None).whitened(images.split(100))(images)
    variances = torch.linalg.eigvalsh(torch.cov(features.T))
    assert 0.95 < float(variances.max()) < 1.1
    assert float(variances.quantile(0.75)) > 0.8  # the others hardly vary: drawn faces are simple
    assert float(features.mean(dim=0).abs().max()) < 0.05


def test_images_without_any_difference_can_be_whitened():
    same = torch.full((12, 1, 16, 16), 0.5)
    assert bool(open_features(None).whitened([same])(torch.rand(5, 1, 16, 16, generator=rng())).isfinite().all())


def test_random_filters_never_change():
    image = torch.linspace(0, 1, 3 * 16 * 16).view(1, 3, 16, 16)
    found = open_features(None)(image)
    assert found.shape == (1, 134)  # two scales of 16 means and 16 deviations, 2x2 places of 16, and 6 of patterns
    assert found[0, :3].tolist() == pytest.approx([0.77717, 0.18989, 0.0], rel=1e-4)


@pytest.mark.parametrize("colours", [1, 3])
def test_transparent_images_are_compared_on_white(colours):
    alpha = torch.rand(4, 1, 16, 16, generator=rng())
    straight = torch.rand(4, colours, 16, 16, generator=rng(1))
    space = open_features(None)
    expected = space(straight * alpha + 1 - alpha)
    torch.testing.assert_close(space(torch.cat([straight * alpha, alpha], dim=1)), expected)


class Means(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_of_ones_own_is_read(tmp_path):
    torch.jit.script(Means()).save(tmp_path / "means.pt")
    space = open_features(tmp_path / "means.pt")
    assert space.name == "means.pt"
    assert space.whitened([torch.rand(4, 1, 8, 8)]) is space
    torch.testing.assert_close(space(torch.full((2, 1, 8, 8), 0.25)), torch.full((2, 3), 0.25))


class Flat(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_that_does_not_fit_is_named(tmp_path):
    torch.jit.script(Flat()).save(tmp_path / "flat.pt")
    with pytest.raises(FileFormatError, match="one row of features per image"):
        open_features(tmp_path / "flat.pt")(torch.zeros(2, 1, 8, 8))
    (tmp_path / "bad.pt").write_bytes(b"no")
    with pytest.raises(FileFormatError, match="not a TorchScript file"):
        open_features(tmp_path / "bad.pt")
    for name in ("gone.pt", "net.bin"):
        with pytest.raises(ConfigError):
            open_features(tmp_path / name)
