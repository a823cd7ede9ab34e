"""Files that the results of a command go to, and the decoding of latents into them.

A folder in is a folder out: sub-folders and stems are kept, and results that exist are skipped. A single result never
replaces a file unless forced.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
from latentcli.model.modelfile import LoadedModel, batches
from latentcli.pipelines.inputs import Item
from latentcli.storage.files import PIPE, free_name, output_file

_MOST_RANGE = 100.0  # standard deviations


def targets(
    items: Sequence[Item], tag: str, suffix: Callable[[Item], str], output: Path | None, force: bool
) -> list[Item]:
    """The items with their targets. No two go to the same file, and none replaces an image it is made from.

    `tag` is added to names latentcli chooses; `suffix` gives the file type. Raises OutputExists for a single named file
    that is taken, ConfigError for one name for several results.
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
    """The same for all names of a file, hard links too."""
    try:
        facts = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return facts.st_dev, facts.st_ino


def kept(items: Sequence[Item]) -> Iterator[Kept]:
    """The results of a folder job that are there already."""
    yield from (Kept(item.target) for item in items if item.is_done)


def check_folder(output: Path | None, results: int) -> None:
    """Raises OutputExists or ConfigError when several results are to go to what is, or is called like, a file."""
    if output is None or os.path.isdir(output):
        return
    if os.path.lexists(output):
        raise OutputExists(f"{output} is a file, but there are {results} results; give a folder as `output`")
    if output.suffix:
        raise ConfigError(f"{output} looks like a file, but there are {results} results; give a folder instead")


def _many(
    items: Sequence[Item], tag: str, suffix: Callable[[Item], str], output: Path | None, force: bool
) -> list[Item]:
    """Targets of several items: the same for the same items every time, so that a job can go on where it stopped.

    Earlier results that lie inside a folder of items are no items.
    """
    roots = _roots(items, tag, output)

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


def _roots(items: Sequence[Item], tag: str, output: Path | None) -> dict[Path | None, Path]:
    """The output folder of each folder argument; of files it is the named folder, or the current one."""
    roots: dict[Path | None, Path] = {}
    for folder in dict.fromkeys(item.folder for item in items):
        root = output
        if root is None and folder is not None:
            taken = set(map(_folded, roots.values()))
            root = free_name(Path(f"{folder.resolve().name}{tag}"), taken, on_disk=False, is_folder=True)
        roots[folder] = root or Path()
    return roots


def _folded(path: Path) -> str:
    """Two names that are one on macOS and Windows."""
    return str(path).casefold()


def decoded_pictures(model: LoadedModel, z: np.ndarray) -> Generator[Event, None, list[Image.Image]]:
    """Pictures of latents (n, latent_dim), telling the progress."""
    pictures: list[Image.Image] = []
    for some in batches(z):
        pictures += to_pictures(model.decode(some))
        yield Progress("decoding", len(pictures), len(z))
    return pictures


def write_decoded(
    model: LoadedModel, some: Iterable[tuple[np.ndarray, Sequence[Path]]], count: int, keep: bool, scale: int = 1
) -> Iterator[Event]:
    """Decode `count` latents, each into a file of its own; `keep` leaves files that exist as they are.

    Files are written while the next latents are decoded.
    """
    writing: list[tuple[Path, Future[None] | None]] = []
    done = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for z, paths in some:
            pictures = [enlarged(picture, scale) for picture in to_pictures(model.decode(z))]
            yield from _written(writing)
            writing = [
                (path, None if keep and os.path.lexists(path) else pool.submit(write_picture, picture, path))
                for path, picture in zip(paths, pictures, strict=True)
            ]
            done += len(paths)
            yield Progress("decoding", done, count)
        yield from _written(writing)


def _written(writing: Sequence[tuple[Path, Future[None] | None]]) -> Iterator[Event]:
    """Waits for each file."""
    for path, future in writing:
        if future is None:
            yield Kept(path)
        else:
            future.result()
            yield Wrote(path)


def check_range(reach: float) -> None:
    """Raises UsageError for no range of standard deviations."""
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
    t = np.linspace(-reach, reach, steps, dtype=np.float32)
    pictures: list[Image.Image] = []
    for done, axis in enumerate(rows, start=1):
        pictures += to_pictures(model.decode(middle + t[:, None] * axis.step))
        yield Progress("decoding", done, len(rows))
    words = [f"{axis.name}  {axis.note}".strip() for axis in rows]
    heads = [f"{t:+g} sd" if t else "0" for t in np.linspace(-reach, reach, steps).round(2)]
    write_picture(look.draw(pictures, steps, Captions(rows=words, columns=heads)), target)
    yield Wrote(target)
