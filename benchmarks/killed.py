"""kill -9 at random moments: does the run still end with the weights of one that nobody touched?

    python benchmarks/killed.py DATA [--kills 20] [--epochs 6] [--size 32]

Trains on DATA once to the end, then under other names, killed with SIGKILL at random moments, from the first import to
the last write, and started anew with the same command each time, until there were as many kills as asked for. Saves are
made at every epoch and every two seconds, so that many kills meet one. Works in a temporary folder.
"""

import argparse
import contextlib
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from latentcli import tensorfile
from latentcli.model.modelfile import KIND

EAGER = (
    "from latentcli.training import trainer; trainer._SAVE_EVERY = 2.0; trainer._SAVING = 1e9; "
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--size", type=int, default=32)
    asked = parser.parse_args()
    data = asked.data.resolve()
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
