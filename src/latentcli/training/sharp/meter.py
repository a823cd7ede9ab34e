"""Metrics of a decoder in sharpening: PSNR, sharpness and kernel distance of samples, always on the same images."""

from collections.abc import Sequence

import numpy as np
import torch

from latentcli.data.dataset import Dataset
from latentcli.evaluation.sample_metrics import FeatureSpace, kernel_distance
from latentcli.model.metrics import psnr_per_image, sharpness
from latentcli.model.vae import VAE
from latentcli.storage.history import SharpMetrics

_COMPARED = 500  # images at most that a decoder is measured on
_BATCH = 100  # images or latents decoded at once
_LEAST_VARIANCE = 1e-8  # of an image's Laplacian, so that a flat image does not divide by 0


class SharpMeter:
    """Callable that measures PSNR, sharpness and kernel distances of a VAE's decoder, always on the same images."""

    def __init__(self, images: Dataset, latents: Sequence[np.ndarray], features: FeatureSpace) -> None:
        """`latents` are samples of the prior (n, latent_dim) at each temperature, `features` the space of distances."""
        self._images = torch.cat(list(images.spread(_COMPARED).floats()))
        self._latents = [torch.from_numpy(each) for each in latents]
        self._space = features
        self._features = features(self._images)
        self._sharpness = sharpness(self._images).clamp_min(_LEAST_VARIANCE)

    @torch.inference_mode()
    def __call__(self, vae: VAE) -> SharpMetrics:
        psnr, ratios = [], []
        for x, own in zip(torch.split(self._images, _BATCH), torch.split(self._sharpness, _BATCH), strict=True):
            decoded = vae.decode(vae.encode(x.to(vae.device)).mean).cpu()
            psnr.append(psnr_per_image(x, decoded))
            ratios.append(sharpness(decoded) / own)
        return SharpMetrics(
            psnr=float(torch.cat(psnr).mean()),
            sharpness=float(torch.cat(ratios).quantile(0.5)),
            kernel=tuple(self._distance(vae, latents) for latents in self._latents),
        )

    def _distance(self, vae: VAE, latents: torch.Tensor) -> float:
        sampled = [self._space(vae.decode(z.to(vae.device)).cpu()) for z in torch.split(latents, _BATCH)]
        return kernel_distance(torch.cat(sampled), self._features)[0]
