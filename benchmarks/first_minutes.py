"""Seconds from typing a command to its first picture, for every bundled model, with defaults.

    pip install '.[explore]'
    python benchmarks/first_minutes.py [--runs 3]

Each command is a fresh process; the median of the runs is printed. The picture of `explore` is the one that the page
asks for first.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from latentcli.storage import catalog

LATENTCLI = [sys.executable, "-m", "latentcli"]
EXAMPLES = Path(__file__).parents[1] / "examples"
PHOTOS = [str(EXAMPLES / name) for name in ("grace-hopper.jpg", "astronaut.png")]


def written(*words: str) -> float:
    started = time.perf_counter()
    subprocess.run([*LATENTCLI, *words, "--force"], check=True, capture_output=True)
    return time.perf_counter() - started


def explored(model: str) -> float:
    started = time.perf_counter()
    command = [*LATENTCLI, "explore", "--model", model, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout
            address = urlsplit(server.stdout.readline().strip())
            body = json.dumps({"state": {"seed": 0, "moves": {}}, "tab": "first", "number": 1}).encode()
            headers = {"x-token": parse_qs(address.query)["token"][0], "content-type": "application/json"}
            request = urllib.request.Request(f"http://{address.netloc}/api/picture", body, headers)
            with urllib.request.urlopen(request) as answer:
                assert answer.read()
            return time.perf_counter() - started
        finally:
            server.terminate()


def axes(model: str) -> str:
    """The first two vectors of a model."""
    return ",".join(list(catalog.vectors_of(catalog.find_model(model)))[:2])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    commands: dict[str, Callable[[str], float]] = {
        "explore": explored,
        "traverse": lambda model: written("traverse", "--model", model),
        "map --axes": lambda model: written("map", "--axes", axes(model), "--model", model),
        "vectors discover": lambda model: written("vectors", "discover", "--model", model),
        "sample": lambda model: written("sample", "--model", model),
    }
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'':18}" + "".join(f"{name:>18}" for name in commands))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder
        os.chdir(folder)
        for entry in catalog.bundled_models():
            times = [statistics.median(command(entry.name) for _ in range(runs)) for command in commands.values()]
            print(f"{entry.name:18}" + "".join(f"{seconds:16.2f} s" for seconds in times), flush=True)
        walk = statistics.median(written("interpolate", *PHOTOS) for _ in range(runs))
        edit = statistics.median(written("edit", PHOTOS[0], "--vector", "smile") for _ in range(runs))
        print(f"without --model: interpolate of two photos {walk:.2f} s, edit of one {edit:.2f} s")


if __name__ == "__main__":
    main()
