"""ONNX files written without the `onnx` package: a graph of nodes, its weights and its metadata as bytes.

The field numbers are those of onnx.proto3 (IR version 8); https://github.com/onnx/onnx/blob/main/docs/IR.md.
"""

from collections.abc import Iterable, Mapping

import numpy as np

_OPSET = 17
_IR_VERSION = 8
_TYPES = {"float32": 1, "int64": 7, "float16": 10}  # TensorProto.DataType
_FLOAT, _INT, _STRING, _INTS = 1, 2, 3, 7  # AttributeProto.AttributeType

Attribute = float | int | str | tuple[int, ...]
Shape = tuple[int | str, ...]  # a text names a length that varies


def compacted(array: np.ndarray) -> np.ndarray:
    """An array in float16, rounded to 8 of its 11 significant bits: what is always 0 compresses to nothing."""
    bits = array.astype(np.float16).view(np.uint16)
    return np.asarray((bits + np.uint16(4)) & np.uint16(0xFFF8)).view(np.float16)


class Graph:
    """Nodes in the order in which they run; each method gives the name of its result."""

    def __init__(self, compact: bool = False) -> None:
        """With `compact` matrices and kernels are stored as `compacted`, and computed with in 32 bits."""
        self._compact = compact
        self._nodes: list[bytes] = []
        self._weights: dict[str, bytes] = {}
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []

    def input(self, name: str, shape: Shape) -> str:
        self._inputs.append(_value(name, shape))
        return name

    def output(self, name: str, value: str, shape: Shape) -> None:
        self._nodes.append(_node("Identity", [value], name, {}))
        self._outputs.append(_value(name, shape))

    def weight(self, array: np.ndarray) -> str:
        """A constant."""
        if self._compact and array.dtype == np.float32 and array.ndim > 1:
            return self.node("Cast", self.weight(compacted(array)), to=_TYPES["float32"])
        name = f"w{len(self._weights)}"
        fields = b"".join(_number(1, length) for length in array.shape)
        raw = np.ascontiguousarray(array).tobytes()
        self._weights[name] = fields + _number(2, _TYPES[array.dtype.name]) + _text(8, name) + _bytes(9, raw)
        return name

    def node(self, kind: str, *inputs: str, **attributes: Attribute) -> str:
        """A node of one output."""
        name = f"n{len(self._nodes)}"
        self._nodes.append(_node(kind, inputs, name, attributes))
        return name

    def model(self, metadata: Mapping[str, str]) -> bytes:
        """The whole file."""
        parts = [_bytes(1, node) for node in self._nodes] + [_text(2, "latentcli")]
        parts += [_bytes(5, weight) for weight in self._weights.values()]
        parts += [_bytes(11, value) for value in self._inputs] + [_bytes(12, value) for value in self._outputs]
        properties = (_bytes(14, _text(1, key) + _text(2, value)) for key, value in metadata.items())
        opset = _bytes(8, _text(1, "") + _number(2, _OPSET))
        producer = _text(2, "latentcli")
        return _number(1, _IR_VERSION) + producer + opset + _bytes(7, b"".join(parts)) + b"".join(properties)


def _node(kind: str, inputs: Iterable[str], output: str, attributes: Mapping[str, Attribute]) -> bytes:
    fields = b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(3, output) + _text(4, kind)
    return fields + b"".join(_bytes(5, _text(1, name) + _attribute(value)) for name, value in attributes.items())


def _attribute(value: Attribute) -> bytes:
    match value:
        case str():
            return _text(4, value) + _number(20, _STRING)
        case int():
            return _number(3, value) + _number(20, _INT)
        case float():
            return _key(2, 5) + np.float32(value).tobytes() + _number(20, _FLOAT)
        case _:
            return b"".join(_number(8, number) for number in value) + _number(20, _INTS)


def _value(name: str, shape: Shape) -> bytes:
    """ValueInfoProto of a float32 tensor."""
    lengths = (_text(2, each) if isinstance(each, str) else _number(1, each) for each in shape)
    tensor = _number(1, _TYPES["float32"]) + _bytes(2, b"".join(_bytes(1, length) for length in lengths))
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _number(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value & (1 << 64) - 1)


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
