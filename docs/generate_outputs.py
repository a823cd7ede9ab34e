"""The outputs of commands that the pages quote: runs each command again and writes what it prints.

    python docs/generate_outputs.py                 those that take seconds
    python docs/generate_outputs.py --slow DATA     all; DATA holds mnist/, faces/ and attributes.csv
    python docs/generate_outputs.py --check         compare those that take seconds; exits with 1 if one is stale

A comment before a block names its command: `<!-- output of: latentcli models -->`, or `<!-- slow output of: ... -->`.
The commands of a page run one after the other in an empty folder with `examples/`, and the tutorial's `digits.py`.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent
EXAMPLES = DOCS.parent / "examples"
QUOTED = re.compile(r"<!-- (slow )?output of: ([^\n]+) -->\n```text\n(.*?)```\n", re.DOTALL)
NUMBER = re.compile(r"\d[\d,]*\.?\d*")
TOLERANCE = 0.02  # of a number, or of one: the last digits differ between processors
WIDTH = 80  # characters of the terminal
_PROGRAM = 'latentcli() { "$PYTHON" -m latentcli "$@"; }; python() { "$PYTHON" "$@"; }; '


def pages(slow: bool) -> list[Path]:
    """The pages that quote an output of this kind."""
    found = [*sorted(DOCS.glob("*.md")), DOCS.parent / "README.md"]
    return [page for page in found if any(bool(kind) == slow for kind, _, _ in QUOTED.findall(page.read_text()))]


def printed(command: str, folder: Path, data: str = "") -> str:
    """What a command line writes to both streams, in a folder, as in a terminal that is not one."""
    environment = os.environ | {
        "PYTHON": sys.executable,
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": str(WIDTH),
        "DATA": data,
        "XDG_DATA_HOME": str(folder / ".data"),
        "XDG_CACHE_HOME": str(folder / ".cache"),
    }
    result = subprocess.run(
        ["bash", "-c", _PROGRAM + command],
        check=False,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return "".join(f"{line.rstrip()}\n" for line in result.stdout.strip("\n").splitlines())


def rewritten(page: Path, slow: bool = False, data: str = "") -> str:
    """The page with the outputs of this kind as they are today."""
    with tempfile.TemporaryDirectory() as folder:
        return _rewritten(page, Path(folder), slow, data)


def _rewritten(page: Path, folder: Path, slow: bool, data: str) -> str:
    (folder / "examples").symlink_to(EXAMPLES)
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "tutorial.md").read_text(encoding="utf-8"), re.DOTALL)
    (folder / "digits.py").write_text(code, encoding="utf-8")

    def again(found: re.Match[str]) -> str:
        kind, command, _ = found.groups()
        if bool(kind) != slow:
            return found[0]
        return f"<!-- {kind or ''}output of: {command} -->\n```text\n{printed(command, folder, data)}```\n"

    return QUOTED.sub(again, page.read_text(encoding="utf-8"))


def differs(before: str, after: str) -> bool:
    """Whether words differ, or a number by more than the tolerance."""
    if NUMBER.sub("#", before) != NUMBER.sub("#", after):
        return True
    pairs = zip(NUMBER.findall(before), NUMBER.findall(after), strict=True)
    numbers = ((float(one.replace(",", "")), float(other.replace(",", ""))) for one, other in pairs)
    return any(abs(one - other) > TOLERANCE * max(1, abs(one)) for one, other in numbers)


def stale() -> Iterator[str]:
    """The pages whose quick outputs differ from what their commands print."""
    for page in pages(slow=False):
        if differs(page.read_text(encoding="utf-8"), rewritten(page)):
            yield page.name


def main() -> None:
    """Write or check the outputs."""
    if sys.argv[1:] == ["--check"]:
        if names := list(stale()):
            sys.exit(f"outputs in {', '.join(names)} are stale; run: python docs/generate_outputs.py")
        return
    slow = sys.argv[1:2] == ["--slow"]
    data = str(Path(sys.argv[2]).resolve()) if slow else ""
    for kind in (False, True) if slow else (False,):
        for page in pages(kind):
            page.write_text(rewritten(page, kind, data), encoding="utf-8")


if __name__ == "__main__":
    main()
