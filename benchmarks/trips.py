"""How much code a command runs: files entered, functions run and types used, by a call profiler.

    python benchmarks/trips.py [--list TRIP]

Each trip is one command in a fresh process, in a temporary folder with a cache and a user folder of its own.

- Functions: the package's own code that ran, in all threads, from the call of `main` on: functions, methods, lambdas
  and comprehensions, each qualified name once; no bodies of modules and classes, nor methods that `dataclass` writes.
- Files: those in which a named function or method ran.
- Types: the package's own classes, without exceptions and networks, of which a function in `cli`, `pipelines`,
  `photo`, `training` or `api.py` made an instance: what a request is put into. All events count as one.

Code in other processes (those that decode a folder of more than 300 images) is not seen.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from inspect import CO_NEWLOCALS
from pathlib import Path
from types import CodeType, FrameType

PHOTO = Path(__file__).resolve().parents[1] / "examples" / "astronaut-face.png"
MAKERS = ("cli", "pipelines", "photo", "training", "api.py")
EVENTS = ("events", "reports")  # names of modules
PICTURES, SIDE = 24, 32  # drawn, in pixels
TRIPS = {
    "edit": "edit photo.png --vector smile --strength 1.5",
    "train": "train pics --epochs 2",
    "apply-vector": "apply-vector photo.png --positive bright --negative dark",
    "sample": "sample --n 4",
}


def draw(folder: Path) -> None:
    """A photo, 24 pictures of squares, and a dark and a bright half of them."""
    import numpy as np
    from PIL import Image

    (folder / "photo.png").write_bytes(PHOTO.read_bytes())
    for name in ("pics", "bright", "dark"):
        (folder / name).mkdir()
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        half = "bright" if number % 2 else "dark"
        pixels = np.full((SIDE, SIDE, 3), 200 if number % 2 else 40, dtype=np.uint8)
        x, y = rng.integers(0, SIDE // 2, 2)
        pixels[y : y + SIDE // 2, x : x + SIDE // 2] = rng.integers(0, 256, 3)
        for kind in ("pics", half):
            Image.fromarray(pixels).save(folder / kind / f"{number:02d}.png")


def profiled(words: list[str]) -> dict[str, list[str]]:
    """Run `latentcli WORDS` in this process; the names of what it used."""
    import latentcli
    from latentcli.cli.app import main

    package = str(Path(latentcli.__file__).parent) + os.sep
    codes: set[CodeType] = set()
    types: set[type] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event != "call":
            return
        if frame.f_code.co_filename.startswith(package):
            codes.add(frame.f_code)
        if frame.f_code.co_name == "__init__":  # of a dataclass as well, whose code has no file
            kind = type(frame.f_locals.get("self"))
            if kind.__module__.startswith("latentcli.") and _caller(frame, package).startswith(MAKERS):
                types.add(kind)

    sys.argv = ["latentcli", *words]
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    from torch import nn

    ran = [code for code in codes if code.co_flags & CO_NEWLOCALS]
    files = {code.co_filename for code in ran if not code.co_name.startswith("<")}
    functions = {f"{code.co_filename.removeprefix(package)} {code.co_qualname}" for code in ran}
    own = [kind for kind in types if not issubclass(kind, (BaseException, nn.Module))]
    modules = {kind: kind.__module__.removeprefix("latentcli.") for kind in own}
    names = {"events" if modules[kind].split(".")[-1] in EVENTS else f"{modules[kind]} {kind.__name__}" for kind in own}
    return {
        "files": sorted(name.removeprefix(package) for name in files),
        "functions": sorted(functions),
        "types": sorted(names),
    }


def _caller(frame: FrameType, package: str) -> str:
    """The package's nearest file below a call, relative to the package; "" for none."""
    below = frame.f_back
    while below and not below.f_code.co_filename.startswith(package):
        below = below.f_back
    return below.f_code.co_filename.removeprefix(package) if below else ""


def run(trip: str) -> dict[str, list[str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder)
        homes = {"XDG_CACHE_HOME": str(folder / "cache"), "XDG_DATA_HOME": str(folder / "data")}
        command = [sys.executable, str(Path(__file__).resolve()), "--inside", str(folder / "found.json"), trip]
        done = subprocess.run(command, check=False, cwd=folder, env=os.environ | homes, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{TRIPS[trip]} failed:\n{done.stderr}")
        found: dict[str, list[str]] = json.loads((folder / "found.json").read_text())
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", choices=TRIPS, metavar="TRIP", help=f"print the names of one: {', '.join(TRIPS)}")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        target, trip = arguments.inside
        Path(target).write_text(json.dumps(profiled(TRIPS[trip].split())))
    elif arguments.list:
        for kind, names in run(arguments.list).items():
            print(f"{len(names)} {kind}", *names, sep="\n  ")
    else:
        print(f"{'trip':14} files  functions  types")
        for trip in TRIPS:
            found = run(trip)
            print(f"{trip:14} {len(found['files']):5}  {len(found['functions']):9}  {len(found['types']):5}")


if __name__ == "__main__":
    main()
