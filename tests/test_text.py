"""Control characters in names and texts from elsewhere."""

import pytest

from latentcli.text import shown, shown_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é 漢 🙂", "plain é 漢 🙂"),
        ("x\x1b]0;PWNED\x071.png", r"x\x1b]0;PWNED\x071.png"),
        ("a\r\n\tb", r"a\x0d\x0a\x09b"),
        ("del\x7f c1\x9b31m", r"del\x7f c1\x9b31m"),
        ("turned\u202egnp.exe", r"turned\u202egnp.exe"),
        ("isolate\u2066\u2069 mark\u200f\u061c line\u2028", r"isolate\u2066\u2069 mark\u200f\u061c line\u2028"),
        ("caf\udce9 \ud800", r"caf\xe9 \ud800"),
    ],
)
def test_control_characters_are_shown(text, expected):
    assert shown(text) == expected


def test_a_path_keeps_the_bytes_that_are_no_text():
    assert shown_path("caf\udce9\x1b") == "caf\udce9\\x1b"
