"""Each figure against a case worked by hand, or another way of computing it."""

import math

import numpy as np
import pytest
import torch
from scipy import linalg
from sklearn.decomposition import PCA

from latentcli.config import ModelConfig
from latentcli.errors import ConfigError, FileFormatError
from latentcli.evaluation import baselines, sample_metrics
from latentcli.evaluation.sample_metrics import open_features
from latentcli.model import objective
from latentcli.model.metrics import measure, ssim
from latentcli.model.objective import importance_bound
from latentcli.model.vae import Posterior


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def last(bound):
    *_, (_, nats) = bound
    return nats


class LinearGaussian:
    """x = b + W z + noise with orthogonal columns in W, so that the true likelihood and posterior are known.

    Its encoder is off on purpose: means by 0.3 and variances by a factor e^0.4.
    """

    training = False
    config = ModelConfig(width=16, height=16, channels=1, latent_dim=3, widths=(8,))
    sigma = torch.tensor(0.1)

    def __init__(self):
        self.w = torch.linalg.qr(torch.randn(256, 3, generator=rng())).Q * torch.tensor([0.5, 0.3, 0.1])
        self.b = torch.full((256,), 0.5)
        self.precision = 1 + (self.w.T @ self.w).diagonal() / self.sigma**2

    def true_posterior(self, x):
        mean = (x.flatten(1) - self.b) @ self.w / self.sigma**2 / self.precision
        return Posterior(mean, -self.precision.log().expand_as(mean))

    def encode(self, x):
        exact = self.true_posterior(x)
        return Posterior(exact.mean + 0.3 / self.precision.sqrt(), exact.logvar + 0.4)

    def decode_logits(self, z):
        return (self.b + z @ self.w.T).view(-1, 1, 16, 16).logit()

    def decode(self, z):
        return self.decode_logits(z).sigmoid()

    def bits_per_dimension(self, nats):
        return nats / (256 * math.log(2)) + 8

    def log_likelihood(self, x):
        covariance = self.w @ self.w.T + self.sigma**2 * torch.eye(256)
        normal = torch.distributions.MultivariateNormal(self.b, covariance)
        return normal.log_prob(x.flatten(1)).mean().item()


@pytest.fixture(scope="module")
def linear():
    vae = LinearGaussian()
    z = 0.7 * torch.randn(40, 3, generator=rng(1))
    x = vae.b + z @ vae.w.T + vae.sigma * torch.randn(40, 256, generator=rng(2))
    return vae, x.view(-1, 1, 16, 16)


def test_the_importance_weighted_bound_reaches_the_true_likelihood(linear):
    vae, x = linear
    assert last(importance_bound(vae, [x], 500)) == pytest.approx(vae.log_likelihood(x), abs=0.05)


def test_the_bound_rises_with_the_draws(linear):
    vae, x = linear
    found = [last(importance_bound(vae, [x], draws)) for draws in (1, 10, 100)]
    assert found[0] < found[1] < found[2] < vae.log_likelihood(x) + 0.05


def test_many_draws_of_one_image_are_taken_a_few_at_a_time(linear, monkeypatch):
    vae, x = linear
    whole = last(importance_bound(vae, [x[:3]], 240))
    monkeypatch.setattr(objective, "_DECODED_AT_ONCE", 7)
    decoded = []
    monkeypatch.setattr(vae, "decode_logits", lambda z, decode=vae.decode_logits: decoded.append(len(z)) or decode(z))
    assert last(importance_bound(vae, [x[:3]], 240)) == pytest.approx(whole, abs=0.2)
    assert max(decoded) <= 7


def test_the_elbo_is_below_the_likelihood_by_the_posterior_s_error(linear):
    vae, x = linear
    gap = 3 * 0.5 * (math.exp(0.4) + 0.3**2 - 1 - 0.4)  # KL of the encoder's answer from the true posterior
    elbo = -np.mean([measure(vae, [x[torch.randperm(40, generator=rng(seed))]]).negative_elbo for seed in range(60)])
    assert elbo == pytest.approx(vae.log_likelihood(x) - gap, abs=0.15)


def test_equal_images_are_alike_and_inverted_ones_are_not():
    x = torch.rand(3, 3, 20, 20, generator=rng())
    assert ssim(x, x).tolist() == pytest.approx([1, 1, 1])
    assert (ssim(x, 1 - x) < 0).all()


def test_ssim_of_flat_images_is_its_first_factor():
    """Variances are 0: only the means count."""
    x, y = torch.full((1, 1, 12, 12), 0.2), torch.full((1, 1, 12, 12), 0.6)
    assert ssim(x, y).item() == pytest.approx((2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4), rel=3e-4)


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
    off, places = sample_metrics.nearest(candidates[wanted] + 0.01, [candidates[:11], candidates[11:]])
    assert places.tolist() == wanted.tolist()
    assert off.tolist() == pytest.approx([0.01] * 3, rel=1e-3)


def test_spread_is_the_mean_root_mean_square_over_pairs():
    images = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4), torch.ones(1, 4, 4)])
    assert sample_metrics.spread(images) == pytest.approx(2 / 3)
    assert sample_metrics.spread(images[:1]) == 0


def test_components_are_those_of_scikit_learn():
    x = torch.rand(200, 1, 5, 6, generator=rng()) * torch.linspace(0.2, 1, 30).view(1, 1, 5, 6)
    ours = baselines.fit(lambda: iter(x.split(64)), 7)
    theirs = PCA(7, svd_solver="full").fit(x.flatten(1).numpy())
    reconstructed = theirs.inverse_transform(theirs.transform(x.flatten(1).numpy())).clip(0, 1)
    assert np.abs(ours.reconstruct(x).flatten(1).numpy() - reconstructed).max() < 0.02
    variances = theirs.explained_variance_ * 199 / 200  # ours is that of the images, not of what they are drawn from
    assert ours.variances.tolist() == pytest.approx(variances.tolist(), rel=1e-3)


def test_the_likelihood_of_components_is_that_of_their_gaussian():
    x = torch.rand(100, 1, 4, 4, generator=rng())
    pca = baselines.fit(lambda: iter([x]), 5)
    covariance = pca.components @ torch.diag(pca.variances - pca.noise) @ pca.components.T + pca.noise * torch.eye(16)
    normal = torch.distributions.MultivariateNormal(pca.mean, covariance)
    torch.testing.assert_close(pca.negative_log_likelihood(x), -normal.log_prob(x.flatten(1)), rtol=1e-3, atol=1e-2)


def test_no_components_are_the_mean_image():
    x = torch.rand(9, 1, 4, 4, generator=rng())
    pca = baselines.fit(lambda: iter([x[:4], x[4:]]), 0)
    torch.testing.assert_close(pca.reconstruct(x), x.mean(dim=0).expand_as(x))
    assert pca.noise == pytest.approx(x.var(dim=0, correction=0).mean().item(), rel=1e-4)


def test_there_are_never_more_components_than_images_give():
    x = torch.rand(3, 1, 4, 4, generator=rng())
    assert len(baselines.fit(lambda: iter([x]), 10).variances) == 2


def test_random_filters_tell_worse_pictures():
    """The space orders what everybody would order."""
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
    with pytest.raises(FileFormatError, match="no TorchScript file"):
        open_features(tmp_path / "bad.pt")
    for name in ("gone.pt", "net.bin"):
        with pytest.raises(ConfigError):
            open_features(tmp_path / name)
