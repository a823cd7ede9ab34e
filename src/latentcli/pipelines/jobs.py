"""Items of a job: its images, and the files their results go to.

Files given by name must exist; folders are searched. A folder in is a folder out: sub-folders and stems are kept, and
results that exist are skipped. A single result never replaces a file unless forced.
"""

import math
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from latentcli.data.sources import find_images
from latentcli.errors import ConfigError, ImageError, OutputExists
from latentcli.events import Kept
from latentcli.files import PIPE, free_name, output_file, read_stream
from latentcli.images import MOST_PIPED, check_writable, open_picture

_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp", "TIFF": ".tiff", "BMP": ".bmp", "AVIF": ".avif"}


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a job, and the file its result goes to."""

    path: Path
    name: str  # relative POSIX path with suffix: below its folder, or the file's own name
    folder: Path | None  # the argument it was found in
    z: np.ndarray | None = None  # (latent_dim,): where it is no image but a latent
    content: bytes | None = None  # of the file: where it came through the standard input
    target: Path = PIPE
    is_done: bool = False  # a folder job finds its result there already


def gather(arguments: Sequence[Path], pipes: bool = False) -> list[Item]:
    """The images behind the arguments, in order; with `pipes`, `-` is the standard input.

    A missing file is an error at once, not after the slow part; one of several that is damaged is skipped later.
    Raises ImageError for a missing file or a folder without images.
    """
    items: list[Item] = []
    for argument in arguments:
        if argument == PIPE and pipes:
            items.append(_piped())
        elif os.path.isdir(argument):
            found = find_images(argument)
            items += [Item(path, path.relative_to(argument).as_posix(), argument) for path in found]
        else:
            if len(arguments) == 1 or not os.path.isfile(argument):
                with open_picture(argument, megapixels=math.inf):
                    pass
            items.append(Item(argument, argument.name, None))
    return items


def _piped() -> Item:
    """An image from the standard input."""
    if sys.stdin is None:
        raise ImageError("the standard input is closed; name a photo, or pipe one in")
    try:
        content = read_stream(sys.stdin.buffer, MOST_PIPED)
    except OSError as error:
        raise ImageError(f"the standard input cannot be read ({error.strerror or error}); name a photo") from error
    with open_picture(Path("standard input"), content, math.inf) as picture:
        suffix = _SUFFIXES.get(str(picture.format), ".png")
    return Item(Path(f"stdin{suffix}"), f"stdin{suffix}", None, content=content)


def names_of(items: Sequence[Item]) -> tuple[str, ...]:
    """A name for each image: its own, or where two are the same, its path below the folder they share."""
    counts = Counter(item.name for item in items)
    if max(counts.values()) == 1:
        return tuple(item.name for item in items)
    paths = [item.path.resolve() for item in items]
    shared = Path(os.path.commonpath([path.parent for path in paths]))
    return tuple(
        item.name if counts[item.name] == 1 else path.relative_to(shared).as_posix()
        for item, path in zip(items, paths, strict=True)
    )


def targets(
    items: Sequence[Item], tag: str, suffix: Callable[[Item], str], output: Path | None, force: bool
) -> list[Item]:
    """The items with their targets. No two go to the same file, and none replaces an image it is made from.

    `tag` is added to names latentcli chooses; `suffix` gives the file type. Raises OutputExists for a single named file
    that is taken, ConfigError for one name for several results.
    """
    if output == PIPE and len(items) != 1:
        raise ConfigError(f"--output - takes one result, but there are {len(items)}; give a folder")
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
            raise OutputExists(f"{item.target} would replace an original; give another --output")


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
        raise OutputExists(f"{output} is a file, but there are {results} results; give a folder as --output")
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
