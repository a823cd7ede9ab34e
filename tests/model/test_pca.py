"""Principal components against scikit-learn and PyTorch."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from latentcli.model.pca import fit_pca


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_components_are_those_of_scikit_learn():
    x = torch.rand(200, 1, 5, 6, generator=rng()) * torch.linspace(0.2, 1, 30).view(1, 1, 5, 6)
    ours = fit_pca(lambda: iter(x.split(64)), 7)
    theirs = PCA(7, svd_solver="full").fit(x.flatten(1).numpy())
    reconstructed = theirs.inverse_transform(theirs.transform(x.flatten(1).numpy())).clip(0, 1)
    assert np.abs(ours.reconstruct(x).flatten(1).numpy() - reconstructed).max() < 0.02
    variances = theirs.explained_variance_ * 199 / 200  # ours is that of the images, not of what they are drawn from
    assert ours.variances.tolist() == pytest.approx(variances.tolist(), rel=1e-3)


def test_the_likelihood_of_components_is_that_of_their_gaussian():
    x = torch.rand(100, 1, 4, 4, generator=rng())
    pca = fit_pca(lambda: iter([x]), 5)
    covariance = pca.components @ torch.diag(pca.variances - pca.noise) @ pca.components.T + pca.noise * torch.eye(16)
    normal = torch.distributions.MultivariateNormal(pca.mean, covariance)
    found = pca.negative_log_likelihood(x, torch.full((100,), pca.noise))
    torch.testing.assert_close(found, -normal.log_prob(x.flatten(1)), rtol=1e-3, atol=1e-2)


def test_the_elbo_of_posterior_draws_is_the_likelihood():
    """The posterior is exact, so its bound is tight in the mean over draws."""
    x = torch.rand(2000, 1, 4, 4, generator=rng())
    pca = fit_pca(lambda: iter([x]), 5)
    noise = torch.full((2000,), 0.05)
    drawn, kl = pca.draw(x, noise, torch.randn(2000, 5, generator=rng(1)))
    reconstruction = -torch.distributions.Normal(drawn, 0.05**0.5).log_prob(x).flatten(1).sum(dim=1)
    expected = pca.negative_log_likelihood(x, noise).mean().item()
    assert (reconstruction + kl).mean().item() == pytest.approx(expected, abs=0.2)


def test_no_components_are_the_mean_image():
    x = torch.rand(9, 1, 4, 4, generator=rng())
    pca = fit_pca(lambda: iter([x[:4], x[4:]]), 0)
    torch.testing.assert_close(pca.reconstruct(x), x.mean(dim=0).expand_as(x))
    assert pca.noise == pytest.approx(x.var(dim=0, correction=0).mean().item(), rel=1e-4)


def test_there_are_never_more_components_than_images_give():
    x = torch.rand(3, 1, 4, 4, generator=rng())
    assert len(fit_pca(lambda: iter([x]), 10).variances) == 2
