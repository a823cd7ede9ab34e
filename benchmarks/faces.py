"""Faces found in scenes by BlazeFace and by dlib: how many, how well the tilt, how fast, and how often wrong.

    pip install dlib-bin
    python benchmarks/faces.py DATA

DATA holds `faces/` (128x128 JPEG, upright), `attributes.csv`, `emoji/` and `emoji.csv`. 400 faces are pasted into two
photos of scikit-learn without a face (a palace and a flower): 200 tilted by -45 to 45 degrees, 60 small (30 to 60
pixels in 1280x960) and 60 dark (a fifth of the light), none of them seen by the bundled model, and the 80 of 4,000 that
are turned to the side most, by the place of the nose. A face is found where a box lies in its middle. Then 200 pictures
without a face: parts of the two photos, and emoji that are neither people nor animals.
"""

import argparse
import csv
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dlib_faces
import numpy as np
from intervals import share
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

from latentcli.data.sources import held_out_then
from latentcli.imaging import faces
from latentcli.imaging.images import plain
from latentcli.storage import catalog

SCENE = (1280, 960)
NEAR = 0.3  # of a face's side
GROUPS = ("tilted to 30", "tilted to 45", "small", "dark", "to the side")
FACELESS_GROUPS = ("Food & Drink", "Travel & Places", "Objects", "Symbols")


@dataclass
class Scene:
    """A picture with one face."""

    picture: Image.Image
    group: str
    middle: tuple[float, float]
    side: float
    roll: float


def scenes(data: Path) -> list[Scene]:
    with (data / "attributes.csv").open() as table:
        names = [row["file"] for row in csv.DictReader(table)]
    held = held_out_then((name.encode() for name in names), catalog.find_model("faces").training)
    rng = np.random.default_rng(0)
    chosen = rng.permutation([name for name, is_held in zip(names, held, strict=True) if is_held])[:320].tolist()
    turned = rng.permutation(names)[:4000].tolist()
    sideways = sorted(turned, key=lambda name: -turn(data / "faces" / name))[:80]
    found = []
    for number, name in enumerate([*chosen, *sideways]):
        roll, side, light = 0.0, float(rng.integers(100, 300)), 1.0
        if number < 200:
            roll = -45 + 90 * number / 199
            group = "tilted to 30" if abs(roll) <= 30 else "tilted to 45"
        elif number < 260:
            group, side = "small", float(rng.integers(30, 60))
        elif number < 320:
            group, light = "dark", 0.2
        else:
            group = "to the side"
        found.append(scene(data / "faces" / name, group, side, roll, light, rng))
    return found


def scene(path: Path, group: str, side: float, roll: float, light: float, rng: np.random.Generator) -> Scene:
    """A face turned clockwise, in a photo."""
    ground = Image.fromarray(load_sample_images().images[int(rng.integers(2))]).resize(SCENE)
    with Image.open(path) as opened:
        face = opened.convert("RGB").resize((round(side), round(side)), Image.Resampling.LANCZOS)
    turned = face.rotate(-roll, Image.Resampling.BICUBIC, expand=True)
    mask = Image.new("L", face.size, 255).rotate(-roll, Image.Resampling.BICUBIC, expand=True)
    x, y = (int(rng.integers(0, room - size)) for room, size in zip(SCENE, turned.size, strict=True))
    ground.paste(turned, (x, y), mask)
    middle = x + turned.width / 2, y + turned.height / 2
    return Scene(ImageEnhance.Brightness(ground).enhance(light), group, middle, side, roll)


def turn(path: Path) -> float:
    """How far a face looks to the side: the nose's way from between the eyes, over that from the eyes to the mouth."""
    with Image.open(path) as opened:
        view = Image.new("RGB", (256, 256))
        view.paste(opened.convert("RGB").resize((90, 90), Image.Resampling.LANCZOS), (83, 83))
    points, scores = faces._run(np.asarray(view))
    eye, other, nose, mouth = points[scores.argmax(), 2:6]
    middle = (eye + other) / 2
    down = mouth - middle
    across = np.array([down[1], -down[0]]) / np.square(down).sum()
    return abs(float((nose - middle) @ across))


def faceless(data: Path) -> list[Image.Image]:
    rng = np.random.default_rng(1)
    found = []
    for number in range(100):
        whole = Image.fromarray(load_sample_images().images[number % 2])
        side = int(rng.integers(80, whole.height))
        x, y = int(rng.integers(0, whole.width - side)), int(rng.integers(0, whole.height - side))
        found.append(whole.crop((x, y, x + side, y + side)).resize((512, 512), Image.Resampling.BICUBIC))
    with (data / "emoji.csv").open() as table:
        names = [row["file"] for row in csv.DictReader(table) if row["category"] in FACELESS_GROUPS]
    for name in rng.permutation([name for name in names if "face" not in name])[:100].tolist():
        with Image.open(data / "emoji" / name) as opened:
            found.append(plain(opened))
    return found


def measure(
    find: Callable[[Image.Image], Sequence[faces.Face]], shown: list[Scene], without: list[Image.Image]
) -> None:
    find(shown[0].picture)  # loads it
    results: dict[str, list[float | None]] = {group: [] for group in GROUPS}
    spent, others = [], 0
    for one in shown:
        started = time.perf_counter()
        found = find(one.picture)
        spent.append(time.perf_counter() - started)
        here = [f for f in found if np.hypot(f.x - one.middle[0], f.y - one.middle[1]) < NEAR * one.side]
        others += len(found) - len(here)
        results[one.group].append(abs(here[0].roll - one.roll) if here else None)
    for group, errors in results.items():
        there = [error for error in errors if error is not None]
        seen, level = (np.array([error is not None and error <= most for error in errors]) for most in (np.inf, 8))
        print(
            f"  {group:13} {share(seen)} of {len(errors):3} found, tilt within 8 degrees {share(level)}, "
            f"median error {statistics.median(there or [float('nan')]):.1f}"
        )
    wrong = share(np.array([bool(find(picture)) for picture in without]))
    print(f"  {others} places in the scenes that are no face; {wrong} of {len(without)} pictures without a face")
    print(f"  {statistics.median(spent):.3f} s each in the median, {max(spent):.2f} s at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    shown, without = scenes(data), faceless(data)
    print(f"{platform.machine()}, {os.cpu_count()} cores; {len(shown)} faces, scenes of {SCENE[0]}x{SCENE[1]}")
    for name, find in (("BlazeFace", faces.find_faces), ("dlib", dlib_faces.find_faces)):
        print(name)
        measure(find, shown, without)


if __name__ == "__main__":
    main()
