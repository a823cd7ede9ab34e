"""What edits of photos are worth: judged smiles, sharpness, identity, time and memory.

    python benchmarks/edits.py DATA [--ablate]

DATA holds `faces/` (128x128 JPEG), `attributes.csv` (file, age, male, smile, glasses) and `smiles/` for the judge
(see judge.py). The bundled model edits faces that it was not trained on, as PNG files. A sheet of pairs to look at is
written into the current folder; it shows faces of the data set.
"""

import argparse
import contextlib
import csv
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from judge import Judge, judge_of
from PIL import Image
from scipy.ndimage import laplace

from latentcli.concepts.edit import EditRequest, Strength
from latentcli.data.sources import held_out_then
from latentcli.figures.sheet import sheet
from latentcli.imaging.box import Box
from latentcli.imaging.images import as_float, to_pictures
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.photo import merge as merging
from latentcli.photo.merge import merge
from latentcli.pipelines.edit import Job, edit_photos
from latentcli.pipelines.inputs import encode_all
from latentcli.pipelines.vectors import load_vector
from latentcli.storage import catalog

EACH = 200  # faces that do not smile, and that do
SIDE = 128  # pixels
STRENGTH = 1.5
LARGE = (4000, 3000)  # pixels of the large photo
ABLATIONS = {  # of functions of photo/merge.py
    "everything": {},
    "rounded corners": {"_window": lambda height, width, rounded, window=merging._window: window(height, width, False)},
    "unlikeness": {"_unlikeness": lambda a, b, deviation: np.ones_like(a)},
    "limited edges": {"_limited": lambda own, redrawn, detail: own},
    "sharpening": {"_sharpening": np.zeros_like},
    "matched sharpness": {"_matching": lambda photo, plain, extra, where, side: np.float32(1)},
}
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


class Held:
    """Labelled faces that the model has not seen, as PNG files."""

    def __init__(self, data: Path, model: LoadedModel) -> None:
        self.folder = Path(tempfile.mkdtemp())
        with (data / "attributes.csv").open() as table:
            rows = list(csv.DictReader(table))
        held = held_out_then((row["file"].encode() for row in rows), model.header.training)
        rows = [row for row, is_held in zip(rows, held, strict=True) if is_held]
        adults = [row for row in rows if float(row["age"]) >= 18]
        self.every = [data / "faces" / row["file"] for row in rows]
        self.plain = self._saved(data, "plain", [row for row in adults if float(row["smile"]) <= 0.1])
        self.smiling = self._saved(data, "smiling", [row for row in rows if float(row["smile"]) >= 0.9])

    def _saved(self, data: Path, name: str, rows: list[dict[str, str]]) -> list[Path]:
        folder = self.folder / name
        folder.mkdir()
        paths = []
        for row in rows[:EACH]:
            paths.append(folder / Path(row["file"]).with_suffix(".png").name)
            with Image.open(data / "faces" / row["file"]) as picture:
                picture.convert("RGB").save(paths[-1])
        return paths


def opened(paths: Sequence[Path]) -> list[Image.Image]:
    pictures = []
    for path in paths:
        with Image.open(path) as picture:
            pictures.append(picture.convert("RGB"))
    return pictures


def floats(picture: Image.Image) -> np.ndarray:
    """(3, height, width) in [0, 1]."""
    return as_float(np.asarray(picture)[None])[0]


def encoded(model: LoadedModel, paths: Sequence[Path]) -> np.ndarray:
    events = encode_all(model, list(paths))
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value.mean


def edited(model: LoadedModel, paths: Sequence[Path], strength: float, how: EditRequest) -> list[Path]:
    """The files that `latentcli edit --no-align` writes."""
    output = Path(tempfile.mkdtemp())
    request = replace(how, vectors=(Strength("smile", strength=strength),), align=False)
    for _ in edit_photos(catalog.find_model("faces"), list(paths), request, Job(output, workers=2)):
        pass
    return [output / f"{path.stem}{request.tag()}.png" for path in paths]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each row of a with that of b."""
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def sharpness(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> float:
    """Variance of the Laplacian inside the mask, after over before."""

    def variance(image: np.ndarray) -> float:
        return float(laplace(np.tensordot(LUMA, image, axes=1), mode="nearest")[mask > 0].var())

    return variance(after) / variance(before)


def faces_edited(judge: Judge, model: LoadedModel, held: Held) -> None:
    smile = load_vector(catalog.find_model("faces"), model, catalog.VectorRequest("smile", None)).direction
    mean = encoded(model, held.every).mean(axis=0)
    whole = Box(0, 0, SIDE, SIDE)
    print(
        "faces               judged smiling                                     sharpness         identity  identical"
    )
    print("strength  merge     photo  reconstruction  random direction  edited    median (10-90 %)    cosine  outside")
    for paths, strength in ((held.plain, STRENGTH), (held.smiling, -STRENGTH)):
        pictures, z = opened(paths), encoded(model, paths)
        reconstruction = model.decode(z)
        random = np.random.default_rng(0).standard_normal(z.shape, dtype=np.float32)
        random *= np.linalg.norm(smile) * STRENGTH / np.linalg.norm(random, axis=1, keepdims=True)
        controls = [
            judge.smiling(shown).mean()
            for shown in (pictures, to_pictures(reconstruction), to_pictures(model.decode(z + random)))
        ]
        moved = model.decode(z + strength * smile)
        for how in (EditRequest(), EditRequest(detail=1.0), EditRequest(merge="ratio"), EditRequest(merge="decode")):
            files = edited(model, paths, strength, how)
            after = opened(files)
            ratios, identical = [], True
            for before, shown, one, other in zip(pictures, after, reconstruction, moved, strict=True):
                x, y = floats(before), floats(shown)
                mask = merge(x, (0, 0, SIDE, SIDE), one, other, whole, how, rounded=True).mask
                ratios.append(sharpness(x, y, mask))
                identical &= bool((x == y)[:, mask == 0].all())
            cosine = cosines(encoded(model, files) - mean, z - mean).mean()
            name = how.merge if how.detail != 1 else "plain sum"
            print(
                f"{strength:+8.1f}  {name:9} {controls[0]:5.1%}  {controls[1]:14.1%}  {controls[2]:16.1%}  "
                f"{judge.smiling(after).mean():6.1%}    {np.median(ratios):.2f} ({np.percentile(ratios, 10):.2f}-"
                f"{np.percentile(ratios, 90):.2f})  {float(cosine):8.3f}  {identical}"
            )
        others = cosines(z - mean, np.roll(z, 1, axis=0) - mean).mean()
        print(f"          cosine with the photo of somebody else: {float(others):+.3f}")
        pairs_sheet(pictures, opened(edited(model, paths, strength, EditRequest())), f"pairs{strength:+g}.png")


def ablations(judge: Judge, model: LoadedModel, held: Held) -> None:
    """Merging without each of its parts; a sheet of the same faces, one part a row."""
    print("                              judged   sharpness        identity  shift of the mean  change of the corners")
    print("strength  without             smiling  median (10-90 %)   cosine         gray levels            gray levels")
    for paths, strength in ((held.plain, STRENGTH), (held.smiling, -STRENGTH)):
        pictures, z = opened(paths), encoded(model, paths)
        mean = encoded(model, held.every).mean(axis=0)
        shown = pictures[:: EACH // 12][:12]
        mask = merging._window(SIDE, SIDE, True)[0]
        for name, parts in ABLATIONS.items():
            with patch.multiple(merging, **parts) if parts else contextlib.nullcontext():
                files = edited(model, paths, strength, EditRequest())
            after = opened(files)
            pairs = [(floats(before), floats(one)) for before, one in zip(pictures, after, strict=True)]
            ratios = [sharpness(x, y, mask) for x, y in pairs]
            cosine = cosines(encoded(model, files) - mean, z - mean).mean()
            shift = 255 * np.mean([abs(float((y - x).mean())) for x, y in pairs])
            corners = 255 * np.mean([float(np.abs(y - x).mean(0)[mask == 0].mean()) for x, y in pairs])
            print(
                f"{strength:+8.1f}  {name:18}  {judge.smiling(after).mean():7.1%}  {np.median(ratios):.2f} "
                f"({np.percentile(ratios, 10):.2f}-{np.percentile(ratios, 90):.2f})  {float(cosine):9.3f}  "
                f"{shift:17.2f}  {corners:21.2f}"
            )
            shown += after[:: EACH // 12][:12]
        sheet([one.resize((2 * SIDE, 2 * SIDE)) for one in shown], 12).save(f"ablations{strength:+g}.png")


def pairs_sheet(before: list[Image.Image], after: list[Image.Image], name: str) -> None:
    """24 pairs, twice as large."""
    pairs = [picture for pair in list(zip(before, after, strict=True))[:: EACH // 24][:24] for picture in pair]
    sheet([picture.resize((2 * SIDE, 2 * SIDE), Image.Resampling.BICUBIC) for picture in pairs], 8).save(name)


LARGE_PHOTO = """
import sys, time
from pathlib import Path
from latentcli.storage import catalog
from latentcli.concepts.edit import EditRequest, Strength
from latentcli.pipelines.edit import Job, edit_photos

def most():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024

started = time.perf_counter()
request = EditRequest(vectors=(Strength("smile", strength=1.5),))
for event in edit_photos(catalog.find_model("faces"), [Path(sys.argv[1])], request, Job(Path(sys.argv[2]), True)):
    pass
print(f"{time.perf_counter() - started:.2f} s beyond start-up, at most {most()} MB resident, the program included")
"""


def large_photo(example: Path) -> None:
    """Time and memory of one face in 12 megapixels, in a process of its own."""
    folder = Path(tempfile.mkdtemp())
    with Image.open(example) as picture:
        face = picture.convert("RGB").resize((2560, 3000), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", LARGE, face.getpixel((2500, 100)))
    canvas.paste(face, (700, 0))
    noise = np.random.default_rng(0).normal(0, 4, (*LARGE[::-1], 1))
    canvas = Image.fromarray((np.asarray(canvas) + noise).clip(0, 255).astype(np.uint8))
    print(f"\none face in {LARGE[0]}x{LARGE[1]} pixels")
    for suffix in (".jpg", ".png"):
        source, target = folder / f"large{suffix}", folder / f"edited{suffix}"
        canvas.save(source, quality=92)
        started = time.perf_counter()
        canvas.save(folder / f"bare{suffix}", quality=92)
        bare = time.perf_counter() - started
        command = [sys.executable, "-c", LARGE_PHOTO, source, target]
        result = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        print(f"  {suffix[1:]}: {result}; Pillow's own write {bare:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--ablate", action="store_true")
    arguments = parser.parse_args()
    data = arguments.data
    os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp()  # the bundled vectors, not the user's own
    judge = judge_of(data / "smiles")
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    print(f"judge of smiles: AUC {judge.auc:.3f} on its own held-out tenth, threshold at equal errors\n")
    model = load_model(catalog.find_model("faces").path)
    held = Held(data, model)
    if arguments.ablate:
        ablations(judge, model, held)
        return
    faces_edited(judge, model, held)
    large_photo(Path(__file__).parents[1] / "examples" / "grace-hopper.jpg")


if __name__ == "__main__":
    main()
