"""Images of a training: those of its listings that can be read, and what to know about them."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import torch

from latentcli.data.cache import Loading
from latentcli.data.dataset import Dataset, readable_part
from latentcli.errors import ImageError
from latentcli.events import Progress
from latentcli.training.plan import Choice

_COMPARED = 256  # images that are searched for any difference


@dataclass(frozen=True, slots=True)
class Images:
    """The images of a training, and notes on them."""

    train: Dataset
    held_out: Dataset | None
    unreadable: tuple[str, ...]  # messages
    passed_over: tuple[str, ...]  # files that may have been meant to be among them
    notes: tuple[str, ...]  # other notes on the images


def read(choice: Choice) -> Generator[Progress, None, list[Loading]]:
    """Decode the images of the listings of a choice that are not in the cache."""
    loadings = [Loading(listing, choice.model) for listing in choice.listings]
    total = sum(len(listing) for listing in choice.listings)
    before = 0
    for loading in loadings:
        for done in loading:
            yield Progress("reading", before + done, total)
        before += len(loading.listing)
    return loadings


def images_of(choice: Choice, loadings: Sequence[Loading]) -> Images:
    """The readable images of finished loadings. Raises ImageError when there are not two to train on."""
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
        tuple(dict.fromkeys(messages)),  # once each: a held-out folder may lie inside the other
        tuple(choice.train.listing.passed_over.noteworthy()),
        tuple(_notes(choice, train, loadings)),
    )


def _notes(choice: Choice, train: Dataset, loadings: Sequence[Loading]) -> Iterator[str]:
    """Notes on images that will not train as well as they might."""
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
