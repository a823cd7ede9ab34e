"""Labels that the prior is conditioned on: the sub-folder of each image, or the columns of a table of labels."""

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

FOLDER = "folder"  # name of the column made of sub-folders
_LEAST = 10  # training images that a value needs to be a label
_MOST = 100  # values up to which a column is used
_FEW_NUMBERS = 10  # different numbers up to which each number of a column is a label; more become thirds
_THIRDS = ("low", "middle", "high")


@dataclass(frozen=True, slots=True)
class Labelled:
    """Columns of labels, and the label of each image of the listings (files of a source) in each column."""

    parts: Parts  # column name -> possible labels
    codes: tuple[np.ndarray, ...]  # label numbers, -1 for none: (n, columns) int64, one per listing, training first
    notes: tuple[str, ...] = ()

    def known(self, of_held_out: bool, rows: np.ndarray) -> Tensor:
        """Multi-hot labels (n, values) float32 of the images numbered `rows` in the held-out or training listing."""
        codes = torch.from_numpy(self.codes[-1 if of_held_out else 0][rows])
        unknown = len(self.parts)  # index of an extra column for the codes of -1, which is cut off
        values = torch.zeros(len(codes), unknown + 1)
        return values.scatter_(1, torch.where(codes < 0, unknown, codes), 1.0)[:, :unknown]

    def digest(self) -> str:
        """Twelve hex digits of a SHA-256 hash over all labels of all images."""
        digest = hashlib.sha256(repr(self.parts.columns).encode())
        for codes in self.codes:
            digest.update(codes.tobytes())
        return digest.hexdigest()[:12]


def of_folders(train: Selection, listings: Sequence[Listing]) -> Labelled | None:
    """Labels by the sub-folder of each image; None without two sub-folders of at least _LEAST training images."""
    if not (names_as_numbers(listings[0].names) == ord("/")).any():  # a quick test: no image is in a sub-folder
        return None
    return _labelled([{FOLDER: _sub_folders(listing)} for listing in listings], train)


def of_table(path: Path, train: Selection, listings: Sequence[Listing]) -> Labelled:
    """Labels by the columns of a CSV table. Raises ConfigError if the table labels none of the training images."""
    table = CsvTable.read(path, listings[0].source.root)
    row_of = {os.fsencode(name): row for row, name in enumerate(table.names)}
    values_of = {column: [*_values(table, column), ""] for column in table.texts}  # "" is for images without a row
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
    """Labels by `columns`, per listing a mapping from column name to each image's text; None if no column is usable."""
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
    """Sub-folder of each image: the first folder in its path after those common to all images; "" if there is none."""
    folders = [tuple(os.path.dirname(bytes(name)).split(b"/")) for name in listing.names]
    levels = map(set, zip(*set(folders), strict=False))
    common = sum(1 for _ in takewhile(lambda level: len(level) == 1, levels))
    return [os.fsdecode(folder[common]) if len(folder) > common else "" for folder in folders]


def _values(table: CsvTable, column: str) -> list[str]:
    """Labels of table rows by `column`: text or number, "no" or "yes" for 0 to 1, "low" to "high" for many numbers."""
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
