"""How long commands take from start to end, beside a bare Typer app's `--help` and beside `import torch`.

    python benchmarks/startup.py [--runs 20]

All run in fresh processes of this Python, in turns; the medians are compared. The photos are an example cut to 512x512
pixels, and the same scaled into 4000x3000 with a little noise.
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

import numpy as np
from PIL import Image

EXAMPLE = Path(__file__).parents[1] / "examples" / "grace-hopper.jpg"
LARGE = (4000, 3000)
BARE = """
import typer
app = typer.Typer()
@app.command()
def hello(name: str) -> None:
    "Say hello."
@app.command()
def bye(name: str) -> None:
    "Say goodbye."
app()
"""
HELP = {
    "bare Typer app": [sys.executable, "-c", BARE, "--help"],
    "latentcli": [sys.executable, "-m", "latentcli", "--help"],
    "latentcli edit": [sys.executable, "-m", "latentcli", "edit", "--help"],
}
EDIT = ["--vector", "smile", "--strength", "1.5", "--force", "--model", "faces"]
USES = {
    "import torch": [sys.executable, "-c", "import torch"],
    "sample --n 64": [sys.executable, "-m", "latentcli", "sample", "--n", "64", "--force", "--model", "faces"],
    "edit, 512x512": [sys.executable, "-m", "latentcli", "edit", "small.png", *EDIT],
    "edit, 4000x3000 JPEG": [sys.executable, "-m", "latentcli", "edit", "large.jpg", *EDIT],
    "encode, one image": [sys.executable, "-m", "latentcli", "encode", "small.png", "--force", "--model", "faces"],
}


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def medians(commands: dict[str, list[str]], runs: int) -> dict[str, float]:
    """Of each command; the first run, which fills the caches of the system, does not count."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs + 1):
        for name, command in commands.items():
            times[name].append(seconds(command))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def draw() -> None:
    """The two photos, in the current folder."""
    with Image.open(EXAMPLE) as opened:
        photo = opened.convert("RGB")
    photo.crop((0, 40, 512, 552)).save("small.png")
    large = Image.new("RGB", LARGE, photo.getpixel((500, 20)))
    large.paste(photo.resize((2560, 3000), Image.Resampling.LANCZOS), (700, 0))
    noise = np.random.default_rng(0).normal(0, 4, (*LARGE[::-1], 1))
    Image.fromarray((np.asarray(large) + noise).clip(0, 255).astype(np.uint8)).save("large.jpg", quality=92)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, median of {runs} runs")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        draw()
        for unit, commands in (("the bare app", HELP), ("import torch", USES)):
            found = medians(commands, runs)
            first = next(iter(found.values()))
            for name, middle in found.items():
                print(f"{name:21} {1000 * middle:6.0f} ms   {middle / first:.2f} times {unit}")
        os.chdir("/")


if __name__ == "__main__":
    main()
