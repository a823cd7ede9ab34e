"""Images per second of latentcli's training loop beside pythae's trainer and a plain PyTorch loop, and its FLOP/s.

    pip install pythae
    python benchmarks/speed.py FACES [--images 1280] [--rounds 5]

FACES is a folder of colour pictures; they are read at 64x64. All sides train the same two networks with the same batch
size, in turns; the median of the rounds counts. The others use Adam: AdamW is the like of it, Muon is
what `photo` trains with. The matrix product beside the FLOP/s is the best of 20.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import others
import torch
from torch.utils.flop_counter import FlopCounterMode

from latentcli.config import Precision
from latentcli.data.dataset import Dataset, as_float_tensor
from latentcli.model.device import choose_device
from latentcli.model.vae import VAE
from latentcli.presets import DEFAULTS, model_config
from latentcli.training.schedule import Stage, order
from latentcli.training.step import TrainState

CONFIG = model_config("photo", 64, 64, 3)
OURS = replace(DEFAULTS["photo"].train, batch_size=others.BATCH)


def our_epochs(vae: VAE, images: Dataset, optimizer: str, precision: Precision) -> Iterator[float]:
    config = replace(OURS, optimizer=optimizer, precision=precision)
    learner = TrainState(vae, config, Stage(0, 10**6), choose_device("cpu"))
    step = epoch = 0
    while True:
        started = time.perf_counter()
        rows = order(0, epoch, len(images))
        for start in range(0, len(images), others.BATCH):
            learner.step(images.take(rows[start : start + others.BATCH]), step)
            step += 1
        epoch += 1
        yield time.perf_counter() - started


def flop_per_image(vae: VAE, images: Dataset) -> float:
    learner = TrainState(vae, replace(OURS, precision="fp32"), Stage(0, 100), choose_device("cpu"))
    with FlopCounterMode(display=False) as counter:
        learner.vae.train()
        learner.step(images.take(torch.arange(others.BATCH)), 0)
    optimizer = FlopCounterMode(display=False)
    with optimizer:
        learner.optimizer.step(0.0, torch.tensor(0.0))
    return (counter.get_total_flops() - optimizer.get_total_flops()) / others.BATCH


def ceiling(dtype: torch.dtype) -> float:
    """GFLOP/s of a matrix product."""
    a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
    best = min(_seconds(a, b) for _ in range(20))
    return 2 * 2048**3 / best / 1e9


def _seconds(a: torch.Tensor, b: torch.Tensor) -> float:
    started = time.perf_counter()
    a @ b
    return time.perf_counter() - started


def compare(name: str, network: type[VAE], images: Dataset, rounds: int) -> None:
    x = as_float_tensor(torch.cat(list(images.batches()))).contiguous()
    sides = {
        "pythae's trainer": others.pythae_epochs(others.in_pythae(network(CONFIG)), x),
        "plain loop, DataLoader": others.plain_epochs(network(CONFIG), x),
        "latentcli, AdamW, fp32": our_epochs(network(CONFIG), images, "adamw", "fp32"),
        "latentcli, AdamW, bf16": our_epochs(network(CONFIG), images, "adamw", "bf16"),
        "latentcli, Muon, fp32": our_epochs(network(CONFIG), images, "muon", "fp32"),
        "latentcli, Muon, bf16": our_epochs(network(CONFIG), images, "muon", "bf16"),
    }
    for epochs in sides.values():
        next(epochs)  # warms up
    times = {side: [] for side in sides}
    for _ in range(rounds):
        for side, epochs in sides.items():
            times[side].append(next(epochs))
    speeds = {side: len(images) / statistics.median(seconds) for side, seconds in times.items()}
    faster = max(speeds["pythae's trainer"], speeds["plain loop, DataLoader"])
    gflop = flop_per_image(network(CONFIG), images) / 1e9
    print(f"\n{name}: {gflop:.2f} GFLOP per training image, {rounds} rounds of {len(images)} images each")
    for side, speed in speeds.items():
        print(f"  {side:24} {speed:6.0f} images/s  {speed / faster:5.2f} times  {speed * gflop:6.0f} GFLOP/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--images", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    images = Dataset.from_images(others.read_images(asked.faces, CONFIG)[0][: asked.images])
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, batch {others.BATCH}, 64x64 colour"
    )
    compare("(a) latentcli's photo network", VAE, images, asked.rounds)
    compare("(b) PyTorch-VAE's network", others.PyTorchVAE, images, asked.rounds)
    print(f"\n2048 matrix product: {ceiling(torch.float32):.0f} GFLOP/s fp32, {ceiling(torch.bfloat16):.0f} bf16")


if __name__ == "__main__":
    main()
