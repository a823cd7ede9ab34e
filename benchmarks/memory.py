"""Anonymous memory and speed of training on 100,000 and on 1,000,000 generated 64x64 images (Linux).

    python benchmarks/memory.py FOLDER [--counts 100000 1000000] [--seconds 60]

Makes the images in FOLDER (JPEG, about 1.2 kB each) where they are not there yet, trains on each set for a while after
the first step, and prints the largest RssAnon of the training process meanwhile, saves included, as the system tells it
ten times a second.
"""

import argparse
import io
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

PER_FOLDER = 10_000
TRAINING = """
import sys, time
from pathlib import Path
from latentcli.training import events, loop, plan, run
loop._SAVE_EVERY = 15.0
request = plan.TrainRequest(size=(64, 64), epochs=10, precision="fp32")
for report in run.run(plan.prepare(Path(sys.argv[2]), Path(sys.argv[1]), request)):
    if isinstance(report, events.Started):
        print("started", report.images, flush=True)
    if isinstance(report, events.StepReport):
        print(report.images_per_second, flush=True)
"""


def make_folder(folder: Path, number: int) -> None:
    """Ten thousand blurred blobs of random colours."""
    import numpy as np
    from PIL import Image

    target = folder / f"{number:03d}"
    if target.exists():
        return
    part = folder / f".{number:03d}"
    part.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    small = rng.integers(0, 256, (PER_FOLDER, 4, 4, 3), dtype=np.uint8)
    for index in range(PER_FOLDER):
        buffer = io.BytesIO()
        Image.fromarray(small[index]).resize((64, 64), Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=75)
        (part / f"{number:03d}-{index:05d}.jpg").write_bytes(buffer.getvalue())
    part.rename(target)


def anonymous_memory(pid: int) -> float:
    """RssAnon in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


def watch(folder: Path, run: Path, seconds: float) -> tuple[float, float, float]:
    """Seconds to the first step, largest anonymous memory in MB after it, images per second."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", TRAINING, folder, run], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    print(process.stdout.readline().strip(), flush=True)
    first = time.perf_counter() - started
    threading.Timer(seconds, process.send_signal, [signal.SIGKILL]).start()
    with ThreadPoolExecutor(1) as pool:
        speeds = pool.submit(lambda: sorted(float(line) for line in process.stdout or ()))
        largest = 0.0
        while process.poll() is None:
            largest = max(largest, anonymous_memory(process.pid))
            time.sleep(0.1)
    return first, largest, speeds.result()[len(speeds.result()) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    rows = []
    for count in asked.counts:
        folder = asked.folder / str(count)
        with ProcessPoolExecutor() as pool:
            list(pool.map(make_folder, [folder] * (count // PER_FOLDER), range(count // PER_FOLDER)))
        run = asked.folder / f"run-{count}-{os.getpid()}"
        rows.append((count, *watch(folder, run, asked.seconds)))
    print(f"{platform.machine()}, {os.cpu_count()} cores, photo network at 64x64, batch 64, fp32")
    for count, first, memory, speed in rows:
        ratio = memory / rows[0][2]
        print(
            f"{count:9} images: first step after {first:6.1f} s, RssAnon {memory:6.0f} MB ({ratio:.2f} times), "
            f"{speed:5.0f} images/s"
        )


if __name__ == "__main__":
    main()
