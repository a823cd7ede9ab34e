"""Labels from a label source, which may be the columns of a CSV table."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from latentcli.concepts import labels
from latentcli.concepts.csv_table import CsvTable
from latentcli.concepts.label_source import LabelSource
from latentcli.concepts.labels import LACKS, NEITHER, SHOWS, Concept, Labels, one_against_rest, vector_name
from latentcli.errors import ConfigError, UsageError
from latentcli.storage.latents import Latents

_MOST_CLASSES = 20  # different texts in a column of classes
_BINS = 4  # of a column of numbers that is balanced by
_THRESHOLD = re.compile(r"[^,:]+(,[^,:]+(:[^,:]+)?)?")


@dataclass(frozen=True, slots=True)
class Cut:
    """Thresholds of a column: `above` and more is the positive class, `low` to `high` the negative one."""

    above: float
    high: float
    low: float = -math.inf

    def __post_init__(self) -> None:
        if self.high >= self.above or self.low > self.high:
            raise ConfigError(f"`below` must be less than `above`, got {self.high:g} and {self.above:g}")

    @classmethod
    def at(cls, threshold: float) -> "Cut":
        """Values from the threshold on are the positive class, all smaller ones the negative class."""
        return cls(threshold, math.nextafter(threshold, -math.inf))

    @classmethod
    def of(cls, above: float | None, below: float | None, between: str | None = None) -> "Cut | None":
        """The cut that the options ask for, None without options; `between` is `20,35`. Raises UsageError."""
        if between is not None:
            low, high = _numbers(between, "`between`", 2)
            if low > high:
                raise UsageError(f"`between` takes LOW,HIGH, got {between!r}")
            if above is None or below is not None:
                raise UsageError("`between` LOW,HIGH goes with `above`, and without `below`")
            return cls(above, high, low)
        if above is None:
            return None if below is None else cls(math.nextafter(below, math.inf), below)
        return cls.at(above) if below is None else cls(above, below)

    @classmethod
    def parse(cls, text: str) -> tuple[str, "Cut"]:
        """A column and its thresholds. Raises UsageError.

        >>> Cut.parse("smile=0.9,0.1")
        ('smile', Cut(above=0.9, high=0.1, low=-inf))
        >>> Cut.parse("age=60,20:35")[1].low
        20.0
        """
        column, _, thresholds = text.rpartition("=")
        if not column or not _THRESHOLD.fullmatch(thresholds):
            raise UsageError(f"`thresholds` takes COLUMN=ABOVE,BELOW or COLUMN=ABOVE,LOW:HIGH, got {text!r}")
        above, *negative = _numbers(thresholds.replace(":", ","), "`thresholds`")
        return column, cls(above, *reversed(negative)) if negative else cls.at(above)

    def values(self, column: np.ndarray) -> np.ndarray:
        """Classes (n,) int8 of numbers (n,): SHOWS, LACKS or NEITHER."""
        lacks = (column >= self.low) & (column <= self.high)
        return np.where(column >= self.above, SHOWS, np.where(lacks, LACKS, NEITHER)).astype(np.int8)

    def to_json(self) -> dict[str, float | None]:
        """For a vector's recipe."""
        return {"above": self.above, "below": self.high, "from": None if math.isinf(self.low) else self.low}


def _numbers(text: str, option: str, count: int | None = None) -> tuple[float, ...]:
    """Finite numbers between commas. Raises UsageError."""
    try:
        numbers = tuple(float(number) for number in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)) or count not in (None, len(numbers)):
        raise UsageError(f"{option} takes {count or ''} numbers between commas, got {text!r}".replace("  ", " "))
    return numbers


def read(source: LabelSource) -> Labels:
    """Labels of a source. Raises ImageError for a folder without images, ConfigError for unusable labels."""
    if source.folders is not None:
        found = labels.from_subfolders(source.folders)
    elif source.positive is None:
        found = from_table(source)
    elif source.negative is not None:
        found = labels.from_folders(source.name or "", source.positive, source.negative, source.paired)
    else:
        found = labels.from_change(source.name or "", source.positive, source.augment or "")
    if source.latents is None or found.latents is not None:
        return found
    return replace(found, latents=Latents.load(source.latents))


def from_table(source: LabelSource) -> Labels:
    """Labels of a CSV table with a column of files: one concept from its `column`, or one or more from every column."""
    assert source.labels is not None
    folder = source.root if source.root is not None else source.labels.parent
    shared, cuts = Cut.of(source.above, source.below, source.between), dict(map(Cut.parse, source.thresholds))
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; `root` names the folder the table's files are in")
    table = CsvTable.read(source.labels, folder)
    for name in (*([] if source.column is None else [source.column]), *source.balance_by, *cuts):
        if name not in table.texts:
            raise ConfigError(f"{table.path} has no column {name!r}; it has {', '.join(table.texts) or 'none'}")
    exists = table.find_in(folder)
    if (column := source.column) is None:
        concepts, notes = _every_concept(table, cuts, source.balance_by)
    else:
        name, notes = source.name or column, table.unclear(column)
        if source.one is not None:
            concepts = [_one_text(table, column, name, source.one)]
        else:
            concepts = [_numeric(table, column, name, cuts.get(column, shared), source.extremes)]
    cells = {column: _cells(table, column, cuts.get(column)) for column in source.balance_by}
    return Labels(folder, tuple(table.names), tuple(concepts), cells, (*table.notes, *notes)).take(exists)


def _every_concept(
    table: CsvTable, cuts: Mapping[str, Cut], balance_by: Sequence[str]
) -> tuple[list[Concept], list[str]]:
    """A concept for each column of numbers and for each text of a column of classes, but for those to balance by.

    Notes name the columns that are left out.
    """
    concepts: list[Concept] = []
    notes: list[str] = []
    for column in table.texts:
        if column in balance_by:
            continue
        classes = sorted(set(table.texts[column]) - {""})
        try:
            if table.is_numeric(column):
                of_column = [_numeric(table, column, column, cuts.get(column), None)]
            elif 2 <= len(classes) <= _MOST_CLASSES:
                of_column = [_one_text(table, column, vector_name(f"{column}-{one}"), one) for one in classes]
            else:
                raise ConfigError(f"it has {len(classes)} different texts")
            for concept in of_column:
                concept.check()
        except ConfigError as error:
            notes.append(f"{column} was left out: {error}")
            continue
        concepts += of_column
        notes += table.unclear(column)
    if not concepts:
        raise ConfigError(f"{table.path} has no column usable for a vector; it has {', '.join(table.texts)}")
    return concepts, notes


def _one_text(table: CsvTable, column: str, name: str, one: str) -> Concept:
    """The concept that images with the text `one` in a column show and those with another text do not."""
    if one not in table.texts[column]:
        raise ConfigError(f"no row of {table.path} has {one!r} in {column}; check `one`")
    recipe = {"table": table.path.name, "column": column, "is": one}
    return one_against_rest(name, np.array(table.texts[column]), recipe, one)


def _numeric(table: CsvTable, column: str, name: str, cut: Cut | None, extremes: float | None) -> Concept:
    """The concept of a column of numbers at its cut, by default 0.5 or the extremes."""
    values = table.column(column)
    cut = cut or _default_cut(values, extremes)
    return Concept(name, cut.values(values), {"table": table.path.name, "column": column, **cut.to_json()})


def _default_cut(values: np.ndarray, extremes: float | None) -> Cut:
    """0.5 for labels and scores from 0 to 1; for other numbers the highest against the lowest quarter."""
    known = values[np.isfinite(values)]
    if not len(known):
        raise ConfigError("the column holds no numbers; `one` TEXT takes a text")
    kinds = np.unique(known)
    if extremes is None and len(kinds) == 2:
        return Cut(float(kinds[1]), float(kinds[0]))
    if extremes is None and known.min() >= 0 and known.max() <= 1:
        return Cut.at(0.5)
    share = 0.25 if extremes is None else extremes
    low, high = np.quantile(known, [share, 1 - share])
    if not low < high:
        raise ConfigError(f"the column's numbers hardly differ ({low:g} to {high:g}); give `above` and `below`")
    return Cut(float(high), float(low))


def _cells(table: CsvTable, column: str, cut: Cut | None) -> np.ndarray:
    """A column as classes to balance by: texts and few numbers as they are, many numbers in quarters."""
    if not table.is_numeric(column):
        codes = np.unique(np.array(table.texts[column]), return_inverse=True)[1]
        return codes - ("" in table.texts[column])  # no text sorts first: -1
    values = table.column(column)
    if cut is not None:
        return cut.values(values).astype(np.int64)
    known = np.unique(values[np.isfinite(values)])
    quarters = np.unique(np.nanquantile(values, np.arange(1, _BINS) / _BINS))
    edges = known[1:] if len(known) <= _BINS else quarters[quarters > known.min()]
    edges = edges if len(edges) else known[1:2]
    return np.where(np.isfinite(values), np.searchsorted(edges, values, side="right"), -1)
