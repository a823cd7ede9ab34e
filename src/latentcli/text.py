"""Untrusted text, made safe to show and to store.

Names of files, models, vectors and columns, and the contents of files, may hold characters that move the cursor,
retitle the window or reverse the text.
"""

import math
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

# C0 and C1 controls and DEL; Unicode's line separators; marks, embeddings, overrides and isolates of text direction;
# surrogates, which stand for the bytes of a file name that are not UTF-8.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 1000  # characters of a message


def shown(text: object) -> str:
    r"""Text on one line, with control characters escaped as in Python.

    >>> print(shown("red\x1b[31m.png"), shown("a\nb"))
    red\x1b[31m.png a\x0ab
    """
    return _CONTROLS.sub(_escaped, str(text))


def message(text: object) -> str:
    """Message on one line, with control characters escaped, cut at 1,000 characters."""
    line = shown(text)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def shown_path(path: object) -> str:
    """Path for stdout, with control characters escaped but bytes that are not UTF-8 kept, so that programs find it."""
    return _CONTROLS.sub(lambda match: match[0] if _is_byte(match[0]) else _escaped(match), str(path))


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first `most` of the names, separated by commas, with an ellipsis if there are more."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def finite(text: str) -> float:
    """The finite number that a text holds, or NaN."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def did_you_mean(wanted: str, names: Iterable[str]) -> str:
    """End of an error message that suggests the name most like `wanted`; "" if no name is similar.

    >>> did_you_mean("facs", ["avatars", "faces"]), did_you_mean("dog", ["avatars", "faces"])
    ('; did you mean faces?', '')
    """
    near = get_close_matches(wanted, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def stored(text: str) -> bytes:
    """Text as UTF-8 bytes; surrogates, which stand for undecodable bytes of a file name, are escaped."""
    return text.encode("utf-8", "backslashreplace")


def _is_byte(character: str) -> bool:
    """Whether a character is a surrogate by which `os.fsdecode` represents an undecodable byte."""
    return "\udc80" <= character <= "\udcff"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0]) - 0xDC00 * _is_byte(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
