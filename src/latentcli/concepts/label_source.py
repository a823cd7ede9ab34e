"""Label source: options that name the labelled images of a concept, checked before anything is loaded."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentcli.errors import UsageError
from latentcli.text import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSource:
    """Origin of a concept's labels: two folders, a folder and its changed copies, sub-folders, or a CSV table.

    Raises UsageError for options that exclude or need each other.
    """

    name: str | None = None  # of the vector; None if columns or sub-folders name it
    positive: Path | None = None  # folder or latents file of images that show the concept
    negative: Path | None = None  # folder or latents file of images that do not
    paired: bool = False  # images of equal name in `positive` and `negative` are after and before a change
    augment: str | None = None  # image change, like `blur=2`: changed images of `positive` show the concept
    folders: Path | None = None  # folder whose sub-folders are a concept each
    labels: Path | None = None  # CSV table
    root: Path | None = None  # folder of the table's file names; None for the table's folder
    column: str | None = None  # of the table, with the concept's values
    every: bool = False  # a vector from each column
    above: float | None = None  # positive class: values of the column that are not less
    below: float | None = None  # negative class: values of the column that are not more
    between: str | None = None  # negative class: values of the column in `LOW,HIGH`
    extremes: float | None = None  # share of images that make the positive (highest values) and the negative class
    one: str | None = None  # text in the column that marks the positive class
    thresholds: Sequence[str] = ()  # `COLUMN=ABOVE,BELOW`, for several columns
    balance_by: Sequence[str] = ()  # columns to balance the classes by
    latents: Path | None = None  # file with the encoded images

    def __post_init__(self) -> None:
        sources = [bool(self.positive), bool(self.folders), bool(self.labels)]
        cut = self.above is not None or self.below is not None or self.between is not None
        choices = [cut, self.one is not None, self.extremes is not None]
        table_options = [self.column, self.every, self.root, self.thresholds, self.balance_by, *choices]
        rules = [
            (
                sum(sources) == 1 and bool(self.negative) + bool(self.augment) == bool(self.positive),
                "give `positive` DIR and `negative` DIR, or `positive` DIR and `augment` CHANGE, or `folders` DIR, "
                "or `labels` CSV",
            ),
            (not self.labels or bool(self.column) != self.every, "`labels` needs `column` NAME or `every`"),
            (
                self.labels or not any(table_options),
                "`column`, `every`, `above`, `below`, `between`, `extremes`, `one`, `thresholds`, `balance_by` and "
                "`root` belong to `labels`",
            ),
            (sum(choices) <= 1, "give `above` and `below`, or `one`, or `extremes`"),
            (not (self.every and any(choices)), "with `every` each column has its own `thresholds` COLUMN=ABOVE,BELOW"),
            (not (self.augment and self.latents), "`augment` takes no `latents`: changed images must be encoded"),
            (
                (self.name is None) == bool(self.folders or self.every),
                "give a NAME for the vector; with `every` and `folders` the columns and folders name them",
            ),
            (self.negative or not self.paired, "`paired` belongs to `positive` and `negative`"),
        ]
        for is_met, message in rules:
            if not is_met:
                raise UsageError(message)


def origin_in_words(recipe: Mapping[str, Any]) -> str:
    """Origin of a concept's labels by the recipe in its vector's file; "" if the recipe names none.

    >>> origin_in_words({"table": "faces.csv", "column": "age", "above": 60.0, "below": 35.0, "from": 20.0})
    'age of faces.csv, 60 and more against 20 to 35'
    """
    texts = {name: shown(value) for name, value in recipe.items() if isinstance(value, str)}
    numbers = {name: value for name, value in recipe.items() if isinstance(value, float | int) and abs(value) < 1e300}
    if "augment" in texts:
        return f"images changed by {texts['augment']} against the same images unchanged"
    if "positive" in texts and "negative" in texts:
        return f"{texts['positive']} against {texts['negative']}"
    if "folder" in texts:
        return f"folder {texts['folder']} against the others beside it"
    column = f"{texts.get('column')} of {texts.get('table')}"
    if "is" in texts:
        return f"{column}, {texts['is']} against other texts"
    if "above" not in numbers or "below" not in numbers:
        return ""
    above, below = numbers["above"], numbers["below"]
    others = "less" if math.nextafter(above, -math.inf) == below else f"{below:g} and less"
    if "from" in numbers:
        others = f"{numbers['from']:g} to {below:g}"
    return f"{column}, {above:g} and more against {others}"
