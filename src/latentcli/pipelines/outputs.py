"""Which images a job takes, and where each result goes.

Files given by name must exist; folders are searched. A folder in is a folder out: sub-folders and stems are kept, and
results that exist are skipped. A single result never replaces a file unless forced.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from latentcli.errors import ConfigError, OutputExists
from latentcli.files import free_name, output_file
from latentcli.images import find_images, open_picture


@dataclass(frozen=True, slots=True)
class Source:
    """One image of a job."""

    path: Path
    name: str  # relative POSIX path with suffix: below its folder, or the file's own name
    folder: Path | None  # the argument it was found in


@dataclass(frozen=True, slots=True)
class Target:
    """One image and the file its result goes to."""

    source: Source
    path: Path

    @property
    def is_done(self) -> bool:
        """A folder job finds its result there already."""
        return self.source.folder is not None and self.path.exists()


def gather(arguments: Sequence[Path]) -> list[Source]:
    """The images behind the arguments, in order. Raises ImageError for a missing file or a folder without images."""
    sources: list[Source] = []
    for argument in arguments:
        if argument.is_dir():
            found = find_images(argument)
            sources += [Source(path, path.relative_to(argument).as_posix(), argument) for path in found]
        else:
            with open_picture(argument):  # a missing file is told now, not after the slow part
                pass
            sources.append(Source(argument, argument.name, None))
    return sources


def names_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """A name for each image: its own, or with its folder's where two are the same."""
    counts = Counter(source.name for source in sources)
    return tuple(source.name if counts[source.name] == 1 else _whole_name(source.path) for source in sources)


def _whole_name(path: Path) -> str:
    return "/".join(part for part in PurePosixPath(path.as_posix()).parts if part not in ("/", "..", path.anchor))


def targets(
    sources: Sequence[Source], tag: str, suffix: Callable[[Source], str], output: Path | None, force: bool
) -> list[Target]:
    """Where each result goes; `tag` is added to names latentcli chooses, `suffix` gives the file type.

    Raises OutputExists for a single named file that is taken, ConfigError for one name for several results.
    """
    if len(sources) == 1 and sources[0].folder is None:
        name = f"{Path(sources[0].name).stem}{tag}{suffix(sources[0])}"
        return [Target(sources[0], output_file(output, Path(name), force))]
    if output is not None and output.exists() and not output.is_dir():
        raise OutputExists(f"{output} is a file, but there are {len(sources)} results; give a folder as --output")
    if output is not None and output.suffix and not output.exists():
        raise ConfigError(
            f"{output} looks like a file, but there are {len(sources)} results; give a folder as --output"
        )
    return _many(sources, tag, suffix, output)


def _many(sources: Sequence[Source], tag: str, suffix: Callable[[Source], str], output: Path | None) -> list[Target]:
    roots: dict[Path | None, Path] = {}
    for source in sources:
        folder = source.folder
        if folder not in roots:
            named = Path(f"{folder.resolve().name}{tag}") if folder is not None else Path()
            roots[folder] = output if output is not None else named
    stems = Counter((source.folder, _renamed(source.name, suffix(source))) for source in sources)
    chosen: list[Target] = []
    taken: set[Path] = set()
    for source in sources:
        renamed = _renamed(source.name, suffix(source))
        if stems[source.folder, renamed] > 1:
            renamed = f"{source.name}{suffix(source)}"
        path = roots[source.folder] / renamed
        if source.folder is None:
            path = path.with_name(f"{path.stem}{tag}{path.suffix}")
            path = path if path not in taken and not path.exists() else free_name(path)
        taken.add(path)
        chosen.append(Target(source, path))
    return chosen


def _renamed(name: str, suffix: str) -> str:
    return PurePosixPath(name).with_suffix(suffix).as_posix()


def strength_text(strength: float) -> str:
    """A strength as it stands in a file's name.

    >>> strength_text(1.5), strength_text(-1)
    ('+1.5', '-1')
    """
    return f"{strength:+g}"
