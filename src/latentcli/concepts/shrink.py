"""Empirical-Bayes estimates of a class gap: its direction, its length, and the cosine with the true one.

The difference of means of few images is mostly noise: with 20 + 20 images and 256 dimensions its squared length is
several times that of the true gap. The estimate here weighs each direction by signal over signal and noise.
"""

from dataclasses import dataclass

import numpy as np

from latentcli.model.prior import Geometry, Spectrum

_RATIOS = np.geomspace(1e-2, 1e7, 40)  # of the variances of signal and noise
_LOG_PRIOR = np.log(_RATIOS)  # flat in the ratio, whose values are spaced by their logarithms
_FLOOR = 0.5  # least squared length, in standard errors: half of the draws without a concept would have less than 0
_NEGLIGIBLE = 1e-4  # posterior probability below which a spectrum is left out


@dataclass(frozen=True, slots=True)
class Noise:
    """Covariance of the error of a class gap, estimated from the scatter of the labelled latents."""

    covariance: np.ndarray  # (latent_dim, latent_dim)
    freedom: int  # degrees of freedom of the estimate

    def trace_of_square(self, shrinking: np.ndarray | None = None) -> float:
        """Trace of (W N)^2 for the true covariance N and a matrix W, `shrinking`, by default the identity.

        The estimate's own scatter is taken out (Srivastava 2005, eq. 2.12); what is left is at least (tr W N)^2 / d.
        """
        product = self.covariance if shrinking is None else shrinking @ self.covariance
        square, trace = float((product * product.T).sum()), float(np.trace(product))
        return max(square - trace**2 / max(1, self.freedom), trace**2 / len(product))


@dataclass(frozen=True, slots=True)
class Estimate:
    """Posterior of a class gap."""

    mean: np.ndarray  # (latent_dim,)
    length: float  # of the true gap
    cosine: float  # expected, of `mean` with the true gap
    wander: float  # variance that the error of the unit `mean` alone brings to projections of an equal, independent gap


def estimate(gap: np.ndarray, noise: Noise, geometry: Geometry) -> Estimate:
    """Posterior of the true class gap behind the observed `gap` (latent_dim,), which must not be 0.

    The squared length is the mean of two estimates, the posterior's and |gap|^2 - tr N, which is unbiased but can be
    negative; it stays above half of the latter's standard error. The cosine is Stein's estimate of <mean, truth> over
    both lengths: E<Wd, truth> = E[d'Wd - tr W N] (Stein 1981, "Estimation of the mean of a multivariate normal
    distribution", lemma 2).
    """
    shrinking, mean, square = np.zeros_like(noise.covariance), np.zeros_like(gap), 0.0
    for spectrum, probabilities, weights, variances in _posterior(gap[None], noise, geometry):
        y, sizes = spectrum.whiten @ gap, np.square(spectrum.back).sum(axis=0)
        overall = probabilities[0] @ weights
        shrinking += (spectrum.back * overall) @ spectrum.whiten
        mean += spectrum.back @ (overall * y)
        square += float(probabilities[0] @ np.square((weights * y) @ spectrum.back.T).sum(axis=1))
        square += float(overall @ (variances * sizes))
    unbiased = float(gap @ gap - np.trace(noise.covariance))
    squared = max((unbiased + square) / 2, _FLOOR * np.sqrt(2 * noise.trace_of_square()))
    aligned = float(gap @ mean - (shrinking * noise.covariance).sum())
    cosine = aligned / max(np.sqrt(squared * (mean @ mean)), 1e-12)
    wander = noise.trace_of_square(shrinking) / max(float(mean @ mean), 1e-12)
    return Estimate(mean, float(np.sqrt(squared)), float(np.clip(cosine, 0, 1)), wander)


def means(gaps: np.ndarray, noise: Noise, geometry: Geometry) -> np.ndarray:
    """Posterior means (n, latent_dim) of true class gaps behind `gaps` (n, latent_dim) with the same noise."""
    result = np.zeros_like(gaps)
    for spectrum, probabilities, weights, _ in _posterior(gaps, noise, geometry):
        result += (probabilities @ weights * (gaps @ spectrum.whiten.T)) @ spectrum.back.T
    return result


def _posterior(
    gaps: np.ndarray, noise: Noise, geometry: Geometry
) -> list[tuple[Spectrum, np.ndarray, np.ndarray, np.ndarray]]:
    """For each probable spectrum of the geometry: the spectrum, probabilities, weights and variances of the noise.

    Probabilities (n, ratios) are those of the spectrum and a ratio of signal to noise, given each of `gaps`; weights
    (ratios, latent_dim) are what a gap is multiplied by in the spectrum's coordinates. The noise's variances
    (latent_dim,) are shrunk towards equal ones, which they are where both classes vary as all latents do.
    """
    found, evidence = [], []
    for spectrum in geometry.spectra:
        observed = np.einsum("ij,ij->i", spectrum.whiten @ noise.covariance, spectrum.whiten)
        scale = max(float(observed.mean()), 1e-12)
        sampling = 2 / max(1, noise.freedom) / max(float((observed / scale).var()), 1e-12)  # share of their variance
        shape = np.maximum(1 + (observed / scale - 1) * max(0.0, 1 - sampling), 1e-3)
        signal = _RATIOS[:, None] * spectrum.variances  # (ratios, latent_dim), in units of `scale`
        y = np.square(gaps @ spectrum.whiten.T) / scale
        evidence.append(_LOG_PRIOR - 0.5 * (np.log(signal + shape).sum(axis=1) + y @ (1 / (signal + shape)).T))
        found.append((spectrum, signal / (signal + shape), scale * shape))
    logarithms = np.stack(evidence)  # (spectra, n, ratios)
    probabilities = np.exp(logarithms - logarithms.max(axis=(0, 2), keepdims=True))
    probabilities /= probabilities.sum(axis=(0, 2), keepdims=True)
    return [
        (spectrum, share, weights, variances)
        for (spectrum, weights, variances), share in zip(found, probabilities, strict=True)
        if share.sum(axis=1).max() > _NEGLIGIBLE
    ]
