"""The command reference, docs/cli.md, from the help of the app itself.

`python docs/generate_cli.py` writes the page; with `--check` it exits with 1 when the page is out of date.
"""

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

PAGE = Path(__file__).with_name("cli.md")
INTRODUCTION = """\
# Command reference

This page is generated from the help of the commands by `docs/generate_cli.py`. `latentcli COMMAND --help` shows the
same text in a terminal.
"""
ARGUMENTS, OPTIONS = "Arguments", "Options"  # the panels of parameters without one
TYPES = {int: "INTEGER", float: "NUMBER", Path: "PATH"}  # anything else is TEXT
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
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def _command(path: tuple[str, ...], command: Any) -> Iterator[str]:
    yield from (f"## {' '.join(path)}", "", f"```text\n{usage(path, command)}\n```", "")
    yield from help_text(command.help or "")
    for panel, parameters in panels(command).items():
        yield from (f"**{escape(panel)}**", "")
        yield from map(entry, parameters)
        yield ""


def usage(path: tuple[str, ...], command: Any) -> str:
    """One line: the command, its arguments, and [OPTIONS]."""
    arguments = [_bracketed(parameter) for parameter in command.params if is_argument(parameter)]
    return " ".join([*path, "[OPTIONS]", *arguments])


def _bracketed(parameter: Any) -> str:
    name = metavar(parameter)
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def help_text(text: str) -> Iterator[str]:
    """Paragraphs of a docstring as Markdown; indented lines, the examples, become one block of commands."""
    examples: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.partition("\f")[0].strip()):
        if paragraph.startswith((" ", "\t")):
            examples += [line.strip() for line in paragraph.splitlines()]
            continue
        yield from _block(examples)
        examples = []
        yield from (escape(" ".join(paragraph.split())), "")
    yield from _block(examples)


def _block(lines: list[str]) -> Iterator[str]:
    if lines:
        yield from ("```sh", *lines, "```", "")


def panels(command: Any) -> dict[str, list[Any]]:
    """The visible parameters by panel, arguments first, in the order they are declared."""
    found: dict[str, list[Any]] = {}
    for parameter in sorted(command.params, key=lambda parameter: not is_argument(parameter)):
        if getattr(parameter, "hidden", False) or "--help" in parameter.opts:
            continue
        default = ARGUMENTS if is_argument(parameter) else OPTIONS
        found.setdefault(getattr(parameter, "rich_help_panel", None) or default, []).append(parameter)
    return found


def is_argument(parameter: Any) -> bool:
    """Arguments are positional."""
    return bool(parameter.param_type_name == "argument")


def entry(parameter: Any) -> str:
    """One list item: names, value, help, default."""
    if is_argument(parameter):
        head = f"`{metavar(parameter)}`"
    else:
        value = "" if is_flag(parameter) else f" {metavar(parameter)}"
        names = [*parameter.opts, *parameter.secondary_opts]
        names.sort(key=lambda name: not name.startswith("--"))
        head = ", ".join(f"`{name}{value}`" for name in names)
    notes = [escape((parameter.help or "").strip())]
    if not is_argument(parameter) and parameter.required:
        notes.append("Required.")
    if (default := shown_default(parameter)) is not None:
        notes.append(f"Default: `{default}`.")
    return f"- {head}: {' '.join(filter(None, notes))}"


def metavar(parameter: Any) -> str:
    """What stands for the value: the metavar, the choices, or a plain type. Never a range."""
    if parameter.metavar:
        return str(parameter.metavar)
    if is_argument(parameter):
        return str(parameter.name).upper() + ("..." if parameter.nargs == -1 else "")
    kind = annotation(parameter)
    return "|".join(map(str, get_args(kind))) if get_origin(kind) is Literal else TYPES.get(kind, "TEXT")


def annotation(parameter: Any) -> Any:
    """The type of one value, as the command's function declares it."""
    kind = parameter.type_descriptor.annotation
    return get_args(kind)[0] if get_origin(kind) is list else kind


def shown_default(parameter: Any) -> str | None:
    """The default as it would be typed; None where there is none to show."""
    value = parameter.default
    if not getattr(parameter, "show_default", False) or value is None or callable(value) or is_flag(parameter):
        return None
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or None
    return f"{value:g}" if isinstance(value, float) else str(getattr(value, "value", value))


def is_flag(parameter: Any) -> bool:
    """Switches take no value, and their default says nothing."""
    return bool(getattr(parameter, "is_flag", False))


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
