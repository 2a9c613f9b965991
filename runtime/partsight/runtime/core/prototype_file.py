"""The prototype file: prototypes of very many parts, beside the network instead of in it."""

import numpy as np

from partsight.runtime.core.arrays import FloatArray
from partsight.runtime.core.npy_file import decode_array, encode_array

PROTOTYPE_FILE = "prototypes.npy"
"""Its name in a package."""


def encode_prototypes(values: FloatArray) -> bytes:
    """Return the file's bytes for (classes, d) float32."""
    return encode_array(np.asarray(values, "<f4"))


def decode_prototypes(data: bytes, classes: int, source: str) -> FloatArray:
    """Return the prototypes in a file, (classes, d) float32; they cannot be written to.

    Args:
        data: its bytes, which the prototypes are a view of.
        classes: how many there must be.
        source: where the bytes came from, for messages.

    Raises:
        PackageError: it is not such a file.
    """
    return decode_array(data, np.dtype("<f4"), (classes, None), source)
