"""ONNX graphs, written from scratch: a model's layers as the bytes that ONNX Runtime reads.

    Graph ── apply(operator, inputs) ──▶ nodes ── to_bytes ──▶ ModelProto

Graphs are made in memory from the weights of a model, when they are first needed: no second copy of the weights lies on
disk, and no graph can be older than its weights. That takes a small part of protobuf's wire format: a message is its
fields one after another, each a key and a number, or a key, a length and bytes. Field numbers are those of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); a test reads the bytes with the onnx package itself.
"""

import struct
from collections.abc import Sequence

import numpy as np

IR_VERSION, OPSET = 9, 20
"""Of ONNX 1.15 (2023), the first with Gelu."""
_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int64": 7}
"""TensorProto.DataType."""
_FLOAT, _INT, _STRING, _INTS = 1, 2, 3, 7
"""AttributeProto.AttributeType."""
Attribute = int | float | str | Sequence[int]


class Graph:
    """A graph under construction. Values are known by their names.

    inputs: name -> numpy's name of the type, and rank. Sizes are free.
    """

    def __init__(self, inputs: dict[str, tuple[str, int]]) -> None:
        self._inputs = inputs
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._count = 0

    def constant(self, array: np.ndarray) -> str:
        """A tensor that the graph brings along, float32 or int64."""
        name = self._name()
        sizes = b"".join(_number(1, size) for size in array.shape)
        data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        self._constants.append(sizes + _number(2, _TYPES[array.dtype.name]) + _text(8, name) + _bytes(9, data))
        return name

    def apply(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
        """One operator of ONNX with one output, whose name is returned."""
        name = self._name()
        node = b"".join(_text(1, value) for value in inputs) + _text(2, name) + _text(4, operator)
        self._nodes.append(node + b"".join(_bytes(5, _attribute(*item)) for item in attributes.items()))
        return name

    def to_bytes(self, output: str) -> bytes:
        """The ModelProto with one float32 output of four dimensions."""
        nodes = [*self._nodes, _text(1, output) + _text(2, "output") + _text(4, "Identity")]
        graph = b"".join(_bytes(1, node) for node in nodes) + _text(2, "leechcodec")
        graph += b"".join(_bytes(5, tensor) for tensor in self._constants)
        graph += b"".join(_bytes(11, _value(name, *kind)) for name, kind in self._inputs.items())
        graph += _bytes(12, _value("output", "float32", 4))
        return _number(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, _text(1, "") + _number(2, OPSET))

    def _name(self) -> str:
        self._count += 1
        return f"v{self._count}"


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, _INT)
    if isinstance(value, float):
        return _text(1, name) + _key(2, 5) + struct.pack("<f", value) + _number(20, _FLOAT)
    if isinstance(value, str):
        return _text(1, name) + _text(4, value) + _number(20, _STRING)
    return _text(1, name) + b"".join(_number(8, item) for item in value) + _number(20, _INTS)


def _value(name: str, kind: str, rank: int) -> bytes:
    """A ValueInfoProto: a tensor whose sizes are free."""
    shape = b"".join(_bytes(1, _text(2, f"{name}_{axis}")) for axis in range(rank))
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, _TYPES[kind]) + _bytes(2, shape)))


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _number(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value & (1 << 64) - 1)


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)
