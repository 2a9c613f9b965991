"""An ONNX file that needs no other file, and that engines read without harm.

The format lets weights lie in files beside it, by a path, and compiled parts of the graph too. ONNX Runtime and
OpenVINO follow such a path from wherever the program runs, so that bytes are loaded that no manifest names: such a file
is refused before an engine sees it. So is one that is known to end an engine's process, or to keep it busy for ever: a
node without the inputs that it needs, or that waits for its own output, a loop, an operator set of a number that there
is not. Read here without the package `onnx`, which the line does not need.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from partsight.runtime.core import PackageError

# Field numbers of onnx.proto that lead to a tensor or a node, by message.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_OPERATOR_SET, _VERSION = 8, 2  # of a model; of an operator set
_INPUT, _OUTPUT, _OP_TYPE, _DOMAIN = 1, 2, 4, 7  # of a node
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of a tensor

_COMPILED = b"EPContext"  # a node that stands for what an engine compiled, often in a file of its own
_LOOPS = frozenset({b"If", b"Loop", b"Scan", b"SequenceMap"})  # and what else holds a graph of its own
_WITHOUT_GAPS = frozenset({b"Concat", b"LayerNormalization", b"Max", b"Mean", b"Min", b"Sum"})
_ONNX = frozenset({b"", b"ai.onnx"})  # domains of the operators of ONNX itself, all that export uses
_MIN_INPUTS = {b"Conv": 2, b"Pad": 2, b"Constant": 0, b"RandomNormal": 0, b"RandomUniform": 0}
_LATEST_VERSION = 99  # of an operator set; OpenVINO counts up to it

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


def check_onnx(model: bytes, source: str) -> None:
    """Refuse a model that names other files, or that is known to harm an engine.

    Args:
        model: an ONNX file's bytes.
        source: where they came from, for messages.

    Raises:
        PackageError: it is such a model, or is not an ONNX file.
    """
    waiting = [("model", 0, len(model))]
    try:
        while waiting:
            message, start, end = waiting.pop()
            nodes: list[_Node] = []
            for number, wire, first, last in _fields(model, start, end):
                child = _CHILDREN[message].get(number) if wire == _BYTES else None
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
    """A node of a graph: what it computes, and the names of what it takes and gives; empty for what it does without."""

    kind: bytes = b""
    domain: bytes = b""
    inputs: list[bytes] = field(default_factory=list)
    outputs: list[bytes] = field(default_factory=list)


def _read_node(model: bytes, start: int, end: int, waiting: list[tuple[str, int, int]]) -> _Node:
    """Read a node, and have its attributes wait to be looked at."""
    node = _Node()
    for number, wire, first, last in _fields(model, start, end):
        if wire != _BYTES:
            continue
        if number in _CHILDREN["node"]:
            waiting.append((_CHILDREN["node"][number], first, last))
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
    """Check the nodes of one graph: what each takes must not be what it or a later one gives."""
    to_come = Counter(name for node in nodes for name in node.outputs)
    for node in nodes:
        if node.kind == _COMPILED:
            raise _names_a_file(source)
        fault = _fault(node, to_come)
        if fault:
            raise PackageError(
                f"{source}: the model has a node {node.kind!r} {fault}; use one that `partsight export` wrote"
            )
        to_come.subtract(node.outputs)


def _fault(node: _Node, to_come: Counter[bytes]) -> str:
    """Say what is wrong with a node; nothing if nothing is.

    Args:
        node: to look at.
        to_come: how often each name is given by it and the nodes behind it.
    """
    fewest = len(node.inputs) if node.kind in _WITHOUT_GAPS else 0
    fewest = max(fewest, _MIN_INPUTS.get(node.kind, 1))
    if node.domain not in _ONNX:
        return f"of domain {node.domain!r}, expected an operator of ONNX itself"
    if node.kind in _LOOPS:
        return "that holds a graph of its own, and may never end"
    if not all(node.inputs[:fewest]) or len(node.inputs) < fewest:
        return f"without the {fewest} inputs that it needs"
    if any(name and to_come[name] for name in node.inputs):
        return "that takes what it or a later node gives"
    return ""


def _check_tensor(number: int, location: bytes, source: str) -> None:
    if number == _EXTERNAL_DATA or any(location):
        raise _names_a_file(source)


def _check_operator_set(model: bytes, start: int, end: int, source: str) -> None:
    versions = [_varint(model, first)[0] for number, _, first, _ in _fields(model, start, end) if number == _VERSION]
    if any(not 1 <= version <= _LATEST_VERSION for version in versions):
        raise PackageError(
            f"{source}: the model needs operator set {versions[-1]}; expected 1 to {_LATEST_VERSION}: use one that "
            "`partsight export` wrote"
        )


def _names_a_file(source: str) -> PackageError:
    return PackageError(
        f"{source}: the model names a file outside of itself, which nothing vouches for; expected an ONNX file that "
        "holds all its weights: use one that `partsight export` wrote"
    )


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, and where the value begins and ends, of each field of a message."""
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
            raise ValueError(f"it ends within the field at byte {start}")
        yield tag >> 3, wire, start, last
        start = last


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return the number at a place, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError(f"a number without an end at byte {place}")
