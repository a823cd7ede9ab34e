"""Labels that a class-conditional prior knows: sub-folders of the training images, or columns of a table of labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from latentcli.errors import UsageError
from latentcli.text import listed

_NAMED = 12  # labels that an error message lists at most


@dataclass(frozen=True, slots=True)
class Parts:
    """Labels that a prior can be conditioned on, by column (property of images); at most one per image and column."""

    columns: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return sum(map(len, self.columns.values()))

    def values(self) -> Iterator[tuple[str, str]]:
        """Pairs (column, label), in the order of the rows of the prior's embedding table."""
        return ((column, value) for column, values in self.columns.items() for value in values)

    def rows(self, wanted: Sequence[str], model: str) -> tuple[int, ...]:
        """Row numbers, in the prior's embedding table, of the labels `wanted`, each as `cats` or `smiling=yes`.

        Raises UsageError, naming `model`, for a label in no column or in several, and for two labels of one column.

        >>> Parts({"folder": ("cats", "dogs"), "indoors": ("no", "yes")}).rows(["dogs", "indoors=yes"], "pets")
        (1, 3)
        """
        labels = list(self.values())
        if wanted and not labels:
            raise UsageError(f"{model} knows no parts of its images; sub-folders or train `labels` give it some")
        rows = []
        for text in wanted:
            fitting = [row for row, (column, value) in enumerate(labels) if text in (value, f"{column}={value}")]
            if not fitting:
                names = [f"{column}={value}" for column, value in labels]
                raise UsageError(f"{model} knows no images like {text!r}; it knows {listed(names, _NAMED)}")
            if len(fitting) > 1:
                columns = ", ".join(labels[row][0] for row in fitting)
                raise UsageError(f"{text!r} stands in several columns ({columns}); give COLUMN={text}")
            rows += fitting
        if len({labels[row][0] for row in rows}) < len(rows):
            raise UsageError("`like` takes one value of a column; draw other values in another run")
        return tuple(rows)
