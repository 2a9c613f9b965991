"""Checks that an ONNX file needs no other file, and that engines can read it without harm.

The format allows weights and compiled parts of the graph in other files, named by a path. ONNX Runtime and OpenVINO
follow such a path from the working folder, and so load bytes that no manifest names. Other faults are known to end an
engine's process or to keep it busy forever: a node that lacks an input or takes its own output, a loop, an unknown
operator set. partsight refuses such a file before an engine sees it. This module reads the protocol buffers itself,
because the line does without the package `onnx`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from partsight.runtime.core import PackageError

# Field numbers of onnx.proto that lead to a tensor or a node, by message.
CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_OPERATOR_SET, _VERSION = 8, 2  # fields of a model; of an operator set
_INPUT, _OUTPUT, _OP_TYPE, _DOMAIN = 1, 2, 4, 7  # fields of a node
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of a tensor

_COMPILED = b"EPContext"  # a node with a compiled part of the graph, often in a separate file
_LOOPS = frozenset({b"If", b"Loop", b"Scan", b"SequenceMap"})  # all operators with an inner graph
_WITHOUT_GAPS = frozenset({b"Concat", b"LayerNormalization", b"Max", b"Mean", b"Min", b"Sum"})
_ONNX = frozenset({b"", b"ai.onnx"})  # domains of ONNX's own operators; export uses no others
_MIN_INPUTS = {b"Conv": 2, b"Pad": 2, b"Constant": 0, b"RandomNormal": 0, b"RandomUniform": 0}
_LATEST_VERSION = 99  # of operator sets; OpenVINO loops up to the number in the file

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


def check_onnx(model: bytes, source: str) -> None:
    """Refuse a model that refers to other files, or has a fault that is known to harm an engine.

    Args:
        model: Bytes of the ONNX file.
        source: Path of the file, for messages.

    Raises:
        PackageError: the file is such a model, or not an ONNX file.
    """
    waiting = [("model", 0, len(model))]
    try:
        while waiting:
            message, start, end = waiting.pop()
            nodes: list[_Node] = []
            for number, wire, first, last in _fields(model, start, end):
                child = CHILDREN[message].get(number) if wire == _BYTES else None
                if child == "node":
                    nodes.append(_read_node(model, first, last, waiting))
                elif child is not None:
                    waiting.append((child, first, last))
                elif message == "tensor":
                    _check_tensor(number, model[first:last] if number == _DATA_LOCATION else b"", source)
                elif message == "model" and number == _OPERATOR_SET:
                    _check_operator_set(model, first, last, source)
            _check_nodes(nodes, source)
    except (IndexError, ValueError) as error:
        raise PackageError(f"{source}: is not an ONNX file ({error}); export the package again") from error


@dataclass
class _Node:
    """A node of a graph: operator, domain, names of inputs and outputs; an omitted optional input has an empty name."""

    kind: bytes = b""
    domain: bytes = b""
    inputs: list[bytes] = field(default_factory=list)
    outputs: list[bytes] = field(default_factory=list)


def _read_node(model: bytes, start: int, end: int, waiting: list[tuple[str, int, int]]) -> _Node:
    """Read a node, and add its attributes to the messages to read."""
    node = _Node()
    for number, wire, first, last in _fields(model, start, end):
        if wire != _BYTES:
            continue
        if number in CHILDREN["node"]:
            waiting.append((CHILDREN["node"][number], first, last))
        elif number == _INPUT:
            node.inputs.append(model[first:last])
        elif number == _OUTPUT:
            node.outputs.append(model[first:last])
        elif number == _OP_TYPE:
            node.kind = model[first:last]
        elif number == _DOMAIN:
            node.domain = model[first:last]
    return node


def _check_nodes(nodes: Sequence[_Node], source: str) -> None:
    """Check the nodes of one graph: no node may take its own output, or the output of a later node."""
    pending = Counter(name for node in nodes for name in node.outputs)
    for node in nodes:
        if node.kind == _COMPILED:
            raise _needs_other_file(source)
        fault = _fault(node, pending)
        if fault:
            raise PackageError(
                f"{source}: the model has a node {node.kind!r} {fault}; use a file that `partsight export` wrote"
            )
        pending.subtract(node.outputs)


def _fault(node: _Node, pending: Counter[bytes]) -> str:
    """Return the fault of a node; an empty text if there is none.

    Args:
        node: Node to check.
        pending: Number of times that each name is an output of this node or a later one.
    """
    fewest = len(node.inputs) if node.kind in _WITHOUT_GAPS else 0
    fewest = max(fewest, _MIN_INPUTS.get(node.kind, 1))
    if node.domain not in _ONNX:
        return f"of domain {node.domain!r}, expected one of ONNX's own operators"
    if node.kind in _LOOPS:
        return "with an inner graph, which may never end"
    if not all(node.inputs[:fewest]) or len(node.inputs) < fewest:
        return f"with fewer than the {fewest} inputs that it needs"
    if any(name and pending[name] for name in node.inputs):
        return "that takes an output of its own or of a later node"
    return ""


def _check_tensor(number: int, location: bytes, source: str) -> None:
    if number == _EXTERNAL_DATA or any(location):
        raise _needs_other_file(source)


def _check_operator_set(model: bytes, start: int, end: int, source: str) -> None:
    versions = [_varint(model, first)[0] for number, _, first, _ in _fields(model, start, end) if number == _VERSION]
    if any(not 1 <= version <= _LATEST_VERSION for version in versions):
        raise PackageError(
            f"{source}: the model needs operator set {versions[-1]}; expected 1 to {_LATEST_VERSION}: use a file that "
            "`partsight export` wrote"
        )


def _needs_other_file(source: str) -> PackageError:
    return PackageError(
        f"{source}: the model refers to another file, which no checksum protects; expected an ONNX file with all its "
        "weights: use a file that `partsight export` wrote"
    )


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, start and end of the value, of each field of a message."""
    while start < end:
        tag, start = _varint(data, start)
        wire = tag & 7
        if wire == _VARINT:
            _, last = _varint(data, start)
        elif wire == _BYTES:
            length, start = _varint(data, start)
            last = start + length
        elif wire in (_FIXED64, _FIXED32):
            last = start + (8 if wire == _FIXED64 else 4)
        else:
            raise ValueError(f"wire type {wire} at byte {start}")
        if last > end:
            raise ValueError(f"the file ends within the field at byte {start}")
        yield tag >> 3, wire, start, last
        start = last


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError(f"a number without an end at byte {position}")
