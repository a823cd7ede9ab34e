"""Training on few images with and without augmentation: the curve on other images of the kind.

    python benchmarks/few_images.py FOLDER TEST [--size 32] [--steps 1000] [--shift 0.04] [--jitter 0.3]

FOLDER holds the few images, TEST some hundred others, which nothing is chosen by. Each row: PSNR on TEST and on the
training images in dB, and on TEST -ELBO in nats with the sigma of the held-out images.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from latentcli.config import TrainConfig
from latentcli.data.dataset import Dataset
from latentcli.model.metrics import measure
from latentcli.training import start
from latentcli.training.images import Images, images_of, read
from latentcli.training.plan import Choice, TrainRequest, choose
from latentcli.training.schedule import Stage, order
from latentcli.training.step import TrainState, untrained

POINTS = 10  # rows
TESTED = 100  # images


def images(choice: Choice) -> Images:
    reading = read(choice)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return images_of(choice, end.value)


def curve(choice: Choice, few: Images, test: Dataset, config: TrainConfig, steps: int) -> None:
    vae = untrained(choice.model, 0)
    if vae.linear:
        vae.linear.fit(start.fit(vae.linear, few.train, choice.model.latent_dim, bool(config.flip)))
    learner = TrainState(vae, config, Stage(0, steps), torch.device("cpu"))
    per_epoch = len(few.train) // config.batch_size
    for step in range(steps):
        epoch, place = divmod(step, per_epoch)
        rows = order(0, epoch, len(few.train))[place * config.batch_size :][: config.batch_size]
        learner.step(few.train.take(rows), step)
        if (step + 1) % max(1, steps // POINTS) == 0:
            vae = learner.evaluated(few.train, few.held_out)
            found, known = measure(vae, test.floats()), measure(vae, few.train.spread(TESTED).floats())
            print(f"{step + 1:6} {found.psnr:6.2f} {known.psnr:6.2f} {found.negative_elbo:9.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--shift", type=float, default=0.0)
    parser.add_argument("--jitter", type=float, default=0.0)
    parser.add_argument("--widths", help="feature maps per level, such as 32,64,96")
    asked = parser.parse_args()
    request = TrainRequest(size=(asked.size, asked.size))
    choice = choose(asked.folder, request)
    if asked.widths:
        choice = replace(choice, model=replace(choice.model, widths=tuple(map(int, asked.widths.split(",")))))
    few = images(choice)
    others = replace(choose(asked.test, replace(request, held_out="0")), model=choice.model)
    config = replace(
        choice.config,
        shift=asked.shift,
        jitter=asked.jitter,
        precision="fp32",
        batch_size=min(choice.config.batch_size, len(few.train)),
        patience=0.2,  # so that sigma is that of held-out images
    )
    print(f"{len(few.train)} images, shift {asked.shift:g}, jitter {asked.jitter:g}; step, PSNR, training PSNR, -ELBO")
    curve(choice, few, images(others).train.spread(TESTED), config, asked.steps)


if __name__ == "__main__":
    main()
