"""A CSV table with a column of file names."""

import codecs
import csv
import io
import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentcli.errors import ConfigError, LatentCLIError
from latentcli.storage.files import read_input

_FILE_COLUMNS = ("file", "filename", "image", "path", "name")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_WITH_COMMA = re.compile(r"[-+]?\d*(,\d+)?([eE][-+]?\d+)?")
_MOST_CELLS, _OF_A_ROW = 10_000_000, 4  # in a table, and how many a row counts for besides its own
_NAMED = 3  # files in a message
_MOST_BYTES = 200 << 20  # of a table: a million rows take less
_SAMPLED = 100  # rows, to find the column of file names


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A table of images: their names, and columns of texts."""

    path: Path
    names: list[str]
    texts: dict[str, list[str]]  # by column
    notes: list[str]

    @classmethod
    def read(cls, path: Path, folder: Path) -> "CsvTable":
        """The table, whose names count from a folder. Raises ConfigError or LatentCLIError."""
        try:
            text, encoding = _decoded(read_input(path, _MOST_BYTES))
            if "\0" in text:
                raise csv.Error("it holds a zero byte")
            dialect = _dialect(text)
            columns, *lines = _lines(text, dialect) or [[]]
        except FileNotFoundError:
            raise ConfigError(f"{path} does not exist; `labels` takes a CSV file") from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise LatentCLIError(f"cannot read {path} as a CSV table: {error}") from error
        if not columns:
            raise ConfigError(f"{path} is empty; `labels` takes a CSV file with a row of column names")
        rows = [dict(zip(columns, itertools.chain(line, itertools.repeat("")), strict=False)) for line in lines]
        likely = [*(name for name in _FILE_COLUMNS if name in columns), columns[0]]

        def names_files(column: str) -> bool:
            return any(row[column] and os.path.isfile(folder / _slashed(row[column])) for row in rows[:_SAMPLED])

        file_column = next(filter(names_files, likely), likely[0])
        named = [row for row in rows if row[file_column]]
        twice = [name for name, count in Counter(row[file_column] for row in named).items() if count > 1]
        if twice:
            raise ConfigError(f"{path} names {_some(twice)} more than once; keep one row for each image")
        notes = [f"{len(rows) - len(named)} rows of {path} name no file"] if len(named) < len(rows) else []
        kept = [column for column in columns if column not in (file_column, "")]
        texts = {column: [row[column].strip() for row in named] for column in kept}
        has_commas = dialect.delimiter != "," and _with_points(texts)
        if understood := _understood(encoding, dialect.delimiter, has_commas):
            notes.insert(0, f"read {path} {understood}")
        return cls(path, [_slashed(row[file_column]) for row in named], texts, notes)

    def find_in(self, folder: Path) -> np.ndarray:
        """Which files exist: (n,) bool. Raises ConfigError when none does."""
        exists = np.array([os.path.exists(folder / name) for name in self.names], dtype=bool)
        if not exists.any():
            raise ConfigError(
                f"none of the {len(exists)} files of {self.path} are in {folder}; name their folder with `root`"
            )
        if not exists.all():
            gone = [name for name, found in zip(self.names, exists, strict=True) if not found]
            self.notes.append(
                f"{len(gone)} files of {self.path} are not in {folder} and were left out ({_some(gone)}); "
                "is `root` right?"
            )
        return exists

    def column(self, column: str) -> np.ndarray:
        """Numbers (n,), NaN where there is none."""
        return np.array([_number(text) for text in self.texts[column]], dtype=np.float64)

    def is_numeric(self, column: str) -> bool:
        known = [text for text in self.texts[column] if text]
        return sum(not math.isnan(_number(text)) for text in known) > len(known) / 2

    def unclear(self, column: str) -> list[str]:
        """Note on the rows without a usable value in a column."""
        known = np.isfinite(self.column(column)) if self.is_numeric(column) else np.array(self.texts[column]) != ""
        empty = [name for name, is_known in zip(self.names, known, strict=True) if not is_known]
        return [f"{len(empty)} rows have no usable {column} and were left out ({_some(empty)})"] if empty else []


def _decoded(content: bytes) -> tuple[str, str]:
    """The text, and its encoding: by its mark, else UTF-8, else what Windows takes in Western Europe."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if content.startswith(mark):
            return content.decode(encoding), encoding
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("cp1252"), "cp1252"


def _lines(text: str, dialect: type[csv.Dialect]) -> list[list[str]]:
    """The rows that are not empty. Raises csv.Error where there are far more cells than labels of images have."""
    if text.count(dialect.delimiter) + (1 + _OF_A_ROW) * text.count("\n") > _MOST_CELLS:
        raise csv.Error(f"it has more than {_MOST_CELLS:,} cells")
    return [line for line in csv.reader(io.StringIO(text, newline=""), dialect) if line]


def _dialect(text: str) -> type[csv.Dialect]:
    """Commas, or another separator where the column names have more of that."""
    head = text.partition("\n")[0]

    class Dialect(csv.excel):
        delimiter = max(_SEPARATORS, key=head.count)

    return Dialect


def _with_points(texts: dict[str, list[str]]) -> bool:
    """Turn decimal commas into points, in columns that hold nothing else; whether there were any."""
    found = False
    for column, values in texts.items():
        known = [value for value in values if value]
        if known and all(_WITH_COMMA.fullmatch(value) for value in known) and any("," in value for value in known):
            texts[column] = [value.replace(",", ".") for value in values]
            found = True
    return found


def _understood(encoding: str, separator: str, has_commas: bool) -> str:
    """How the table was read where it is not plain, in words."""
    parts = [
        f"as {encoding}" if encoding != "utf-8" else "",
        f"with {_SEPARATORS[separator]} between columns" if separator != "," else "",
        "with decimal commas" if has_commas else "",
    ]
    return ", ".join(filter(None, parts))


def _slashed(name: str) -> str:
    """A path as it is written here."""
    return name.strip().replace("\\", "/") if os.sep == "/" else name.strip()


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
