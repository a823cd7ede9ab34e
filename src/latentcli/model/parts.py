"""Parts of the training images that samples can be drawn from: sub-folders, or what a table says of the images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latentcli.errors import UsageError

_NAMED = 12  # values in a message


@dataclass(frozen=True, slots=True)
class Parts:
    """Columns, each with its values; an image has at most one value of each."""

    columns: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return sum(map(len, self.columns.values()))

    def values(self) -> Iterator[tuple[str, str]]:
        """Column and value, in the order of the rows of the prior's table."""
        return ((column, value) for column, values in self.columns.items() for value in values)

    def rows(self, wanted: Sequence[str], model: str) -> tuple[int, ...]:
        """The rows of values, given as `cats` or `smiling=yes`. Raises UsageError for what no column has.

        >>> Parts({"folder": ("cats", "dogs"), "indoors": ("no", "yes")}).rows(["dogs", "indoors=yes"], "pets")
        (1, 3)
        """
        found = tuple(self._row(text, model) for text in wanted)
        columns = [column for row, (column, _) in enumerate(self.values()) if row in found]
        if len(set(columns)) < len(found):
            raise UsageError("`like` takes one value of a column; draw other values in another run")
        return found

    def _row(self, text: str, model: str) -> int:
        fitting = [row for row, (column, value) in enumerate(self.values()) if text in (value, f"{column}={value}")]
        if not self.columns:
            raise UsageError(f"{model} knows no parts of its images; sub-folders or train `labels` give it some")
        if not fitting:
            known = [f"{column}={value}" for column, value in self.values()]
            some = ", ".join(known[:_NAMED]) + (", …" if len(known) > _NAMED else "")
            raise UsageError(f"{model} knows no images like {text!r}; it knows {some}")
        if len(fitting) > 1:
            columns = ", ".join(column for row, (column, _) in enumerate(self.values()) if row in fitting)
            raise UsageError(f"{text!r} stands in several columns ({columns}); give COLUMN={text}")
        return fitting[0]

    def to_json(self) -> dict[str, Any]:
        return {column: list(values) for column, values in self.columns.items()}
