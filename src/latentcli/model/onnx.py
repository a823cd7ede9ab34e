"""ONNX files written without the `onnx` package: a graph of nodes, its weights and its metadata as bytes.

Numbers of fields and types are those of onnx.proto3, IR version 8: https://github.com/onnx/onnx/blob/main/docs/IR.md.
"""

from collections.abc import Iterable, Mapping

import numpy as np

_OPSET = 17
_IR_VERSION = 8
_DATA_TYPES = {"float32": 1, "int64": 7, "float16": 10}  # TensorProto.DataType
# Numbers of the field and of the type in AttributeProto, by the Python type of an attribute's value.
_ATTRIBUTES: dict[type, tuple[int, int]] = {float: (2, 1), int: (3, 2), str: (4, 3), tuple: (8, 7)}

Attribute = float | int | str | tuple[int, ...]
Shape = tuple[int | str, ...]  # length of each axis, or a name if the length varies


def compacted(array: np.ndarray) -> np.ndarray:
    """`array` in float16, rounded to 8 of the 11 significant bits, since the zero bits compress well."""
    bits = array.astype(np.float16).view(np.uint16)
    return np.asarray((bits + np.uint16(4)) & np.uint16(0xFFF8)).view(np.float16)


class Graph:
    """ONNX graph under construction, with nodes in running order; values are passed to and from methods by name."""

    def __init__(self, compact: bool = False) -> None:
        """Start an empty graph; `compact` stores matrices and kernels as rounded float16, computing in float32."""
        self._compact = compact
        self._nodes: list[bytes] = []
        self._weights: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []

    def input(self, name: str, shape: Shape) -> str:
        self._inputs.append(_value(name, shape))
        return name

    def output(self, name: str, value: str, shape: Shape) -> None:
        self._nodes.append(_node("Identity", [value], name, {}))
        self._outputs.append(_value(name, shape))

    def weight(self, array: np.ndarray) -> str:
        """Add `array` as a constant and return the constant's name."""
        if self._compact and array.dtype == np.float32 and array.ndim > 1:
            return self.node("Cast", self.weight(compacted(array)), to=_DATA_TYPES["float32"])
        name = f"w{len(self._weights)}"
        shape = [(1, length) for length in array.shape]
        data = np.ascontiguousarray(array).tobytes()
        self._weights.append(_message(*shape, (2, _DATA_TYPES[array.dtype.name]), (8, name), (9, data)))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Attribute) -> str:
        """Add a node of the ONNX operator `kind` with one output and return the output's name."""
        name = f"n{len(self._nodes)}"
        self._nodes.append(_node(kind, inputs, name, attributes))
        return name

    def model(self, metadata: Mapping[str, str]) -> bytes:
        """Bytes of the ONNX file: a ModelProto of the graph and `metadata`."""
        lists = ((5, self._weights), (11, self._inputs), (12, self._outputs))
        parts = [(field, message) for field, messages in lists for message in messages]
        graph = _message(*((1, node) for node in self._nodes), (2, "latentcli"), *parts)
        properties = [(14, _message((1, key), (2, value))) for key, value in metadata.items()]
        opset = _message((1, ""), (2, _OPSET))
        return _message((1, _IR_VERSION), (2, "latentcli"), (8, opset), (7, graph), *properties)


def _node(kind: str, inputs: Iterable[str], output: str, attributes: Mapping[str, Attribute]) -> bytes:
    """Encoded NodeProto of the ONNX operator `kind`, from the values named `inputs` to the value named `output`."""
    fields: list[tuple[int, bytes]] = []
    for name, value in attributes.items():
        field, type_number = _ATTRIBUTES[type(value)]
        values = value if isinstance(value, tuple) else (value,)
        fields.append((5, _message((1, name), *((field, each) for each in values), (20, type_number))))
    return _message(*((1, name) for name in inputs), (2, output), (3, output), (4, kind), *fields)


def _value(name: str, shape: Shape) -> bytes:
    """Encoded ValueInfoProto that declares a float32 tensor of this name and shape."""
    lengths = [(1, _message((2 if isinstance(length, str) else 1, length))) for length in shape]
    tensor = _message((1, _DATA_TYPES["float32"]), (2, _message(*lengths)))
    return _message((1, name), (2, _message((1, tensor))))


def _message(*fields: tuple[int, float | str | bytes]) -> bytes:
    """Encoded protobuf message of (number, value) fields; floats take 32 bits, bytes are data or a nested message."""
    data = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            data += _varint(number << 3) + _varint(value & (1 << 64) - 1)
        elif isinstance(value, float):
            data += _varint(number << 3 | 5) + np.float32(value).tobytes()
        else:
            raw = value.encode() if isinstance(value, str) else value
            data += _varint(number << 3 | 2) + _varint(len(raw)) + raw
    return bytes(data)


def _varint(value: int) -> bytes:
    """Protobuf varint of `value`: seven bits per byte, lowest first; the eighth bit says that more bytes follow."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
