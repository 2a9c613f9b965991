"""Values of a tensor in the KServe v2 protocol: as raw bytes, or as JSON."""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from partsight.runtime.core import PartsightError

DTYPES: Mapping[str, npt.DTypeLike] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}
"""NumPy's types by the datatypes of KServe v2."""

_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
_KINDS = {"b": "b", "u": "iu", "i": "iu", "f": "iuf"}
"""Kinds of JSON values that an array of a kind takes: 1.5 and true are no UINT8."""

_MAX_DEPTH = 8
_LENGTH = struct.Struct("<I")


class RequestError(PartsightError):
    """A client's request cannot be answered.

    Attributes:
        status: Status code of HTTP for the answer.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def datatype_of(array: np.ndarray) -> str:
    """Return the datatype of KServe v2 of an array."""
    return _NAMES[array.dtype]


def from_raw(raw: memoryview, datatype: str, where: str) -> np.ndarray:
    """Return the values in raw bytes, as one row; numbers are a view of the bytes.

    Args:
        raw: Little-endian numbers, or for `BYTES` items that each follow their length, four bytes little-endian.
        datatype: One of `DTYPES`.
        where: Name of the tensor, for messages.

    Raises:
        RequestError: The bytes do not hold a whole number of values.
    """
    if datatype == "BYTES":
        return _row(list(_items(raw, where)))
    dtype = np.dtype(DTYPES[datatype]).newbyteorder("<")
    if len(raw) % dtype.itemsize:
        raise RequestError(
            f"{where}: received {len(raw)} bytes; expected a multiple of {dtype.itemsize}, which is one {datatype}"
        )
    values = np.frombuffer(raw, dtype)
    if datatype == "BOOL" and values.view(np.uint8).max(initial=0) > 1:
        raise RequestError(f"{where}: received a BOOL above 1; expected 0 or 1")
    return values


def from_json(data: Any, datatype: str, where: str) -> np.ndarray:
    """Return the values in a list of JSON, as one row; the list may be nested as the shape is.

    Args:
        data: List of values, or of such lists.
        datatype: One of `DTYPES`.
        where: Name of the tensor, for messages.

    Raises:
        RequestError: A value does not fit the datatype.
    """
    if datatype == "BYTES":
        return _row([_encoded(item, where) for item in _leaves(data, where)])
    try:
        values = np.array(data)
        fits = values.size == 0 or values.dtype.kind in _KINDS[np.dtype(DTYPES[datatype]).kind]
        converted = _converted(values, datatype) if fits else None
    except (ValueError, OverflowError, TypeError) as error:
        raise RequestError(f"{where}: its data are no values of {datatype}: {error}") from error
    if converted is None:
        raise RequestError(f"{where}: received values that are no {datatype}; expected numbers of that type")
    return converted.ravel()


def to_raw(array: np.ndarray) -> bytes:
    """Return values as raw bytes, as `from_raw` reads them."""
    if array.dtype != np.object_:
        return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return b"".join(part for item in array.ravel() for part in (_LENGTH.pack(len(item)), item))


def _items(raw: memoryview, where: str) -> Iterator[bytes]:
    start = 0
    while start < len(raw):
        begin = start + _LENGTH.size
        if begin > len(raw):
            raise RequestError(f"{where}: ends within the length of an item; expected four bytes")
        end = begin + _LENGTH.unpack_from(raw, start)[0]
        if end > len(raw):
            raise RequestError(f"{where}: received {len(raw) - begin} bytes of an item; expected {end - begin}")
        yield bytes(raw[begin:end])
        start = end


def _leaves(data: Any, where: str, depth: int = 0) -> Iterator[Any]:
    if depth > _MAX_DEPTH:
        raise RequestError(f"{where}: its lists are nested deeper than {_MAX_DEPTH}; expected its shape")
    for item in data:
        if isinstance(item, list):
            yield from _leaves(item, where, depth + 1)
        else:
            yield item


def _encoded(item: Any, where: str) -> bytes:
    if not isinstance(item, str):
        raise RequestError(f"{where}: received {type(item).__name__} in its data; expected texts")
    return item.encode("utf-8", "surrogatepass")


def _row(items: list[bytes]) -> np.ndarray:
    row = np.empty(len(items), np.object_)
    row[:] = items
    return row


def _converted(values: np.ndarray, datatype: str) -> np.ndarray:
    """Return whole numbers in another type if all fit, and any numbers as floats."""
    dtype = np.dtype(DTYPES[datatype])
    if values.size and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        least, most = int(values.min()), int(values.max())
        if least < limits.min or most > limits.max:
            raise ValueError(f"received {least} to {most}; expected {limits.min} to {limits.max}")
    with np.errstate(over="ignore"):
        return values.astype(dtype)
