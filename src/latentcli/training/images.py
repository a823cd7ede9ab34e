"""Readable training and held-out images, with notes on images that could harm the training."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from latentcli.data.cache import Loading
from latentcli.data.dataset import Dataset, readable_part
from latentcli.data.duplicates import first_alike, has_alike
from latentcli.errors import ImageError
from latentcli.events import Progress
from latentcli.training.plan import Choice

_HELD_OUT_COMPARED = 2000  # held-out images of another folder, at most, that are compared with the training images
_FEW = 0.01  # share of held-out images up to which near-duplicates in training change no metric and may be chance
_COMPARED = 256  # images compared with the first, to find out whether all are the same


@dataclass(frozen=True, slots=True)
class Images:
    """Decoded training and held-out images, and messages about their files."""

    choice: Choice  # with near-duplicates on one side of the split
    train: Dataset
    held_out: Dataset | None
    unreadable: tuple[str, ...]  # error messages, one per file
    passed_over: tuple[str, ...]  # notes on files that were not read but may have been meant as images
    notes: tuple[str, ...]  # other notes on the images


def read(choice: Choice) -> Generator[Progress, None, list[Loading]]:
    """Decode the images of `choice` into the cache, yielding progress. Returns a `Loading`, now decoded, per source."""
    loadings = [Loading(listing, choice.model) for listing in choice.listings]
    total = sum(len(listing) for listing in choice.listings)
    before = 0
    for loading in loadings:
        for done in loading:
            yield Progress("reading", before + done, total)
        before += len(loading.listing)
    return loadings


def images_of(choice: Choice, loadings: Sequence[Loading], trained: np.ndarray | None = None) -> Images:
    """Readable images in `loadings`, the result of `read(choice)`. Raises ImageError below two training images.

    `trained`, (n,) int32, are the rows that a past training trained on; None lets near-duplicates follow the first of
    their group to its side of the split.
    """
    source, grouped = choice.train.listing.source, ""
    if trained is not None:
        choice = choice.trained_on(trained)
    elif choice.held_out and len(loadings) == 1:
        choice, grouped = _with_groups_whole(choice, loadings[0])
    train = readable_part(loadings[0].decoded, choice.train.rows)
    held_out = readable_part(loadings[-1].decoded, choice.held_out.rows) if choice.held_out else None
    if not train:
        raise ImageError(f"none of the {len(choice.train)} images in {source} can be read; check the files")
    if len(train) == 1:
        raise ImageError(f"only one image of {source} can be read; training takes two or more")
    messages = [text for loading in loadings for _, text in sorted(loading.decoded.problems.items())]
    return Images(
        choice,
        train,
        held_out or None,
        tuple(dict.fromkeys(messages)),  # once each: a held-out folder may lie inside the training folder
        tuple(choice.train.listing.passed_over.noteworthy()),
        tuple(filter(None, (*_notes(choice, train, held_out, loadings), grouped))),
    )


def _with_groups_whole(choice: Choice, loading: Loading) -> tuple[Choice, str]:
    """`choice` with each group of near-duplicates on the side of its first image by name, and a note on the groups.

    The choice is unchanged if that left fewer than two images to train on, or none to measure on.
    """
    rows = np.flatnonzero(loading.decoded.readable).astype(np.int32)
    if not len(rows):
        return choice, ""
    images = readable_part(loading.decoded, rows)
    first = first_alike(images.batches(), len(images))
    sizes = np.bincount(first)
    is_trained = np.isin(np.arange(len(loading.listing)), choice.train.rows)
    is_trained[rows] = is_trained[rows[first]]
    if is_trained[rows].sum() < 2 or is_trained[rows].all() or sizes.max() == 1:
        return choice, ""
    note = (
        f"{sizes[sizes > 1].sum()} images are near-duplicates, in {(sizes > 1).sum()} groups; each group is trained on "
        "or held out as a whole"
    )
    return choice.trained_on(np.flatnonzero(is_trained).astype(np.int32)), note


def _notes(choice: Choice, train: Dataset, held_out: Dataset | None, loadings: Sequence[Loading]) -> Iterator[str]:
    """Warnings about training images that are too small, all the same, held out as well, or not in the cache."""
    model = choice.model
    smaller = loadings[0].decoded.smaller_than(model, choice.train.rows)
    if smaller:
        yield (
            f"{smaller} of {len(choice.train)} images are smaller than {model.width}x{model.height} and are scaled up; "
            "a smaller `size` trains faster and as well"
        )
    compared = train.spread(_COMPARED)
    if bool((compared.take(torch.arange(len(compared))) == train.take(torch.tensor([0]))).all()):
        yield "all images are the same; there is nothing to learn from them but that one image"
    if held_out and len(loadings) > 1:
        compared = held_out.spread(_HELD_OUT_COMPARED)
        twins = int(has_alike(compared.batches(), train.batches()).sum())
        if twins > _FEW * len(compared):
            yield (
                f"{twins} of {len(compared)} held-out images are near-duplicates of training images, so metrics look "
                "too good; take those out of one of the folders"
            )
    if not all(loading.kept for loading in loadings):
        yield "the cache folder has no room or cannot be written to, so the images will be read again next time"
