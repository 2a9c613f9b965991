"""An ONNX file that needs no other file.

The format lets weights lie in files beside it, by a path, and compiled parts of the graph too. ONNX Runtime and
OpenVINO follow such a path from wherever the program runs, so that bytes are loaded that no manifest names: such a file
is refused before an engine sees it. Read here without the package `onnx`, which the line does not need.
"""

from collections.abc import Iterator

from partsight.runtime.errors import PackageError

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
_OP_TYPE = 4  # of a node
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of a tensor
_COMPILED = b"EPContext"  # a node that stands for what an engine compiled, often in a file of its own

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


def refuse_references(model: bytes, source: str) -> None:
    """Refuse a model that names other files.

    Args:
        model: an ONNX file's bytes.
        source: where they came from, for messages.

    Raises:
        PackageError: it does, or it is not an ONNX file.
    """
    waiting = [("model", 0, len(model))]
    while waiting:
        message, start, end = waiting.pop()
        children = _CHILDREN[message]
        try:
            for number, wire, first, last in _fields(model, start, end):
                if wire == _BYTES and number in children:
                    waiting.append((children[number], first, last))
                elif _is_reference(model, message, number, first, last):
                    raise PackageError(
                        f"{source}: the model names a file outside of itself, which nothing vouches for; expected an "
                        "ONNX file that holds all its weights: use one that `partsight export` wrote"
                    )
        except (IndexError, ValueError) as error:
            raise PackageError(f"{source}: is not an ONNX file ({error}); export the package again") from error


def _is_reference(model: bytes, message: str, number: int, first: int, last: int) -> bool:
    if message == "tensor":
        return number == _EXTERNAL_DATA or (number == _DATA_LOCATION and any(model[first:last]))
    return message == "node" and number == _OP_TYPE and model[first:last] == _COMPILED


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
