"""A trained model measured on a folder of images, and its report written anew."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from latentcli import catalog, history
from latentcli.concepts import ConceptVector
from latentcli.data.dataset import Dataset, is_held_out, readable_part
from latentcli.data.loading import Loading
from latentcli.data.prints import Kept
from latentcli.errors import ConfigError, FileFormatError, ImageError
from latentcli.evaluation.evaluate import Evaluation, Step, Subject
from latentcli.evaluation.evaluate import evaluate as measure_all
from latentcli.evaluation.features import FeatureSpace, open_features
from latentcli.evaluation.verdict import Evidence, Finding, verdict
from latentcli.files import output_file, write_whole
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.pipelines.events import Event, Note, Progress, Unreadable, Wrote
from latentcli.report.build import REPORT_FILE, build
from latentcli.sources import Listing, name_hashes, open_source, scan


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The last word of an evaluation."""

    evaluation: Evaluation
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What `evaluate` is asked for."""

    data: Path
    training: Path | None = None  # the images trained on, where they cannot be found
    draws: int | None = None  # of the importance-weighted bound
    features: Path | None = None  # a network's file


def evaluate(entry: catalog.ModelEntry, wish: Wish) -> Iterator[Event | Evaluated]:
    """Measure a model on images it was not trained on; ends with Evaluated.

    Raises ImageError when there are no images, ConfigError for values that cannot work.
    """
    features = open_features(wish.features)
    listing = scan(open_source(wish.data))
    training = scan(open_source(wish.training)) if wish.training else None
    model = load_model(entry.path)
    return _evaluate(model, wish, listing, training, features)


def _evaluate(
    model: LoadedModel, wish: Wish, listing: Listing, training: Listing | None, features: FeatureSpace
) -> Iterator[Event | Evaluated]:
    trained = _trained_on(model, listing)
    loading = yield from _loaded(model, listing)
    everything = np.arange(len(listing), dtype=np.int32)
    held_out = readable_part(loading.decoded, everything[~trained])
    train = readable_part(loading.decoded, everything[trained])
    on_training = not len(held_out)
    if on_training:
        yield Note(f"{model.name} was trained on all of these images: the figures say nothing about new ones")
        held_out = train
    elif len(train):
        yield Note(f"{len(train)} of these images were trained on; the {len(held_out)} held out are measured")
    if not len(held_out):
        raise ImageError(f"none of the {len(listing)} images of {wish.data} can be read; check the files")
    if not len(train):
        train = yield from _training_images(model, training)
    noise_scale = float(float(model.header.get("training", {}).get("beta", 1.0)) > 0)
    subject = Subject(
        model.vae, model.prior, held_out, train if len(train) else None, noise_scale, features, on_training, wish.draws
    )
    for event in measure_all(subject):
        if isinstance(event, Step):
            yield Progress(event.done, event.total)
        elif isinstance(event, Evaluation):
            yield Evaluated(event, _findings(model, event))


def _loaded(model: LoadedModel, listing: Listing) -> Generator[Event, None, Loading]:
    loading = Loading(listing, model.config)
    for done in loading:
        yield Progress(done, len(listing))
    for _, problem in sorted(loading.decoded.problems.items()):
        yield Unreadable(problem)
    return loading


def _trained_on(model: LoadedModel, listing: Listing) -> np.ndarray:
    """Which of the images the model was trained on, as far as it can be told: (n,) bool.

    The run keeps names and sizes of its files; where it is not there, as with a model from elsewhere, a folder of the
    same name counts as the one trained on.
    """
    summary = model.header.get("training") or {}
    try:
        known = Kept.load(model.path.parent).holds(listing)
    except FileFormatError:
        same_name = listing.source.path.resolve().name == summary.get("data")
        known = np.full(len(listing), same_name)
    share = summary.get("held_out_share")
    if not summary.get("held_out_images") or share is None:
        return known
    held_out = is_held_out(name_hashes(bytes(name) for name in listing.names), float(share))
    return np.asarray(known & ~held_out)


def _training_images(model: LoadedModel, listing: Listing | None) -> Generator[Event, None, Dataset]:
    """The images that were trained on: the named ones, else those where they lay then; none when they are gone."""
    if listing is None:
        try:
            place = Kept.load(model.path.parent).place
            listing = scan(open_source(place)) if place else None
        except (FileFormatError, ImageError):
            listing = None
    if listing is None:
        yield Note("without the images it was trained on there are no baselines; name them with --training DIR")
        return Dataset.from_images(torch.empty(0))
    rows = np.arange(len(listing), dtype=np.int32)
    trained = _trained_on(model, listing)
    loading = yield from _loaded(model, listing)
    return readable_part(loading.decoded, rows[trained] if trained.any() else rows)


def _findings(model: LoadedModel, evaluation: Evaluation) -> tuple[Finding, ...]:
    """The verdict, where the model file tells how it was trained."""
    summary = model.header.get("training")
    if not isinstance(summary, dict) or not {"steps", "epochs", "seconds", "images", "beta"} <= set(summary):
        return ()
    return tuple(verdict(Evidence(model.config, evaluation, summary, history.read(model.path.parent))))


def report(entry: catalog.ModelEntry, output: Path | None, force: bool) -> Iterator[Event]:
    """Write `report.html` beside an own model, or where `output` says; of a bundled model into the current folder.

    Raises OutputExists when `output` is taken.
    """
    if output is None and not entry.bundled:
        target = entry.path.parent / REPORT_FILE
    else:
        target = output_file(output, Path(f"{entry.name}-{REPORT_FILE}"), force)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{target} would hold a page; give a name that ends in .html")
    return _report(entry, target)


def _report(entry: catalog.ModelEntry, target: Path) -> Iterator[Event]:
    model = load_model(entry.path)
    vectors = []
    for path in catalog.vectors_of(entry).values():
        try:
            vectors.append(ConceptVector.load(path))
        except FileFormatError as error:
            yield Note(f"left out: {error}")
    fitting = [vector for vector in vectors if vector.model_id == model.model_id]
    write_whole(target, build(model, fitting).encode())
    yield Wrote(target)
