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
from latentcli.evaluation.sample_metrics import FeatureSpace, open_features
from latentcli.events import Event, Note, Progress, Skipped
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.storage import catalog, history
from latentcli.storage.history import Metrics


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The result of an evaluation."""

    evaluation: Evaluation
    findings: tuple[Finding, ...]

    @property
    def metrics(self) -> Metrics:
        """On the held-out images."""
        return self.evaluation.held_out

    @property
    def baselines(self) -> tuple[Baseline, ...]:
        """Metrics of simpler models on the same images."""
        return self.evaluation.baselines

    @property
    def samples(self) -> tuple[SampleMetrics, ...]:
        """Metrics of samples, one entry a prior."""
        return self.evaluation.samples


@dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """Images and settings of an evaluation."""

    data: Path
    training: Path | None = None  # the training images, where they have moved
    draws: int | None = None  # of the importance-weighted bound
    features: Path | None = None  # a network's file


def evaluate(model: LoadedModel | catalog.ModelEntry, request: EvaluateRequest) -> Iterator[Event | Evaluated]:
    """Measure a model on images it was not trained on; ends with Evaluated.

    Raises ImageError when there are no images, ConfigError for values that cannot work.
    """
    features = open_features(request.features)
    listing = scan(open_source(request.data))
    training = scan(open_source(request.training)) if request.training else None
    if isinstance(model, catalog.ModelEntry):
        model = load_model(model.path)
    if request.draws and not _noise_scale(model):
        raise ConfigError(f"{model.name} is an autoencoder (beta 0), which has no likelihood; leave out `iwae`")
    return _evaluate(model, request, listing, training, features)


def _evaluate(
    model: LoadedModel, request: EvaluateRequest, listing: Listing, training: Listing | None, features: FeatureSpace
) -> Iterator[Event | Evaluated]:
    known = _known_files(model, listing)
    loading = yield from _loaded(model, listing)
    everything = np.arange(len(listing), dtype=np.int32)
    held_out = readable_part(loading.decoded, everything[~known.rows])
    train = readable_part(loading.decoded, everything[known.rows])
    if not len(held_out) and not len(train):
        raise ImageError(f"none of the {len(listing)} images of {request.data} can be read; check the files")
    on_training = not len(held_out)
    if len(train):
        yield Note(known.describe(model.name, len(train), len(held_out)))
    if on_training:
        held_out = train
    if not len(train):
        train = yield from _training_images(model, training)
    subject = Subject(
        vae=model.vae,
        prior=model.prior,
        held_out=held_out,
        train=train if len(train) else None,
        noise_scale=_noise_scale(model),
        features=features,
        on_training=on_training,
        draws=request.draws,
    )
    for event in measure(subject):
        if isinstance(event, Progress):
            yield event
        elif isinstance(event, Evaluation):
            yield Evaluated(event, _findings(model, event, known.foreign))


def _noise_scale(model: LoadedModel) -> float:
    return float(model.training is None or model.training.beta > 0)


def _loaded(model: LoadedModel, listing: Listing) -> Generator[Event, None, Loading]:
    loading = Loading(listing, model.config)
    for done in loading:
        yield Progress("reading", done, len(listing))
    for _, problem in sorted(loading.decoded.problems.items()):
        yield Skipped(problem)
    return loading


@dataclass(frozen=True, slots=True)
class _TrainedOn:
    """Which images of a listing took part in a training."""

    rows: np.ndarray  # (n,) bool
    foreign: bool = False  # the listing has nothing to do with the training
    assumed: bool = False  # from the name of the folder

    def describe(self, name: str, trained: int, held_out: int) -> str:
        if not held_out:
            what = f"{name} was trained on all of these images: the metrics say nothing about new ones"
        else:
            what = f"{trained} of these images were trained on; the {held_out} held out are measured"
        return f"{what} (assumed from the name of the folder)" if self.assumed else what


def _known_files(model: LoadedModel, listing: Listing) -> _TrainedOn:
    """By the names and sizes stored with the run.

    Where they are missing, a folder of the same name is taken for the one trained on.
    """
    try:
        trained = Fingerprints.load(model.path.parent).trained_on(listing)
    except FileFormatError:
        pass
    else:
        return _TrainedOn(np.zeros(len(listing), dtype=bool), foreign=True) if trained is None else _TrainedOn(trained)
    summary = model.training
    if summary is None or listing.source.path.resolve().name != summary.data:
        return _TrainedOn(np.zeros(len(listing), dtype=bool), foreign=True)
    share = summary.held_out_share
    if not summary.held_out_images or share is None:
        return _TrainedOn(np.ones(len(listing), dtype=bool), assumed=True)
    held_out = is_held_out(listing.names, share)
    return _TrainedOn(~held_out, assumed=True)


def _training_images(model: LoadedModel, listing: Listing | None) -> Generator[Event, None, Dataset]:
    """The training images: in the given folder, else where they were at the time; none when they are gone."""
    named = listing is not None
    if listing is None:
        with contextlib.suppress(FileFormatError, ImageError):
            listing = scan(open_source(Path(Fingerprints.load(model.path.parent).listings[0].source)))
    trained = _known_files(model, listing).rows if listing else np.zeros(0, dtype=bool)
    if listing is None or not (named or trained.any()):
        yield Note("no baselines, because the training images are missing; name their folder with `training` DIR")
        return Dataset.from_images(torch.empty(0))
    loading = yield from _loaded(model, listing)
    rows = np.arange(len(listing), dtype=np.int32)
    return readable_part(loading.decoded, rows[trained] if trained.any() else rows)


def _findings(model: LoadedModel, evaluation: Evaluation, foreign: bool) -> tuple[Finding, ...]:
    """The diagnosis, where the model file says how it was trained."""
    summary = model.training
    if summary is None:
        return ()
    return tuple(diagnose(Evidence(model.config, evaluation, summary, history.read(model.path.parent), foreign)))
