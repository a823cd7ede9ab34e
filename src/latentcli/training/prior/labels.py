"""Labels that the prior is conditioned on: the sub-folder of each image, or its columns in a table."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentcli.concepts.csv_table import CsvTable
from latentcli.data.dataset import Selection
from latentcli.data.sources import Listing, names_as_numbers
from latentcli.errors import ConfigError
from latentcli.model.parts import Parts

FOLDER = "folder"  # the column of sub-folders
_LEAST = 10  # training images of a value
_MOST = 100  # values of a column
_FEW_NUMBERS = 10  # different ones, which stay as they are
_THIRDS = ("low", "middle", "high")


@dataclass(frozen=True, slots=True)
class Labelled:
    """The labels that images may have, and those that each image of the listings has."""

    parts: Parts  # columns and their values
    codes: tuple[np.ndarray, ...]  # (n, columns) int64, of the training listing first: numbers of values, -1 for none
    notes: tuple[str, ...] = ()

    def known(self, of_held_out: bool, rows: np.ndarray) -> Tensor:
        """Labels of the images at these rows of a listing: (n, values) float32, 1 for each value that an image has."""
        codes = torch.from_numpy(self.codes[-1 if of_held_out else 0][rows])
        unknown = len(self.parts)  # one more column takes the codes of -1 and is left out
        values = torch.zeros(len(codes), unknown + 1)
        return values.scatter_(1, torch.where(codes < 0, unknown, codes), 1.0)[:, :unknown]

    def digest(self) -> str:
        """Twelve hex digits, the same for the same labels of the same images."""
        digest = hashlib.sha256(repr(self.parts.columns).encode())
        for codes in self.codes:
            digest.update(codes.tobytes())
        return digest.hexdigest()[:12]


def of_folders(train: Selection, listings: Sequence[Listing]) -> Labelled | None:
    """Labels by sub-folder; None where there are not two of them with enough images."""
    if not (names_as_numbers(listings[0].names) == ord("/")).any():  # as in most folders, which may be large
        return None
    return _labelled([{FOLDER: _sub_folders(listing)} for listing in listings], train)


def of_table(path: Path, train: Selection, listings: Sequence[Listing]) -> Labelled:
    """Labels by the columns of a CSV table. Raises ConfigError where it has no use for these images."""
    table = CsvTable.read(path, listings[0].source.root)
    row_of = {os.fsencode(name): row for row, name in enumerate(table.names)}
    values_of = {column: [*_values(table, column), ""] for column in table.texts}  # the last for images without a row
    rows = [[row_of.get(bytes(name), -1) for name in listing.names] for listing in listings]
    if all(rows[0][row] == -1 for row in train.rows):
        raise ConfigError(
            f"{path} names none of the images in {listings[0].source}; its paths must count from that folder"
        )
    columns = [{column: [values[row] for row in listed] for column, values in values_of.items()} for listed in rows]
    labelled = _labelled(columns, train)
    if labelled is None:
        raise ConfigError(
            f"no column of {path} has two to {_MOST} values with {_LEAST} images each; such columns tell parts apart"
        )
    return labelled


def _labelled(columns: Sequence[Mapping[str, Sequence[str]]], train: Selection) -> Labelled | None:
    """Labels from the text of each image in each column, one mapping for each listing."""
    values_of: dict[str, tuple[str, ...]] = {}
    for column, texts in columns[0].items():
        counts = Counter(texts[row] for row in train.rows)
        values = sorted(value for value, count in counts.items() if value and count >= _LEAST)
        if 2 <= len(values) <= _MOST:
            values_of[column] = tuple(values)
    if not values_of:
        return None
    left_out = [column for column in columns[0] if column not in values_of]
    notes = (f"columns that tell no parts of the images apart: {', '.join(left_out)}",) if left_out else ()
    parts = Parts(values_of)
    code_of = {pair: code for code, pair in enumerate(parts.values())}
    codes = tuple(
        np.array([[code_of.get((column, text), -1) for text in texts[column]] for column in values_of], np.int64).T
        for texts in columns
    )
    return Labelled(parts, codes, notes)


def _sub_folders(listing: Listing) -> list[str]:
    """For each image, the first folder in which the images' paths differ; "" for those that lie beside such folders."""
    folders = [tuple(os.path.dirname(bytes(name)).split(b"/")) for name in listing.names]
    levels = map(set, zip(*set(folders), strict=False))
    common = sum(1 for _ in takewhile(lambda level: len(level) == 1, levels))
    return [os.fsdecode(folder[common]) if len(folder) > common else "" for folder in folders]


def _values(table: CsvTable, column: str) -> list[str]:
    """A column as values: texts and few numbers as they are, 0 to 1 as no and yes, other numbers in thirds."""
    if not table.is_numeric(column):
        return table.texts[column]
    numbers = table.column(column)
    is_known = np.isfinite(numbers)
    different = np.unique(numbers[is_known])
    if different.min() >= 0 and different.max() <= 1:
        values = np.where(numbers >= 0.5, "yes", "no")
    elif len(different) <= _FEW_NUMBERS:
        values = np.array([f"{number:g}" for number in numbers])
    else:
        edges = np.nanquantile(numbers, [1 / 3, 2 / 3])
        values = np.array(_THIRDS)[np.searchsorted(edges, numbers, side="right").clip(max=2)]
    return [str(value) for value in np.where(is_known, values, "")]
