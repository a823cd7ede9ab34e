"""What `latentcli train` reaches with its defaults in the same few minutes, beside PCA with as many components.

    python benchmarks/networks.py DATA [--minutes 10] [--only NAME]
    python benchmarks/networks.py DATA --speed

DATA holds `faces/`, `emoji/`, `avatars/`, `mnist/train` and `mnist/test`; sprites are drawn. Runs are kept under
./models/ and go on when they were interrupted. Held-out figures are printed, and the course of PSNR over the minutes.
With --speed it trains for a few steps at each size and prints images per second times pixels.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from latentcli.data.dataset import Dataset
from latentcli.evaluation.diagnosis import measured
from latentcli.evaluation.record import Record
from latentcli.presets import SIZES, model_config, train_config
from latentcli.storage.history import read
from latentcli.training.machine import keep_freed_memory
from latentcli.training.schedule import Stage
from latentcli.training.step import TrainState, untrained

MNIST = "{data}/mnist/train --held-out {data}/mnist/test"
RUNS = {
    "sprites-24": "{sprites} --size 24",
    "faces-64": "{data}/faces --size 64",
    "emoji-64": "{data}/emoji --size 64",
    "avatars-64": "{data}/avatars --size 64",
    "mnist-32d": MNIST,
    "mnist-2d": MNIST + " --latent-dim 2",
    "faces-24": "{data}/faces --size 24",
    "emoji-24": "{data}/emoji --size 24",
    "avatars-24": "{data}/avatars --size 24",
    "faces-128": "{data}/faces --size 128",
    "emoji-128": "{data}/emoji --size 128",
    "avatars-128": "{data}/avatars --size 96",
    "faces-200": "{faces_200} --size 64",
    "faces-2000": "{faces_2000} --size 64",
}
SPRITES = 4000


def sprite(seed: int) -> Image.Image:
    """A 24x24 figure as games have it: mirrored blocks in three colours on a plain ground."""
    rng = np.random.default_rng(seed)
    ground, coat, skin, trim = (tuple(int(level) for level in rng.integers(0, 256, 3)) for _ in range(4))
    picture = Image.new("RGB", (24, 24), ground)
    pen = ImageDraw.Draw(picture)
    head, body, legs = int(rng.integers(3, 6)), int(rng.integers(3, 8)), int(rng.integers(1, 4))
    lean, hop = int(rng.integers(-2, 3)), int(rng.integers(-2, 3))
    middle = 11 + lean
    pen.rectangle((middle - head + 1, 3 + hop, middle + head, 9 + hop), fill=skin)
    pen.rectangle((middle - body + 1, 10 + hop, middle + body, 17 + hop), fill=coat)
    for side in (-1, 1):
        eye = middle + (1 if side > 0 else 0) + side * int(head // 2)
        pen.point((eye, 6 + hop), fill=trim)
        foot = middle + side * legs
        pen.rectangle((foot - 1, 18 + hop, foot + 1, 21 + hop), fill=trim)
    if rng.random() < 0.5:
        pen.rectangle((middle - head, 2 + hop, middle + head + 1, 3 + hop), fill=trim)
    return picture


def drawn_sprites(folder: Path) -> Path:
    if not folder.is_dir():
        folder.mkdir(parents=True)
        for seed in range(SPRITES):
            sprite(seed).save(folder / f"{seed:04d}.png")
    return folder


def some_of(folder: Path, count: int) -> Path:
    """A text file of so many pictures of a folder, evenly spread."""
    names = sorted(path.resolve() for path in folder.iterdir())
    chosen = names[:: len(names) // count][:count]
    target = Path(f"{folder.name}-{count}.txt")
    target.write_text("".join(f"{name}\n" for name in chosen))
    return target


def row(name: str, data: Path, minutes: float) -> str:
    words = (
        RUNS[name]
        .format(
            data=data,
            sprites=drawn_sprites(Path("sprites")),
            faces_200=some_of(data / "faces", 200),
            faces_2000=some_of(data / "faces", 2000),
        )
        .split()
    )
    command = [sys.executable, "-m", "latentcli", "train", *words, "--minutes", f"{minutes:g}", "--name", name]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    folder = Path("models", name)
    evaluation = Record.load(folder).evaluation
    held_out = evaluation.held_out
    pca = next((found.psnr for found in evaluation.baselines if found.name.startswith("PCA")), None)
    course = measured(read(folder))
    shown = course[:: max(1, len(course) // 6)]
    curve = ", ".join(f"{line.seconds / 60:.1f} min {metrics.psnr:.2f}" for line, metrics in shown)
    against = f"PCA {pca:6.2f} dB ({held_out.psnr - pca:+.2f})" if pca is not None else "no PCA"
    bits = f"{held_out.bits_per_dimension:.3f} bits/dim" if held_out.bits_per_dimension else ""
    speed = course[-1][0].step / course[-1][0].seconds if course else 0.0
    return (
        f"{name:12} {held_out.psnr:6.2f} dB  {against}  -ELBO {held_out.negative_elbo:10.2f} nats  {bits}  "
        f"{speed:.1f} steps/s\n{'':13}{curve}"
    )


def speed(side: int) -> tuple[int, float]:
    """Batch size, and images per second."""
    model = model_config("photo", side, side, 3)
    config = train_config(model)
    learner = TrainState(untrained(model, 0), config, Stage(0, 1000), torch.device("cpu"))
    images = Dataset.from_images(torch.randint(0, 256, (config.batch_size, side, side, 3), dtype=torch.uint8))
    rows, seconds = torch.arange(len(images)), []
    for step in range(8):
        started = time.perf_counter()
        learner.step(images.take(rows), step)
        seconds.append(time.perf_counter() - started)
    return config.batch_size, config.batch_size / statistics.median(seconds[2:])


def print_speeds() -> None:
    keep_freed_memory()
    products = []
    for side in (*SIZES, 192, 256):
        batch, images = speed(side)
        products.append(images * side * side)
        print(
            f"{side:4} px  batch {batch:4}  {images:8.1f} images/s  {products[-1] / 1e6:6.2f} million pixels/s",
            flush=True,
        )
    print(f"largest over smallest: {max(products) / min(products):.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", action="append", choices=list(RUNS), help="repeat it for several")
    parser.add_argument("--speed", action="store_true")
    asked = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, fp32", flush=True)
    if asked.speed:
        print_speeds()
        return
    for name in asked.only or RUNS:
        print(row(name, asked.data, asked.minutes), flush=True)


if __name__ == "__main__":
    main()
