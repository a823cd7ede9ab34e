"""Typer app with all commands, and `main`, which turns errors into a line on stderr and an exit code."""

import contextlib
import gc
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable
from types import FrameType

import typer
from typer.exceptions import TyperException

from latentcli import __version__
from latentcli.cli import (
    apply_vector,
    check,
    decode,
    edit,
    encode,
    evaluate,
    explore,
    export,
    interpolate,
    models,
    report,
    rerun,
    sample,
    sharpen,
    train,
    traverse,
    vectors,
)
from latentcli.cli import map as map_
from latentcli.cli import options as opt
from latentcli.cli.console import Console
from latentcli.cli.help import HELP_NAMES, Command, Group
from latentcli.cli.terminal import wrapped
from latentcli.errors import LatentCLIError, UsageError
from latentcli.text import message

app = typer.Typer(
    name="latentcli",
    cls=Group,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": HELP_NAMES},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"latentcli {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: bool = opt.option("Print the version.", "--version", default=False, callback=_show_version, is_eager=True),
) -> None:
    """Learn a latent space from a folder of pictures; sample it, walk through it, edit photos.

    First steps:

        latentcli edit me.jpg --vector smile                     # a smile
        latentcli interpolate me.jpg you.jpg --output walk.gif   # from face to face
        latentcli sample --n 64                                  # new pictures
        latentcli explore                                        # sliders
        latentcli train photos/                                  # your own model
    """


_PANELS: dict[str, tuple[Callable[..., None], ...]] = {  # commands by the panel of the help page that lists them
    "Edit photos": (edit.edit, explore.explore, apply_vector.apply_vector, rerun.rerun),
    "Draw": (sample.sample, interpolate.interpolate, traverse.traverse, map_.map),
    "Train": (check.check, train.train, sharpen.sharpen),
    "Models": (models.models, evaluate.evaluate, report.report, export.export),
    "Latents and vectors": (encode.encode, decode.decode),
}
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(cls=Command, rich_help_panel=_panel)(_command)
app.add_typer(vectors.app, name="vectors", rich_help_panel="Latents and vectors")


def _prepare_streams() -> None:
    """Let stdout and stderr print any file name and message; a closed stdout raises an error once it is written to."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull)  # noqa: SIM115, PTH123  # open for reading only, so that writing fails
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  # stays open while the program runs
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may hold bytes that cannot be decoded
        sys.stdout.reconfigure(encoding=sys.getfilesystemencoding(), errors="surrogateescape")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


def _interrupted(number: int, frame: FrameType | None) -> None:
    said = "interrupted; files already written were kept" if Console.has_written else "interrupted"
    print(f"latentcli: {said}", file=sys.stderr)
    sys.exit(128 + number)


def main() -> None:
    """Run the command line. A user's error becomes one line on stderr and exit code 1, or 2 for a wrong option."""
    gc.set_threshold(50_000)  # imports make many objects and no garbage; this saves a fifteenth of the time of an edit
    signal.signal(signal.SIGINT, _interrupted)
    warnings.filterwarnings("ignore", module="PIL")  # warnings of odd metadata; damaged pixels raise errors
    _prepare_streams()
    refusal = ""
    try:
        code = app(standalone_mode=False) or 0
        sys.stdout.flush()
    except LatentCLIError as error:
        refusal, code = str(error), 2 if isinstance(error, UsageError) else 1
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "latentcli"
        refusal = f"{error.format_message().rstrip('.')}; {command} --help shows what there is".replace("?;", "?")
        code = error.exit_code
    except ModuleNotFoundError as error:  # PyTorch is optional for using models
        if error.name != "torch":
            raise
        refusal, code = "this takes PyTorch; install it: pip install 'torch>=2.6,<2.14'", 1
    except io.UnsupportedOperation:
        refusal, code = "the standard output is closed; send it to a file or to /dev/null", 1
    except OSError as error:
        if error.filename is not None:  # an error of a file, not of a stream, is a bug
            raise
        with contextlib.suppress(OSError, ValueError):  # else Python tries again at exit to flush the rest
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
        if not isinstance(error, BrokenPipeError):  # the reader of a pipe, such as `head`, has closed it
            refusal = f"cannot write to the standard output: {error.strerror or error}"
    if refusal:
        with contextlib.suppress(OSError):
            print(wrapped(f"latentcli: {message(opt.as_typed(refusal))}"), file=sys.stderr, flush=True)
    sys.exit(code)
