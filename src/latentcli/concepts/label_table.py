"""Concepts from the columns of a CSV table."""

import csv
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from latentcli.concepts.labels import LACKS, NEITHER, SHOWS, Concept, Labels, one_against_rest, vector_name
from latentcli.errors import ConfigError, LatentCLIError, UsageError

_FILE_COLUMNS = ("file", "filename", "image", "path", "name")
_MOST_CLASSES = 20  # different texts in a column that is taken for one of classes
_BINS = 4  # of a column of numbers that is balanced by
_THRESHOLD = re.compile(r"[^,:]+(,[^,:]+(:[^,:]+)?)?")
_NAMED = 3  # rows that are named
_LOOKED_AT = 100  # rows, to see which column names files


@dataclass(frozen=True, slots=True)
class Cut:
    """Where numbers show a concept, and where they do not: from `above` on, and from `low` to `high`."""

    above: float
    high: float
    low: float = -math.inf

    def __post_init__(self) -> None:
        if self.high >= self.above or self.low > self.high:
            raise ConfigError(f"--below must be less than --above, got {self.high:g} and {self.above:g}")

    @classmethod
    def of(cls, above: float | None, below: float | None, between: str | None = None) -> "Cut | None":
        """From the options; without any, None. `between` is `20,35`."""
        if between is not None:
            low, high = numbers(between, "--between", 2)
            if low > high:
                raise UsageError(f"--between takes LOW,HIGH, got {between!r}")
            if above is None or below is not None:
                raise UsageError("--between LOW,HIGH goes with --above, and without --below")
            return cls(above, high, low)
        if above is None:
            return None if below is None else cls(math.nextafter(below, math.inf), below)
        return cls(above, math.nextafter(above, -math.inf) if below is None else below)

    @classmethod
    def parse(cls, text: str) -> tuple[str, "Cut"]:
        """A column's thresholds.

        >>> Cut.parse("smile=0.9,0.1")
        ('smile', Cut(above=0.9, high=0.1, low=-inf))
        >>> Cut.parse("age=60,20:35")[1].low
        20.0
        """
        column, _, rest = text.rpartition("=")
        parts = rest.replace(":", ",").split(",")
        if not column or not _THRESHOLD.fullmatch(rest):
            raise UsageError(f"--threshold takes COLUMN=ABOVE,BELOW or COLUMN=ABOVE,LOW:HIGH, got {text!r}")
        above, *others = numbers(",".join(parts), "--threshold")
        if not others:
            return column, cls(above, math.nextafter(above, -math.inf))
        return column, cls(above, others[-1], others[0] if len(others) == 2 else -math.inf)

    def values(self, column: np.ndarray) -> np.ndarray:
        """(n,) int8 from numbers (n,)."""
        lacks = (column >= self.low) & (column <= self.high)
        return np.where(column >= self.above, SHOWS, np.where(lacks, LACKS, NEITHER)).astype(np.int8)

    def to_json(self) -> dict[str, float | None]:
        return {"above": self.above, "below": self.high, "from": None if math.isinf(self.low) else self.low}


def numbers(text: str, option: str, count: int | None = None) -> tuple[float, ...]:
    """Finite numbers between commas. Raises UsageError."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(map(math.isfinite, found)) or count not in (None, len(found)):
        raise UsageError(f"{option} takes {count or ''} numbers between commas, got {text!r}".replace("  ", " "))
    return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of a table."""

    column: str | None = None  # None for all of them
    name: str | None = None  # of the concept; None for the column's
    cut: Cut | None = None
    one: str | None = None  # the text that shows the concept
    extremes: float | None = None  # share of the highest and of the lowest numbers
    cuts: Mapping[str, Cut] = field(default_factory=dict)  # by column
    balance_by: Sequence[str] = ()
    root: Path | None = None


def from_table(path: Path, wanted: Wanted) -> Labels:
    """A CSV with a file column and columns of numbers or texts, one concept from each wanted one.

    File names are relative to `wanted.root`, or to the table's folder. Raises ConfigError when the table cannot be
    used.
    """
    folder = wanted.root if wanted.root is not None else path.parent
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; --root names the folder the table's files are in")
    table = _Table.read(path, folder)
    for column in (wanted.column, *wanted.balance_by, *wanted.cuts):
        table.check(column)
    there = table.find_in(folder)
    if wanted.column is None:
        concepts, notes = _every_concept(table, wanted)
    else:
        concepts, notes = [_concept(table, wanted.column, wanted)], []
    cells = {column: table.cells(column, wanted.cuts.get(column)) for column in wanted.balance_by}
    notes = [*table.notes, *notes, *(table.unclear(wanted.column) if wanted.column else [])]
    return Labels(
        folder,
        tuple(name for name, is_there in zip(table.names, there, strict=True) if is_there),
        tuple(Concept(concept.name, concept.values[there], concept.recipe) for concept in concepts),
        {column: found[there] for column, found in cells.items()},
        tuple(notes),
    )


def _every_concept(table: "_Table", wanted: Wanted) -> tuple[list[Concept], list[str]]:
    """One for each column of numbers, and one for each text of a column of classes; what is balanced by is none."""
    concepts: list[Concept] = []
    notes: list[str] = []
    for column in table.columns:
        found = sorted(set(table.texts[column]) - {""})
        try:
            if column in wanted.balance_by:
                continue
            if table.is_numeric(column):
                made = [_concept(table, column, Wanted(cuts=wanted.cuts))]
            elif 2 <= len(found) <= _MOST_CLASSES:
                names = [vector_name(f"{column}-{one}") for one in found]
                made = [
                    _concept(table, column, Wanted(one=one, name=name)) for one, name in zip(found, names, strict=True)
                ]
            else:
                raise ConfigError(f"it has {len(found)} different texts")
            for concept in made:
                concept.check()
        except ConfigError as error:
            notes.append(f"{column} was left out: {error}")
            continue
        concepts += made
        notes += table.unclear(column)
    if not concepts:
        raise ConfigError(f"{table.path} has no column that a vector can be made of; it has {', '.join(table.columns)}")
    return concepts, notes


def _concept(table: "_Table", column: str, wanted: Wanted) -> Concept:
    name = wanted.name or column
    if wanted.one is not None:
        recipe = {"table": table.path.name, "column": column, "is": wanted.one}
        if wanted.one not in table.texts[column]:
            raise ConfigError(f"no row of {table.path} has {wanted.one!r} in {column}; check --is")
        return one_against_rest(name, np.array(table.texts[column]), recipe, wanted.one)
    values = table.column(column)
    cut = wanted.cuts.get(column) or wanted.cut or _natural_cut(values, wanted.extremes)
    return Concept(name, cut.values(values), {"table": table.path.name, "column": column, **cut.to_json()})


def _natural_cut(values: np.ndarray, extremes: float | None) -> Cut:
    """0.5 for labels and scores from 0 to 1; of other numbers the highest against the lowest quarter."""
    known = values[np.isfinite(values)]
    if not len(known):
        raise ConfigError("the column holds no numbers; --is TEXT takes a text")
    kinds = np.unique(known)
    if extremes is None and len(kinds) == 2:
        return Cut(float(kinds[1]), float(kinds[0]))
    if extremes is None and known.min() >= 0 and known.max() <= 1:
        return Cut(0.5, math.nextafter(0.5, 0))
    share = 0.25 if extremes is None else extremes
    low, high = np.quantile(known, [share, 1 - share])
    if not low < high:
        raise ConfigError(f"the column's numbers are all but the same ({low:g} to {high:g}); give --above and --below")
    return Cut(float(high), float(low))


@dataclass(frozen=True, slots=True)
class _Table:
    path: Path
    names: list[str]
    texts: dict[str, list[str]]  # by column
    notes: list[str]

    @classmethod
    def read(cls, path: Path, folder: Path) -> "_Table":
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                columns = list(reader.fieldnames or [])
                rows = list(reader)
        except FileNotFoundError:
            raise ConfigError(f"{path} does not exist; --labels takes a CSV file") from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise LatentCLIError(f"cannot read {path} as a CSV table: {error}") from error
        if not columns:
            raise ConfigError(f"{path} is empty; --labels takes a CSV file with a row of column names")
        likely = [*(name for name in _FILE_COLUMNS if name in columns), columns[0]]

        def names_files(column: str) -> bool:
            return any(row[column] and os.path.isfile(folder / row[column]) for row in rows[:_LOOKED_AT])

        file_column = next(filter(names_files, likely), likely[0])
        named = [row for row in rows if row[file_column]]
        twice = [name for name, count in Counter(row[file_column] for row in named).items() if count > 1]
        if twice:
            raise ConfigError(f"{path} names {_some(twice)} more than once; keep one row for each image")
        notes = [f"{len(rows) - len(named)} rows of {path} name no file"] if len(named) < len(rows) else []
        kept = [column for column in columns if column not in (file_column, "")]
        texts = {column: [(row[column] or "").strip() for row in named] for column in kept}
        return cls(path, [row[file_column] for row in named], texts, notes)

    @property
    def columns(self) -> list[str]:
        return list(self.texts)

    def check(self, column: str | None) -> None:
        if column is not None and column not in self.texts:
            raise ConfigError(f"{self.path} has no column {column!r}; it has {', '.join(self.columns) or 'none'}")

    def find_in(self, folder: Path) -> np.ndarray:
        """Which files are there: (n,) bool. Raises ConfigError when none is."""
        there = np.fromiter((os.path.exists(folder / name) for name in self.names), dtype=bool, count=len(self.names))
        if not there.any():
            raise ConfigError(
                f"none of the {len(there)} files of {self.path} are in {folder}; name their folder with --root"
            )
        if not there.all():
            gone = [name for name, is_there in zip(self.names, there, strict=True) if not is_there]
            self.notes.append(
                f"{len(gone)} files of {self.path} are not in {folder} and were left out ({_some(gone)}); "
                "is --root right?"
            )
        return there

    def column(self, column: str) -> np.ndarray:
        """Numbers (n,), NaN where there is none."""
        return np.fromiter(map(_number, self.texts[column]), dtype=np.float64, count=len(self.names))

    def is_numeric(self, column: str) -> bool:
        known = [text for text in self.texts[column] if text]
        return sum(not math.isnan(_number(text)) for text in known) > len(known) / 2

    def unclear(self, column: str) -> list[str]:
        """What to say of rows that have nothing usable in a column."""
        known = np.isfinite(self.column(column)) if self.is_numeric(column) else np.array(self.texts[column]) != ""
        empty = [name for name, is_known in zip(self.names, known, strict=True) if not is_known]
        return [f"{len(empty)} rows have no usable {column} and were left out ({_some(empty)})"] if empty else []

    def cells(self, column: str, cut: Cut | None) -> np.ndarray:
        """A column as classes to balance by: texts and few numbers as they are, many numbers in quarters."""
        if not self.is_numeric(column):
            found = {text: code for code, text in enumerate(sorted(set(self.texts[column]) - {""}))}
            return np.array([found.get(text, -1) for text in self.texts[column]])
        values = self.column(column)
        if cut is not None:
            return cut.values(values).astype(np.int64)
        known = np.unique(values[np.isfinite(values)])
        quarters = np.unique(np.nanquantile(values, np.arange(1, _BINS) / _BINS))
        edges = known[1:] if len(known) <= _BINS else quarters[quarters > known.min()]
        edges = edges if len(edges) else known[1:2]
        return np.where(np.isfinite(values), np.searchsorted(edges, values, side="right"), -1)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
