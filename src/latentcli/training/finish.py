"""The end of a run: the prior, the model file, the card, the pictures, the evaluation and its verdict, the report."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from latentcli.card import model_card
from latentcli.config import MODEL_FILE, RECONSTRUCTIONS_FILE, SAMPLES_FILE
from latentcli.data.dataset import Dataset
from latentcli.evaluation.evaluate import Neighbours, Step, Subject, evaluate
from latentcli.evaluation.features import open_features
from latentcli.evaluation.record import Record
from latentcli.evaluation.verdict import Evidence, verdict
from latentcli.files import write_whole
from latentcli.history import Line
from latentcli.model.figures import Figures, encode_all
from latentcli.model.modelfile import LoadedModel, save_model
from latentcli.model.posterior import Posterior
from latentcli.model.prior import MOST_LATENTS, Prior, StandardPrior, fit
from latentcli.model.vae import VAE
from latentcli.report.build import REPORT_FILE, build
from latentcli.training import reports
from latentcli.training.loop import in_order
from latentcli.training.pictures import keep_moment, write_pictures
from latentcli.training.schedule import order

CARD_FILE = "README.md"


@dataclass(frozen=True, slots=True)
class Trained:
    """A run that has made all its steps."""

    folder: Path
    vae: VAE
    train: Dataset
    held_out: Dataset | None
    summary: dict[str, Any]  # for the model file
    history: list[Line]


def finish(run: Trained) -> Iterator[reports.Report]:
    """Everything that follows the last step. The weights come first; the record makes the run finished."""
    folder, vae, summary = run.folder, run.vae, run.summary
    yield reports.FittingPrior(min(len(run.train), MOST_LATENTS))
    prior = fit_prior(vae, run.train, summary["beta"], summary["seed"])
    path, card, report = folder / MODEL_FILE, folder / CARD_FILE, folder / REPORT_FILE
    header = {"finished_at": datetime.now(UTC).isoformat(timespec="seconds"), "name": folder.name, "training": summary}
    model_id = save_model(path, vae, prior, header)
    write_whole(card, model_card(folder.name, vae.config, summary).encode())
    shown = run.held_out or run.train
    write_pictures(folder, vae, prior, shown)
    keep_moment(folder, summary["steps"], vae, shown, is_last=True)
    record = yield from _evaluated(run, prior, model_id)
    write_whole(report, build(LoadedModel(path, vae, prior, model_id, header), record, vectors=[]).encode())
    kept = record.save(folder)
    held_out = Figures(**summary["held_out"]) if summary["held_out"] else None
    pictures = (folder / RECONSTRUCTIONS_FILE, folder / SAMPLES_FILE)
    yield reports.Finished(
        folder, model_id, summary["seconds"], held_out, record.findings, (path, *pictures, card, kept, report)
    )


def _evaluated(run: Trained, prior: Prior, model_id: str) -> Generator[reports.Report, None, Record]:
    noise_scale = float(run.summary["beta"] > 0)
    measured = run.held_out or run.train
    subject = Subject(run.vae, prior, measured, run.train, noise_scale, open_features(None), not run.held_out)
    neighbours = None
    for event in evaluate(subject):
        if isinstance(event, Step):
            yield event
        elif isinstance(event, Neighbours):
            neighbours = event
        else:
            evaluation = event
    findings = verdict(Evidence(run.vae.config, evaluation, run.summary, run.history))
    return Record(model_id, evaluation, tuple(findings), neighbours)


def fit_prior(vae: VAE, train: Dataset, beta: float, seed: int) -> Prior:
    """The prior fitted to encoded training images; a 2-D model keeps N(0, I), which its map is drawn by."""
    if vae.config.latent_dim <= 2:
        return StandardPrior(vae.config.latent_dim)
    some = order(seed, 0, len(train))[:MOST_LATENTS]
    posterior = encode_all(vae, in_order(Dataset(train.pixels, train.rows[some])))
    if beta == 0:  # an autoencoder's variances mean nothing: its latents are the means
        posterior = Posterior(posterior.mean, torch.full_like(posterior.logvar, -12.0))
    return fit(posterior, seed)
