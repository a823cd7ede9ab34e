"""How long training takes from a folder to its first step, beside two processes that only read the same files.

    python benchmarks/first_step.py FACES [--rounds 3]

The readers run `images.read_image` on half of the files each. The cache folder is empty in the first run and kept in
the second. Imports are measured apart and subtracted on both sides; so is the time of the first step itself.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

READER = """
import sys, time
from pathlib import Path
from latentcli.presets import model_config
from latentcli.imaging.images import read_image
imported = time.perf_counter()
config = model_config("photo", 64, 64, 3)
for path in sys.stdin.read().split("\\n"):
    read_image(Path(path), config)
print(time.perf_counter() - imported)
"""
TRAINING = """
import sys, time
from pathlib import Path
from latentcli.training import events, plan, run
imported = time.perf_counter()
request = plan.TrainRequest(size=(64, 64), epochs=1)
for report in run.run(plan.prepare(Path("models/timed"), Path(sys.argv[1]), request), stop=lambda: True):
    if isinstance(report, events.Started):
        print(time.perf_counter() - imported)
"""


def reading(faces: Path) -> float:
    """Seconds of the slower of two processes."""
    paths = sorted(str(path) for path in faces.iterdir())
    processes = [
        subprocess.Popen([sys.executable, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process, part in zip(processes, (paths[::2], paths[1::2]), strict=True):
        process.stdin.write("\n".join(part))
        process.stdin.close()
    return max(float(process.stdout.read()) for process in processes)


def training(faces: Path, cache: str) -> float:
    """Seconds from the imports to where the first step begins."""
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            [sys.executable, "-c", TRAINING, str(faces.resolve())],
            check=True, capture_output=True, text=True, cwd=folder, env={**os.environ, "XDG_CACHE_HOME": cache},
        )  # fmt: skip
    return float(result.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    times: dict[str, list[float]] = {"two readers": [], "first run": [], "second run": []}
    reading(asked.faces)  # fills the system's own cache
    for _ in range(asked.rounds):
        times["two readers"].append(reading(asked.faces))
        with tempfile.TemporaryDirectory() as cache:
            times["first run"].append(training(asked.faces, cache))
            times["second run"].append(training(asked.faces, cache))
    count = len(list(asked.faces.iterdir()))
    print(f"{platform.machine()}, {os.cpu_count()} cores, {count} files at 64x64, median of {asked.rounds} rounds")
    readers = statistics.median(times["two readers"])
    for side, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"{side:12} {middle:6.2f} s  {middle / readers:5.2f} times the readers")


if __name__ == "__main__":
    main()
