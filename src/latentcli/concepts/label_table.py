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
    def of(cls, above: float | None, below: float | None, between: str | None = None) -> "Cut | None":
        """From the options; without any, None. `between` is `20,35`."""
        if between is not None:
            low, high = _numbers(between, "`between`", 2)
            if low > high:
                raise UsageError(f"`between` takes LOW,HIGH, got {between!r}")
            if above is None or below is not None:
                raise UsageError("`between` LOW,HIGH goes with `above`, and without `below`")
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
        if not column or not _THRESHOLD.fullmatch(rest):
            raise UsageError(f"`thresholds` takes COLUMN=ABOVE,BELOW or COLUMN=ABOVE,LOW:HIGH, got {text!r}")
        above, *others = _numbers(rest.replace(":", ","), "`thresholds`")
        if not others:
            return column, cls(above, math.nextafter(above, -math.inf))
        return column, cls(above, others[-1], others[0] if len(others) == 2 else -math.inf)

    def values(self, column: np.ndarray) -> np.ndarray:
        """(n,) int8 from numbers (n,)."""
        lacks = (column >= self.low) & (column <= self.high)
        return np.where(column >= self.above, SHOWS, np.where(lacks, LACKS, NEITHER)).astype(np.int8)

    def to_json(self) -> dict[str, float | None]:
        return {"above": self.above, "below": self.high, "from": None if math.isinf(self.low) else self.low}


def _numbers(text: str, option: str, count: int | None = None) -> tuple[float, ...]:
    """Finite numbers between commas. Raises UsageError."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(map(math.isfinite, found)) or count not in (None, len(found)):
        raise UsageError(f"{option} takes {count or ''} numbers between commas, got {text!r}".replace("  ", " "))
    return found


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
    """A CSV with a file column and columns of numbers or texts, one concept from each wanted one."""
    assert source.labels is not None
    folder = source.root if source.root is not None else source.labels.parent
    cut, cuts = Cut.of(source.above, source.below, source.between), dict(map(Cut.parse, source.thresholds))
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; `root` names the folder the table's files are in")
    table = CsvTable.read(source.labels, folder)
    for column in (*([] if source.column is None else [source.column]), *source.balance_by, *cuts):
        if column not in table.texts:
            raise ConfigError(f"{table.path} has no column {column!r}; it has {', '.join(table.texts) or 'none'}")
    exists = table.find_in(folder)
    if source.column is None:
        concepts, notes = _every_concept(table, cuts, source.balance_by)
    else:
        cut, name = cuts.get(source.column, cut), source.name or source.column
        concept = _one_text(table, source.column, name, source.one) if source.one is not None else None
        concepts = [concept or _numeric(table, source.column, name, cut, source.extremes)]
        notes = table.unclear(source.column)
    cells = {column: _cells(table, column, cuts.get(column)) for column in source.balance_by}
    found = Labels(folder, tuple(table.names), tuple(concepts), cells, (*table.notes, *notes))
    return found.take(exists)


def _every_concept(
    table: CsvTable, cuts: Mapping[str, Cut], balance_by: Sequence[str]
) -> tuple[list[Concept], list[str]]:
    """One for each column of numbers, and one for each text of a column of classes; none of those to balance by."""
    concepts: list[Concept] = []
    notes: list[str] = []
    for column in (column for column in table.texts if column not in balance_by):
        found = sorted(set(table.texts[column]) - {""})
        try:
            if table.is_numeric(column):
                made = [_numeric(table, column, column, cuts.get(column), None)]
            elif 2 <= len(found) <= _MOST_CLASSES:
                made = [_one_text(table, column, vector_name(f"{column}-{one}"), one) for one in found]
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
        raise ConfigError(f"{table.path} has no column usable for a vector; it has {', '.join(table.texts)}")
    return concepts, notes


def _one_text(table: CsvTable, column: str, name: str, one: str) -> Concept:
    if one not in table.texts[column]:
        raise ConfigError(f"no row of {table.path} has {one!r} in {column}; check `one`")
    recipe = {"table": table.path.name, "column": column, "is": one}
    return one_against_rest(name, np.array(table.texts[column]), recipe, one)


def _numeric(table: CsvTable, column: str, name: str, cut: Cut | None, extremes: float | None) -> Concept:
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
        return Cut(0.5, math.nextafter(0.5, 0))
    share = 0.25 if extremes is None else extremes
    low, high = np.quantile(known, [share, 1 - share])
    if not low < high:
        raise ConfigError(f"the column's numbers hardly differ ({low:g} to {high:g}); give `above` and `below`")
    return Cut(float(high), float(low))


def _cells(table: CsvTable, column: str, cut: Cut | None) -> np.ndarray:
    """A column as classes to balance by: texts and few numbers as they are, many numbers in quarters."""
    if not table.is_numeric(column):
        found = {text: code for code, text in enumerate(sorted(set(table.texts[column]) - {""}))}
        return np.array([found.get(text, -1) for text in table.texts[column]])
    values = table.column(column)
    if cut is not None:
        return cut.values(values).astype(np.int64)
    known = np.unique(values[np.isfinite(values)])
    quarters = np.unique(np.nanquantile(values, np.arange(1, _BINS) / _BINS))
    edges = known[1:] if len(known) <= _BINS else quarters[quarters > known.min()]
    edges = edges if len(edges) else known[1:2]
    return np.where(np.isfinite(values), np.searchsorted(edges, values, side="right"), -1)
