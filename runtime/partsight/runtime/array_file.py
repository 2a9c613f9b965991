"""Arrays in a package, as NumPy's `.npy`: read without pickle and without a copy."""

import io
from typing import Any

import numpy as np

from partsight.runtime.errors import PackageError


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
    stream = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("not of version 1.0")
        found, is_fortran, kind = np.lib.format.read_array_header_1_0(stream)
    except ValueError as error:
        raise PackageError(f"{source}: is not a NumPy file ({error}); export the package again") from error
    fits = len(found) == len(shape) and all(
        size > 0 and wanted in (None, size) for size, wanted in zip(found, shape, strict=True)
    )
    size = dtype.itemsize
    for length in found:
        size *= length
    if not fits or is_fortran or kind != dtype or len(data) - stream.tell() != size:
        wanted = ", ".join("d" if length is None else str(length) for length in shape)
        raise PackageError(
            f"{source}: holds {kind} {found} in {len(data)} bytes; expected {dtype.name} ({wanted}), a row for each "
            "label: export the package again"
        )
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(found)
