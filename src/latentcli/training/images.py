"""Readable training and held-out images, with notes on images that could harm the training."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import torch

from latentcli.data.cache import Loading
from latentcli.data.dataset import Dataset, readable_part
from latentcli.errors import ImageError
from latentcli.events import Progress
from latentcli.training.plan import Choice

_COMPARED = 256  # images compared with the first, to find out whether all are the same


@dataclass(frozen=True, slots=True)
class Images:
    """Decoded training and held-out images, and messages about their files."""

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


def images_of(choice: Choice, loadings: Sequence[Loading]) -> Images:
    """Readable images in `loadings`, the result of `read(choice)`. Raises ImageError below two training images."""
    source = choice.train.listing.source
    train = readable_part(loadings[0].decoded, choice.train.rows)
    held_out = readable_part(loadings[-1].decoded, choice.held_out.rows) if choice.held_out else None
    if not len(train):
        raise ImageError(f"none of the {len(choice.train)} images in {source} can be read; check the files")
    if len(train) == 1:
        raise ImageError(f"only one image of {source} can be read; training takes two or more")
    messages = [text for loading in loadings for _, text in sorted(loading.decoded.problems.items())]
    return Images(
        train,
        held_out if held_out and len(held_out) else None,
        tuple(dict.fromkeys(messages)),  # once each: a held-out folder may lie inside the training folder
        tuple(choice.train.listing.passed_over.noteworthy()),
        tuple(_notes(choice, train, loadings)),
    )


def _notes(choice: Choice, train: Dataset, loadings: Sequence[Loading]) -> Iterator[str]:
    """Warnings about training images that are too small, all the same, or not in the cache."""
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
    if not all(loading.kept for loading in loadings):
        yield "the cache folder has no room or cannot be written to, so the images will be read again next time"
