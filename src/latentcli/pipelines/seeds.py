"""Seeds of samples, as they are written in options and in the names of files."""

from collections.abc import Sequence

from latentcli.config import MOST_SEEDS
from latentcli.errors import UsageError

_LONGEST_RANGE = 50  # characters
_LONGEST_NAME = 60  # characters


def parse_seeds(text: str, what: str = "--seeds", most: int = MOST_SEEDS) -> tuple[int, ...]:
    """Seeds and ranges, separated by commas. Raises UsageError, which names `what` they were given for.

    >>> parse_seeds("0,3-6")
    (0, 3, 4, 5, 6)
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip()[:_LONGEST_RANGE].partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"{what} takes numbers and ranges like 0,3-9, got {text[:_LONGEST_RANGE]!r}")
        low, high = int(first), int(last or first)
        if not low <= high < 2**63 or high - low >= most - len(seeds):
            raise UsageError(f"{what} takes up to {most:,} rising numbers below 2^63, got {part.strip()!r}")
        seeds += range(low, high + 1)
    return tuple(seeds)


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds as they stand in a file's name.

    >>> seeds_text((0, 1, 2, 7))
    '0-2,7'
    """
    parts: list[str] = []
    start = 0
    for index in range(1, len(seeds) + 1):
        if index == len(seeds) or seeds[index] != seeds[index - 1] + 1:
            run = seeds[start:index]
            parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
            start = index
    text = ",".join(parts)
    return text if len(text) <= _LONGEST_NAME else f"{parts[0]},etc,{parts[-1]}"
