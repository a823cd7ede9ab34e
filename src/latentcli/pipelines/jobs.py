"""Which images a job takes, and where each result goes.

Files given by name must exist; folders are searched. A folder in is a folder out: sub-folders and stems are kept, and
results that exist are skipped. A single result never replaces a file unless forced.
"""

import math
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torch import Tensor

from latentcli.data.sources import find_images
from latentcli.errors import ConfigError, ImageError, OutputExists
from latentcli.files import PIPE, output_file
from latentcli.images import check_writable, open_picture

_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp", "TIFF": ".tiff", "BMP": ".bmp", "AVIF": ".avif"}


@dataclass(frozen=True, slots=True)
class Source:
    """One image of a job."""

    path: Path
    name: str  # relative POSIX path with suffix: below its folder, or the file's own name
    folder: Path | None  # the argument it was found in
    z: Tensor | None = None  # (latent_dim,): where it is no image but a latent
    content: bytes | None = None  # of the file: where it came through the standard input


@dataclass(frozen=True, slots=True)
class Target:
    """One image and the file its result goes to."""

    source: Source
    path: Path
    is_done: bool = False  # a folder job finds its result there already


@dataclass(frozen=True, slots=True)
class Naming:
    """How results are named."""

    tag: str  # added to names latentcli chooses
    suffix: Callable[[Source], str]  # of the file type
    output: Path | None  # what the user asked for
    force: bool


def gather(arguments: Sequence[Path], pipes: bool = False) -> list[Source]:
    """The images behind the arguments, in order; with `pipes`, `-` is the standard input.

    Raises ImageError for a missing file or a folder without images.
    """
    sources: list[Source] = []
    for argument in arguments:
        if argument == PIPE and pipes:
            sources.append(_piped())
        elif os.path.isdir(argument):
            found = find_images(argument)
            sources += [Source(path, path.relative_to(argument).as_posix(), argument) for path in found]
        else:
            _check_there(argument, alone=len(arguments) == 1)
            sources.append(Source(argument, argument.name, None))
    return sources


def _check_there(argument: Path, alone: bool) -> None:
    """A missing file is told now, not after the slow part; one of several that is damaged is left out later."""
    if alone or not os.path.isfile(argument):
        with open_picture(argument, megapixels=math.inf):
            pass


def _piped() -> Source:
    """An image from the standard input."""
    if sys.stdin is None:
        raise ImageError("the standard input is closed; name a photo, or pipe one in")
    content = sys.stdin.buffer.read()
    with open_picture(Path("standard input"), content, math.inf) as picture:
        suffix = _SUFFIXES.get(str(picture.format), ".png")
    return Source(Path(f"stdin{suffix}"), f"stdin{suffix}", None, content=content)


def names_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """A name for each image: its own, or where two are the same, its path below the folder they share."""
    counts = Counter(source.name for source in sources)
    if max(counts.values()) == 1:
        return tuple(source.name for source in sources)
    paths = [source.path.resolve() for source in sources]
    shared = Path(os.path.commonpath([path.parent for path in paths]))
    return tuple(
        source.name if counts[source.name] == 1 else path.relative_to(shared).as_posix()
        for source, path in zip(sources, paths, strict=True)
    )


def targets(sources: Sequence[Source], naming: Naming) -> list[Target]:
    """Where each result goes. No two go to the same place, and none replaces an image it is made from.

    Raises OutputExists for a single named file that is taken, ConfigError for one name for several results.
    """
    output = naming.output
    if output == PIPE and len(sources) != 1:
        raise ConfigError(f"--output - takes one result, but there are {len(sources)}; give a folder")
    if len(sources) == 1 and (sources[0].folder is None or output == PIPE):
        source = sources[0]
        if output == PIPE or (output is None and source.content is not None):
            return [Target(source, PIPE)]
        name = f"{Path(source.name).stem}{naming.tag}{naming.suffix(source)}"
        chosen = [Target(source, check_writable(output_file(output, Path(name), naming.force)))]
    else:
        check_folder(output, len(sources))
        chosen = _many(sources, naming)
    check_originals(chosen)
    return chosen


def check_originals(work: Sequence[Target]) -> None:
    """Raises OutputExists where a result would replace an image of the job."""
    originals = {os.path.realpath(target.source.path) for target in work if target.source.content is None}
    for target in work:
        if os.path.realpath(target.path) in originals:
            raise OutputExists(f"{target.path} would replace an original; give another --output")


def check_folder(output: Path | None, results: int) -> None:
    """Raises OutputExists or ConfigError when several results are to go to what is, or is called like, a file."""
    if output is None or os.path.isdir(output):
        return
    if os.path.lexists(output):
        raise OutputExists(f"{output} is a file, but there are {results} results; give a folder as --output")
    if output.suffix:
        raise ConfigError(f"{output} looks like a file, but there are {results} results; give a folder instead")


def _many(sources: Sequence[Source], naming: Naming) -> list[Target]:
    """Names for several results: the same for the same sources every time, so that a job can go on where it stopped.

    Earlier results that lie inside a folder of sources are no sources.
    """
    roots = _roots(sources, naming)
    inside = tuple(
        os.path.realpath(root) + os.sep
        for folder, root in roots.items()
        if folder is not None and os.path.realpath(root) != os.path.realpath(folder)
    )
    sources = [source for source in sources if not os.path.realpath(source.path).startswith(inside)]
    wanted = [roots[source.folder] / _renamed(source, naming) for source in sources]
    meeting: dict[str, set[str]] = defaultdict(set)
    for source, path in zip(sources, wanted, strict=True):
        meeting[_folded(path)].add(PurePosixPath(source.name).name.casefold())
    chosen: list[Target] = []
    taken: set[str] = set()
    for source, first in zip(sources, wanted, strict=True):
        path = first
        if len(meeting[_folded(first)]) > 1:  # a.jpg and a.png: the suffix stays
            path = roots[source.folder] / _renamed(source, naming, keep_suffix=True)
        path = _free(path, taken, on_disk=source.folder is None and not naming.force)
        taken.add(_folded(path))
        done = source.folder is not None and not naming.force and os.path.lexists(path)
        chosen.append(Target(source, path, done))
    return chosen


def _free(name: Path, taken: set[str], on_disk: bool) -> Path:
    """`name`, or with -2, -3 … where another result of the job, or with `on_disk` a file, has it."""
    path, number = name, 1
    while _folded(path) in taken or (on_disk and os.path.lexists(path)):
        number += 1
        path = name.with_name(f"{name.stem}-{number}{name.suffix}")
    return path


def _roots(sources: Sequence[Source], naming: Naming) -> dict[Path | None, Path]:
    """The output folder of each folder argument; of files it is the named folder, or the current one."""
    roots: dict[Path | None, Path] = {}
    for source in sources:
        folder = source.folder
        if folder in roots:
            continue
        root = naming.output
        if root is None and folder is not None:
            root = Path(f"{folder.resolve().name}{naming.tag}")
            while root in roots.values():
                root = root.with_name(f"{root.name}-2")
        roots[folder] = root or Path()
    return roots


def _renamed(source: Source, naming: Naming, keep_suffix: bool = False) -> Path:
    name = PurePosixPath(source.name)
    tag = naming.tag if source.folder is None else ""
    return Path(name.with_name(f"{name.name if keep_suffix else name.stem}{tag}{naming.suffix(source)}"))


def _folded(path: Path) -> str:
    """Two names that are one on macOS and Windows."""
    return str(path).casefold()


def strength_text(strength: float) -> str:
    """A strength as it stands in a file's name.

    >>> strength_text(1.5), strength_text(-1)
    ('+1.5', '-1')
    """
    return f"{strength:+g}"
