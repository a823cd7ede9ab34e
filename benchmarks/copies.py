"""Near-duplicates on one side of the split, and copies among samples: how many are found?

    python benchmarks/copies.py MODEL DATA [--pairs TABLE] [--images 3000] [--count 300] [--trials 100]

MODEL is a model's folder, DATA its images. First, 200 pictures for each of seven changes are put beside the others,
changed: the share of pairs on one side of a split of 5 %, by paths and with groups of near-duplicates, over 20 hashes.
With --pairs, a CSV table with the columns `file` and `base`, files of one base are pairs. Then, the test for copies: of
`--images` pictures, two sets of `--count` stand for held-out images and for new ones, and the others for training
images, with twins of some held-out ones. Copies are training images blurred by 1 to 2 pixels, with noise of 2 levels;
the other samples are reconstructions of new images. A trial finds copies if the probability is below 0.05.
"""

import argparse
import csv
import io
import warnings
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from machine import machine
from PIL import Image, ImageEnhance, ImageFilter

from latentcli.config import ModelConfig
from latentcli.data.cache import Loading
from latentcli.data.duplicates import first_alike
from latentcli.data.sources import Listing, is_held_out, open_source, scan
from latentcli.evaluation import copies
from latentcli.evaluation.sample_metrics import open_features
from latentcli.imaging.images import fit, open_picture
from latentcli.model.modelfile import LoadedModel, load_model

SHARE, SALTS, CHANGED = 0.05, 20, 200  # held out; hashes of paths; pictures for each change
TWINS, COPIED = (0.0, 0.03, 0.06, 0.1), (0.0, 0.1, 0.2, 0.5, 1.0)
FOUND, NEIGHBOURS = 0.05, 10


def recompressed(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=50)
    return Image.open(file)


def brighter(picture: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(picture.convert("RGB")).enhance(factor)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 50": recompressed,
    "resized to 90 %": lambda picture: picture.resize((round(0.9 * picture.width), round(0.9 * picture.height))),
    "10 % brighter": lambda picture: brighter(picture, 1.1),
    "10 % darker": lambda picture: brighter(picture, 0.9),
    "cropped by 1 pixel": lambda picture: picture.crop((1, 1, picture.width, picture.height)),
    "cropped by 2 pixels": lambda picture: picture.crop((2, 0, picture.width, picture.height - 2)),
    "blurred by 1 pixel": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
}


def changed(listing: Listing, config: ModelConfig, rows: np.ndarray, change: Callable[[Image.Image], Image.Image]):
    """Pictures at `rows`, each changed before it is fitted to the model: (n, height, width, channels) uint8."""
    made = []
    with listing.source.reader() as locate:
        for row in rows:
            with open_picture(*locate(listing.name(row))) as picture:
                mode = "RGBA" if config.has_alpha else "RGB"
                whole = picture.convert(mode)
                new = change(whole).convert("RGB")
                if config.has_alpha and new.size == whole.size:
                    new.putalpha(whole.getchannel("A"))
                elif config.has_alpha:
                    new = change(whole)
                made.append(fit(new, config))
    return np.stack(made)


def split(listing: Listing, pixels: np.ndarray, config: ModelConfig, table: Path | None) -> None:
    """Print the share of pairs on one side."""
    order = np.random.default_rng(0).permutation(len(pixels))
    sources = {name: np.sort(order[CHANGED * k : CHANGED * (k + 1)]) for k, name in enumerate(CHANGES)}
    twins = [changed(listing, config, rows, CHANGES[name]) for name, rows in sources.items()]
    whole = torch.from_numpy(np.concatenate([pixels, *twins]))
    for what, images in (("as they are", whole[: len(pixels)]), ("with changed ones", whole)):
        first = first_alike(images.split(256), len(images))
        sizes = np.bincount(first)
        grouped = (
            f"{sizes[sizes > 1].sum()} of {len(images)} in {(sizes > 1).sum()} groups, the largest of {sizes.max()}"
        )
        held = [held_out(listing, len(images), salt)[first].mean() for salt in range(SALTS)]
        print(f"{what}: {grouped}; held out {np.mean(held):.2%} ± {np.std(held):.2%}")
        if what == "as they are" and table:
            print(f"{'pairs of one base':22} {on_one_side(listing, len(pixels), first, based(listing, table))}")
    at = len(pixels)
    for name, rows in sources.items():
        print(f"{name:22} {on_one_side(listing, len(whole), first, (rows, np.arange(at, at + len(rows))))}", flush=True)
        at += len(rows)


def held_out(listing: Listing, count: int, salt: int) -> np.ndarray:
    """Whether each image is held out by the hash of its path; those added have paths of their own."""
    names = [*listing.names, *(b"added/%d" % number for number in range(count - len(listing)))]
    return is_held_out((b"%d/%b" % (salt, name) for name in names), SHARE)


def on_one_side(listing: Listing, count: int, first: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]) -> str:
    one, other = pairs
    sides = [held_out(listing, count, salt) for salt in range(SALTS)]
    by_path = np.mean([(side[one] == side[other]).mean() for side in sides])
    grouped = np.mean([(side[first[one]] == side[first[other]]).mean() for side in sides])
    return f"{len(one):5} pairs: by paths {by_path:.3f}, with groups {grouped:.3f}"


def based(listing: Listing, table: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows of one base."""
    with table.open(encoding="utf-8") as file:
        base_of = {row["file"]: row["base"] for row in csv.DictReader(file)}
    rows_of: dict[str, list[int]] = {}
    for row in range(len(listing)):
        rows_of.setdefault(base_of.get(listing.name(row), f"{row}"), []).append(row)
    found = np.array([pair for rows in rows_of.values() for pair in combinations(rows, 2)])
    return found[:, 0], found[:, 1]


def blurred(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Images (n, channels, height, width), each blurred by 1 to 2 pixels, with noise of 2 levels."""
    made = []
    for image in images:
        kernel = torch.exp(-0.5 * (torch.arange(-6, 7) / rng.uniform(1, 2)) ** 2)
        kernel = (kernel / kernel.sum()).float()
        padded = F.pad(image[:, None], (6, 6, 6, 6), mode="replicate")
        made.append(F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0])
    noise = torch.from_numpy(rng.normal(0, 2 / 255, images.shape)).float()
    return (torch.stack(made) + noise).clamp(0, 1)


class Trials:
    """Distances from reconstructions and copies of some images, the first `3 * count`, to all images."""

    def __init__(self, model: LoadedModel, images: torch.Tensor, count: int) -> None:
        self.count, self.all = count, len(images)
        some, rng = images[: 3 * count], np.random.default_rng(1)
        made = torch.cat([torch.from_numpy(model.decode(model.encode_float(x.numpy()))) for x in some.split(100)])
        pictures = torch.cat([made, blurred(some, rng)])
        space = open_features(None).whitened(images.split(250))
        spaces = copies.thumbnails, lambda x: torch.cat([space(part) for part in x.split(250)])
        self.distances = [torch.cdist(of(pictures), of(images)) for of in spaces]  # each (6 * count, all)

    def near(self, rows: np.ndarray, train: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        by = [distances[rows][:, train].topk(NEIGHBOURS, largest=False).values for distances in self.distances]
        return by[0], by[1]

    def found(self, seed: int, twins: float) -> list[bool]:
        """Whether the test finds copies, for each share of copies in COPIED."""
        n = self.count
        held, new, trained = np.random.default_rng(seed).permutation(3 * n).reshape(3, n)
        train = np.concatenate([trained, np.arange(3 * n, self.all), held[: round(twins * n)]])
        usual = self.near(held, train)
        answers = []
        for share in COPIED:
            copied = round(share * n)
            samples = self.near(np.concatenate([3 * n + trained[:copied], new[copied:]]), train)
            answers.append(copies.compare(samples, usual).by_chance < FOUND)
        return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--trials", type=int, default=100)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", "The given NumPy array is not writable")
    model, listing = load_model(asked.model), scan(open_source(asked.data))
    loading = Loading(listing, model.config)
    for _ in loading:
        pass
    pixels = np.array(loading.decoded.pixels)
    print(f"{machine()}; {model.name}: {len(listing)} images of {asked.data.name}")
    split(listing, pixels, model.config, asked.pairs)
    rows = np.random.default_rng(0).permutation(len(pixels))[: asked.images]
    images = torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2).float() / 255
    trials = Trials(model, images, asked.count)
    print(f"{asked.count} samples, {len(images) - 2 * asked.count} training images, {asked.trials} trials")
    print(f"{'twins':>6} {'  '.join(f'{share:.0%} copied' for share in COPIED)}")
    for twins in TWINS:
        found = np.mean([trials.found(seed, twins) for seed in range(asked.trials)], axis=0)
        print(f"{twins:6.0%} {'  '.join(f'{part:9.0%}' for part in found)}", flush=True)


if __name__ == "__main__":
    main()
