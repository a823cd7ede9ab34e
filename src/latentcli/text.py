"""Text that comes from anywhere, made safe to show and to store.

Names of files, models, vectors and columns, and what others wrote into files, may hold characters that move the cursor,
retitle the window or turn the text around.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

# C0 and C1 controls and DEL; Unicode's line separators; marks, embeddings, overrides and isolates of text direction;
# halves of surrogates, which stand for bytes of a file name that are not text.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 1000  # characters of a message


def shown(text: object) -> str:
    r"""The text on one line, control characters as they are written in Python.

    >>> print(shown("red\x1b[31m.png"), shown("a\nb"))
    red\x1b[31m.png a\x0ab
    """
    return _CONTROLS.sub(_escaped, str(text))


def message(text: object) -> str:
    """The same, cut where it is far longer than any message: names may have thousands of characters."""
    line = shown(text)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def shown_path(path: object) -> str:
    """The same of a path, for stdout: what is no text stays as it is, so that other programs find the file."""
    return _CONTROLS.sub(lambda found: found[0] if _is_byte(found[0]) else _escaped(found), str(path))


def did_you_mean(wanted: str, names: Iterable[str]) -> str:
    """The rest of a refusal: the name that is most like the one that is not known; "" where none is near.

    >>> did_you_mean("facs", ["avatars", "faces"]), did_you_mean("dog", ["avatars", "faces"])
    ('; did you mean faces?', '')
    """
    near = get_close_matches(wanted, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def stored(text: str) -> bytes:
    """UTF-8; what is no text, as in some file names, is written out."""
    return text.encode("utf-8", "backslashreplace")


def _is_byte(character: str) -> bool:
    """Whether it stands for a byte of a file name, as `os.fsdecode` keeps it."""
    return "\udc80" <= character <= "\udcff"


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0]) - 0xDC00 * _is_byte(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
