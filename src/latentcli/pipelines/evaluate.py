"""Evaluation of a trained model on a folder of images: metrics, and a diagnosis with advice."""

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from latentcli.data.cache import Loading
from latentcli.data.dataset import Dataset, readable_part
from latentcli.data.fingerprint import Fingerprints
from latentcli.data.sources import Listing, held_out_then, open_source, scan
from latentcli.errors import ConfigError, FileFormatError, ImageError
from latentcli.evaluation.diagnosis import Evidence, Finding, diagnose
from latentcli.evaluation.evaluate import Subject
from latentcli.evaluation.evaluate import evaluate as measure
from latentcli.evaluation.result import Baseline, Evaluation, SampleMetrics
from latentcli.evaluation.sample_metrics import open_features
from latentcli.events import Event, Note, Progress, Skipped
from latentcli.model.modelfile import LoadedModel, open_model
from latentcli.storage import history
from latentcli.storage.catalog import ModelEntry
from latentcli.storage.history import Metrics


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Result of the command `evaluate`: all metrics, and the findings of the diagnosis."""

    evaluation: Evaluation
    findings: tuple[Finding, ...]

    @property
    def metrics(self) -> Metrics:
        """Metrics on the held-out images, or on training images if none were held out."""
        return self.evaluation.held_out

    @property
    def baselines(self) -> tuple[Baseline, ...]:
        """Metrics of simpler models, for comparison, on the same images as `metrics`."""
        return self.evaluation.baselines

    @property
    def samples(self) -> tuple[SampleMetrics, ...]:
        """Metrics of samples drawn from the model's priors, one entry per prior."""
        return self.evaluation.samples


def evaluate(
    entry: ModelEntry,
    data: Path,
    training: Path | None = None,
    draws: int | None = None,
    features: Path | None = None,
) -> Iterator[Event | Evaluated]:
    """Measure a model on the images of `data` that it was not trained on; the last event is an Evaluated.

    `training` is the training images' folder if it has moved, `draws` the latents per image for the importance-weighted
    bound, `features` a feature network's file. Raises ImageError without images, ConfigError for bad settings.
    """
    feature_space = open_features(features)
    listing = scan(open_source(data))
    training_listing = scan(open_source(training)) if training else None
    model = open_model(entry)
    summary = model.header.training
    is_vae = summary is None or summary.beta > 0
    if draws and not is_vae:
        raise ConfigError(f"{model.name} is an autoencoder (beta 0), which has no likelihood; leave out `iwae`")

    trained_on = _trained_on(model, listing)
    loading = yield from _loaded(model, listing)
    rows = np.arange(len(listing), dtype=np.int32)
    held_out = readable_part(loading.decoded, rows[~trained_on.rows])
    train = readable_part(loading.decoded, rows[trained_on.rows])
    if not len(held_out) and not len(train):
        raise ImageError(f"none of the {len(listing)} images of {data} can be read; check the files")
    on_training = not len(held_out)
    if len(train):
        what = f"{len(train)} of these images were trained on; the {len(held_out)} held out are measured"
        if on_training:
            what = f"{model.name} was trained on all of these images: the metrics say nothing about new ones"
        yield Note(f"{what} (assumed from the name of the folder)" if trained_on.is_assumed else what)
    if on_training:
        held_out = train
    if not len(train):
        train = yield from _training_images(model, training_listing)
    subject = Subject(
        vae=model.vae,
        prior=model.prior,
        held_out=held_out,
        train=train if len(train) else None,
        noise_scale=float(is_vae),
        features=feature_space,
        on_training=on_training,
        draws=draws,
    )
    for event in measure(subject):
        if isinstance(event, Progress):
            yield event
        elif isinstance(event, Evaluation):
            findings: tuple[Finding, ...] = ()
            if summary is not None:
                past = history.read(model.path.parent)
                findings = tuple(diagnose(Evidence(model.config, event, summary, past, trained_on.is_foreign)))
            yield Evaluated(event, findings)


def _loaded(model: LoadedModel, listing: Listing) -> Generator[Event, None, Loading]:
    """Read the images of a listing (the files of a source), cropped for the model; yields progress and failures."""
    loading = Loading(listing, model.config)
    for done in loading:
        yield Progress("reading", done, len(listing))
    for _, problem in sorted(loading.decoded.problems.items()):
        yield Skipped(problem)
    return loading


@dataclass(frozen=True, slots=True)
class _TrainedOn:
    """Mask of the images of a listing (files of a source) that a model was trained on, and whether it is a guess."""

    rows: np.ndarray  # (n,) bool
    is_foreign: bool = False  # the listing has nothing to do with the training
    is_assumed: bool = False  # concluded from the name of the folder alone


def _trained_on(model: LoadedModel, listing: Listing) -> _TrainedOn:
    """Mask of the images of a listing that the model was trained on, from the names and sizes stored with the model.

    Without stored names, a folder that has the training folder's name is taken for the training folder.
    """
    foreign = _TrainedOn(np.zeros(len(listing), dtype=bool), is_foreign=True)
    try:
        rows = Fingerprints.load(model.path.parent).trained_on(listing)
        return foreign if rows is None else _TrainedOn(rows)
    except FileFormatError:
        summary = model.header.training
    if summary is None or listing.source.path.resolve().name != summary.data:
        return foreign
    if not summary.held_out_images or summary.held_out_share is None:
        return _TrainedOn(np.ones(len(listing), dtype=bool), is_assumed=True)
    return _TrainedOn(~held_out_then(listing.names, summary), is_assumed=True)


def _training_images(model: LoadedModel, listing: Listing | None) -> Generator[Event, None, Dataset]:
    """Training images from `listing`, by default from the folder used in training; an empty dataset if none exist."""
    is_given = listing is not None
    if listing is None:
        with contextlib.suppress(FileFormatError, ImageError):
            listing = scan(open_source(Path(Fingerprints.load(model.path.parent).listings[0].source)))
    trained = _trained_on(model, listing).rows if listing else np.zeros(0, dtype=bool)
    if listing is None or not (is_given or trained.any()):
        yield Note("no baselines, because the training images are missing; name their folder with `training` DIR")
        return Dataset.from_images(torch.empty(0))
    loading = yield from _loaded(model, listing)
    rows = np.arange(len(listing), dtype=np.int32)
    return readable_part(loading.decoded, rows[trained] if trained.any() else rows)
