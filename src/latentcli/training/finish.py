"""The end of a run: the prior, the pictures, the model file and its card."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from latentcli.card import model_card
from latentcli.config import MODEL_FILE
from latentcli.data.dataset import Dataset
from latentcli.files import write_whole
from latentcli.images import as_float, grid, to_pictures, write_picture
from latentcli.model.figures import Figures, device_of, encode_all
from latentcli.model.modelfile import save_model
from latentcli.model.posterior import Posterior
from latentcli.model.prior import MOST_LATENTS, Prior, StandardPrior, fit
from latentcli.model.vae import VAE
from latentcli.training.loop import in_order
from latentcli.training.plan import Plan
from latentcli.training.reports import Finished
from latentcli.training.schedule import order

RECONSTRUCTIONS_FILE = "reconstructions.png"
SAMPLES_FILE = "samples.png"
CARD_FILE = "README.md"
_SHOWN = 16  # reconstructions: originals above, reconstructions below
_SAMPLES = 64  # seeds 0 to 63


def finish(plan: Plan, vae: VAE, train: Dataset, shown: Dataset, summary: dict[str, Any]) -> Finished:
    """Fit the prior to the training images, then write pictures, card and model file, the last one last."""
    config = plan.choice.config
    prior = fit_prior(vae, train, config.beta, config.seed)
    write_pictures(plan.folder, vae, prior, shown)
    finished_at = datetime.now(UTC).isoformat(timespec="seconds")
    header = {"name": plan.folder.name, "finished_at": finished_at, "training": summary}
    write_whole(plan.folder / CARD_FILE, model_card(plan.folder.name, plan.choice.model, summary).encode())
    path = plan.folder / MODEL_FILE
    model_id = save_model(path, vae, prior, header)
    held_out = Figures(**summary["held_out"]) if summary["held_out"] else None
    names = (RECONSTRUCTIONS_FILE, SAMPLES_FILE, CARD_FILE)
    return Finished(
        plan.folder, model_id, summary["seconds"], held_out, (path, *(plan.folder / name for name in names))
    )


def fit_prior(vae: VAE, train: Dataset, beta: float, seed: int) -> Prior:
    """The prior fitted to encoded training images; a 2-D model keeps N(0, I), which its map is drawn by."""
    if vae.config.latent_dim <= 2:
        return StandardPrior(vae.config.latent_dim)
    some = order(seed, 0, len(train))[:MOST_LATENTS]
    posterior = encode_all(vae, in_order(Dataset(train.pixels, train.rows[some])))
    if beta == 0:  # an autoencoder's variances mean nothing: its latents are the means
        posterior = Posterior(posterior.mean, torch.full_like(posterior.logvar, -12.0))
    return fit(posterior, seed)


@torch.inference_mode()
def write_pictures(folder: Path, vae: VAE, prior: Prior, shown: Dataset) -> None:
    """Reconstructions of some of `shown` and a sheet of samples with fixed seeds."""
    device = device_of(vae)
    x = as_float(next(shown.spread(_SHOWN).batches()))
    reconstructions = vae.decode(vae.encode(x.to(device)).mean).cpu()
    write_picture(grid(to_pictures(torch.cat([x, reconstructions])), columns=len(x)), folder / RECONSTRUCTIONS_FILE)
    z = prior.sample(range(_SAMPLES), prior.temperature)
    write_picture(grid(to_pictures(vae.decode(z.to(device))), columns=8), folder / SAMPLES_FILE)
