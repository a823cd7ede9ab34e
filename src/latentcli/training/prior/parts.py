"""Parts of the images of a run: which sub-folder each is in, or what a table says of it."""

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
    """The parts, and which value of each column an image has: of the training listing, and of the held-out one."""

    parts: Parts
    codes: tuple[np.ndarray, ...]  # (n, columns) int64 each, rows of the prior's table; -1 where nothing is known
    notes: tuple[str, ...] = ()

    def known(self, of_held_out: bool, rows: np.ndarray) -> Tensor:
        """1 for each value that the images at these rows of a listing have: (n, values) float32."""
        codes = torch.from_numpy(self.codes[-1 if of_held_out else 0][rows])
        unknown = len(self.parts)  # a column more, for what is not known, which is left out
        values = torch.zeros(len(codes), unknown + 1)
        return values.scatter_(1, torch.where(codes < 0, unknown, codes), 1.0)[:, :unknown]

    def digest(self) -> str:
        """Twelve hex digits, the same for the same labels of the same images."""
        found = hashlib.sha256(repr(self.parts.to_json()).encode())
        for codes in self.codes:
            found.update(codes.tobytes())
        return found.hexdigest()[:12]


def of_folders(train: Selection, listings: Sequence[Listing]) -> Labelled | None:
    """By sub-folder; None where there are not two of them with enough images."""
    if not (names_as_numbers(listings[0].names) == ord("/")).any():  # as in most folders, which may be large
        return None
    columns = [{FOLDER: _sub_folders(listing)} for listing in listings]
    return _labelled(columns, train)


def of_table(path: Path, train: Selection, listings: Sequence[Listing]) -> Labelled:
    """By the columns of a CSV table. Raises ConfigError for one that tells nothing of the images."""
    root = listings[0].source.root
    table = CsvTable.read(path, root)
    rows = {os.fsencode(name): row for row, name in enumerate(table.names)}
    texts = {column: [*_values(table, column), ""] for column in table.texts}  # the last for images without a row
    found = [[rows.get(bytes(name), -1) for name in listing.names] for listing in listings]
    columns = [{column: [values[row] for row in some] for column, values in texts.items()} for some in found]
    if all(found[0][row] == -1 for row in train.rows):
        raise ConfigError(
            f"{path} names none of the images in {listings[0].source}; its paths must count from that folder"
        )
    labelled = _labelled(columns, train)
    if labelled is None:
        raise ConfigError(
            f"no column of {path} has two to {_MOST} values with {_LEAST} images each; such columns tell parts apart"
        )
    return labelled


def _labelled(columns: Sequence[Mapping[str, Sequence[str]]], train: Selection) -> Labelled | None:
    """Of the text of each image in each column, for each listing."""
    found: dict[str, tuple[str, ...]] = {}
    for column, texts in columns[0].items():
        counts = Counter(texts[row] for row in train.rows)
        values = sorted(value for value, count in counts.items() if value and count >= _LEAST)
        if 2 <= len(values) <= _MOST:
            found[column] = tuple(values)
    if not found:
        return None
    left_out = [column for column in columns[0] if column not in found]
    notes = (f"columns that tell no parts of the images apart: {', '.join(left_out)}",) if left_out else ()
    parts = Parts(found)
    row_of = {pair: row for row, pair in enumerate(parts.values())}
    codes = tuple(
        np.array([[row_of.get((column, text), -1) for text in texts[column]] for column in found], dtype=np.int64).T
        for texts in columns
    )
    return Labelled(parts, codes, notes)


def _sub_folders(listing: Listing) -> list[str]:
    """The first folder in which the images' paths differ; nothing for those that lie beside such folders."""
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
    kinds = np.unique(numbers[is_known])
    if kinds.min() >= 0 and kinds.max() <= 1:
        found = np.where(numbers >= 0.5, "yes", "no")
    elif len(kinds) <= _FEW_NUMBERS:
        found = np.array([f"{number:g}" for number in numbers])
    else:
        edges = np.nanquantile(numbers, [1 / 3, 2 / 3])
        found = np.array(_THIRDS)[np.searchsorted(edges, numbers, side="right").clip(max=2)]
    return [str(value) for value in np.where(is_known, found, "")]
