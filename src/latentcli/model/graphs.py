"""Encoder and decoder as ONNX graphs, made from a model's weights alone: what `model/vae.py` computes, in eval mode."""

import itertools
import json
import math
from collections.abc import Mapping

import numpy as np

from latentcli.config import ModelConfig
from latentcli.model.onnx import Graph

# Units of what the convolutions correct: with them, learning as fast as on faces leaves avatars, which PCA describes
# to a fraction of a gray level, at 58.5 dB; without them they fall to 47.7 dB at first.
MEAN_UNIT = 2.0  # unit of a correction of the mean, in standard deviations of the linear posterior
PICTURE_UNIT = 10.0  # unit of a correction of the picture, in standard deviations of what PCA leaves over
_NORM_EPSILON = 1e-5  # of BatchNorm2d and LayerNorm


def encoder(config: ModelConfig, weights: Mapping[str, np.ndarray], compact: bool = False) -> bytes:
    """Images (n, channels, height, width) float32 in [0, 1] to posterior means `z` (n, latent_dim)."""
    net = _Network(weights, "encoder.", compact)
    images = net.graph.input("images", ("n", config.channels, config.height, config.width))
    if config.preset == "book":
        z = _book_encoder(net, images)
    elif config.linear:
        z = _linear_posterior(net, images, _residual_encoder(net, images, config), config)
    else:
        z = _residual_encoder(net, images, config)
    net.graph.output("z", z, ("n", config.latent_dim))
    return net.graph.model(_metadata(config))


def decoder(config: ModelConfig, weights: Mapping[str, np.ndarray], compact: bool = False) -> bytes:
    """Latents `z` (n, latent_dim) float32 to images (n, channels, height, width) in [0, 1]."""
    net = _Network(weights, "decoder.", compact)
    z = net.graph.input("z", ("n", config.latent_dim))
    if config.preset == "book":
        image = net.graph.node("Sigmoid", _book_decoder(net, z, config))
    elif config.linear:
        image = _corrected(net, z, config)
    else:
        image = net.graph.node("Sigmoid", _residual_decoder(net, z, config))
    net.graph.output("images", image, ("n", config.channels, config.height, config.width))
    return net.graph.model(_metadata(config))


def _metadata(config: ModelConfig) -> dict[str, str]:
    kinds = "RGB or gray"
    if config.has_alpha:
        kinds = f"{'RGBA' if config.has_colour else 'gray and alpha'}, premultiplied (colours times alpha)"
    return {"config": json.dumps(config.to_json()), "preprocessing": f"{kinds}, uint8 / 255, NCHW"}


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor of a network, without PyTorch."""
    if config.preset == "book":
        return _book_shapes(config)
    coarsest, rows, columns = config.coarsest
    features = coarsest * rows * columns
    found: dict[str, tuple[int, ...]] = {"sigma": ()} | (_linear_path_shapes(config) if config.linear else {})
    for part in ("encoder", "decoder") if config.linear else ("encoder",):
        for level, (before, after) in enumerate(itertools.pairwise((config.channels, *config.widths))):
            found |= _conv_shapes(f"{part}.downs.{level}.0", before, after, 4, bias=False)
            found |= _norm_shapes(f"{part}.downs.{level}.1", after)
    for level, (before, after) in enumerate(itertools.pairwise(config.widths[::-1])):
        found |= _conv_shapes(f"decoder.ups.{level}.0", before, 4 * after, 1)
        found |= _conv_shapes(f"decoder.ups.{level}.2", after, after, 3, bias=False)
        found |= _norm_shapes(f"decoder.ups.{level}.3", after)
    for part in ("encoder", "decoder"):
        for number in (1, 2):
            found |= _conv_shapes(f"{part}.block.conv{number}", coarsest, coarsest, 3, bias=False)
            found |= _norm_shapes(f"{part}.block.norm{number}", coarsest)
    if config.hidden:
        for part, before in (("encoder", features), ("decoder", config.latent_dim)):
            found |= _linear_shapes(f"{part}.hidden.0", before, config.hidden)
            found |= {f"{part}.hidden.1.{name}": (config.hidden,) for name in ("weight", "bias")}
    for head in ("mean", "logvar"):
        found |= _linear_shapes(f"encoder.{head}", config.hidden or features, config.latent_dim)
    found |= _linear_shapes("decoder.dense", config.hidden or config.latent_dim, features)
    return found | _conv_shapes("decoder.last.0", config.widths[0], 4 * config.channels, 3)


def _linear_path_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    dimensions, k = math.prod(config.linear_shape), config.latent_dim
    shapes = {"mean": (dimensions,), "basis": (k, dimensions), "precisions": (k,), "variances": (k,), "noise": ()}
    return {f"linear.{name}": shape for name, shape in shapes.items()}


def _book_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    first, second, third, last = config.widths
    convolutions = (
        ("encoder.conv1", config.channels, first), ("encoder.conv2", first, second), ("encoder.conv3", second, third),
        ("encoder.conv4", third, last), ("decoder.conv", first, config.channels),
    )  # fmt: skip
    layers = (
        ("encoder.dense", last * 14 * 14, 32), ("encoder.z_mean", 32, config.latent_dim),
        ("encoder.z_log_var", 32, config.latent_dim), ("decoder.dense", config.latent_dim, last * 14 * 14),
    )  # fmt: skip
    found: dict[str, tuple[int, ...]] = {"sigma": (), "decoder.up.weight": (last, first, 3, 3)}
    found["decoder.up.bias"] = (first,)
    for name, before, after in convolutions:
        found |= _conv_shapes(name, before, after, 3)
    for name, before, after in layers:
        found |= _linear_shapes(name, before, after)
    return found


def _conv_shapes(name: str, before: int, after: int, side: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    weight: dict[str, tuple[int, ...]] = {f"{name}.weight": (after, before, side, side)}
    return weight | ({f"{name}.bias": (after,)} if bias else {})


def _linear_shapes(name: str, before: int, after: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (after, before), f"{name}.bias": (after,)}


def _norm_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.num_batches_tracked": ()} | {f"{name}.{part}": (width,) for part in parts}


class _Network:
    """A graph, and the layers that it is made of; each takes and gives the name of a value."""

    def __init__(self, weights: Mapping[str, np.ndarray], prefix: str, compact: bool) -> None:
        self.graph = Graph(compact)
        self._weights = weights
        self._prefix = prefix

    def array(self, name: str) -> np.ndarray:
        return self._weights[self._prefix + name].astype(np.float32)

    def linear_path(self, name: str) -> np.ndarray:
        return self._weights[f"linear.{name}"].astype(np.float32)

    def floats(self, array: np.ndarray | float | list[float]) -> str:
        return self.graph.weight(np.asarray(array, dtype=np.float32))

    def constant(self, *numbers: int) -> str:
        return self.graph.weight(np.array(numbers, dtype=np.int64))

    def conv(self, x: str, name: str, norm: str = "", stride: int = 1, pads: tuple[int, ...] = (1, 1, 1, 1)) -> str:
        """A convolution; the batch norm that follows it is folded into its weights."""
        kernel = self.array(f"{name}.weight")
        bias = self.array(f"{name}.bias") if f"{self._prefix}{name}.bias" in self._weights else 0.0
        if norm:
            mean, variance = self.array(f"{norm}.running_mean"), self.array(f"{norm}.running_var")
            factor = self.array(f"{norm}.weight") / np.sqrt(variance.astype(np.float64) + _NORM_EPSILON)
            kernel = kernel * factor[:, None, None, None]
            bias = self.array(f"{norm}.bias") + (bias - mean) * factor
        parts = (self.graph.weight(np.asarray(array, dtype=np.float32)) for array in (kernel, bias))
        sides = kernel.shape[2:]
        return self.graph.node("Conv", x, *parts, kernel_shape=sides, strides=(stride, stride), pads=pads)

    def linear(self, x: str, name: str) -> str:
        parts = (self.graph.weight(self.array(f"{name}.{part}")) for part in ("weight", "bias"))
        return self.graph.node("Gemm", x, *parts, transB=1)

    def silu(self, x: str) -> str:
        return self.graph.node("Mul", x, self.graph.node("Sigmoid", x))

    def hidden(self, x: str, name: str) -> str:
        """Linear, layer norm and SiLU, where the network has such a layer."""
        if f"{self._prefix}{name}.0.weight" not in self._weights:
            return x
        scale, bias = (self.graph.weight(self.array(f"{name}.1.{part}")) for part in ("weight", "bias"))
        x = self.linear(x, f"{name}.0")
        return self.silu(self.graph.node("LayerNormalization", x, scale, bias, epsilon=_NORM_EPSILON))

    def residual(self, x: str, name: str) -> str:
        h = self.silu(self.conv(x, f"{name}.conv1", f"{name}.norm1"))
        return self.silu(self.graph.node("Add", x, self.conv(h, f"{name}.conv2", f"{name}.norm2")))

    def shuffled(self, x: str) -> str:
        """PixelShuffle by 2 (Shi et al. 2016)."""
        return self.graph.node("DepthToSpace", x, blocksize=2, mode="CRD")

    def cropped(self, x: str, height: int, width: int) -> str:
        return self.graph.node("Slice", x, self.constant(0, 0), self.constant(height, width), self.constant(2, 3))


def _residual_encoder(net: _Network, x: str, config: ModelConfig) -> str:
    *_, x = _downs(net, _padded(net, x, config), config)
    x = net.graph.node("Flatten", net.residual(x, "block"))
    return net.linear(net.hidden(x, "hidden"), "mean")


def _padded(net: _Network, x: str, config: ModelConfig) -> str:
    if not any(config.padding):
        return x
    return net.graph.node("Pad", x, net.constant(0, 0, 0, 0, 0, 0, *config.padding), mode="edge")


def _downs(net: _Network, x: str, config: ModelConfig) -> list[str]:
    """The levels, the finest first."""
    levels = []
    for level in range(len(config.widths)):
        x = net.silu(net.conv(x, f"downs.{level}.0", f"downs.{level}.1", stride=2))
        levels.append(x)
    return levels


def _up(net: _Network, x: str, level: int) -> str:
    x = net.shuffled(net.conv(x, f"ups.{level}.0", pads=(0, 0, 0, 0)))
    return net.silu(net.conv(x, f"ups.{level}.2", f"ups.{level}.3"))


def _linear_posterior(net: _Network, x: str, mean: str, config: ModelConfig) -> str:
    """`LinearPath.posterior`, without the variance."""
    x = _padded(net, x, config)
    if config.pooling > 1:
        sides = (config.pooling, config.pooling)
        x = net.graph.node("AveragePool", x, kernel_shape=sides, strides=sides)
    x = net.graph.node("Flatten", net.graph.node("Transpose", x, perm=(0, 2, 3, 1)))
    centred = net.graph.node("Sub", x, net.floats(net.linear_path("mean")))
    projected = net.graph.node("Gemm", centred, net.floats(net.linear_path("basis")), transB=1)
    exact = net.graph.node("Mul", projected, net.floats(net.linear_path("precisions")))
    return net.graph.node(
        "Add", exact, net.graph.node("Mul", mean, net.floats(MEAN_UNIT * np.sqrt(net.linear_path("variances"))))
    )


def _corrected(net: _Network, z: str, config: ModelConfig) -> str:
    """The linear path's picture with the decoder's correction, limited to [0, 1]."""
    picture = _linear_picture(net, z, config)
    *levels, x = _downs(net, picture, config)
    dense = net.graph.node("Reshape", net.linear(z, "dense"), net.constant(-1, *config.coarsest))
    x = net.residual(net.graph.node("Add", x, dense), "block")
    for level, skipped in enumerate(reversed(levels)):
        x = net.graph.node("Add", _up(net, x, level), skipped)
    unit = net.floats(PICTURE_UNIT * np.sqrt(net.linear_path("noise")))
    correction = net.graph.node("Mul", net.shuffled(net.conv(x, "last.0")), unit)
    image = net.cropped(net.graph.node("Add", picture, correction), config.height, config.width)
    return net.graph.node("Clip", image, net.floats(0.0), net.floats(1.0))


def _linear_picture(net: _Network, z: str, config: ModelConfig) -> str:
    """`LinearPath.decode`."""
    pooling = config.pooling
    x = net.graph.node("Gemm", z, net.floats(net.linear_path("basis")), net.floats(net.linear_path("mean")))
    x = net.graph.node("Reshape", x, net.constant(-1, *config.linear_shape))
    x = net.graph.node("Transpose", x, perm=(0, 3, 1, 2))
    if pooling == 1:
        return x
    return net.graph.node("Resize", x, "", net.floats([1.0, 1.0, pooling, pooling]), mode="linear")


def _residual_decoder(net: _Network, z: str, config: ModelConfig) -> str:
    x = net.linear(net.hidden(z, "hidden"), "dense")
    x = net.residual(net.graph.node("Reshape", x, net.constant(-1, *config.coarsest)), "block")
    for level in range(len(config.widths) - 1):
        x = _up(net, x, level)
    return net.cropped(net.shuffled(net.conv(x, "last.0")), config.height, config.width)


def _book_encoder(net: _Network, x: str) -> str:
    x = net.graph.node("Relu", net.conv(x, "conv1"))
    x = net.graph.node("Relu", net.conv(x, "conv2", stride=2, pads=(0, 0, 1, 1)))
    x = net.graph.node("Relu", net.conv(x, "conv3"))
    x = net.graph.node("Flatten", net.graph.node("Relu", net.conv(x, "conv4")))
    return net.linear(net.graph.node("Relu", net.linear(x, "dense")), "z_mean")


def _book_decoder(net: _Network, z: str, config: ModelConfig) -> str:
    x = net.graph.node("Relu", net.linear(z, "dense"))
    x = net.graph.node("Reshape", x, net.constant(-1, config.widths[-1], 14, 14))
    parts = (net.graph.weight(net.array(f"up.{part}")) for part in ("weight", "bias"))
    x = net.graph.node("ConvTranspose", x, *parts, kernel_shape=(3, 3), strides=(2, 2))
    return net.conv(net.graph.node("Relu", net.cropped(x, 28, 28)), "conv")
