"""Run of a plan, from the first image read to the last file written."""

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence

import torch

from latentcli.config import ModelConfig
from latentcli.data.cache import Loading
from latentcli.data.dataset import Dataset, readable_part
from latentcli.errors import ImageError, LatentCLIError
from latentcli.events import Progress
from latentcli.storage.files import LOCK_FILE, check_writable_folder, exclusive, remove_parts
from latentcli.storage.names import FILES_FILE, RESUME_FILE
from latentcli.training import events, start
from latentcli.training.plan import Choice, Plan, up_to_date
from latentcli.training.trainer import Images, Trainer

_COMPARED = 256  # images that are searched for any difference
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def run(plan: Plan, stop: Callable[[], bool] = lambda: False) -> Iterator[events.Report]:
    """Train as planned. `stop` is called after each step; when it is true the run is saved and ends, to be resumed.

    Raises ConfigError when another program trains in the same folder, LatentCLIError when the folder cannot be written
    to, training diverges or memory runs out.
    """
    check_writable_folder(plan.folder)
    with exclusive(plan.folder):
        try:
            remove_parts(plan.folder)
            plan = up_to_date(plan)  # another program may have resumed the run since the plan was made
            if plan.resumed is None:
                plan.fingerprints.write(plan.folder, plan.choice.train.rows)
            size = plan.choice.config.batch_size
            advice = f"try `batch_size` {max(2, size // 2)} or a smaller `size` under another `name`"
            with advice_on_memory(plan.choice.model, size, advice), computing_with(plan.choice.threads):
                images = images_of(plan.choice, (yield from read(plan.choice)))
                begun = None if plan.resumed else (yield from start.find(plan, images.train))
                if begun:
                    yield Progress("testing the speed", 0, 1)
                yield from Trainer(plan, images, begun).run(stop)
        finally:
            if not (plan.folder / RESUME_FILE).exists():  # nothing was trained
                (plan.folder / FILES_FILE).unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # stays unless nothing was written
                    (plan.folder / LOCK_FILE).unlink(missing_ok=True)
                    plan.folder.rmdir()


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
    """The images that can be read, of finished loadings. Raises ImageError when there are not two to train on."""
    source = choice.train.listing.source
    train = readable_part(loadings[0].decoded, choice.train.rows)
    held_out = readable_part(loadings[-1].decoded, choice.held_out.rows) if choice.held_out else None
    if not len(train):
        raise ImageError(f"none of the {len(choice.train)} images in {source} can be read; check the files")
    if len(train) == 1:
        raise ImageError(f"only one image of {source} can be read; training takes two or more")
    problems = (sorted(loading.decoded.problems.items()) for loading in loadings)
    unreadable = dict.fromkeys(text for some in problems for _, text in some)  # a held-out folder may lie inside
    return Images(
        train,
        held_out if held_out and len(held_out) else None,
        tuple(unreadable),
        tuple(choice.train.listing.passed_over.noteworthy()),
        tuple(_notes(choice, train, loadings)),
    )


def _notes(choice: Choice, train: Dataset, loadings: Sequence[Loading]) -> Iterator[str]:
    """Notes on images that will not train as well as they might."""
    model, first = choice.model, loadings[0]
    smaller = first.decoded.smaller_than(model, choice.train.rows)
    if smaller:
        yield (
            f"{smaller} of {len(choice.train)} images are smaller than {model.width}x{model.height} and are scaled up; "
            "a smaller `size` trains faster and as well"
        )
    some = train.spread(_COMPARED)
    if bool((some.take(torch.arange(len(some))) == train.take(torch.tensor([0]))).all()):
        yield "all images are the same; there is nothing to learn from them but that one image"
    if not all(loading.kept for loading in loadings):
        yield "the cache folder has no room or cannot be written to, so the images will be read again next time"


@contextlib.contextmanager
def computing_with(wanted: int | None) -> Iterator[None]:
    """Compute with so many threads, and afterwards with as many as before."""
    before = torch.get_num_threads()
    if wanted is not None:
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def advice_on_memory(model: ModelConfig, batch_size: int, advice: str) -> Iterator[None]:
    """Turn the many errors of full memory into one that says what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(text in str(error) for text in _NO_MEMORY):
            raise
        size = f"{model.width}x{model.height}"
        raise LatentCLIError(f"out of memory at {size} pixels and {batch_size} images a step; {advice}") from error
