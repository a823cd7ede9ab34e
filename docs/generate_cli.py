"""The command reference, docs/cli.md, from the help of the app itself.

`python docs/generate_cli.py` writes the page; with `--check` it exits with 1 when the page is out of date.
"""

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from latentcli.cli.help import is_argument, is_flag, metavar, names_of, panels, paragraphs, shown_default, usage

PAGE = Path(__file__).with_name("cli.md")
INTRODUCTION = """\
# Command reference

This page is generated from the help of the commands by `docs/generate_cli.py`. In a terminal `latentcli COMMAND --help`
shows the options of daily use, and `latentcli COMMAND --help-all` every one.

`latentcli --install-completion` teaches the shell to complete commands, options, and the names of models and vectors.
"""
_SPECIAL = re.compile(r"[\\*\[\]|]")  # Markdown, outside code


def reference(app: typer.Typer) -> str:
    """The page for an app: every visible command with its help, examples and options."""
    group = typer.main.get_command(app)
    parts = [INTRODUCTION]
    for path, command in commands(group, (group.name or "latentcli",)):
        parts.append("\n".join(_command(path, command)))
    return "\n".join(parts)


def commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command below a group with the words that run it, in the order of the help."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def _command(path: tuple[str, ...], command: Any) -> Iterator[str]:
    yield from (f"## {' '.join(path)}", "", f"```text\n{usage(' '.join(path), command)}\n```", "")
    yield from help_text(command.help or "")
    for panel, parameters in panels(command).items():
        yield from (f"**{escape(panel)}**", "")
        yield from map(entry, parameters)
        yield ""


def help_text(text: str) -> Iterator[str]:
    """Paragraphs of a docstring as Markdown; examples become one block of commands."""
    for part in paragraphs(text):
        yield from _block(part) if isinstance(part, list) else (escape(part), "")


def _block(lines: list[str]) -> Iterator[str]:
    yield from ("```sh", *lines, "```", "")


def entry(parameter: Any) -> str:
    """One list item: names, value, help, default."""
    if is_argument(parameter):
        head = f"`{metavar(parameter)}`"
    else:
        value = "" if is_flag(parameter) else f" {metavar(parameter)}"
        head = ", ".join(f"`{name}{value}`" for name in names_of(parameter))
    notes = [escape((parameter.help or "").strip())]
    if not is_argument(parameter) and parameter.required:
        notes.append("Required.")
    if (default := shown_default(parameter)) is not None:
        notes.append(f"Default: `{default}`.")
    return f"- {head}: {' '.join(filter(None, notes))}"


def escape(text: str) -> str:
    """Plain text as Markdown: special characters are escaped outside `code`.

    >>> escape("a [b] `c|d` <e>")
    'a \\\\[b\\\\] `c|d` &lt;e&gt;'
    """
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") and len(part) > 1 else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    return html.escape(_SPECIAL.sub(r"\\\g<0>", text), quote=False)


def main() -> None:
    """Write or check the page."""
    from latentcli.cli.app import app

    page = reference(app)
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
            sys.exit(f"{PAGE.name} is out of date; run: python docs/generate_cli.py")
        return
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
