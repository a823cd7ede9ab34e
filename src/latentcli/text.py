"""Text from other people, made safe to show and to store.

Names of files, models, vectors and columns, and the contents of files, may hold characters that move the cursor,
retitle the window or reverse the text.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

# C0 and C1 controls and DEL; Unicode's line separators; marks, embeddings, overrides and isolates of text direction;
# surrogates, which stand for bytes of a file name that are not text.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 1000  # characters of a message


def shown(text: object) -> str:
    r"""The text on one line, with control characters written as in Python.

    >>> print(shown("red\x1b[31m.png"), shown("a\nb"))
    red\x1b[31m.png a\x0ab
    """
    return _CONTROLS.sub(_escaped, str(text))


def message(text: object) -> str:
    """The text as `shown`, cut at 1,000 characters: a name in it may have any length."""
    line = shown(text)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def shown_path(path: object) -> str:
    """A path as `shown`, for stdout: bytes that are no text stay, so that other programs find the file."""
    return _CONTROLS.sub(lambda match: match[0] if _is_byte(match[0]) else _escaped(match), str(path))


def did_you_mean(wanted: str, names: Iterable[str]) -> str:
    """The end of an error message: the name that is most like an unknown one; "" where none is near.

    >>> did_you_mean("facs", ["avatars", "faces"]), did_you_mean("dog", ["avatars", "faces"])
    ('; did you mean faces?', '')
    """
    near = get_close_matches(wanted, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def stored(text: str) -> bytes:
    """A text in UTF-8; bytes of file names that are no text are escaped."""
    return text.encode("utf-8", "backslashreplace")


def _is_byte(character: str) -> bool:
    """Whether a character stands for a byte of a file name, as made by `os.fsdecode`."""
    return "\udc80" <= character <= "\udcff"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0]) - 0xDC00 * _is_byte(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
