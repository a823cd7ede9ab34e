"""Label source: the options that say which images show a concept. Checked without PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latentcli.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSource:
    """Two folders, a folder of sub-folders, a table, or a perturbation.

    Raises UsageError for options that exclude or need each other.
    """

    name: str | None = None  # of the vector; None where columns or sub-folders name it
    positive: Path | None = None  # folder or latents file
    negative: Path | None = None
    paired: bool = False  # equal names are after and before
    augment: str | None = None  # perturbation of `positive`
    folders: Path | None = None  # whose sub-folders are a concept each
    labels: Path | None = None  # a table, CSV
    root: Path | None = None  # of the table's file names; None for the table's folder
    column: str | None = None
    every: bool = False  # all columns
    above: float | None = None  # positive class: values from here on
    below: float | None = None  # negative class: values up to here
    between: str | None = None  # negative class: values in `LOW,HIGH`
    extremes: float | None = None  # share of the highest and of the lowest values
    one: str | None = None  # text of the positive class
    thresholds: Sequence[str] = ()  # `COLUMN=ABOVE,BELOW`
    balance_by: Sequence[str] = ()  # columns
    latents: Path | None = None  # file that holds the images encoded

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
