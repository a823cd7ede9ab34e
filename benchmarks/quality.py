"""Held-out PSNR after the same time on the same faces: latentcli, and pythae's VAE and trainer on the same network.

    pip install pythae
    python benchmarks/quality.py FACES [--minutes 20] [--sheet samples.png]

FACES is a folder of colour pictures; both sides train at 64x64 on the same training images, in one run, one after the
other, and are measured on the same held-out ones. pythae keeps its loss (half the summed squared error + KL) and Adam;
it trains whole epochs until the time is over. The sheet has 32 samples of each from its own prior: latentcli's fitted
mixture at temperature 0.8, and N(0, I) for pythae.
"""

import argparse
import os
import platform
import time
from dataclasses import replace
from pathlib import Path

import others
import torch
from intervals import mean

from latentcli.data.dataset import Dataset, as_float_tensor
from latentcli.figures.sheet import sheet
from latentcli.imaging.images import to_pictures, write_picture
from latentcli.model.metrics import psnr_per_image
from latentcli.model.modelfile import load_model
from latentcli.model.vae import VAE
from latentcli.presets import model_config
from latentcli.storage.history import EpochReport
from latentcli.training import plan, run, start
from latentcli.training.step import untrained

CONFIG = model_config("photo", 64, 64, 3)
SAMPLES = 32


def psnr(vae: VAE, held_out: torch.Tensor) -> str:
    """Mean over images with its interval, dB."""
    vae.eval()
    with torch.inference_mode():
        batches = [as_float_tensor(batch) for batch in Dataset.from_images(held_out).batches()]
        return mean(torch.cat([psnr_per_image(x, vae.decode(vae.encode(x).mean)) for x in batches]).numpy())


def before_the_first_step(settled: plan.Plan, train: torch.Tensor, held_out: torch.Tensor) -> None:
    """Print what the principal components alone reach, and the seconds it takes to fit them."""
    started = time.perf_counter()
    fitting = start.find(settled, Dataset.from_images(train))
    try:
        while True:
            next(fitting)
    except StopIteration as end:
        begun = end.value
    vae = untrained(settled.choice.model, 0)
    begun.apply(vae, 1.0)
    seconds = time.perf_counter() - started
    print(f"latentcli before the first step, {seconds / 60:.2f} min: {psnr(vae, held_out)} dB", flush=True)


def ours(
    faces: Path, train: torch.Tensor, held_out: torch.Tensor, minutes: float
) -> tuple[VAE, torch.Tensor, int, float]:
    """The trained network, samples, images seen, seconds."""
    folder = Path("models/quality")
    request = plan.TrainRequest(size=(64, 64), minutes=minutes)
    settled = plan.prepare(folder, faces, request)
    before_the_first_step(settled, train, held_out)
    for report in run.run(settled):
        if isinstance(report, EpochReport) and report.held_out:
            print(f"latentcli, {report.seconds / 60:.2f} min: {report.held_out.psnr:.2f} dB", flush=True)
    model = load_model(folder)
    with torch.inference_mode():
        samples = torch.from_numpy(model.decode(model.prior.sample(range(SAMPLES))))
    training = model.header.training
    return model.vae, samples, training.steps * training.batch_size, training.seconds


def theirs(train: torch.Tensor, held_out: torch.Tensor, minutes: float) -> tuple[VAE, torch.Tensor, int, float]:
    """The same of pythae, whose network has no principal components to start from."""
    torch.manual_seed(0)
    vae = VAE(replace(CONFIG, linear=False))
    trained, seen = 0.0, 0
    for seconds in others.pythae_epochs(others.in_pythae(vae), as_float_tensor(train).contiguous()):
        seen += len(train)
        trained += seconds
        print(f"pythae, {trained / 60:.2f} min: {psnr(vae, held_out)} dB", flush=True)
        if trained > minutes * 60:
            break
        vae.train()
    vae.eval()
    with torch.inference_mode():
        samples = vae.decode(torch.randn(SAMPLES, CONFIG.latent_dim, generator=torch.Generator().manual_seed(0)))
    return vae, samples, seen, trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--sheet", type=Path, default=Path("samples.png"))
    asked = parser.parse_args()
    train, held_out = others.read_images(asked.faces, CONFIG)
    sides = {
        "latentcli": ours(asked.faces, train, held_out, asked.minutes),
        "pythae": theirs(train, held_out, asked.minutes),
    }
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {len(held_out)} held-out faces")
    for name, (vae, _, seen, seconds) in sides.items():
        print(f"{name:10} {seconds / 60:5.1f} min {seen:8} images seen  held-out PSNR {psnr(vae, held_out)} dB")
    pictures = [picture for _, samples, _, _ in sides.values() for picture in to_pictures(samples.numpy())]
    write_picture(sheet(pictures, columns=8), asked.sheet)
    print(f"{asked.sheet}: the upper {SAMPLES} samples are latentcli's")


if __name__ == "__main__":
    main()
