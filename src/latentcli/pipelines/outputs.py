"""Outputs of commands: the files of their results, and the decoding of latents into them.

A folder in is a folder out: sub-folders and stems are kept, and results that exist are skipped. A single result never
replaces a file unless forced.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from latentcli.concepts.axes import Axis
from latentcli.defaults import TRAVERSAL_RANGE, TRAVERSAL_STEPS
from latentcli.errors import ConfigError, OutputExists, UsageError
from latentcli.events import Event, Kept, Progress, Wrote
from latentcli.figures.sheet import Captions, Look, enlarged
from latentcli.imaging.images import check_writable, to_pictures, write_picture
from latentcli.model.modelfile import LoadedModel
from latentcli.pipelines.inputs import Item
from latentcli.storage.files import PIPE, free_name, output_file

PAGES = (".html", ".htm")  # suffixes
_MOST_RANGE = 100.0  # standard deviations


def targets(
    items: Sequence[Item], tag: str, suffix: Callable[[Item], str], output: Path | None, force: bool
) -> list[Item]:
    """The items with their targets: no two results go to one file, and none replaces an image of the job.

    `tag` is added to names that latentcli chooses; `suffix` gives the file type. Raises OutputExists for a single named
    file that is taken, ConfigError for one file name for several results.
    """
    if output == PIPE and len(items) != 1:
        raise ConfigError(f"`output` - takes one result, but there are {len(items)}; give a folder")
    if len(items) == 1 and (items[0].folder is None or output == PIPE):
        item = items[0]
        if output == PIPE or (output is None and item.content is not None):
            return [item]
        name = f"{Path(item.name).stem}{tag}{suffix(item)}"
        chosen = [replace(item, target=check_writable(output_file(output, Path(name), force)))]
    else:
        check_folder(output, len(items))
        chosen = _many(items, tag, suffix, output, force)
    check_originals(chosen)
    return chosen


def check_originals(items: Sequence[Item]) -> None:
    """Raises OutputExists where a result would replace an image of the job."""
    originals = {_identity(item.path) for item in items if item.content is None}
    for item in items:
        if _identity(item.target) in originals:
            raise OutputExists(f"{item.target} would replace an original; give another `output`")


def _identity(path: Path) -> tuple[int, int] | str:
    """A key that is the same for all names of a file, hard links included."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def not_done(items: Sequence[Item]) -> Generator[Event, None, list[Item]]:
    """The items of a folder job whose results do not exist yet; yields Kept for the others."""
    yield from (Kept(item.target) for item in items if item.is_done)
    return [item for item in items if not item.is_done]


def check_folder(output: Path | None, results: int) -> None:
    """Raises OutputExists when the folder for several results is a file, ConfigError when it has the name of one."""
    if output is None or os.path.isdir(output):
        return
    if os.path.lexists(output):
        raise OutputExists(f"{output} is a file, but there are {results} results; give a folder as `output`")
    if output.suffix:
        raise ConfigError(f"{output} looks like a file, but there are {results} results; give a folder instead")


def _many(
    items: Sequence[Item], tag: str, suffix: Callable[[Item], str], output: Path | None, force: bool
) -> list[Item]:
    """Targets of several items, the same for the same items every time: a job can go on where it stopped.

    Earlier results inside a folder of items are left out.
    """
    roots: dict[Path | None, Path] = {None: output or Path()}  # the output folder of each folder of items
    for folder in dict.fromkeys(item.folder for item in items if item.folder is not None):
        beside = Path(f"{folder.resolve().name}{tag}")
        roots[folder] = output or free_name(beside, set(map(_folded, roots.values())), on_disk=False, is_folder=True)

    def named(item: Item, keep_suffix: bool = False) -> Path:
        name = PurePosixPath(item.name)
        added = tag if item.folder is None else ""
        return roots[item.folder] / name.with_name(f"{name.name if keep_suffix else name.stem}{added}{suffix(item)}")

    inside = tuple(
        os.path.realpath(root) + os.sep
        for folder, root in roots.items()
        if folder is not None and os.path.realpath(root) != os.path.realpath(folder)
    )
    items = [item for item in items if not os.path.realpath(item.path).startswith(inside)]
    meeting: dict[str, set[str]] = defaultdict(set)
    for item in items:
        meeting[_folded(named(item))].add(PurePosixPath(item.name).name.casefold())
    chosen: list[Item] = []
    taken: set[str] = set()
    for item in items:
        clashes = len(meeting[_folded(named(item))]) > 1  # a.jpg and a.png: the suffix stays
        path = free_name(named(item, keep_suffix=clashes), taken, on_disk=item.folder is None and not force)
        taken.add(_folded(path))
        done = item.folder is not None and not force and os.path.lexists(path)
        chosen.append(replace(item, target=path, is_done=done))
    return chosen


def _folded(path: Path) -> str:
    """The path as macOS and Windows compare it: without case."""
    return str(path).casefold()


def decoded_pictures(
    model: LoadedModel, latents: Iterable[np.ndarray], count: int
) -> Generator[Event, None, list[Image.Image]]:
    """Pictures of `count` latents, which come in batches (n, latent_dim); yields the progress."""
    pictures: list[Image.Image] = []
    for z in latents:
        pictures += to_pictures(model.decode(z))
        yield Progress("decoding", len(pictures), count)
    return pictures


def write_decoded(
    model: LoadedModel, latents: Iterable[tuple[np.ndarray, Sequence[Path]]], count: int, keep: bool, scale: int = 1
) -> Iterator[Event]:
    """Decode `count` latents, each into a file of its own; `keep` leaves files that exist as they are.

    The latents come in batches (n, latent_dim), each with the paths of its n files, which are written while the next
    batch is decoded.
    """

    def written(picture: Image.Image, path: Path) -> Event:
        if keep and os.path.lexists(path):
            return Kept(path)
        write_picture(enlarged(picture, scale), path)
        return Wrote(path)

    writing: Iterator[Event] = iter(())
    done = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for z, paths in latents:
            pictures = to_pictures(model.decode(z))
            yield from writing
            writing = pool.map(written, pictures, paths)
            done += len(paths)
            yield Progress("decoding", done, count)
        yield from writing


def check_page(target: Path) -> Path:
    """The path of an HTML page. Raises ConfigError for another suffix."""
    if target.suffix.lower() not in PAGES:
        raise ConfigError(f"{target} would be an HTML page; give a name that ends in .html")
    return target


def check_range(reach: float) -> None:
    """Raises UsageError unless `reach` is a sensible number of standard deviations."""
    if not 0 < reach <= _MOST_RANGE:
        raise UsageError(f"`reach` takes more than 0 to {_MOST_RANGE:g} standard deviations, got {reach:g}")


def draw_rows(
    model: LoadedModel,
    rows: Sequence[Axis],
    middle: np.ndarray,
    look: Look,
    target: Path,
    steps: int = TRAVERSAL_STEPS,
    reach: float = TRAVERSAL_RANGE,
) -> Iterator[Event]:
    """Draw a row of images for each axis, `reach` standard deviations to both sides of the middle (latent_dim,)."""
    t = np.linspace(-reach, reach, steps, dtype=np.float32)[:, None]
    pictures = yield from decoded_pictures(model, (middle + t * axis.step for axis in rows), len(rows) * steps)
    words = [f"{axis.name}  {axis.note}".strip() for axis in rows]
    heads = [f"{at:+g} sd" if at else "0" for at in np.linspace(-reach, reach, steps).round(2)]
    write_picture(look.draw(pictures, steps, Captions(rows=words, columns=heads)), target)
    yield Wrote(target)
