"""The pictures a run draws of itself: reconstructions, samples, and now and then a moment to look back at."""

from pathlib import Path

import torch
from PIL import Image

from latentcli.config import MOMENTS_FOLDER, RECONSTRUCTIONS_FILE, SAMPLES_FILE
from latentcli.data.dataset import Dataset
from latentcli.images import as_float, grid, to_pictures, write_picture
from latentcli.model.figures import device_of
from latentcli.model.prior import Prior, StandardPrior
from latentcli.model.vae import VAE

_SHOWN = 16  # reconstructions: originals above, reconstructions below
_SAMPLES = 64  # seeds 0 to 63
_MOMENT = 8  # originals, reconstructions and samples in a moment's sheet
_APART = 1.6  # times as many steps as at the last moment: a dozen moments in any run


@torch.inference_mode()
def write_pictures(folder: Path, vae: VAE, prior: Prior, shown: Dataset) -> None:
    """Reconstructions of some of `shown` and a sheet of samples with fixed seeds."""
    both = _reconstructed(vae, shown, _SHOWN)
    write_picture(grid(both, columns=len(both) // 2), folder / RECONSTRUCTIONS_FILE)
    write_picture(grid(_sampled(vae, prior, _SAMPLES), columns=8), folder / SAMPLES_FILE)


@torch.inference_mode()
def keep_moment(folder: Path, step: int, vae: VAE, shown: Dataset, is_last: bool = False) -> None:
    """Add a sheet for this step where the last one is long ago: originals, reconstructions, samples from N(0, I)."""
    moments = folder / MOMENTS_FOLDER
    steps = [int(path.stem) for path in moments.glob("*.png") if path.stem.isdecimal()]
    for later in (known for known in steps if known > step):  # from before a crash
        _sheet(moments, later).unlink(missing_ok=True)
    last = max((known for known in steps if known <= step), default=0)
    if step < _APART * last and not is_last:
        return
    both = _reconstructed(vae, shown, _MOMENT)
    samples = _sampled(vae, StandardPrior(vae.config.latent_dim), len(both) // 2)
    write_picture(grid([*both, *samples], columns=len(samples)), _sheet(moments, step))


def _sheet(moments: Path, step: int) -> Path:
    return moments / f"{step:08d}.png"


def _reconstructed(vae: VAE, shown: Dataset, count: int) -> list[Image.Image]:
    """Some of the images, then their reconstructions."""
    x = as_float(next(shown.spread(count).batches()))
    return to_pictures(torch.cat([x, vae.decode(vae.encode(x.to(device_of(vae))).mean).cpu()]))


def _sampled(vae: VAE, prior: Prior, count: int) -> list[Image.Image]:
    return to_pictures(vae.decode(prior.sample(range(count), prior.temperature).to(device_of(vae))))
