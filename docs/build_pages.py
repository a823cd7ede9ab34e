"""The pages of `docs/try.md`, written by `latentcli explore --static` while MkDocs builds the site: one of its hooks.

They are part of the site and not of the repository. While `mkdocs serve` runs, they are made once.
"""

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PAGES = {"try/digits.html": "digits", "try/avatars.html": "avatars"}  # and the bundled models that they show
_started: dict[str, subprocess.Popen[bytes]] = {}


@functools.cache
def folder() -> tempfile.TemporaryDirectory[str]:
    """Where the pages are written to; it is there for as long as MkDocs runs."""
    return tempfile.TemporaryDirectory(prefix="latentcli-docs-")


def target(page: str) -> Path:
    """The file of a page until it is copied into the site."""
    return Path(folder().name, page.replace("/", "-"))


def start(page: str) -> subprocess.Popen[bytes]:
    """Begin to write a page, in an empty folder and without the vectors and models of whoever builds the site."""
    command = [sys.executable, "-m", "latentcli", "explore", "--model", PAGES[page], "--static", str(target(page))]
    environment = os.environ | {"XDG_DATA_HOME": folder().name}
    return subprocess.Popen(command, cwd=folder().name, env=environment, stdout=subprocess.DEVNULL)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages to the files of the site; they are written while MkDocs reads the others."""
    from mkdocs.structure.files import File

    for page in PAGES:
        if page not in _started:
            _started[page] = start(page)
        files.append(File.generated(config, page, abs_src_path=str(target(page))))
    return files


def on_env(env: Any, **_: Any) -> Any:
    """Wait for them: MkDocs copies files next."""
    from mkdocs.exceptions import PluginError

    for page, process in _started.items():
        if process.wait():
            raise PluginError(f"{page} could not be written")
    return env
