"""The prototype file: prototypes of very many parts, beside the network instead of in it, as NumPy's `.npy`."""

import io

import numpy as np

from partsight.runtime.engines.engine import FloatArray
from partsight.runtime.errors import PackageError

PROTOTYPE_FILE = "prototypes.npy"
"""Its name in a package."""


def encode_prototypes(values: FloatArray) -> bytes:
    """Return the file's bytes for (classes, d) float32."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(values, np.float32), allow_pickle=False)
    return stream.getvalue()


def decode_prototypes(data: bytes, classes: int, source: str) -> FloatArray:
    """Return the prototypes in a file.

    Args:
        data: its bytes, which the prototypes are a view of: they may be hundreds of megabytes.
        classes: how many there must be.
        source: where the bytes came from, for messages.

    Returns:
        (classes, d) float32; cannot be written to.

    Raises:
        PackageError: it is not such a file.
    """
    stream = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("not of version 1.0")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except ValueError as error:
        raise PackageError(f"{source}: is not a NumPy file ({error}); export the package again") from error
    is_matrix = len(shape) == 2 and shape[0] == classes and shape[1] > 0
    if not is_matrix or is_fortran or dtype != np.dtype("<f4") or len(data) - stream.tell() != 4 * shape[0] * shape[1]:
        raise PackageError(
            f"{source}: holds {dtype} {shape} in {len(data)} bytes; expected float32 ({classes}, d), a row for each "
            "label: export the package again"
        )
    return np.frombuffer(data, np.dtype("<f4"), offset=stream.tell()).reshape(shape)
