"""Metrics of `latentcli evaluate` checked against other implementations, and the cost of evaluating.

    pip install scikit-image
    python benchmarks/metrics.py MODEL TRAINING HELD_OUT

MODEL is a model's folder, TRAINING and HELD_OUT are folders of images. The others: scikit-image (PSNR, SSIM), SciPy
(matrix root, bits), scikit-learn (principal components, neighbours, whitening, kernel), PyTorch's distributions (ELBO,
bound) and loops written here. The ELBO, the bound and bits are means over random draws, so those differ
by chance.
"""

import argparse
import math
import os
import platform
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import linalg, special
from scipy.stats import mannwhitneyu
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors
from torch.distributions import Independent, Normal, kl_divergence

from latentcli.data.dataset import Dataset, as_float_tensor
from latentcli.data.sources import find_images
from latentcli.evaluation.evaluate import Subject, evaluate
from latentcli.evaluation.result import Evaluation
from latentcli.evaluation.sample_metrics import WHITENED_BY, open_features
from latentcli.imaging.images import read_image
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.model.objective import importance_bound

COPIED_FROM = 5000  # training images whose features are compared, as in latentcli
BOUND_IMAGES = 100  # images of the importance-weighted bound
FITTED = 20_000  # training images that baselines are fitted to, as in latentcli


def read(folder: Path, model: LoadedModel) -> Dataset:
    images = [torch.from_numpy(read_image(path, model.config)) for path in find_images(folder)]
    return Dataset.from_images(torch.stack(images))


def floats(images: Dataset) -> torch.Tensor:
    return torch.cat([as_float_tensor(batch) for batch in images.batches()])


@torch.inference_mode()
def bare_pass(model: LoadedModel, images: Dataset) -> float:
    """Seconds to encode and decode every image once."""
    started = time.perf_counter()
    for batch in images.batches():
        model.vae.decode(model.vae.encode(as_float_tensor(batch)).mean)
    return time.perf_counter() - started


def anonymous_memory() -> float:
    """RssAnon in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))


def timed(subject: Subject) -> tuple[float, float]:
    """Seconds that evaluating takes, and the highest RssAnon meanwhile."""
    done, highest = threading.Event(), [0.0]

    def watch() -> None:
        while not done.wait(0.02):
            highest[0] = max(highest[0], anonymous_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    for _ in evaluate(subject):
        pass
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    return seconds, highest[0]


@torch.inference_mode()
def others(model: LoadedModel, training: Dataset, held_out: Dataset) -> dict[str, float]:
    vae = model.vae
    x = floats(held_out)
    decoded, drawn, kl = [], [], 0.0
    torch.manual_seed(1)
    prior = Independent(Normal(torch.zeros(model.config.latent_dim), 1.0), 1)
    for some in x.split(200):
        posterior = vae.encode(some)
        q = Independent(Normal(posterior.mean, (posterior.logvar / 2).exp()), 1)
        decoded.append(vae.decode(posterior.mean))
        kl += float(kl_divergence(q, prior).sum()) / len(x)
        drawn.append(vae.likelihood.mean(vae.decode_output(q.sample())))
    means = torch.cat(drawn)
    sigma = sigmas(means - x)
    rounded = (torch.cat(decoded) * 255).round() / 255
    found = {
        "-ELBO": kl - float(log_likelihood(model, x, means, sigma).mean()),
        "KL": kl,
        "PSNR": np.mean([peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs(x, rounded)]),
        "SSIM": np.mean([similarity(a, b) for a, b in pairs(x, torch.cat(decoded))]),
    }
    fitted = floats(training.spread(FITTED)).flatten(1).numpy()
    mean = fitted.mean(axis=0)
    flat = x.flatten(1).numpy()
    found["mean image, PSNR"] = decibels(flat, np.broadcast_to(mean, flat.shape))
    pca = PCA(model.config.latent_dim, svd_solver="covariance_eigh" if flat.shape[1] < 2000 else "randomized")
    pca.fit(fitted)
    found["PCA, PSNR"] = decibels(flat, pca.inverse_transform(pca.transform(flat)).clip(0, 1))
    if model.config.likelihood == "gaussian":
        found["bits"] = kl / math.log(2) / flat.shape[1] + bits(x, means, sigma)
        found |= probabilistic(pca, flat)
    return found | compared(model, training, held_out) | {"bound, 50 draws": bound(model, x[:BOUND_IMAGES], 50)}


def sigmas(residuals: torch.Tensor) -> torch.Tensor:
    """Sigma of each image (n,): the root mean square of the residuals of every second image, without its own."""
    n, floor = len(residuals), 1 / (255 * math.sqrt(12))
    found = [residuals[1 - i % 2 :: 2].double().square().mean().sqrt().clamp_min(floor) for i in range(2)]
    return torch.stack([found[i % 2] for i in range(n)])


def bits(x: torch.Tensor, means: torch.Tensor, sigma: torch.Tensor) -> float:
    """Bits per value of gray levels under normal distributions, image by image."""
    found = []
    for image, mean, own in zip(x.double().numpy(), means.double().numpy(), sigma.tolist(), strict=True):
        below = np.where(image > 0, (image - 0.5 / 255 - mean) / own, -np.inf)
        above = np.where(image < 1, (image + 0.5 / 255 - mean) / own, np.inf)
        flipped = below > 0  # the upper tail as the lower one: differences near 1 lose their digits
        low, high = np.where(flipped, -above, below), np.where(flipped, -below, above)
        logs = special.log_ndtr(high) + np.log1p(-np.exp(special.log_ndtr(low) - special.log_ndtr(high)))
        found.append(-logs.mean() / math.log(2))
    return float(np.mean(found))


def probabilistic(pca: PCA, flat: np.ndarray) -> dict[str, float]:
    """-log likelihood and bits of images (n, D), each half with the residual variance of the other."""
    n, dimensions = flat.shape
    along = pca.transform(flat)
    outside = ((flat - pca.mean_) ** 2).sum(axis=1) - (along**2).sum(axis=1)
    likelihoods, divergences, drawn, generator = np.zeros(n), np.zeros(n), np.zeros_like(flat), np.random.default_rng(1)
    for half in (slice(0, None, 2), slice(1, None, 2)):
        other = slice(1 - half.start, None, 2)
        noise = pca.noise_variance_ = outside[other].mean() / (dimensions - pca.n_components_)
        likelihoods[half] = pca.score_samples(flat[half])
        spread = np.maximum(pca.explained_variance_, noise)
        mean, variance = along[half] * np.sqrt(spread - noise) / spread, noise / spread
        z = mean + np.sqrt(variance) * generator.standard_normal(mean.shape)
        drawn[half] = pca.mean_ + (z * np.sqrt(spread - noise)) @ pca.components_
        divergences[half] = 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(axis=1)
    x, means = torch.from_numpy(flat), torch.from_numpy(drawn)
    rate = divergences.mean() / math.log(2) / dimensions
    found = bits(x, means, sigmas(means - x))
    return {"PCA, -log likelihood": -likelihoods.mean(), "PCA, bits": rate + found}


def log_likelihood(model: LoadedModel, x: torch.Tensor, means: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    if model.config.likelihood == "bernoulli":
        p = means.double().clamp(1e-12, 1 - 1e-12)
        return (x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1)
    return Normal(means.double(), sigma.view(-1, 1, 1, 1)).log_prob(x.double()).flatten(1).sum(1)


def bound(model: LoadedModel, x: torch.Tensor, draws: int) -> float:
    """-log of the mean weight, image by image."""
    posterior = model.vae.encode(x)
    once = posterior.draw(torch.randn(posterior.mean.shape))
    sigma = sigmas(model.vae.likelihood.mean(model.vae.decode_output(once)) - x)
    total = 0.0
    for image, own, mean, logvar in zip(x, sigma, posterior.mean, posterior.logvar, strict=True):
        q = Independent(Normal(mean, (logvar / 2).exp()), 1)
        prior = Independent(Normal(torch.zeros_like(mean), 1.0), 1)
        z = q.sample((draws,))
        means = model.vae.likelihood.mean(model.vae.decode_output(z))
        weights = log_likelihood(model, image.expand(draws, -1, -1, -1), means, own.expand(draws))
        weights = weights + prior.log_prob(z) - q.log_prob(z)
        total -= float(torch.logsumexp(weights, 0)) - math.log(draws)
    return total / len(x)


def compared(model: LoadedModel, training: Dataset, held_out: Dataset) -> dict[str, float]:
    known = floats(training.spread(WHITENED_BY))
    space = open_features(None)
    origin, matrix = whitening(space(known).double().numpy())
    real_images = held_out.spread(1000)
    real = (space(floats(real_images)).double().numpy() - origin) @ matrix
    z = torch.from_numpy(model.prior.sample(range(len(real_images))))
    samples = torch.cat([model.vae.decode(some) for some in z.split(200)])
    made = (space(samples).double().numpy() - origin) @ matrix
    halves = [gaussians_apart(made[first::2], real[first::2]) for first in range(2)]
    means = torch.cat([model.vae.encode(x).mean for x in real_images.floats()])
    again = torch.cat([model.vae.decode(some) for some in means.split(200)])
    known = (space(floats(training.spread(COPIED_FROM))).double().numpy() - origin) @ matrix
    by_pixels = [nearest(*map(small, pair)) for pair in ((samples, floats(training)), (again, floats(training)))]
    by_features = [nearest((space(x).double().numpy() - origin) @ matrix, known) for x in (samples, again)]
    chance, copied = min(copies(*by_pixels), copies(*by_features))
    return {
        "Fréchet": 2 * gaussians_apart(made, real) - np.mean(halves),
        "kernel": discrepancy(made, real),
        "kernel, margin": 1.96 * resampled(made, real),
        "precision": among(made, real),
        "recall": among(real, made),
        "nearest": np.median(by_pixels[0][0]) / np.median(by_pixels[1][0]),
        "copies": copied,
        "copies by chance": min(1.0, 2 * chance),
    }


def small(images: torch.Tensor) -> np.ndarray:
    """Thumbnails on white, window by window."""
    x = images.double().numpy()
    x = x[:, :-1] + 1 - x[:, -1:] if x.shape[1] in (2, 4) else x
    rows, columns = ([(i * side // 8, -(-(i + 1) * side // 8)) for i in range(8)] for side in x.shape[2:])
    windows = [x[:, :, a:b, c:d].mean(axis=(2, 3)) for a, b in rows for c, d in columns]
    return np.stack(windows, axis=2).reshape(len(x), -1)


def nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distances to the nearest and the tenth nearest of the others, (2, n)."""
    distances = NearestNeighbors(n_neighbors=10, algorithm="brute").fit(others).kneighbors(points)[0]
    return distances.T[[0, -1]]


def copies(own: np.ndarray, usual: np.ndarray) -> tuple[float, float]:
    """Probability of the ranks by chance, and the share of copies."""
    ratios = own[0] / own[1], usual[0] / usual[1]
    test = mannwhitneyu(*ratios, alternative="less")
    return float(test.pvalue), max(0.0, 1 - 2 * float(test.statistic) / len(ratios[0]) / len(ratios[1]))


def whitening(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of features (n, d), and the matrix that whitens them: by scikit-learn's shrinkage and SciPy's root."""
    mean, deviations = features.mean(axis=0), features.std(axis=0)
    scale = deviations + 0.01 * deviations.mean() + 1e-6
    shrunk = LedoitWolf(assume_centered=True).fit((features - mean) / scale).covariance_
    return mean, linalg.inv(linalg.sqrtm(shrunk).real) / scale[:, None]


def gaussians_apart(made: np.ndarray, real: np.ndarray) -> float:
    own, wanted = np.cov(made, rowvar=False), np.cov(real, rowvar=False)
    root = linalg.sqrtm(own @ wanted).real
    return float(((made.mean(0) - real.mean(0)) ** 2).sum() + np.trace(own + wanted - 2 * root))


def discrepancy(made: np.ndarray, real: np.ndarray) -> float:
    """Mean over pairs of different pictures."""
    gamma = 0.5 / real.var(axis=0, ddof=1).sum()
    within = [rbf_kernel(points, gamma=gamma)[~np.eye(len(points), dtype=bool)].mean() for points in (made, real)]
    return float(sum(within) - 2 * rbf_kernel(made, real, gamma=gamma).mean())


def resampled(made: np.ndarray, real: np.ndarray) -> float:
    """Deviation over the resamples of `evaluate`, as means over the pairs of drawn rows that are not one picture."""
    gamma = 0.5 / real.var(axis=0, ddof=1).sum()
    kernels = [rbf_kernel(a, b, gamma=gamma) for a, b in ((made, made), (real, real), (made, real))]
    draws = [np.random.default_rng(n).multinomial(n, np.full(n, 1 / n), 200) for n in (len(made), len(real))]
    found = []
    for counts in zip(*draws, strict=True):
        i, j = (np.repeat(np.arange(len(count)), count) for count in counts)
        drawn = [kernels[0][np.ix_(i, i)], kernels[1][np.ix_(j, j)]]
        apart = [kernel[rows[:, None] != rows].mean() for kernel, rows in zip(drawn, (i, j), strict=True)]
        found.append(sum(apart) - 2 * kernels[2][np.ix_(i, j)].mean())
    return float(np.std(found, ddof=1))


def among(points: np.ndarray, others: np.ndarray) -> float:
    neighbours = NearestNeighbors(n_neighbors=4, algorithm="brute").fit(others)
    radius = neighbours.kneighbors(others)[0][:, -1]
    inside = [(np.linalg.norm(others - point, axis=1) <= radius).any() for point in points]
    return float(np.mean(inside))


def pairs(x: torch.Tensor, y: torch.Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(a.permute(1, 2, 0).numpy(), b.permute(1, 2, 0).numpy()) for a, b in zip(x, y, strict=True)]


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    return float(structural_similarity(a, b, channel_axis=2, **settings))


def decibels(x: np.ndarray, y: np.ndarray) -> float:
    mse = ((x - (y * 255).round() / 255) ** 2).mean(axis=1)
    return float((10 * np.log10(1 / mse)).mean())


def ours(found: Evaluation, model: LoadedModel, held_out: Dataset) -> dict[str, float | None]:
    row, mean, pca = found.samples[0], found.baselines[0], found.baselines[1]
    *_, (_, nats) = importance_bound(model.vae, lambda: [floats(held_out)[:BOUND_IMAGES]], 50)
    return {
        "-ELBO": found.held_out.negative_elbo, "KL": found.held_out.kl, "PSNR": found.held_out.psnr,
        "SSIM": found.ssim, "mean image, PSNR": mean.psnr, "PCA, PSNR": pca.psnr,
        "PCA, -log likelihood": pca.negative_log_likelihood, "PCA, bits": pca.bits_per_dimension,
        "bits": found.held_out.bits_per_dimension, "Fréchet": row.frechet, "kernel": row.kernel,
        "kernel, margin": row.kernel_margin,
        "precision": row.precision, "recall": row.recall, "nearest": row.nearest, "copies": row.copied,
        "copies by chance": row.copied_by_chance, "bound, 50 draws": -nats,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("training", type=Path)
    parser.add_argument("held_out", type=Path)
    asked = parser.parse_args()
    model = load_model(asked.model)
    training, held_out = read(asked.training, model), read(asked.held_out, model)
    subject = Subject(model.vae, model.prior, held_out, training, 1.0, open_features(None))
    *_, found = evaluate(subject)  # warms up
    bare = min(bare_pass(model, held_out) for _ in range(3))
    seconds, _ = timed(subject)
    _, few = timed(replace(subject, held_out=held_out.spread(len(held_out) // 5)))
    _, all_of_them = timed(subject)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}; {len(held_out)} held-out images")
    print(
        f"evaluate {seconds:.2f} s, one encode-decode pass {bare:.2f} s: {seconds / bare:.2f} times; highest RssAnon "
        f"{few:.0f} MB with a fifth of the images, {all_of_them:.0f} MB with all"
    )
    assert isinstance(found, Evaluation)
    mine = ours(found, model, held_out)
    for name, value in others(model, training, held_out).items():
        if (own := mine[name]) is not None:  # a Fréchet distance takes many images
            print(
                f"{name:22} {own:14.5f} {value:14.5f}  relative difference {abs(own - value) / (abs(value) or 1):.1e}"
            )
    for draws in (1, 50, 500):
        *_, (_, nats) = importance_bound(model.vae, lambda: [floats(held_out)[:BOUND_IMAGES]], draws)
        print(f"importance-weighted bound, {draws:3} draws, {BOUND_IMAGES} images: {nats:.3f} nats")


if __name__ == "__main__":
    main()
