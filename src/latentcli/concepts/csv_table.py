"""CSV tables of labels: one row for each image, with a column of file names and columns of values."""

import codecs
import csv
import io
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentcli.errors import ConfigError, LatentCLIError
from latentcli.storage.files import read_input
from latentcli.text import finite, listed

_FILE_COLUMNS = ("file", "filename", "image", "path", "name")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_DECIMAL_COMMA = re.compile(r"[-+]?\d*(,\d+)?([eE][-+]?\d+)?")
_MOST_BYTES = 200 << 20  # size limit of a table's file: a million rows take less
_MOST_CELLS = 10_000_000  # size limit of a table
_CELLS_OF_A_ROW = 5  # memory overhead of a row, in cells
_SAMPLED = 100  # first rows, in which existing files are looked for to find the column of file names


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A table of labels: file names of images and, by column, the text of each image's cell."""

    path: Path
    names: list[str]  # file names of the images, one a row
    texts: dict[str, list[str]]  # cells of the rows, by column
    notes: list[str]  # how the table was read, and which rows were left out

    @classmethod
    def read(cls, path: Path, folder: Path) -> "CsvTable":
        """Read the table at `path`, whose file names are relative to `folder`.

        The column of file names has a usual name (`file`, `image`, ...) or is the first, and names existing files.
        Raises ConfigError if the table is missing, empty or repeats a file, LatentCLIError if the file is no CSV.
        """
        try:
            text, encoding = _decoded(read_input(path, _MOST_BYTES))
            separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
            if "\0" in text:
                raise csv.Error("it holds a zero byte")
            if text.count(separator) + _CELLS_OF_A_ROW * text.count("\n") > _MOST_CELLS:
                raise csv.Error(f"it has more than {_MOST_CELLS:,} cells")
            reader = csv.DictReader(io.StringIO(text.lstrip("\r\n"), newline=""), restval="", delimiter=separator)
            rows, columns = list(reader), reader.fieldnames
        except FileNotFoundError:
            raise ConfigError(f"{path} does not exist; `labels` takes a CSV file") from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise LatentCLIError(f"cannot read {path} as a CSV table: {error}") from error
        if not columns:
            raise ConfigError(f"{path} is empty; `labels` takes a CSV file with a row of column names")

        def names_files(column: str) -> bool:
            return any(row[column] and os.path.isfile(folder / _slashed(row[column])) for row in rows[:_SAMPLED])

        likely = [*(name for name in _FILE_COLUMNS if name in columns), columns[0]]
        file_column = next(filter(names_files, likely), likely[0])
        named = [row for row in rows if row[file_column]]
        names = [_slashed(row[file_column]) for row in named]
        if repeated := [name for name, count in Counter(row[file_column] for row in named).items() if count > 1]:
            raise ConfigError(f"{path} names {listed(repeated)} more than once; keep one row for each image")
        texts = {name: [row[name].strip() for row in named] for name in columns if name not in (file_column, "")}
        with_commas = [] if separator == "," else [name for name, cells in texts.items() if _has_decimal_commas(cells)]
        texts |= {column: [cell.replace(",", ".") for cell in texts[column]] for column in with_commas}
        peculiarities = [
            *([f"as {encoding}"] if encoding != "utf-8" else []),
            *([f"with {_SEPARATORS[separator]} between columns"] if separator != "," else []),
            *(["with decimal commas"] if with_commas else []),
        ]
        notes = [f"read {path} {', '.join(peculiarities)}"] if peculiarities else []
        if len(named) < len(rows):
            notes.append(f"{len(rows) - len(named)} rows of {path} name no file")
        return cls(path, names, texts, notes)

    def find_in(self, folder: Path) -> np.ndarray:
        """Whether each row's file exists in `folder`: (n,) bool. Raises ConfigError if none of the files exists."""
        exists = np.array([os.path.exists(folder / name) for name in self.names], dtype=bool)
        if not exists.any():
            raise ConfigError(
                f"none of the {len(exists)} files of {self.path} are in {folder}; name their folder with `root`"
            )
        if not exists.all():
            missing = [self.names[row] for row in np.flatnonzero(~exists)]
            self.notes.append(
                f"{len(missing)} files of {self.path} are not in {folder} and were left out ({listed(missing)}); "
                "is `root` right?"
            )
        return exists

    def column(self, column: str) -> np.ndarray:
        """Values of a column as numbers (n,), NaN where the cell holds no finite number."""
        return np.array(list(map(finite, self.texts[column])), dtype=np.float64)

    def is_numeric(self, column: str) -> bool:
        """Whether more than half of the non-empty cells of a column hold numbers."""
        return bool(np.isfinite(self.column(column)).sum() > sum(map(bool, self.texts[column])) / 2)

    def unclear(self, column: str) -> list[str]:
        """One note that counts the rows without a usable value in `column`; an empty list if every row has one."""
        usable = np.isfinite(self.column(column)) if self.is_numeric(column) else np.array(self.texts[column]) != ""
        names = [self.names[row] for row in np.flatnonzero(~usable)]
        return [f"{len(names)} rows have no usable {column} and were left out ({listed(names)})"] if names else []


def _decoded(content: bytes) -> tuple[str, str]:
    """Text of a file and the name of its encoding: UTF-16 with a byte-order mark, else UTF-8, else cp1252."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16"), "utf-16"
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("cp1252"), "cp1252"


def _has_decimal_commas(cells: Sequence[str]) -> bool:
    """Whether all non-empty cells of a column are numbers, at least one of them with a decimal comma."""
    return any("," in cell for cell in cells) and all(_DECIMAL_COMMA.fullmatch(cell) for cell in cells if cell)


def _slashed(name: str) -> str:
    """A file name without outer spaces, and, unless on Windows, with backslashes turned into slashes."""
    return name.strip().replace("\\", "/") if os.sep == "/" else name.strip()
