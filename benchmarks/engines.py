"""Throughput and memory of both engines: 1,000 faces encoded from files, and 1,000 latents decoded to files.

    python benchmarks/engines.py FOLDER

FOLDER holds images of 128x128 pixels or so; the bundled model is used. Each command runs in a process of its own, in
turns; the time is that of the whole work beyond start-up (the same command for one image), in the median of five runs.
Memory is the most that was resident, for 1,000 and for 4,000 images.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 5
COUNTS = (1, 1000, 4000)
ENGINES = ("onnx", "torch")
RUN = """
import resource, sys
from latentcli.cli.app import main
sys.argv = ["latentcli", *sys.argv[1:]]
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""


def run(*words: str) -> tuple[float, int]:
    """Seconds, and MB."""
    started = time.perf_counter()
    command = [sys.executable, "-c", RUN, *words, "--model", "faces", "--force"]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - started, int(ended.stderr.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    paths = sorted(path.resolve() for path in parser.parse_args().folder.iterdir())[: COUNTS[-1]]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for count in COUNTS:
            images = Path(f"images-{count}")
            images.mkdir()
            for path in paths[:count]:
                (images / path.name).symlink_to(path)
            run("encode", str(images), "-o", f"{count}.latents.safetensors")
        commands = {
            "encode": lambda count: ("encode", f"images-{count}", "-o", "again.latents.safetensors"),
            "decode": lambda count: ("decode", f"{count}.latents.safetensors", "-o", f"decoded-{count}"),
        }
        for name, words in commands.items():
            spent: dict[tuple[str, int], list[float]] = {}
            most: dict[tuple[str, int], int] = {}
            for turn in range(RUNS):
                for engine in ENGINES:
                    for count in COUNTS if turn == 0 else COUNTS[:2]:
                        took, memory = run(*words(count), "--engine", engine)
                        spent.setdefault((engine, count), []).append(took)
                        most[engine, count] = max(most.get((engine, count), 0), memory)
            for engine in ENGINES:
                bare, whole = (statistics.median(spent[engine, count]) for count in COUNTS[:2])
                rate = (COUNTS[1] - 1) / (whole - bare)
                print(
                    f"{name} {engine:5}  {rate:5.0f} images/s; one image {bare:.2f} s; {COUNTS[1]} in {whole:.2f} s; "
                    f"{most[engine, COUNTS[1]]} MB, with {COUNTS[2]} {most[engine, COUNTS[2]]} MB"
                )
        os.chdir("/")


if __name__ == "__main__":
    main()
