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


def test_the_frechet_distance_is_that_of_the_matrix_root():
    x = torch.randn(300, 6, generator=rng()) @ torch.randn(6, 6, generator=rng(1))
    y = torch.randn(200, 6, generator=rng(2)) + 1
    a, b = (np.cov(part.double().numpy(), rowvar=False) for part in (x, y))
    means = ((x.double().mean(0) - y.double().mean(0)) ** 2).sum().item()
    expected = means + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    assert sample_metrics.frechet(x, y) == pytest.approx(expected, rel=1e-6)
    assert sample_metrics.frechet(x, x) == pytest.approx(0, abs=1e-6)


def test_the_kernel_distance_is_the_mean_over_pairs():
    x, y = torch.randn(7, 4, generator=rng()), torch.randn(5, 4, generator=rng(1)) + 0.5

    def k(a, b):
        return float((a @ b / 4 + 1) ** 3)

    same_x = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    same_y = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    assert sample_metrics.kernel_distance(x, y) == pytest.approx(same_x + same_y - 2 * across, rel=1e-4)


def test_precision_falls_with_strays_and_recall_with_gaps():
    real = torch.randn(300, 2, generator=rng())
    strays = torch.cat([torch.randn(150, 2, generator=rng(1)), torch.full((150, 2), 50.0)])
    half = torch.randn(300, 2, generator=rng(2)).abs()
    assert sample_metrics.precision_recall(real, torch.randn(300, 2, generator=rng(3)))[0] > 0.9
    assert sample_metrics.precision_recall(real, strays)[0] == pytest.approx(0.5, abs=0.05)
    precision, recall = sample_metrics.precision_recall(real, half)
    assert precision > 0.85
    assert recall < 0.6


def test_the_nearest_candidate_is_found_across_batches():
    candidates = torch.rand(30, 1, 4, 4, generator=rng())
    wanted = torch.tensor([29, 3, 14])
    off, rows = sample_metrics.nearest(candidates[wanted] + 0.01, [candidates[:11], candidates[11:]])
    assert rows.tolist() == wanted.tolist()
    assert off.tolist() == pytest.approx([0.01] * 3, rel=1e-3)


def test_spread_is_the_mean_root_mean_square_over_pairs():
    images = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4), torch.ones(1, 4, 4)])
    assert sample_metrics.spread(images) == pytest.approx(2 / 3)
    assert sample_metrics.spread(images[:1]) == 0


def test_random_filters_rank_worse_pictures_lower():
    """Blurred, noisy and monotonous pictures are farther away than good ones."""
    space = open_features(None)
    sharp = torch.rand(120, 1, 4, 4, generator=rng()).repeat_interleave(7, 2).repeat_interleave(7, 3)
    real, same = space(sharp[:60]), space(sharp[60:])
    blurred = space(torch.nn.functional.avg_pool2d(sharp[60:], 5, 1, 2))
    noisy = space((sharp[60:] + 0.3 * torch.randn(60, 1, 28, 28, generator=rng(1))).clamp(0, 1))
    alike = space(sharp[60:61].expand(60, -1, -1, -1) + 0.01 * torch.rand(60, 1, 28, 28, generator=rng(2)))
    floor = sample_metrics.frechet(same, real)
    assert all(sample_metrics.frechet(worse, real) > 1.5 * floor for worse in (blurred, noisy, alike))


def test_random_filters_never_change():
    image = torch.linspace(0, 1, 3 * 16 * 16).view(1, 3, 16, 16)
    found = open_features(None)(image)
    assert found.shape == (1, 128)  # two scales of 16 means and 16 deviations, and 2x2 places of 16
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
