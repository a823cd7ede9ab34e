"""The held-out figures that the README quotes: trains each run of the table below and prints what came out.

    python benchmarks/held_out.py DATA [--only book]

DATA holds `mnist/train`, `mnist/test` (28x28 PNG) and `faces/` (128x128 JPEG). Runs are kept under ./models/ and go on
when they were interrupted; the last word of a faces run is the spread of 64 samples beside that of 64 reconstructions.
"""

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.distance import pdist

from latentcli.data.sources import held_out_then, open_source, scan
from latentcli.imaging.images import read_image
from latentcli.model.modelfile import KIND, load_model
from latentcli.storage import tensorfile

RUNS = {
    "book": "{data}/mnist/train --held-out {data}/mnist/test --preset book",
    "digits": "{data}/mnist/train --held-out {data}/mnist/test --preset digits --minutes 10",
    "digits-2d": "{data}/mnist/train --held-out {data}/mnist/test --preset digits --latent-dim 2 --minutes 10",
    "faces": "{data}/faces --size 64 --latent-dim 256 --minutes 60",
}


def row(name: str, data: Path) -> str:
    arguments = [word.format(data=data) for word in RUNS[name].split()]
    subprocess.run([sys.executable, "-m", "latentcli", "train", *arguments, "--name", name], check=True)
    training = tensorfile.read_header(Path("models", name, "model.safetensors"), KIND)["training"]
    held_out = training["held_out"]
    spread = f"  spread {sample_spread(name, data / 'faces'):.2f}" if name == "faces" else ""
    return (
        f"{name:9} {training['epochs']:6.1f} epochs {training['seconds'] / 60:6.1f} min {training['precision']}  "
        f"-ELBO {held_out['negative_elbo']:10.2f} nats  PSNR {held_out['psnr']:6.2f} dB  "
        f"({held_out['images']} images){spread}"
    )


def sample_spread(name: str, faces: Path) -> float:
    """Mean pairwise pixel distance of 64 samples over that of 64 held-out reconstructions."""
    model = load_model(Path("models", name))
    names = scan(open_source(faces)).names
    held_out = names[held_out_then(names, model.header.training)]
    shown = [faces / os.fsdecode(name) for name in held_out[:: len(held_out) // 64][:64]]
    samples = model.decode(model.prior.sample(range(64)))
    z = model.encode(np.stack([read_image(path, model.config) for path in shown]))
    distances = [float(pdist(images.reshape(64, -1)).mean()) for images in (samples, model.decode(z))]
    return distances[0] / distances[1]


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
