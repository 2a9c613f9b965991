"""The bank: the prepared references of a package, mapped into memory from one file.

A reference is one record of a NumPy file of fixed layout. So a frame touches only the pages of its own candidates, and
enrolment appends records without reading the others.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from partsight.runtime.core import PackageError
from partsight.runtime.matching.preparation import RECORD_FIELDS, record_type

BANK_FILE = "bank.npy"
"""Name of the file in a package."""

FIELDS = ("class_of", "references_of", "thumbnail_squares", *RECORD_FIELDS)
"""Arrays of `Bank` that matching needs; their order is the order of the graph's inputs."""


@dataclass(frozen=True)
class Bank:
    """References, one in each row, in the order of the labels; the references of a class follow each other.

    Attributes:
        records: Records, (references,) of `record_type`; most other arrays are views of them.
        class_of: Class of each reference, (references,) int32.
        references_of: Rows of each class, (classes, most references of a class) int32; a class with fewer repeats its
            last one.
        thumbnails: Coarse level at the points of `screening.points_of`, (references, points) float32.
        thumbnail_squares: Sums of the squares of each thumbnail, (references,) float32.
        middle: Middle level at the points of `Layout.middle`, (references, points) uint8.
        middle_rows: Rows of the pseudo-inverse for shift right and down, turn and gain, (references, 4, points) int8.
        middle_scale: Factor of each of these rows, (references, 4) float32.
        fine: Grey at the points of `Layout.fine`, (references, points) uint8.
        fine_rows: Rows for shift right and down, turn, shear, stretch and gain, (references, 6, points) int8.
        fine_scale: Factor of each of these rows, (references, 6) float32.
        fine_prior: Pull of the shear and stretch so far on each unknown, (references, 6, 2) float32.
        fine_slopes: Gradient to the right and down at these points, (references, 2, points) int8.
        fine_slope_scale: Factor of each direction, in grey levels a pixel, (references, 2) float32.
        parallax_inverse: Inverse matrix of each cell, (references, 3, cells) float32; see `parallax`.
        image: Blue, green and red at the points of `Layout.judged`, (references, 3, points) uint8.
        squares: Sums of the squares of each channel of `image`, (references, 3) float32.
        slope: Length of the gradient over all channels at these points, (references, points) uint8, in grey levels a
            pixel.
    """

    records: Any
    class_of: Any
    references_of: Any
    thumbnails: Any
    thumbnail_squares: Any
    middle: Any
    middle_rows: Any
    middle_scale: Any
    fine: Any
    fine_rows: Any
    fine_scale: Any
    fine_prior: Any
    fine_slopes: Any
    fine_slope_scale: Any
    parallax_inverse: Any
    image: Any
    squares: Any
    slope: Any

    @classmethod
    def of(cls, records: np.ndarray) -> "Bank":
        """Return the bank of the records of `prepare_all`."""
        class_of = np.ascontiguousarray(records["class"])
        starts = np.flatnonzero(np.diff(class_of, prepend=-1))
        counts = np.diff([*starts, len(class_of)])
        references_of = starts[:, None] + np.minimum(np.arange(counts.max()), counts[:, None] - 1)
        thumbnails = np.ascontiguousarray(records["thumbnails"])
        return cls(
            **{name: records[name] for name in RECORD_FIELDS} | {"thumbnails": thumbnails},
            records=records,
            class_of=class_of,
            references_of=references_of.astype(np.int32),
            thumbnail_squares=np.einsum("np,np->n", thumbnails, thumbnails),
        )

    @property
    def count(self) -> int:
        """Number of references."""
        return int(self.class_of.shape[0])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.references_of.shape[0])


def encode_bank(records: np.ndarray) -> bytes:
    """Return the bytes of the file."""
    return b"".join((_header(records.dtype, len(records)), records.tobytes()))


def decode_bank(data: Any, classes: int, size_hw: tuple[int, int], source: str) -> np.ndarray:
    """Return the records in a file.

    Args:
        data: Bytes of the file, or a memory map of it; the records are a view of it.
        classes: Number of classes that it must have.
        size_hw: Height and width of references, in pixels.
        source: Name of the file, for messages.

    Raises:
        PackageError: the data are not a bank of this size.
    """
    kind = record_type(size_hw)
    count, rest = divmod(len(data) - len(_header(kind, 1)), kind.itemsize)
    header = _header(kind, max(count, 1))
    # NumPy's own reader parses a header as Python. Here only the one right header is accepted, byte by byte.
    if count < classes or rest or bytes(data[: len(header)]) != header:
        raise PackageError(
            f"{source}: is not a bank of {classes} or more references of {size_hw[1]}×{size_hw[0]} px ({kind.itemsize} "
            f"bytes each, {len(data)} in all); copy the package again or export it again"
        )
    records: np.ndarray = np.frombuffer(data, kind, count, len(header))
    steps = np.diff(records["class"], prepend=-1, append=classes)
    if ((steps != 0) & (steps != 1)).any() or steps[0] != 1 or steps[-1] != 1:
        raise PackageError(
            f"{source}: the classes of its references are not 0 to {classes - 1}; export the package again"
        )
    for name in (
        "thumbnails",
        "middle_scale",
        "fine_scale",
        "fine_prior",
        "fine_slope_scale",
        "parallax_inverse",
        "squares",
    ):
        if not np.isfinite(records[name]).all():
            raise PackageError(f"{source}: has a {name} that is not a number; export the package again")
    return records


def _header(kind: "np.dtype[Any]", count: int) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind.descr, "fortran_order": False, "shape": (count,)})
    return stream.getvalue()
