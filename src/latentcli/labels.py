"""Which images show a concept and which do not: from two folders, or from a column of a table."""

import csv
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentcli.errors import ConfigError, LatentCLIError
from latentcli.sources import find_images

_FILE_COLUMNS = ("file", "filename", "image", "path", "name")


@dataclass(frozen=True, slots=True)
class Labels:
    """Images by name relative to `root`; True shows the concept, False does not, None counts as neither."""

    root: Path
    names: tuple[str, ...]
    values: tuple[bool | None, ...]
    recipe: dict[str, Any]  # how the labels came about, without absolute paths
    left_out: int = 0  # rows without a usable value
    missing: int = 0  # rows whose file is not there

    def check(self) -> None:
        """Raises ConfigError unless there are images of both kinds."""
        positive, negative = self.values.count(True), self.values.count(False)
        if not positive or not negative:
            raise ConfigError(
                f"a vector needs images with and without the concept, got {positive} and {negative}; check the labels"
            )


def from_folders(positive: Path, negative: Path) -> Labels:
    """Images below `positive` show the concept, those below `negative` do not.

    Names are relative to the deepest folder that holds both, so that the held-out split is the one of training.
    Raises ImageError when one is empty, ConfigError when they overlap.
    """
    folders = [folder.resolve() for folder in (positive, negative)]
    if folders[0] in (folders[1], *folders[1].parents) or folders[1] in folders[0].parents:
        raise ConfigError(f"{positive} and {negative} overlap; give two separate folders")
    root = Path(os.path.commonpath(folders))
    names: list[str] = []
    values: list[bool | None] = []
    for folder, shows in zip(folders, (True, False), strict=True):
        found = [path.relative_to(root).as_posix() for path in find_images(folder)]
        names += found
        values += [shows] * len(found)
    recipe = {"positive": folders[0].relative_to(root).as_posix(), "negative": folders[1].relative_to(root).as_posix()}
    return Labels(root, tuple(names), tuple(values), recipe)


def from_table(
    table: Path, column: str, above: float | None = None, below: float | None = None, root: Path | None = None
) -> Labels:
    """A CSV with a file column and a column of numbers: from `above` on an image shows the concept, up to `below` not.

    Without either, 0.5 divides; with `above` alone, everything below it does not show it. File names are relative to
    `root`, or to the table's folder. Raises ConfigError when the table cannot be used.
    """
    if above is None:
        above = 0.5 if below is None else math.nextafter(below, math.inf)
    low = math.nextafter(above, -math.inf) if below is None else below
    if low >= above:
        raise ConfigError(f"--below must be less than --above, got {low:g} and {above:g}")
    folder = root if root is not None else table.parent
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; --root names the folder the table's files are in")
    names: list[str] = []
    values: list[bool | None] = []
    left_out = missing = 0
    for name, text in _rows(table, column):
        try:
            score = float(text)
        except ValueError:
            score = math.nan
        if math.isnan(score) or not name:
            left_out += 1
            continue
        if not os.path.exists(folder / name):
            missing += 1
            continue
        names.append(name)
        values.append(True if score >= above else False if score <= low else None)
    recipe = {"table": table.name, "column": column, "above": above, "below": low}
    if missing and not names:
        raise ConfigError(f"none of the {missing} files of {table} are in {folder}; name their folder with --root")
    return Labels(folder, tuple(names), tuple(values), recipe, left_out, missing)


def _rows(table: Path, column: str) -> list[tuple[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            if column not in columns:
                raise ConfigError(f"{table} has no column {column!r}; it has {', '.join(columns) or 'none'}")
            file_column = next((name for name in _FILE_COLUMNS if name in columns), columns[0])
            return [(row[file_column] or "", row[column] or "") for row in reader]
    except FileNotFoundError:
        raise ConfigError(f"{table} does not exist; --labels takes a CSV file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LatentCLIError(f"cannot read {table} as a CSV table: {error}") from error
