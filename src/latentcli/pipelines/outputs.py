"""Outputs of commands: names of output files, and latents decoded into files.

An input folder gives an output folder with the same sub-folders and stems, in which existing results are kept. A single
result never replaces a file unless forced.
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

PAGES = (".html", ".htm")  # suffixes of HTML pages
_MOST_RANGE = 100.0  # largest reach of an axis, in standard deviations


def targets(
    items: Sequence[Item], tag: str, suffix: Callable[[Item], str], output: Path | None, force: bool
) -> list[Item]:
    """Items with the output file of each as `target`: every file is different, and none is an input image.

    `tag` is added to stems that latentcli chooses; `suffix` gives the suffix for an item. Raises OutputExists for a
    file that must not be replaced, ConfigError if `output` names one file for several results.
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
    """Raise OutputExists if the output file of an item is one of the input images."""
    originals = {_identity(item.path) for item in items if item.content is None}
    for item in items:
        if _identity(item.target) in originals:
            raise OutputExists(f"{item.target} would replace an original; give another `output`")


def _identity(path: Path) -> tuple[int, int] | str:
    """Key that is equal for all paths to one file, hard links included: device and inode, or a missing file's path."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def not_done(items: Sequence[Item]) -> Generator[Event, None, list[Item]]:
    """Items without a result in the output folder; yields Kept for each item whose result exists already."""
    yield from (Kept(item.target) for item in items if item.is_done)
    return [item for item in items if not item.is_done]


def check_folder(output: Path | None, results: int) -> None:
    """Raise OutputExists if `output`, the folder of several results, is a file; ConfigError if it has a suffix."""
    if output is None or os.path.isdir(output):
        return
    if os.path.lexists(output):
        raise OutputExists(f"{output} is a file, but there are {results} results; give a folder as `output`")
    if output.suffix:
        raise ConfigError(f"{output} looks like a file, but there are {results} results; give a folder instead")


def _many(
    items: Sequence[Item], tag: str, suffix: Callable[[Item], str], output: Path | None, force: bool
) -> list[Item]:
    """Items with the output file of each, which is the same in every run, so that a stopped command can go on.

    Items inside an output folder are left out: an earlier run has written these files.
    """
    roots: dict[Path | None, Path] = {None: output or Path()}  # from input folders to output folders
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
        clashes = len(meeting[_folded(named(item))]) > 1  # a.jpg and a.png keep the suffix in the stem
        path = free_name(named(item, keep_suffix=clashes), taken, on_disk=item.folder is None and not force)
        taken.add(_folded(path))
        done = item.folder is not None and not force and os.path.lexists(path)
        chosen.append(replace(item, target=path, is_done=done))
    return chosen


def _folded(path: Path) -> str:
    """Case-folded text of a path, because macOS and Windows compare paths without case."""
    return str(path).casefold()


def decoded_pictures(
    model: LoadedModel, latents: Iterable[np.ndarray], count: int
) -> Generator[Event, None, list[Image.Image]]:
    """Decode batches of latents (n, latent_dim), `count` latents in all, to a list of pictures; yields progress."""
    pictures: list[Image.Image] = []
    for z in latents:
        pictures += to_pictures(model.decode(z))
        yield Progress("decoding", len(pictures), count)
    return pictures


def write_decoded(
    model: LoadedModel, latents: Iterable[tuple[np.ndarray, Sequence[Path]]], count: int, keep: bool, scale: int = 1
) -> Iterator[Event]:
    """Decode latents and write one picture file per latent; `keep` leaves existing files as they are.

    `latents` are batches (n, latent_dim) with n paths, `count` in all; one is written while the next is decoded.
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
    """Return `target`, the path of an HTML page. Raises ConfigError for a suffix other than .html and .htm."""
    if target.suffix.lower() not in PAGES:
        raise ConfigError(f"{target} would be an HTML page; give a name that ends in .html")
    return target


def check_range(reach: float) -> None:
    """Raise UsageError unless `reach` is above 0 and at most 100 standard deviations."""
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
    """Write a sheet with a row of `steps` images per axis, up to `reach` standard deviations around `middle`."""
    t = np.linspace(-reach, reach, steps, dtype=np.float32)[:, None]
    pictures = yield from decoded_pictures(model, (middle + t * axis.step for axis in rows), len(rows) * steps)
    words = [f"{axis.name}  {axis.note}".strip() for axis in rows]
    heads = [f"{at:+g} sd" if at else "0" for at in np.linspace(-reach, reach, steps).round(2)]
    write_picture(look.draw(pictures, steps, Captions(rows=words, columns=heads)), target)
    yield Wrote(target)
