"""Labels of images that show a concept or lack it, from folders, latents files, an image change or a CSV table."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from latentcli.concepts import perturb
from latentcli.concepts.csv_table import CsvTable
from latentcli.concepts.label_source import LabelSource
from latentcli.data.sources import find_images
from latentcli.errors import ConfigError, ModelMismatch, UsageError
from latentcli.storage.latents import SUFFIX, Latents
from latentcli.text import finite

SHOWS, LACKS, NEITHER = 1, 0, -1
_MOST_CLASSES = 20  # different texts in a column that is read as classes
_BINS = 4  # classes into which a column of numbers is cut for balancing
_THRESHOLD = re.compile(r"[^,:]+(,[^,:]+(:[^,:]+)?)?")


@dataclass(frozen=True, slots=True)
class Concept:
    """A named concept with the class of each image: shows it, lacks it, or neither."""

    name: str
    values: np.ndarray  # (n,) int8: SHOWS, LACKS or NEITHER
    recipe: dict[str, Any]  # origin of the labels, without absolute paths
    between: np.ndarray | None = None  # (n,) int8: class, by one threshold, of images between the two of `values`

    def take(self, rows: np.ndarray) -> "Concept":
        """The concept of the subset of images that `rows`, indices or a boolean mask, selects."""
        return replace(self, values=self.values[rows], between=None if self.between is None else self.between[rows])

    def check(self) -> None:
        """Raise ConfigError unless some images show the concept and some lack it."""
        positive, negative = (int((self.values == kind).sum()) for kind in (SHOWS, LACKS))
        if not positive or not negative:
            raise ConfigError(
                f"{self.name}: a vector needs images with and without the concept, got {positive} and {negative}; "
                "check the labels"
            )


@dataclass(frozen=True, slots=True)
class Labels:
    """Names of n images and, for one or more concepts, the class of each image."""

    root: Path  # folder to which `names` are relative
    names: tuple[str, ...]
    concepts: tuple[Concept, ...]
    cells: Mapping[str, np.ndarray] = field(default_factory=dict)  # by column to balance by: classes (n,), -1 unknown
    notes: tuple[str, ...] = ()  # lines on images that were left out
    pairs: np.ndarray | None = None  # (n,) int: images before and after a change share a number; -1 if alone
    augment: str | None = None  # change, like `blur=2`, to make to the first half of the images before encoding
    latents: Latents | None = None  # of encoded images, found by position if the names agree, else by name

    def take(self, rows: np.ndarray) -> "Labels":
        """Labels of the subset of images that `rows`, indices or a boolean mask, selects."""
        names = np.arange(len(self.names))[rows]
        return replace(
            self,
            names=tuple(self.names[row] for row in names),
            concepts=tuple(concept.take(rows) for concept in self.concepts),
            cells={column: codes[rows] for column, codes in self.cells.items()},
            pairs=None if self.pairs is None else self.pairs[rows],
        )


def read(source: LabelSource) -> Labels:
    """Labels from folders, changed copies or a table, as `source` says, with latents if `source` names a latents file.

    Raises ImageError for a folder without images, ConfigError for unusable labels.
    """
    if source.folders is not None:
        labels = from_subfolders(source.folders)
    elif source.positive is None:
        labels = from_table(source)
    elif source.negative is not None:
        labels = from_folders(source.name or "", source.positive, source.negative, source.paired)
    else:
        labels = from_change(source.name or "", source.positive, source.augment or "")
    if source.latents is not None and labels.latents is None:
        labels = replace(labels, latents=Latents.load(source.latents))
    return labels


def from_folders(name: str, positive: Path, negative: Path, paired: bool = False) -> Labels:
    """Labels from two folders, or two latents files: images in `positive` show the concept, in `negative` lack it.

    Names are relative to the innermost common folder, so that the held-out split is that of training. `paired` keeps
    only images whose name, but for the suffix, is in both. Raises ImageError if a folder has no images, ConfigError
    if the folders overlap or share no name, ModelMismatch for latents of two models.
    """
    latents = None
    if all(path.name.endswith(SUFFIX) for path in (positive, negative)):
        both = [Latents.load(path) for path in (positive, negative)]
        if both[0].model_id != both[1].model_id:
            raise ModelMismatch(f"{positive} and {negative} were made with different models; encode the images again")
        root, sources = positive.parent, [positive.name, negative.name]
        names = inner = [each.names for each in both]
        latents = Latents(np.concatenate([each.z for each in both]), names[0] + names[1], both[0].model_id)
    else:
        folders = [folder.resolve() for folder in (positive, negative)]
        if folders[0] in (folders[1], *folders[1].parents) or folders[1] in folders[0].parents:
            raise ConfigError(f"{positive} and {negative} overlap; give two separate folders")
        root = Path(os.path.commonpath(folders))
        inner = [tuple(path.relative_to(folder).as_posix() for path in find_images(folder)) for folder in folders]
        sources = [folder.relative_to(root).as_posix() for folder in folders]
        names = [tuple(f"{source}/{path}" for path in paths) for source, paths in zip(sources, inner, strict=True)]
    values = np.repeat([SHOWS, LACKS], [len(names[0]), len(names[1])]).astype(np.int8)
    recipe = {"positive": sources[0], "negative": sources[1]}
    labels = Labels(root, names[0] + names[1], (Concept(name, values, recipe),), latents=latents)
    if not paired:
        return labels
    stems = [[os.path.splitext(path)[0] for path in paths] for paths in inner]
    _, shown, lacking = np.intersect1d(stems[0], stems[1], return_indices=True)
    numbers = np.full(len(values), -1)
    numbers[np.sort(shown)] = np.arange(len(shown))
    numbers[len(stems[0]) + lacking] = numbers[shown]
    if not len(shown):
        raise ConfigError("no image of one folder has the name of one in the other; `paired` needs before and after")
    alone = int((numbers < 0).sum())
    notes = (f"{alone} images have no partner of the same name and were left out",) if alone else ()
    concept = Concept(name, np.where(numbers >= 0, values, NEITHER).astype(np.int8), recipe)
    return replace(labels, concepts=(concept,), pairs=numbers, notes=notes)


def from_change(name: str, images: Path, change: str) -> Labels:
    """Labels for the files in `images`, which lack the concept, and copies changed by, say, `blur=2`, which show it."""
    perturb.parse(change)
    names = tuple(path.relative_to(images).as_posix() for path in find_images(images))
    values = np.repeat([SHOWS, LACKS], len(names)).astype(np.int8)
    both = np.tile(np.arange(len(names)), 2)
    return Labels(images, names * 2, (Concept(name, values, {"augment": change}),), pairs=both, augment=change)


def from_subfolders(folder: Path) -> Labels:
    """Labels of one concept per sub-folder: its images show the concept, images of all other sub-folders lack it.

    Raises ImageError if there are no images, ConfigError if fewer than two sub-folders have images.
    """
    names = [path.relative_to(folder).as_posix() for path in find_images(folder)]
    classes = np.array([name.partition("/")[0] if "/" in name else "" for name in names])
    folders = sorted(set(classes.tolist()) - {""})
    if len(folders) < 2:
        raise ConfigError(f"{folder} has {len(folders)} sub-folders with images; give a folder with two or more")
    concepts = tuple(one_against_rest(vector_name(name), classes, {"folder": name}, name) for name in folders)
    loose = int((classes == "").sum())
    notes = (f"{loose} images of {folder} are in no sub-folder and were left out",) if loose else ()
    return Labels(folder, tuple(names), concepts, notes=notes)


def vector_name(text: str) -> str:
    """A valid name for a vector, made from any text by putting hyphens in place of forbidden characters.

    >>> vector_name("hair-dark brown")
    'hair-dark-brown'
    """
    return re.sub(r"[^\w.+]+", "-", text).strip("-.+") or "vector"


def one_against_rest(name: str, classes: np.ndarray, recipe: dict[str, Any], one: str) -> Concept:
    """Concept that images of class `one` show and images of all other `classes` (n,) lack; class "" is neither."""
    values = np.where(classes == one, SHOWS, np.where(classes == "", NEITHER, LACKS)).astype(np.int8)
    return Concept(name, values, recipe)


@dataclass(frozen=True, slots=True)
class Cut:
    """Thresholds of a numeric column: values from `above` on show the concept, values from `low` to `high` lack it."""

    above: float
    high: float
    low: float = -math.inf

    def __post_init__(self) -> None:
        if self.high >= self.above or self.low > self.high:
            raise ConfigError(f"`below` must be less than `above`, got {self.high:g} and {self.above:g}")

    @classmethod
    def at(cls, threshold: float) -> "Cut":
        """Cut by which values from `threshold` on show the concept and all smaller values lack it."""
        return cls(threshold, math.nextafter(threshold, -math.inf))

    @classmethod
    def of(cls, above: float | None, below: float | None, between: str | None = None) -> "Cut | None":
        """Cut for the options of the same names, or None if none is given; `between` is like `20,35`.

        Raises UsageError if the options exclude each other.
        """
        if between is not None:
            numbers = _numbers(between)
            if len(numbers) != 2 or numbers[0] > numbers[1]:
                raise UsageError(f"`between` takes LOW,HIGH, got {between!r}")
            if above is None or below is not None:
                raise UsageError("`between` LOW,HIGH goes with `above`, and without `below`")
            return cls(above, high=numbers[1], low=numbers[0])
        if above is None:
            return None if below is None else cls(math.nextafter(below, math.inf), below)
        return cls.at(above) if below is None else cls(above, below)

    @classmethod
    def parse(cls, text: str) -> tuple[str, "Cut"]:
        """Column name and cut from `COLUMN=ABOVE,BELOW` or `COLUMN=ABOVE,LOW:HIGH`. Raises UsageError for other text.

        >>> Cut.parse("smile=0.9,0.1")
        ('smile', Cut(above=0.9, high=0.1, low=-inf))
        >>> Cut.parse("age=60,20:35")[1].low
        20.0
        """
        column, _, thresholds = text.rpartition("=")
        numbers = _numbers(thresholds.replace(":", ",")) if _THRESHOLD.fullmatch(thresholds) else ()
        if not column or not numbers:
            raise UsageError(f"`thresholds` takes COLUMN=ABOVE,BELOW or COLUMN=ABOVE,LOW:HIGH, got {text!r}")
        return column, cls(numbers[0], *reversed(numbers[1:])) if len(numbers) > 1 else cls.at(numbers[0])

    def between(self, column: np.ndarray) -> np.ndarray:
        """Class of each number of `column` (n,) that has none by the two thresholds, as int8: by one between them.

        It is 0.5 for scores from 0 to 1, otherwise the median; if that lies outside the two, the nearer of them.
        """
        known = np.isfinite(column)
        numbers = column[known]
        middle = 0.5 if numbers.min() >= 0 and numbers.max() <= 1 else float(np.median(numbers))
        middle = min(max(middle, math.nextafter(self.high, math.inf)), self.above)
        classes = np.where(column >= middle, SHOWS, LACKS)
        return np.where(known & (self.values(column) == NEITHER), classes, NEITHER).astype(np.int8)

    def values(self, column: np.ndarray) -> np.ndarray:
        """Class of each number of `column` (n,), as int8: SHOWS, LACKS or NEITHER."""
        lacks = (column >= self.low) & (column <= self.high)
        return np.where(column >= self.above, SHOWS, np.where(lacks, LACKS, NEITHER)).astype(np.int8)

    def to_json(self) -> dict[str, float | None]:
        """The thresholds as entries of a vector's recipe, from which the vector can be fitted again."""
        return {"above": self.above, "below": self.high, "from": None if math.isinf(self.low) else self.low}


def _numbers(text: str) -> tuple[float, ...]:
    """The numbers in a comma-separated text, or an empty tuple if one of them is not a finite number."""
    numbers = tuple(map(finite, text.split(",")))
    return numbers if all(map(math.isfinite, numbers)) else ()


def from_table(source: LabelSource) -> Labels:
    """Labels from the CSV table of `source`: concept of its `column`, or, if that is None, concepts of all columns."""
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
    """Concepts, one per numeric column and one per class of a text column, and notes that name skipped columns.

    Columns in `balance_by` make no concept. Raises ConfigError if no column is usable.
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
    """Concept that images with the text `one` in a column show and images with any other text lack."""
    if one not in table.texts[column]:
        raise ConfigError(f"no row of {table.path} has {one!r} in {column}; check `one`")
    recipe = {"table": table.path.name, "column": column, "is": one}
    return one_against_rest(name, np.array(table.texts[column]), recipe, one)


def _numeric(table: CsvTable, column: str, name: str, cut: Cut | None, extremes: float | None) -> Concept:
    """Concept of a numeric column: images from one threshold of `cut` on show it, images below the other lack it.

    Without `cut`, the highest share `extremes` shows it and the lowest lacks it; without both, the larger of just
    two values, scores (0 to 1) from 0.5 on, or the highest quarter. Raises ConfigError if numbers hardly differ.
    """
    values = table.column(column)
    numbers = values[np.isfinite(values)]
    kinds = np.unique(numbers)
    if not len(numbers):
        raise ConfigError("the column holds no numbers; `one` TEXT takes a text")
    if cut is None and extremes is None and len(kinds) == 2:
        cut = Cut(float(kinds[1]), float(kinds[0]))
    elif cut is None and extremes is None and kinds[0] >= 0 and kinds[-1] <= 1:
        cut = Cut.at(0.5)
    elif cut is None:
        share = 0.25 if extremes is None else extremes
        low, high = np.quantile(numbers, [share, 1 - share])
        if not low < high:
            raise ConfigError(f"the column's numbers hardly differ ({low:g} to {high:g}); give `above` and `below`")
        cut = Cut(float(high), float(low))
    recipe = {"table": table.path.name, "column": column, **cut.to_json()}
    return Concept(name, cut.values(values), recipe, cut.between(values))


def _cells(table: CsvTable, column: str, cut: Cut | None) -> np.ndarray:
    """Class numbers (n,) by a column to balance by: texts, few numbers, `cut`, or quarters of many; -1 if unknown."""
    if not table.is_numeric(column):
        codes = np.unique(np.array(table.texts[column]), return_inverse=True)[1]
        return codes - ("" in table.texts[column])  # no text sorts first: -1
    values = table.column(column)
    if cut is not None:
        return cut.values(values).astype(np.int64)
    kinds = np.unique(values[np.isfinite(values)])
    quarters = np.unique(np.nanquantile(values, np.arange(1, _BINS) / _BINS))
    edges = kinds[1:] if len(kinds) <= _BINS else quarters[quarters > kinds[0]]
    edges = edges if len(edges) else kinds[1:2]
    return np.where(np.isfinite(values), np.searchsorted(edges, values, side="right"), -1)
