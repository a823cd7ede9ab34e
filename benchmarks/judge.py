"""Classifiers on pixels, to judge edits by: they know no latents and none of the faces that are edited.

    python benchmarks/judge.py DATA

DATA holds `smiles/` (`smiling/` and `not-smiling/`: gray face crops of 64x64 pixels, the SMILEs set), `faces/` (128x128
JPEG) and `attributes.csv` (file, age, male, smile, glasses). The judge of smiles is trained on SMILEs, those of the
other concepts on the faces that the bundled model was trained on. Each is trained once, in a few minutes, and kept as
`judge-NAME.safetensors` in the current folder.

Labels of age and sex are those of the set's authors. Those of smiles and glasses are scores of small networks: that of
glasses was trained on a few hundred hand-labelled faces of the set, that of smiles on other faces.
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from intervals import share
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor, nn

from latentcli.data.sources import held_out_then
from latentcli.model.modelfile import load_model
from latentcli.storage import catalog

SIDE = 64
SEEN = 0.88  # share of a 1.106-fold face box that the crops of SMILES show
SHOWN, BATCH, HELD_OUT = 64_000, 64, 0.1  # pictures shown in training, in a step; share kept to measure
MOST = 6000  # pictures of a class that a judge is trained on
Row = dict[str, str]
CLASSES: dict[str, tuple[Callable[[Row], bool], Callable[[Row], bool]]] = {  # with the concept, and without
    "glasses": (lambda row: float(row["glasses"]) >= 0.95, lambda row: float(row["glasses"]) <= 0.1),
    "male": (lambda row: row["male"] == "1", lambda row: row["male"] == "0"),
    "old": (lambda row: float(row["age"]) >= 60, lambda row: 20 <= float(row["age"]) <= 35),
    "smile": (lambda row: float(row["smile"]) >= 0.9, lambda row: float(row["smile"]) <= 0.1),
}


class Faces:
    """Labelled faces: those that the bundled model was trained on, and those it has not seen."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "faces"
        with (data / "attributes.csv").open() as table:
            rows = list(csv.DictReader(table))
        training = load_model(catalog.find_model("faces").path).header.training
        held = held_out_then((row["file"].encode() for row in rows), training)
        self.seen = [row for row, is_held in zip(rows, held, strict=True) if not is_held]
        self.held = [row for row, is_held in zip(rows, held, strict=True) if is_held]

    def paths(self, rows: Sequence[Row]) -> list[Path]:
        return [self.folder / row["file"] for row in rows]


def opened(paths: Sequence[Path]) -> list[Image.Image]:
    pictures = []
    for path in paths:
        with Image.open(path) as picture:
            pictures.append(picture.convert("RGB"))
    return pictures


def network() -> nn.Sequential:
    """Gray faces (n, 1, 64, 64) to a logit (n, 1)."""
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    for before, after in ((16, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.Conv2d(after, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Dropout(0.4), nn.Flatten(), nn.Linear(128 * 16, 1))


class Judge:
    """Says which faces have a concept."""

    def __init__(self, net: nn.Sequential, threshold: float, auc: float) -> None:
        self.net, self.threshold, self.auc = net.eval(), threshold, auc

    @torch.inference_mode()
    def scores(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """A logit for each square face picture, framed like a dlib box enlarged 1.106 times: (n,)."""
        return self._scores(torch.stack([framed(picture) for picture in pictures]))

    def _scores(self, x: Tensor) -> np.ndarray:
        parts = [self.net(_level(some)) + self.net(_level(some.flip(3))) for some in x.split(256)]
        return torch.cat(parts).squeeze(1).div(2).numpy()

    def sees(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Whether each has the concept, at the threshold of equal errors: bool (n,)."""
        return self.scores(pictures) > self.threshold


def framed(picture: Image.Image, seen: float = SEEN) -> Tensor:
    """(1, 64, 64) in [0, 1]: the middle of a face crop, gray."""
    side = picture.width
    edge = (1 - seen) / 2 * side
    box = (edge, edge, side - edge, side - edge)
    gray = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=box)
    return torch.from_numpy(np.array(gray)).float().div(255)[None]


def _level(x: Tensor) -> Tensor:
    """Mean 0 and deviation 1 in each image."""
    mean, deviation = x.mean((1, 2, 3), keepdim=True), x.std((1, 2, 3), keepdim=True)
    return (x - mean) / (deviation + 0.05)


def _varied(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrored, shifted, turned, scaled, and some of them blurred: framing and sharpness must not decide."""
    n = len(x)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    angle, scale = draw(-0.2, 0.2), draw(0.85, 1.15)
    sign = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = sign * scale * angle.cos(), -scale * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = sign * scale * angle.sin(), scale * angle.cos()
    theta[:, 0, 2], theta[:, 1, 2] = draw(-0.1, 0.1), draw(-0.1, 0.1)
    x = F.grid_sample(
        x, F.affine_grid(theta, list(x.shape), align_corners=False), padding_mode="border", align_corners=False
    )
    side = int(draw(24, 65)[0])
    if side < SIDE:
        small = F.interpolate(x[: n // 2], (side, side), mode="bilinear", antialias=True)
        x = torch.cat([F.interpolate(small, (SIDE, SIDE), mode="bicubic"), x[n // 2 :]])
    return x


def train(having: Tensor, lacking: Tensor) -> Judge:
    """From pictures (n, 1, 64, 64) with the concept and without; a tenth of them is kept to measure and to set it."""
    x = torch.cat([having, lacking])
    y = torch.cat([torch.ones(len(having)), torch.zeros(len(lacking))])
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # two would wait for each other beside another program
    order = torch.randperm(len(x), generator=generator)
    held, seen = order[: int(HELD_OUT * len(x))], order[int(HELD_OUT * len(x)) :]
    net = network().to(memory_format=torch.channels_last)
    epochs, steps_each = round(SHOWN / len(seen)), len(seen) // BATCH
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * steps_each)
    weight = (y == 0).sum() / (y == 1).sum()
    for epoch in range(epochs):
        total = 0.0
        for rows in seen[torch.randperm(len(seen), generator=generator)].split(BATCH)[:steps_each]:
            target = y[rows] * 0.94 + 0.03
            logits = net(_level(_varied(x[rows], generator))).squeeze(1)
            loss = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1} of {epochs}: loss {total / steps_each:.3f}", flush=True)
    judge = Judge(net, 0.0, 0.0)
    with torch.inference_mode():
        found = judge._scores(x[held])
    wrong, right, thresholds = roc_curve(y[held].numpy(), found)
    judge.threshold = float(thresholds[np.abs(wrong - (1 - right)).argmin()])
    judge.auc = float(roc_auc_score(y[held].numpy(), found))
    return judge


def _examples(name: str, data: Path) -> tuple[Tensor, Tensor]:
    """Pictures (n, 1, 64, 64) with the concept and without, none of them held out."""
    if name == "smile":
        folders = (data / "smiles" / "smiling", data / "smiles" / "not-smiling")
        return tuple(torch.stack([framed(one, 1.0) for one in opened(sorted(folder.glob("*")))]) for folder in folders)
    faces = Faces(data)
    order = np.random.default_rng(0).permutation(len(faces.seen))
    mixed = [faces.seen[i] for i in order]
    chosen = ([row for row in mixed if belongs(row)][:MOST] for belongs in CLASSES[name])
    return tuple(torch.stack([framed(one) for one in opened(faces.paths(rows))]) for rows in chosen)


def judge_of(name: str, data: Path) -> Judge:
    """The judge kept in the current folder, or a new one."""
    file = Path(f"judge-{name}.safetensors")
    if not file.exists():
        judge = train(*_examples(name, data))
        figures = torch.tensor([judge.threshold, judge.auc])
        tensors = {name: tensor.contiguous() for name, tensor in judge.net.state_dict().items()}
        save_file(tensors | {"figures": figures}, file)
    tensors = load_file(file)
    threshold, auc = tensors.pop("figures").tolist()
    net = network()
    net.load_state_dict(tensors)
    return Judge(net, threshold, auc)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", default=list(CLASSES), help=f"of {', '.join(CLASSES)}")
    arguments = parser.parse_args()
    faces = Faces(arguments.data)
    for name in arguments.names:
        judge = judge_of(name, arguments.data)
        print(f"{name}: AUC {judge.auc:.3f} on the tenth of its own pictures that was kept")
        classes = [[row for row in faces.held if belongs(row)] for belongs in CLASSES[name]]
        having, lacking = (judge.scores(opened(faces.paths(rows))) for rows in classes)
        labels = np.repeat([1, 0], [len(having), len(lacking)])
        print(
            f"  {len(having)} held-out faces with it, {len(lacking)} without: AUC "
            f"{roc_auc_score(labels, np.concatenate([having, lacking])):.3f}, judged to have it "
            f"{share(having > judge.threshold)} and {share(lacking > judge.threshold)}"
        )


if __name__ == "__main__":
    main()
