"""What sharpening gives and costs: a sharpened model beside the one that it was.

    python benchmarks/sharp.py MODEL DATA [--sheet sharp.png]

MODEL is the folder of a sharpened model, with its `plain.safetensors`; DATA are the images that it was trained on. All
is measured on held-out images: PSNR, sharpness (variance of the Laplacian of reconstructions over that of the images,
in the median), the kernel distances x 1000 of reconstructions and of samples in the space of `evaluate`, with half of
their 95 % intervals and as many samples as images, up to 2,000. Of samples 0 to 63: how far each is from the next
training image and from the next of the others, in the distance of two held-out images in the median. The sheet shows
images, both reconstructions, and samples of both.
"""

import argparse
import os
import platform
from pathlib import Path

import numpy as np
import torch

from latentcli.data.cache import Loading
from latentcli.data.dataset import Dataset, readable_part
from latentcli.data.sources import held_out_then, open_source, scan
from latentcli.defaults import TEMPERATURE
from latentcli.evaluation.copies import nearest
from latentcli.evaluation.sample_metrics import WHITENED_BY, kernel_distance, open_features
from latentcli.figures.sheet import sheet
from latentcli.imaging.images import to_pictures
from latentcli.model.metrics import psnr_per_image, sharpness
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.storage.names import MODEL_FILE, PLAIN_FILE

COMPARED = 2000
TEMPERATURES = (0.0, 0.3, 0.6, 1.0)
SHOWN = 8


def split_images(model: LoadedModel, data: Path) -> tuple[Dataset, Dataset]:
    """Training images and held-out ones."""
    listing = scan(open_source(data))
    loading = Loading(listing, model.config)
    for _ in loading:
        pass
    assert model.header.training
    assert model.header.training.held_out_share is not None, (
        "a folder was held out; give it as DATA to `latentcli evaluate`"
    )
    held_out, rows = held_out_then(listing.names, model.header.training), np.arange(len(listing), dtype=np.int32)
    return readable_part(loading.decoded, rows[~held_out]), readable_part(loading.decoded, rows[held_out])


def to_nearest(images: torch.Tensor, train: Dataset) -> torch.Tensor:
    """Root mean square difference of each image to the nearest training image."""
    flat = images.flatten(1)
    return nearest(flat, (x.flatten(1) for x in train.floats()))[0][:, 0] / flat.shape[1] ** 0.5


def alone(samples: torch.Tensor, images: torch.Tensor, train: Dataset) -> None:
    """Print how far samples are from training images and from each other."""
    unit = float(torch.pdist(images.flatten(1)).median()) / images[0].numel() ** 0.5
    near = to_nearest(samples, train) / unit
    apart = torch.cdist(samples.flatten(1), samples.flatten(1)) / samples[0].numel() ** 0.5 / unit
    apart.fill_diagonal_(torch.inf)
    held = to_nearest(images, train) / unit
    rows = {
        "a sample to the next training image": near,
        "a sample to the next other sample": apart.min(dim=1).values,
        "a held-out image to the next training image": held,
    }
    for what, found in rows.items():
        print(f"distance of {what}: least {float(found.min()):.2f}, median {float(found.median()):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    models = {
        name: load_model(arguments.model / file) for name, file in (("before", PLAIN_FILE), ("after", MODEL_FILE))
    }
    train, held_out = split_images(models["before"], arguments.data)
    images = torch.cat(list(held_out.spread(COMPARED).floats()))
    space = open_features(None).whitened(train.spread(WHITENED_BY).floats())
    real = space(images)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}; {len(images)} held-out images")
    names = ["reconstructions", *(f"samples at {temperature:g}" for temperature in TEMPERATURES)]
    print("          PSNR, dB  sharpness" + "".join(f"{name:>17}" for name in names))
    rows = [images[:SHOWN]]
    sampled = []
    for name, model in models.items():
        decoded = torch.from_numpy(model.decode(model.encode_float(images.numpy())))
        ratio = (sharpness(decoded) / sharpness(images)).quantile(0.5)
        distances = [kernel_distance(space(decoded), real)]
        for temperature in TEMPERATURES:
            made = torch.from_numpy(model.decode(model.prior.sample(range(len(images)), temperature)))
            distances.append(kernel_distance(space(made), real))
            if temperature == TEMPERATURE:
                sampled.append(made[: 2 * SHOWN])
        psnr = float(psnr_per_image(images, decoded).mean())
        cells = "".join(f"{1000 * kernel:10.1f} ±{1000 * margin:5.1f}" for kernel, margin in distances)
        print(f"{name:8}  {psnr:8.2f}  {ratio:9.2f}{cells}")
        rows.append(decoded[:SHOWN])
    alone(torch.from_numpy(model.decode(model.prior.sample(range(64)))), images, train)
    if arguments.sheet:
        pictures = to_pictures(torch.cat(rows + sampled).clamp(0, 1).numpy())
        sheet(pictures, columns=SHOWN).save(arguments.sheet)


if __name__ == "__main__":
    main()
