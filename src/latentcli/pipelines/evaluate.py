"""Evaluation of a trained model on a folder of images."""

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from latentcli.data.cache import Loading
from latentcli.data.dataset import Dataset, readable_part
from latentcli.data.fingerprint import Fingerprints
from latentcli.data.sources import Listing, is_held_out, open_source, scan
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
    """The result of an evaluation: metrics and diagnosis."""

    evaluation: Evaluation
    findings: tuple[Finding, ...]

    @property
    def metrics(self) -> Metrics:
        """Metrics on the held-out images."""
        return self.evaluation.held_out

    @property
    def baselines(self) -> tuple[Baseline, ...]:
        """Metrics of simpler models on the same images."""
        return self.evaluation.baselines

    @property
    def samples(self) -> tuple[SampleMetrics, ...]:
        """Metrics of samples, one entry for each prior."""
        return self.evaluation.samples


def evaluate(
    entry: ModelEntry,
    data: Path,
    training: Path | None = None,
    draws: int | None = None,
    features: Path | None = None,
) -> Iterator[Event | Evaluated]:
    """Measure a model on images it was not trained on; ends with Evaluated.

    `training` holds the training images where they have moved, `features` a feature network. `draws` per image are for
    the importance-weighted bound. Raises ImageError when there are no images, ConfigError for values that cannot work.
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
    """The images of a listing, read and cropped for the model; yields the progress and the unreadable ones."""
    loading = Loading(listing, model.config)
    for done in loading:
        yield Progress("reading", done, len(listing))
    for _, problem in sorted(loading.decoded.problems.items()):
        yield Skipped(problem)
    return loading


@dataclass(frozen=True, slots=True)
class _TrainedOn:
    """The images of a listing that a model was trained on."""

    rows: np.ndarray  # (n,) bool
    is_foreign: bool = False  # the listing has nothing to do with the training
    is_assumed: bool = False  # concluded from the name of the folder alone


def _trained_on(model: LoadedModel, listing: Listing) -> _TrainedOn:
    """The training images among those of a listing, by the names and sizes that are stored with the model.

    Where these are missing, a folder of the same name is taken for the one trained on.
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
    held_out = is_held_out(listing.names, summary.held_out_share)
    return _TrainedOn(~held_out, is_assumed=True)


def _training_images(model: LoadedModel, listing: Listing | None) -> Generator[Event, None, Dataset]:
    """The training images: those of the listing, else those at their place at the time; none where they are gone."""
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
