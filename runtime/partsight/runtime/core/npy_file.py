"""Arrays in a package, as NumPy's `.npy`: read without pickle and without a copy."""

import io
import re
from typing import Any

import numpy as np

from partsight.runtime.core.errors import PackageError

# The header that NumPy writes of an array of numbers. Its own reader parses what stands there as Python, and fails in
# ways of its own where that is damaged.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<size>..)(?P<dict>\{'descr': '(?P<kind>[<>|][a-zA-Z]\d{0,3})', "
    rb"'fortran_order': (?P<fortran>True|False), 'shape': \((?P<shape>\d{1,19},|\d{1,19}(, \d{1,19}){1,7})\), \} *\n)",
    re.DOTALL,
)


def encode_array(values: np.ndarray) -> bytes:
    """Return the file's bytes."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(values), allow_pickle=False)
    return stream.getvalue()


def decode_array(data: bytes, dtype: "np.dtype[Any]", shape: tuple[int | None, ...], source: str) -> np.ndarray:
    """Return the array in a file.

    Args:
        data: the file's bytes, which the array is a view of: they may be hundreds of megabytes.
        dtype: that the numbers must have.
        shape: that the array must have; None for any size above 0.
        source: where the bytes came from, for messages.

    Returns:
        The array, in C order; it cannot be written to.

    Raises:
        PackageError: it is not such a file.
    """
    header = _HEADER.match(data)
    if header is None or int.from_bytes(header["size"], "little") != header.end() - header.start("dict"):
        raise PackageError(
            f"{source}: is not a NumPy file (of version 1.0, as partsight writes it); export the package again"
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
