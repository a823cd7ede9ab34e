"""kill -9 at random moments: does the run still end with the weights of one that nobody touched?

    python benchmarks/killed.py DATA [--kills 20] [--epochs 6] [--size 32]
    python benchmarks/killed.py DATA --commands [--kills 200]

Trains on DATA once to the end, then under other names, killed with SIGKILL at random moments, from the first import to
the last write, and started anew with the same command each time, until there were as many kills as asked for. Saves are
made at every epoch and every two seconds, so that many kills meet one. Works in a temporary folder.

With --commands `edit`, `encode` and `vectors fit` on folders of images of DATA are killed so, with the bundled model,
and given again until they end. After each kill every file that can be seen must be one that the whole job writes, or
one of its inputs, with the same bytes.
"""

import argparse
import contextlib
import hashlib
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from latentcli.model.modelfile import KIND
from latentcli.storage import tensorfile

EAGER = (
    "from latentcli.training import loop; loop._SAVE_EVERY = 2.0; loop._SAVING = 1e9; "
    "from latentcli.cli.app import main; main()"
)

THREADS = str(os.cpu_count())  # weights are the same for a fixed number


def start(data: Path, name: str, options: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", EAGER, "train", str(data), "--name", name, "--threads", THREADS, *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def digest(name: str) -> str:
    """Of a model's tensors, weights and prior."""
    return tensorfile.digest(tensorfile.read(Path("models", name, "model.safetensors"), KIND)[1])[:16]


def kill_until_it_ends(data: Path, name: str, options: list[str], most: int, longest: float) -> list[float]:
    """Train, killed at most so many times; after how many seconds of each start."""
    moments: list[float] = []
    rng = random.Random(name)
    while True:
        process = start(data, name, options)
        moment = rng.uniform(0, longest)
        try:
            process.wait(moment if len(moments) < most else None)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            moments.append(moment)
        else:
            assert process.returncode == 0, name
            return moments


COMMANDS = {
    "edit": ["edit", "few", "--vector", "smile", "--model", "faces", "--no-align"],
    "encode": ["encode", "few", "--model", "faces", "--output", "few.latents.safetensors"],
    "vectors fit": ["vectors", "fit", "odd", "--positive", "few", "--negative", "others", "--model", "faces"],
}
EACH = 12  # images of a folder


def visible(folder: Path) -> dict[str, str]:
    """A digest of each file that a user sees."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def workplace(folder: Path, data: Path) -> Path:
    """Two folders of images, and no vectors yet."""
    for number, name in enumerate(("few", "others")):
        (folder / name).mkdir(parents=True)
        for path in sorted(data.iterdir())[number * EACH : (number + 1) * EACH]:
            shutil.copy(path, folder / name)
    return folder


def run_in(folder: Path, command: list[str], moment: float | None) -> int | None:
    """The exit code; None where it was killed."""
    environment = os.environ | {"XDG_DATA_HOME": str(folder / "home")}
    process = subprocess.Popen(
        [sys.executable, "-m", "latentcli", *command],
        cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        return process.wait(moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return None


def kill_commands(data: Path, kills: int) -> None:
    rng = random.Random(0)
    for name, command in COMMANDS.items():
        with tempfile.TemporaryDirectory() as folder:
            whole = workplace(Path(folder, "whole"), data)
            started = time.perf_counter()
            assert run_in(whole, command, None) == 0
            seconds, wanted = time.perf_counter() - started, visible(whole)
            killed = runs = spoiled = 0
            while killed < kills:
                runs += 1
                here = workplace(Path(folder, f"killed-{runs}"), data)
                while run_in(here, command, rng.uniform(0, seconds) if killed < kills else None) is None:
                    killed += 1
                    spoiled += not visible(here).items() <= wanted.items()
                spoiled += visible(here) != wanted
                shutil.rmtree(here)
            print(f"{name}: {killed} kills in {runs} jobs of {seconds:.1f} s; {spoiled} with another file", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--commands", action="store_true")
    asked = parser.parse_args()
    data = asked.data.resolve()
    if asked.commands:
        kill_commands(data, asked.kills)
        return
    options = ["--epochs", str(asked.epochs), "--size", str(asked.size), "--precision", "fp32"]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        started = time.perf_counter()
        assert start(data, "whole", options).wait() == 0
        seconds = time.perf_counter() - started
        print(
            f"{platform.machine()}, {os.cpu_count()} cores; untouched: {seconds:.0f} s, {digest('whole')}", flush=True
        )
        kills = runs = 0
        while kills < asked.kills:
            name = f"killed-{runs}"
            runs += 1
            moments = kill_until_it_ends(data, name, options, asked.kills - kills, seconds)
            kills += len(moments)
            result = ", ".join(f"{moment:.1f}" for moment in moments) or "never"
            same = "the same" if digest(name) == digest("whole") else "ANOTHER"
            print(f"killed after {result} s: {digest(name)}, {same}", flush=True)
    print(f"{kills} kills in all")


if __name__ == "__main__":
    main()
