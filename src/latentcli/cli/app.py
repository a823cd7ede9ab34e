"""Command-line app: its commands, the standard streams, and errors as one line and an exit code."""

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


_PANELS: dict[str, tuple[Callable[..., None], ...]] = {  # commands by panel of the help
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
    """Let any file name and message be printed. A closed stream becomes an error when something is written to it."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull)  # noqa: SIM115, PTH123  # for reading alone, so that writing to it fails
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  # for as long as the program runs
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may hold bytes that are no text
        sys.stdout.reconfigure(encoding=sys.getfilesystemencoding(), errors="surrogateescape")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


def _interrupted(number: int, frame: FrameType | None) -> None:
    said = "interrupted; files already written were kept" if Console.has_written else "interrupted"
    print(f"latentcli: {said}", file=sys.stderr)
    sys.exit(128 + number)


def main() -> None:
    """Run the command. A mistake of the user becomes one line on stderr and exit code 1, or 2 for a bad option."""
    gc.set_threshold(50_000)  # imports make many objects and no garbage; this saves a fifteenth of the time of an edit
    signal.signal(signal.SIGINT, _interrupted)
    warnings.filterwarnings("ignore", module="PIL")  # of odd metadata; damaged pixels raise errors
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
    except ModuleNotFoundError as error:  # an install that only uses models may lack PyTorch
        if error.name != "torch":
            raise
        refusal, code = "this takes PyTorch; install it: pip install 'torch>=2.6,<2.14'", 1
    except io.UnsupportedOperation:
        refusal, code = "the standard output is closed; send it to a file or to /dev/null", 1
    except OSError as error:
        if error.filename is not None:  # a file, not a stream
            raise
        with contextlib.suppress(OSError, ValueError):  # else Python writes the rest again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
        if not isinstance(error, BrokenPipeError):  # whoever reads the output, such as `head`, has closed it
            refusal = f"cannot write to the standard output: {error.strerror or error}"
    if refusal:
        with contextlib.suppress(OSError):
            print(wrapped(f"latentcli: {message(opt.as_typed(refusal))}"), file=sys.stderr, flush=True)
    sys.exit(code)
