"""Training on all cores while another program keeps one of them busy, beside training on one core alone.

    python benchmarks/busy.py [--seconds 20] [--rounds 3]

Each row is a process of its own that trains the `photo` network at 64x64 on noise; the busy ones share the machine with
a program that counts. Images per second, and their ratio to one thread beside the same program. "watched" is what
`train` does: threads that sleep soon, and one alone while all are slower. The rounds take turns; the median counts.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass

CHILD = """
import sys, time
import torch
from latentcli.presets import model_config, train_config
from latentcli.data.dataset import Dataset
from latentcli.training.schedule import Stage
from latentcli.training.step import TrainState, untrained
from latentcli.training.machine import keep_freed_memory, watch_threads
torch.set_num_threads(int(sys.argv[1]))
keep_freed_memory()
model = model_config("photo", 64, 64, 3)
learner = TrainState(untrained(model, 0), train_config(model), Stage(0, 10**6), torch.device("cpu"))
images = Dataset.from_images(torch.randint(0, 256, (64, 64, 64, 3), dtype=torch.uint8))
rows = torch.arange(64)
watched = sys.argv[3] == "True"
watch = watch_threads(model, train_config(model), images, torch.device("cpu")) if watched else None
learner.step(images.take(rows), 0)
started, steps = time.monotonic(), 0
while time.monotonic() - started < float(sys.argv[2]):
    stepped = time.monotonic()
    learner.step(images.take(rows), steps + 1)
    if watch:
        watch.stepped(time.monotonic() - stepped)
    steps += 1
print(64 * steps / (time.monotonic() - started))
"""


@dataclass(frozen=True)
class Side:
    name: str
    threads: int
    busy: bool
    spins: str | None  # GOMP_SPINCOUNT; None is GNU OpenMP's own
    watched: bool = False


CORES = os.cpu_count() or 2
SIDES = [
    Side("one thread, quiet", 1, False, "2000"),
    Side("all threads, quiet, spinning", CORES, False, None),
    Side("all threads, quiet", CORES, False, "2000"),
    Side("all threads, quiet, watched", CORES, False, "2000", True),
    Side("one thread, busy", 1, True, "2000"),
    Side("all threads, busy, spinning", CORES, True, None),
    Side("all threads, busy", CORES, True, "2000"),
    Side("all threads, busy, watched", CORES, True, "2000", True),
]


def measure(side: Side, seconds: float) -> float:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP", "GOMP"))}
    if side.spins:
        environment["GOMP_SPINCOUNT"] = side.spins
    counting = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if side.busy else None
    try:
        command = [sys.executable, "-c", CHILD, str(side.threads), str(seconds), str(side.watched)]
        return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    finally:
        if counting:
            counting.kill()
            counting.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    found: dict[str, list[float]] = {side.name: [] for side in SIDES}
    for _ in range(asked.rounds):
        for side in SIDES:
            found[side.name].append(measure(side, asked.seconds))
    speeds = {name: statistics.median(values) for name, values in found.items()}
    print(f"{platform.machine()}, {CORES} cores")
    for side in SIDES:
        alone = speeds["one thread, busy" if side.busy else "one thread, quiet"]
        print(f"{side.name:30} {speeds[side.name]:7.1f} images/s  {speeds[side.name] / alone:5.2f} times one thread")


if __name__ == "__main__":
    main()
