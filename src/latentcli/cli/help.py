"""Help pages: `--help` shows the options of daily use, `--help-all` all options, in panels.

docs/generate_cli.py makes the command reference, docs/cli.md, from the same parameters.
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
# Options that `--help` shows, by command. For a command that is not listed `--help` shows all options.
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
# Keys in `ctx.meta`: whether --help-all was typed, and whether a group was called without a command.
_ALL, _BARE = HELP_NAMES[-1], "bare"
_ARGUMENTS, _OPTIONS, _COMMANDS = "Arguments", "Options", "Commands"  # panels of parameters and commands that name none
_TYPES = {int: "INTEGER", float: "NUMBER", Path: "PATH"}  # placeholders by type; any other type is TEXT
_WIDEST, _NARROW = 100, 60  # most columns of a page; below _NARROW explanations go under the names
_LONG_DEFAULT = re.compile(r" \(default: [^()]{60,}\)")  # long defaults, which --help leaves to --help-all
_LONGEST_NAME = 26  # characters of a name and its value; the explanation of a longer one starts a new line


class Command(TyperCommand):
    """Typer command that prints the help page of this module, in colours if the terminal has them."""

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
    """Typer group of commands that prints the help page of this module, also if no command is given."""

    format_help = Command.format_help

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta.update({_ALL: _ALL in args, _BARE: not args})
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)


def _page(command: Any, ctx: Any, width: int) -> Iterator[tuple[str, str]]:
    """Lines of the help page of a command, as pairs (highlighted heading or name, rest of the line)."""
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
    start = 6 if width < _NARROW else 4 + max(map(len, names), default=0)  # column at which the explanations begin
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
    """Pairs ("", line) of a wrapped text; `indent` spaces begin the first line, `more` spaces each further line."""
    wrapper = textwrap.TextWrapper(width, " " * indent, " " * more, break_long_words=False, break_on_hyphens=False)
    yield from (("", line) for line in wrapper.wrap(text))


def _sections(command: Any, ctx: Any) -> tuple[dict[str, dict[str, str]], str]:
    """Help on parameters or subcommands as {panel: {name: explanation}}, and a last line on how to see more help."""
    path, shown, notes = ctx.command_path, panels(command), []
    words = path.removeprefix(ctx.find_root().command_path).strip()  # name of the command without that of the program
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
    """(names, explanation) of a parameter: its names with a placeholder for the value, its help with the default."""
    if is_argument(parameter):
        return metavar(parameter), parameter.help
    value = "" if is_flag(parameter) else f" {metavar(parameter)}"
    notes = [parameter.help, "Required." if parameter.required else ""]
    if (default := shown_default(parameter)) is not None:
        notes.append(f"(default: {default})")
    return ", ".join(reversed(names_of(parameter))) + value, " ".join(filter(None, notes))


def usage(path: str, command: Any) -> str:
    """Usage line of a command, such as `latentcli train [OPTIONS] DATA`; `path` is the command with its program."""
    if isinstance(command, TyperGroup):
        return f"{path} COMMAND"
    return " ".join([path, "[OPTIONS]", *map(metavar, filter(is_argument, command.params))])


def paragraphs(text: str) -> Iterator[str | list[str]]:
    """Paragraphs of a command's docstring: each a text, or a list of lines for the indented examples."""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(text))
    for are_examples, group in groupby(blocks, lambda block: block.startswith(" ")):
        if are_examples:
            yield [line.strip() for block in group for line in block.splitlines()]
        else:
            yield from (" ".join(block.split()) for block in group)


def panels(command: Any) -> dict[str, list[Any]]:
    """Parameters of a command, except --help, by panel: arguments, then options, in the order of declaration."""
    by_panel: dict[str, list[Any]] = {}
    for parameter in sorted(command.params, key=is_argument, reverse=True):
        if "--help" not in parameter.opts:
            panel = parameter.rich_help_panel or (_ARGUMENTS if is_argument(parameter) else _OPTIONS)
            by_panel.setdefault(panel, []).append(parameter)
    return by_panel


def is_argument(parameter: Any) -> bool:
    """Whether a Typer parameter is a positional argument, not an option."""
    return bool(parameter.param_type_name == "argument")


def is_flag(parameter: Any) -> bool:
    """Whether a Typer option takes no value."""
    return bool(getattr(parameter, "is_flag", False))


def names_of(parameter: Any) -> list[str]:
    """Names of an option, such as `--output` and `-o`, long names first."""
    return sorted([*parameter.opts, *parameter.secondary_opts], key=lambda name: not name.startswith("--"))


def metavar(parameter: Any) -> str:
    """Placeholder for a parameter's value: the declared metavar, an argument's name, the choices, or the type."""
    if parameter.metavar:
        return str(parameter.metavar)
    if is_argument(parameter):
        return str(parameter.name).upper() + ("..." if parameter.nargs == -1 else "")
    kind = parameter.type_descriptor.annotation
    kind = get_args(kind)[0] if get_origin(kind) is list else kind
    return "|".join(map(str, get_args(kind))) if get_origin(kind) is Literal else _TYPES.get(kind, "TEXT")


def shown_default(parameter: Any) -> str | None:
    """Default of a parameter as it would be typed; None if there is none, or if it is hidden or computed."""
    value = parameter.default
    if not getattr(parameter, "show_default", False) or value is None or callable(value) or is_flag(parameter):
        return None
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or None
    return f"{value:g}" if isinstance(value, float) else str(getattr(value, "value", value))
