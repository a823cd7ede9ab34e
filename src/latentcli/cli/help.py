"""Help pages: `--help` shows the options of daily use, `--help-all` every one, in panels.

The command reference, docs/cli.md, is made of the same parameters.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

HELP_NAMES = ["-h", "--help", "--help-all"]
# Options of daily use of each command. What is not here shows them all.
DAILY = {
    "train": "name size crop epochs minutes held-out sharp",
    "check": "size crop held-out",
    "sharpen": "minutes",
    "encode": "model output force",
    "decode": "model output force",
    "sample": "n seeds each like near with model output force",
    "interpolate": "steps loop seconds grid model output force",
    "map": "axes cells of grid table column model output force",
    "traverse": "axes rows of model output force",
    "apply-vector": "vector strength to strip model output force",
    "edit": "vector strength to strip animate model output force",
    "rerun": "photo output force",
    "evaluate": "model training",
    "report": "model output force",
    "explore": "model images static",
    "export": "onnx force",
    "": "version",
    "vectors fit": "positive negative folders labels column above below balance-by model force",
    "vectors combine": "save model force",
    "vectors refit": "from model root force",
    "vectors discover": "n by model output force",
    "vectors report": "model images output force",
}
_ALL, _BARE = HELP_NAMES[-1], "bare"  # keys of what the contexts of a command line share
_ARGUMENTS, _OPTIONS, _COMMANDS = "Arguments", "Options", "Commands"  # panels of what has none
_TYPES = {int: "INTEGER", float: "NUMBER", Path: "PATH"}  # anything else is TEXT
_WIDEST, _NARROW = 100, 60  # columns of a page, and below which explanations go under the names
_LONG_DEFAULT = re.compile(r" \(default: [^()]{60,}\)")  # that the short page leaves to the other
_LONGEST_NAME = 26  # characters of a name and its value that share a line with the explanation


class Command(TyperCommand):
    """A command with our help page, in colours where the terminal has them."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from rich.console import Console
        from rich.text import Text

        console = Console(highlight=False)
        with console.capture() as drawn:
            for head, rest in _page(self, ctx, min(console.width, _WIDEST)):
                style = "bold cyan" if head.startswith(" ") else "bold"
                console.print(Text.assemble((head, style), rest), soft_wrap=True)
        formatter.write(drawn.get())


class Group(TyperGroup):
    """A group of commands with our help page, which it shows as well where no command is given."""

    format_help = Command.format_help

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta.update({_ALL: _ALL in args, _BARE: not args})
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)


def _page(command: Any, ctx: Any, width: int) -> Iterator[tuple[str, str]]:
    """Lines of the page, each with a part in front that stands out: a heading or a name."""
    yield from _wrapped(f"Usage: {usage(ctx.command_path, command)}", width, more=4)
    for part in paragraphs(command.help or ""):
        if isinstance(part, str):
            yield "", ""
            yield from _wrapped(part, width)
        else:
            for line in part:
                yield from _wrapped(line, width, indent=2, more=4)
    sections, note = _sections(command, ctx)
    names = [name for rows in sections.values() for name in rows if len(name) <= _LONGEST_NAME]
    start = 6 if width < _NARROW else 4 + max(map(len, names), default=0)  # column of the explanations
    for title, rows in sections.items():
        yield "", ""
        if title:
            yield title, ""
        for name, text in rows.items():
            lines = list(_wrapped(text, width, indent=start, more=start))
            is_beside = lines and len(name) + 4 <= start
            yield f"  {name}", lines.pop(0)[1][len(name) + 2 :] if is_beside else ""
            yield from lines
    if note:
        yield "", ""
        yield from _wrapped(note, width)


def _wrapped(text: str, width: int, indent: int = 0, more: int = 0) -> Iterator[tuple[str, str]]:
    """The lines of a text without a part that stands out; all but the first are indented by `more`."""
    wrapper = textwrap.TextWrapper(width, " " * indent, " " * more, break_long_words=False, break_on_hyphens=False)
    yield from (("", line) for line in wrapper.wrap(text))


def _sections(command: Any, ctx: Any) -> tuple[dict[str, dict[str, str]], str]:
    """Names and their explanations, by panel; and a line on what more there is."""
    path, shown, notes = ctx.command_path, panels(command), []
    words = path.removeprefix(ctx.find_root().command_path).strip()  # the command without the name of the program
    sections: dict[str, dict[str, str]] = {}
    if isinstance(command, Group):
        for name, subcommand in command.commands.items():
            panel = getattr(subcommand, "rich_help_panel", None) or _COMMANDS
            sections.setdefault(panel, {})[name] = (subcommand.help or "").partition(".")[0]
        notes.append(f"how to call one: {path} COMMAND --help")
    if len(sections) > 1 and ctx.meta.get(_BARE):
        notes.append(f"what each does: {path} --help")
        return {"": {title: ", ".join(names) for title, names in sections.items()}}, "; ".join(notes)
    is_short = words in DAILY and not ctx.meta.get(_ALL)
    if is_short:
        every = [parameter for parameters in shown.values() for parameter in parameters]
        arguments = [parameter for parameter in every if is_argument(parameter)]
        options = [parameter for parameter in every if names_of(parameter)[0].lstrip("-") in DAILY[words].split()]
        shown = {_ARGUMENTS: arguments, _OPTIONS: options}
        notes.append(f"{len(every) - len(arguments) - len(options)} more options: {path} {_ALL}")
    for title, parameters in shown.items():
        rows = dict(map(_entry, parameters))
        if is_short:
            rows = {name: _LONG_DEFAULT.sub("", text) for name, text in rows.items()}
        if rows:
            sections[title] = rows
    return sections, "; ".join(notes)


def _entry(parameter: Any) -> tuple[str, str]:
    """A parameter as it is typed, and its help."""
    if is_argument(parameter):
        return metavar(parameter), parameter.help
    value = "" if is_flag(parameter) else f" {metavar(parameter)}"
    notes = [parameter.help, "Required." if parameter.required else ""]
    if (default := shown_default(parameter)) is not None:
        notes.append(f"(default: {default})")
    return ", ".join(reversed(names_of(parameter))) + value, " ".join(filter(None, notes))


def usage(path: str, command: Any) -> str:
    """One line: the command, its arguments, and [OPTIONS]."""
    if isinstance(command, TyperGroup):
        return f"{path} COMMAND"
    return " ".join([path, "[OPTIONS]", *map(metavar, filter(is_argument, command.params))])


def paragraphs(text: str) -> Iterator[str | list[str]]:
    """Paragraphs of a docstring; indented lines, the examples, become one list."""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(text))
    for are_examples, group in groupby(blocks, lambda block: block.startswith(" ")):
        if are_examples:
            yield [line.strip() for block in group for line in block.splitlines()]
        else:
            yield from (" ".join(block.split()) for block in group)


def panels(command: Any) -> dict[str, list[Any]]:
    """The parameters by panel, arguments first, in the order they are declared."""
    by_panel: dict[str, list[Any]] = {}
    for parameter in sorted(command.params, key=is_argument, reverse=True):
        if "--help" not in parameter.opts:
            panel = parameter.rich_help_panel or (_ARGUMENTS if is_argument(parameter) else _OPTIONS)
            by_panel.setdefault(panel, []).append(parameter)
    return by_panel


def is_argument(parameter: Any) -> bool:
    """Arguments are positional."""
    return bool(parameter.param_type_name == "argument")


def is_flag(parameter: Any) -> bool:
    """Switches take no value, and their default says nothing."""
    return bool(getattr(parameter, "is_flag", False))


def names_of(parameter: Any) -> list[str]:
    """The names of an option, long ones first."""
    return sorted([*parameter.opts, *parameter.secondary_opts], key=lambda name: not name.startswith("--"))


def metavar(parameter: Any) -> str:
    """What stands for the value: the metavar, the choices, or a plain type. Never a range."""
    if parameter.metavar:
        return str(parameter.metavar)
    if is_argument(parameter):
        return str(parameter.name).upper() + ("..." if parameter.nargs == -1 else "")
    kind = parameter.type_descriptor.annotation
    kind = get_args(kind)[0] if get_origin(kind) is list else kind
    return "|".join(map(str, get_args(kind))) if get_origin(kind) is Literal else _TYPES.get(kind, "TEXT")


def shown_default(parameter: Any) -> str | None:
    """The default as it would be typed; None where there is none to show."""
    value = parameter.default
    if not getattr(parameter, "show_default", False) or value is None or callable(value) or is_flag(parameter):
        return None
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or None
    return f"{value:g}" if isinstance(value, float) else str(getattr(value, "value", value))
