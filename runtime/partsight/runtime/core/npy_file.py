"""Arrays in a package, as NumPy's `.npy`: read without pickle and without a copy."""

import io
import re
from typing import Any

import numpy as np

from partsight.runtime.core.arrays import FloatArray
from partsight.runtime.core.errors import PackageError

PROTOTYPE_FILE = "prototypes.npy"
"""Name in a package of the file with the prototypes of very many parts: they are then not in the network."""

# The header that NumPy writes for an array of numbers. NumPy's reader parses it as Python source, and raises errors of
# many kinds if it is damaged.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<size>..)(?P<dict>\{'descr': '(?P<kind>[<>|][a-zA-Z]\d{0,3})', "
    rb"'fortran_order': (?P<fortran>True|False), 'shape': \((?P<shape>\d{1,19},|\d{1,19}(, \d{1,19}){1,7})\), \} *\n)",
    re.DOTALL,
)


def encode_array(values: np.ndarray) -> bytes:
    """Return the bytes of a `.npy` file."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(values), allow_pickle=False)
    return stream.getvalue()


def decode_array(data: bytes, dtype: "np.dtype[Any]", shape: tuple[int | None, ...], source: str) -> np.ndarray:
    """Return the array in a file.

    Args:
        data: Bytes of the file. The array is a view of them: they may be hundreds of megabytes.
        dtype: Required type of the numbers.
        shape: Required shape of the array; None for any length above 0.
        source: Path of the file, for messages.

    Returns:
        Array in C order, read-only.

    Raises:
        PackageError: the file is not a `.npy` file, or its array has another type, order, shape or size.
    """
    header = _HEADER.match(data)
    if header is None or int.from_bytes(header["size"], "little") != header.end() - header.start("dict"):
        raise PackageError(
            f"{source}: is not a NumPy file of version 1.0, as partsight writes it; export the package again"
        )
    kind, is_fortran, start = header["kind"].decode(), header["fortran"] == b"True", header.end()
    found = tuple(int(size) for size in header["shape"].split(b",") if size.strip())
    fits = len(found) == len(shape) and all(
        size > 0 and wanted in (None, size) for size, wanted in zip(found, shape, strict=True)
    )
    size = dtype.itemsize
    for length in found:
        size *= length
    if not fits or is_fortran or kind != dtype.str or len(data) - start != size:
        wanted = ", ".join("d" if length is None else str(length) for length in shape)
        raise PackageError(
            f"{source}: holds {kind} {found} in {len(data)} bytes; expected {dtype.name} ({wanted}), a row for each "
            "label: export the package again"
        )
    return np.frombuffer(data, dtype, offset=start).reshape(found)


def encode_prototypes(values: FloatArray) -> bytes:
    """Return the bytes of the prototype file: (classes, d) float32, a row for each label in order."""
    return encode_array(np.asarray(values, "<f4"))


def decode_prototypes(data: bytes, classes: int, source: str) -> FloatArray:
    """Return the prototypes in a file, (classes, d) float32, read-only; raises as `decode_array`.

    Args:
        data: Bytes of the file. The prototypes are a view of them.
        classes: Required number of rows.
        source: Path of the file, for messages.
    """
    return decode_array(data, np.dtype("<f4"), (classes, None), source)
