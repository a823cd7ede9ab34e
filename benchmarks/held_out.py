"""The held-out figures that the README quotes: trains `book`, `digits` and `faces` and prints a table.

    python benchmarks/held_out.py DATA [--only book]

DATA holds `mnist/train`, `mnist/test` (28x28 PNG) and `faces/` (128x128 JPEG). Runs are kept under ./models/ and go on
when they were interrupted; about 15, 10 and 30 minutes on two cores.
"""

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

import torch

from latentcli import tensorfile
from latentcli.model.modelfile import KIND

RUNS = {
    "book": "{data}/mnist/train --held-out {data}/mnist/test --preset book",
    "digits": "{data}/mnist/train --held-out {data}/mnist/test --preset digits --minutes 10",
    "faces": "{data}/faces --size 64 --minutes 30",
}


def row(name: str, data: Path) -> str:
    arguments = [word.format(data=data) for word in RUNS[name].split()]
    subprocess.run([sys.executable, "-m", "latentcli", "train", *arguments, "--name", name], check=True)
    training = tensorfile.read_header(Path("models", name, "model.safetensors"), KIND)["training"]
    held_out = training["held_out"]
    return (
        f"{name:8} {training['epochs']:6.1f} epochs {training['seconds'] / 60:6.1f} min {training['precision']}  "
        f"-ELBO {held_out['negative_elbo']:10.2f} nats  PSNR {held_out['psnr']:6.2f} dB  ({held_out['images']} images)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=RUNS, action="append", help="repeat it for several")
    asked = parser.parse_args()
    rows = [row(name, asked.data) for name in asked.only or RUNS]
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
