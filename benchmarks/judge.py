"""A smile classifier on pixels, to judge edits by: it knows no latents and none of the faces that are edited.

    python benchmarks/judge.py SMILES

SMILES holds `smiling/` and `not-smiling/`: gray face crops of 64x64 pixels. The judge is trained once, in a few
minutes, and kept as `judge.safetensors` in the current folder.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor, nn

SIDE = 64
SEEN = 0.88  # share of a 1.106-fold face box that the crops of SMILES show
EPOCHS, BATCH, HELD_OUT = 20, 64, 0.1
FILE = Path("judge.safetensors")


def network() -> nn.Sequential:
    """Gray faces (n, 1, 64, 64) to a logit (n, 1)."""
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    for before, after in ((16, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.Conv2d(after, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Dropout(0.4), nn.Flatten(), nn.Linear(128 * 16, 1))


class Judge:
    """Says which faces smile."""

    def __init__(self, net: nn.Sequential, threshold: float, auc: float) -> None:
        self.net, self.threshold, self.auc = net.eval(), threshold, auc

    @torch.inference_mode()
    def scores(self, pictures: list[Image.Image]) -> np.ndarray:
        """A logit for each square face picture, framed like a dlib box enlarged 1.106 times: (n,)."""
        return self._scores(torch.stack([_framed(picture) for picture in pictures]))

    def _scores(self, x: Tensor) -> np.ndarray:
        parts = [self.net(_level(some)) + self.net(_level(some.flip(3))) for some in x.split(256)]
        return torch.cat(parts).squeeze(1).div(2).numpy()

    def smiling(self, pictures: list[Image.Image]) -> np.ndarray:
        """Whether each smiles, at the threshold of equal errors: bool (n,)."""
        return self.scores(pictures) > self.threshold


def _framed(picture: Image.Image) -> Tensor:
    """(1, 64, 64) in [0, 1]: the middle of a face crop, gray."""
    side = picture.width
    edge = (1 - SEEN) / 2 * side
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


def train(smiles: Path) -> Judge:
    """Raises FileNotFoundError where there are no pictures."""
    paths = sorted((smiles / "smiling").glob("*")), sorted((smiles / "not-smiling").glob("*"))
    x = torch.stack([_whole(path) for kind in paths for path in kind])
    y = torch.cat([torch.ones(len(paths[0])), torch.zeros(len(paths[1]))])
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    order = torch.randperm(len(x), generator=generator)
    held, seen = order[: int(HELD_OUT * len(x))], order[int(HELD_OUT * len(x)) :]
    net = network().to(memory_format=torch.channels_last)
    steps = EPOCHS * (len(seen) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    weight = (y == 0).sum() / (y == 1).sum()
    for epoch in range(EPOCHS):
        total = 0.0
        for rows in seen[torch.randperm(len(seen), generator=generator)].split(BATCH)[: steps // EPOCHS]:
            target = y[rows] * 0.94 + 0.03
            logits = net(_level(_varied(x[rows], generator))).squeeze(1)
            loss = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {total / (steps // EPOCHS):.3f}", flush=True)
    judge = Judge(net, 0.0, 0.0)
    with torch.inference_mode():
        found = judge._scores(x[held])
    wrong, right, thresholds = roc_curve(y[held].numpy(), found)
    judge.threshold = float(thresholds[np.abs(wrong - (1 - right)).argmin()])
    judge.auc = float(roc_auc_score(y[held].numpy(), found))
    return judge


def _whole(path: Path) -> Tensor:
    with Image.open(path) as picture:
        gray = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(gray)).float().div(255)[None]


def judge_of(smiles: Path) -> Judge:
    """The judge kept in the current folder, or a new one."""
    if not FILE.exists():
        judge = train(smiles)
        figures = torch.tensor([judge.threshold, judge.auc])
        tensors = {name: tensor.contiguous() for name, tensor in judge.net.state_dict().items()}
        save_file(tensors | {"figures": figures}, FILE)
    tensors = load_file(FILE)
    threshold, auc = tensors.pop("figures").tolist()
    net = network()
    net.load_state_dict(tensors)
    return Judge(net, threshold, auc)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("smiles", type=Path)
    judge = judge_of(parser.parse_args().smiles)
    print(
        f"judge of smiles: AUC {judge.auc:.3f} on its held-out tenth, threshold {judge.threshold:+.2f} (equal errors)"
    )


if __name__ == "__main__":
    main()
