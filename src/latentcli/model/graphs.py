"""Encoder and decoder as ONNX graphs, built from a model's weights alone, that compute as `model/vae.py` in eval mode.

Each layer states the shapes of its tensors, so `shapes` lists what a file must hold before any tensor is read.
"""

import itertools
import json
import math
from collections.abc import Mapping

import numpy as np

from latentcli.config import ModelConfig
from latentcli.model.onnx import Graph

Weights = Mapping[str, np.ndarray]  # tensors by their names in PyTorch

# Units of the corrections that convolutions make to PCA. With both units, avatars, which PCA reconstructs to a fraction
# of a gray level, stay at 58.5 dB when trained as fast as faces; without units, avatars first fall to 47.7 dB.
MEAN_UNIT = 2.0  # unit of a correction of the mean, in standard deviations of the linear posterior
PICTURE_UNIT = 10.0  # unit of a correction of the picture, in standard deviations of PCA's residual
_NORM_EPSILON = 1e-5  # added to the variance by BatchNorm2d and LayerNorm


def encoder(config: ModelConfig, weights: Weights, compact: bool = False) -> bytes:
    """ONNX file that maps `images`, float32 (n, channels, height, width) in [0, 1], to posterior means `z`.

    `z` is (n, latent_dim); `compact` stores the weights as rounded float16.
    """
    return _encoder(config, weights, compact).file()


def decoder(config: ModelConfig, weights: Weights, compact: bool = False) -> bytes:
    """ONNX file that maps latents `z`, float32 (n, latent_dim), to `images` (n, channels, height, width) in [0, 1]."""
    return _decoder(config, weights, compact).file()


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of a network by its name, found without PyTorch and without allocating the tensors."""
    return {"sigma": (), **_encoder(config).shapes, **_decoder(config).shapes}


class _Network(Graph):
    """ONNX graph of an encoder or decoder; a method per layer adds nodes after node `x` and returns the last's name.

    With `weights` None the graph cannot run: it only collects the tensors' shapes in the attribute `shapes`.
    """

    def __init__(self, config: ModelConfig, part: str, weights: Weights | None, compact: bool) -> None:
        super().__init__(compact)
        self.config = config
        self.shapes: dict[str, tuple[int, ...]] = {}  # by the tensors' names in the model file
        self._part = part
        self._tensors = weights

    def tensor(self, name: str, *shape: int) -> np.ndarray:
        """The model file's tensor `name` as float32; also notes the expected `shape` in the attribute `shapes`."""
        self.shapes[name] = shape
        return np.zeros(1, np.float32) if self._tensors is None else self._tensors[name].astype(np.float32)

    def array(self, name: str, *shape: int) -> np.ndarray:
        """The tensor `name` of this graph's network, encoder or decoder, as float32."""
        return self.tensor(self._part + name, *shape)

    def linear_path(self, name: str) -> np.ndarray:
        dimensions, k = math.prod(self.config.linear_shape), self.config.latent_dim
        shapes = {"mean": (dimensions,), "basis": (k, dimensions), "precisions": (k,), "variances": (k,), "noise": ()}
        return self.tensor(f"linear.{name}", *shapes[name])

    def floats(self, array: np.ndarray | float | list[float]) -> str:
        return self.weight(np.asarray(array, dtype=np.float32))

    def constant(self, *numbers: int) -> str:
        return self.weight(np.array(numbers, dtype=np.int64))

    def conv(self, x: str, name: str, before: int, after: int, side: int = 3, stride: int = 1, norm: str = "") -> str:
        """Add a convolution of `x`, with a bias or with the batch norm `norm` folded in. Returns the node's name."""
        kernel = self.array(f"{name}.weight", after, before, side, side)
        if norm:
            parts = ("weight", "bias", "running_mean", "running_var")
            scale, bias, mean, variance = (self.array(f"{norm}.{part}", after) for part in parts)
            self.shapes[f"{self._part}{norm}.num_batches_tracked"] = ()
            factor = scale / np.sqrt(variance.astype(np.float64) + _NORM_EPSILON)
            kernel, bias = kernel * factor[:, None, None, None], bias - mean * factor
        else:
            bias = self.array(f"{name}.bias", after)
        values = self.floats(kernel), self.floats(bias)
        pad, odd = divmod(side - stride, 2)  # the odd pixel comes after the image
        pads, sides, strides = (pad, pad, pad + odd, pad + odd), (side, side), (stride, stride)
        return self.node("Conv", x, *values, kernel_shape=sides, strides=strides, pads=pads)

    def linear(self, x: str, name: str, before: int, after: int) -> str:
        weight, bias = self.array(f"{name}.weight", after, before), self.array(f"{name}.bias", after)
        return self.node("Gemm", x, self.weight(weight), self.weight(bias), transB=1)

    def head(self, x: str, before: int, mean: str = "mean", logvar: str = "logvar") -> str:
        """Add the linear layer `mean` from `x`, (n, before), to posterior means; of `logvar` only note the shapes."""
        latent_dim = self.config.latent_dim
        self.shapes[f"{self._part}{logvar}.weight"] = (latent_dim, before)
        self.shapes[f"{self._part}{logvar}.bias"] = (latent_dim,)
        return self.linear(x, mean, before, latent_dim)

    def silu(self, x: str) -> str:
        return self.node("Mul", x, self.node("Sigmoid", x))

    def hidden(self, x: str, before: int) -> str:
        """Add a linear layer, layer norm and SiLU after the value `x`, (n, before). Returns the last node's name."""
        after = self.config.hidden
        scale, bias = (self.weight(self.array(f"hidden.1.{part}", after)) for part in ("weight", "bias"))
        x = self.linear(x, "hidden.0", before, after)
        return self.silu(self.node("LayerNormalization", x, scale, bias, epsilon=_NORM_EPSILON))

    def residual(self, x: str) -> str:
        width = self.config.widths[-1]
        h = self.silu(self.conv(x, "block.conv1", width, width, norm="block.norm1"))
        h = self.conv(h, "block.conv2", width, width, norm="block.norm2")
        return self.silu(self.node("Add", x, h))

    def downs(self, x: str) -> list[str]:
        """Add all downsampling stages to the padded images `x`. Returns the names of their outputs, finest first."""
        levels = []
        for level, (before, after) in enumerate(itertools.pairwise((self.config.channels, *self.config.widths))):
            x = self.silu(self.conv(x, f"downs.{level}.0", before, after, 4, 2, norm=f"downs.{level}.1"))
            levels.append(x)
        return levels

    def up(self, x: str, level: int) -> str:
        """Add the upsampling stage `level` (0: coarsest), doubling the sides of `x`. Returns the last node's name."""
        before, after = self.config.widths[::-1][level : level + 2]
        x = self.shuffled(self.conv(x, f"ups.{level}.0", before, 4 * after, 1))
        return self.silu(self.conv(x, f"ups.{level}.2", after, after, norm=f"ups.{level}.3"))

    def pixels(self, x: str) -> str:
        """Add the layer from the finest feature map `x` to padded images before activation; returns the node's name."""
        return self.shuffled(self.conv(x, "last.0", self.config.widths[0], 4 * self.config.channels))

    def shuffled(self, x: str) -> str:
        """Add PixelShuffle: twice the height and width of `x`, a quarter of the channels. Returns the node's name."""
        return self.node("DepthToSpace", x, blocksize=2, mode="CRD")

    def padded(self, x: str) -> str:
        if not any(self.config.padding):
            return x
        return self.node("Pad", x, self.constant(0, 0, 0, 0, 0, 0, *self.config.padding), mode="edge")

    def cropped(self, x: str) -> str:
        size = (self.config.height, self.config.width)
        return self.node("Slice", x, self.constant(0, 0), self.constant(*size), self.constant(2, 3))

    def file(self) -> bytes:
        """Bytes of the ONNX file; its metadata are the model's config and the expected preprocessing of images."""
        config, kinds = self.config, "RGB or gray"
        if config.has_alpha:
            kinds = f"{'RGBA' if config.has_colour else 'gray and alpha'}, premultiplied (colours times alpha)"
        preprocessing = f"{kinds}, uint8 / 255, NCHW"
        return self.model({"config": json.dumps(config.to_json()), "preprocessing": preprocessing})


def _encoder(config: ModelConfig, weights: Weights | None = None, compact: bool = False) -> _Network:
    net = _Network(config, "encoder.", weights, compact)
    images = net.input("images", ("n", config.channels, config.height, config.width))
    if config.preset == "book":
        z = _book_encoder(net, images)
    else:
        features = math.prod(config.coarsest)
        x = net.node("Flatten", net.residual(net.downs(net.padded(images))[-1]))
        z = net.head(net.hidden(x, features) if config.hidden else x, config.hidden or features)
    if config.linear:
        z = _linear_posterior(net, images, z)
    net.output("z", z, ("n", config.latent_dim))
    return net


def _linear_posterior(net: _Network, x: str, mean: str) -> str:
    """Add PCA's posterior mean of images `x`, plus the scaled correction `mean`, to `net`. Returns the node's name."""
    x = net.padded(x)
    if net.config.pooling > 1:
        sides = (net.config.pooling, net.config.pooling)
        x = net.node("AveragePool", x, kernel_shape=sides, strides=sides)
    x = net.node("Flatten", net.node("Transpose", x, perm=(0, 2, 3, 1)))
    centred = net.node("Sub", x, net.floats(net.linear_path("mean")))
    projected = net.node("Gemm", centred, net.floats(net.linear_path("basis")), transB=1)
    exact = net.node("Mul", projected, net.floats(net.linear_path("precisions")))
    correction = net.node("Mul", mean, net.floats(MEAN_UNIT * np.sqrt(net.linear_path("variances"))))
    return net.node("Add", exact, correction)


def _decoder(config: ModelConfig, weights: Weights | None = None, compact: bool = False) -> _Network:
    net = _Network(config, "decoder.", weights, compact)
    z = net.input("z", ("n", config.latent_dim))
    if config.preset == "book":
        image = net.node("Sigmoid", _book_decoder(net, z))
    else:
        picture = _linear_picture(net, z) if config.linear else ""
        levels = net.downs(picture) if config.linear else []
        x = net.hidden(z, config.latent_dim) if config.hidden else z
        x = net.linear(x, "dense", config.hidden or config.latent_dim, math.prod(config.coarsest))
        x = net.node("Reshape", x, net.constant(-1, *config.coarsest))
        x = net.residual(net.node("Add", levels.pop(), x) if levels else x)
        for level in range(len(config.widths) - 1):
            x = net.up(x, level)
            x = net.node("Add", x, levels.pop()) if levels else x
        if config.linear:
            unit = net.floats(PICTURE_UNIT * np.sqrt(net.linear_path("noise")))
            correction = net.node("Mul", net.pixels(x), unit)
            image = net.cropped(net.node("Add", picture, correction))
            image = net.node("Clip", image, net.floats(0.0), net.floats(1.0))
        else:
            image = net.node("Sigmoid", net.cropped(net.pixels(x)))
    net.output("images", image, ("n", config.channels, config.height, config.width))
    return net


def _linear_picture(net: _Network, z: str) -> str:
    """Add PCA's decoder, from latents `z` to pictures of the padded size, to `net`. Returns the last node's name."""
    config = net.config
    x = net.node("Gemm", z, net.floats(net.linear_path("basis")), net.floats(net.linear_path("mean")))
    x = net.node("Reshape", x, net.constant(-1, *config.linear_shape))
    x = net.node("Transpose", x, perm=(0, 3, 1, 2))
    if config.pooling == 1:
        return x
    return net.node("Resize", x, "", net.floats([1.0, 1.0, config.pooling, config.pooling]), mode="linear")


def _book_encoder(net: _Network, x: str) -> str:
    first, second, third, fourth = net.config.widths
    x = net.node("Relu", net.conv(x, "conv1", net.config.channels, first))
    x = net.node("Relu", net.conv(x, "conv2", first, second, stride=2))
    x = net.node("Relu", net.conv(x, "conv3", second, third))
    x = net.node("Flatten", net.node("Relu", net.conv(x, "conv4", third, fourth)))
    return net.head(net.node("Relu", net.linear(x, "dense", fourth * 14 * 14, 32)), 32, "z_mean", "z_log_var")


def _book_decoder(net: _Network, z: str) -> str:
    first, *_, last = net.config.widths
    x = net.node("Relu", net.linear(z, "dense", net.config.latent_dim, last * 14 * 14))
    x = net.node("Reshape", x, net.constant(-1, last, 14, 14))
    values = net.floats(net.array("up.weight", last, first, 3, 3)), net.floats(net.array("up.bias", first))
    x = net.node("ConvTranspose", x, *values, kernel_shape=(3, 3), strides=(2, 2))
    return net.conv(net.node("Relu", net.cropped(x)), "conv", first, net.config.channels)
