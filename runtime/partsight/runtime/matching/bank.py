"""The bank: what matching needs of every reference, prepared once, at export and enrolment, and mapped into memory.

A reference is one record of a NumPy file of fixed layout, so that a frame touches the pages of its own candidates
alone, and enrolment appends records without looking at the others.
"""

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from partsight.runtime.core import FloatArray, PackageError, Pixels
from partsight.runtime.matching.layout import Grid, Layout
from partsight.runtime.matching.levels import levels_of
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.screening import thumbnail_of

BANK_FILE = "bank.npy"
"""Its name in a package."""

MAX_RECORD_BYTES = 120_000
"""Of a reference, so that ten thousand parts stay near a gigabyte."""

_STIFFNESS = 180.0  # grey levels² a pixel that a stretch or shear of 1 must explain away
_SLOPE_SIGMA_PX = 1.0

_THREADS = 2

_FIELDS = (
    "thumbnails",
    "middle",
    "middle_rows",
    "middle_scale",
    "fine",
    "fine_rows",
    "fine_scale",
    "fine_prior",
    "image",
    "squares",
    "slope",
)

FIELDS = ("class_of", "references_of", "thumbnail_squares", *_FIELDS)
"""Arrays of `Bank` that matching needs, in this order where order counts."""


@dataclass(frozen=True)
class Bank:
    """References, each a row; those of a class follow each other, classes in the order of the labels.

    Attributes:
        records: (references,) of `record_type`, which the others are views of.
        class_of: (references,) int32.
        references_of: (classes, most references of a class) int32: rows; a class with fewer repeats its last.
        thumbnails: (references, points) float32: the coarse level at the points of `screening.points_of`.
        thumbnail_squares: (references,) float32: sums of their squares.
        middle: (references, points) uint8: the middle level at the points of `Layout.middle`.
        middle_rows: (references, 4, points) int8: rows of the pseudo-inverse: shift, turn and gain.
        middle_scale: (references, 4) float32, by which those are multiplied.
        fine: (references, points) uint8: grey at the points of `Layout.fine`.
        fine_rows: (references, 6, points) int8: shift, turn, shear, stretch and gain.
        fine_scale: (references, 6) float32.
        fine_prior: (references, 6, 2) float32, by which shear and stretch so far draw back towards 0.
        image: (references, 3, points) uint8: blue, green and red at the points of `Layout.judged`.
        squares: (references, 3) float32: sums of squares of each channel of `image`.
        slope: (references, points) uint8: length of the gradient there over all channels, in grey levels a pixel.
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
    image: Any
    squares: Any
    slope: Any

    @classmethod
    def of(cls, records: np.ndarray) -> "Bank":
        """Return the bank of records, see `prepare_all`; most arrays are views of them."""
        class_of = np.ascontiguousarray(records["class"])
        starts = np.flatnonzero(np.diff(class_of, prepend=-1))
        counts = np.diff([*starts, len(class_of)])
        references_of = starts[:, None] + np.minimum(np.arange(counts.max()), counts[:, None] - 1)
        thumbnails = np.ascontiguousarray(records["thumbnails"])
        return cls(
            **{name: records[name] for name in _FIELDS} | {"thumbnails": thumbnails},
            records=records,
            class_of=class_of,
            references_of=references_of.astype(np.int32),
            thumbnail_squares=np.einsum("np,np->n", thumbnails, thumbnails),
        )

    @property
    def count(self) -> int:
        """How many references there are."""
        return int(self.class_of.shape[0])

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.references_of.shape[0])


def prepare_all(images: Iterable[Pixels], class_of: Sequence[int]) -> np.ndarray:
    """Return what matching needs of references, (references,) records of `record_type`.

    Args:
        images: each (height, width, 3) uint8 BGR, all of the references' size.
        class_of: of each; every class from 0 on has one, and they rise.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        rows = list(pool.map(prepare, images))
    records = np.zeros(len(rows), _type_of(rows[0]))
    records["class"] = class_of
    for name in _FIELDS:
        for place, row in enumerate(rows):
            records[name][place] = row[name]
    return records


def prepare(image_bgr: Pixels) -> dict[str, np.ndarray]:
    """Return what matching needs of one reference, (height, width, 3) uint8 BGR, by field."""
    ops, layout = ArrayOperations(), Layout.of((image_bgr.shape[0], image_bgr.shape[1]))
    levels = levels_of(image_bgr[None], ops)
    image = np.rint([_sampled(channel, layout.judged) for channel in ops.channels(levels.colour)[:3]])
    return {
        "thumbnails": thumbnail_of(levels.coarse, ops)[0],
        **_prepare_middle(ops.pixels(levels.middle)[0], layout.middle),
        **_prepare_fine(ops.pixels(levels.fine)[0], layout.fine),
        "image": image.astype(np.uint8),
        "squares": np.square(image).sum(axis=1, dtype=np.float32),
        "slope": _slope(image_bgr, layout.judged),
    }


@lru_cache(8)
def record_type(size_hw: tuple[int, int]) -> "np.dtype[Any]":
    """Return the type of records of references of a size."""
    return _type_of(prepare(np.zeros((*size_hw, 3), np.uint8)))


def _type_of(row: dict[str, np.ndarray]) -> "np.dtype[Any]":
    fields: list[Any] = [("class", "<i4")]
    fields += [(name, row[name].dtype.newbyteorder("<"), row[name].shape) for name in _FIELDS]
    return np.dtype(fields)


def encode_bank(records: np.ndarray) -> bytes:
    """Return the file's bytes."""
    return b"".join((_header(records.dtype, len(records)), records.tobytes()))


def decode_bank(data: Any, classes: int, size_hw: tuple[int, int], source: str) -> np.ndarray:
    """Return the records in a file.

    Args:
        data: its bytes, or a map of it; the records are a view of it.
        classes: how many there must be.
        size_hw: height and width of references.
        source: where it came from, for messages.

    Raises:
        PackageError: it is not such a file.
    """
    kind = record_type(size_hw)
    count, rest = divmod(len(data) - len(_header(kind, 1)), kind.itemsize)
    header = _header(kind, max(count, 1))
    # NumPy's own reader parses a header as Python. Only the one header that fits is taken, byte by byte.
    if count < classes or rest or bytes(data[: len(header)]) != header:
        raise PackageError(
            f"{source}: is no bank of {classes} or more references of {size_hw[1]}×{size_hw[0]} px ({kind.itemsize} "
            f"bytes each, {len(data)} in all); copy the package again or export it again"
        )
    records: np.ndarray = np.frombuffer(data, kind, count, len(header))
    steps = np.diff(records["class"], prepend=-1, append=classes)
    if ((steps != 0) & (steps != 1)).any() or steps[0] != 1 or steps[-1] != 1:
        raise PackageError(
            f"{source}: the classes of its references are not 0 to {classes - 1}; export the package again"
        )
    for name in ("thumbnails", "middle_scale", "fine_scale", "fine_prior", "squares"):
        if not np.isfinite(records[name]).all():
            raise PackageError(f"{source}: holds a {name} that is not a number; export the package again")
    return records


def _header(kind: "np.dtype[Any]", count: int) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind.descr, "fortran_order": False, "shape": (count,)})
    return stream.getvalue()


def _prepare_middle(level: FloatArray, grid: Grid) -> dict[str, np.ndarray]:
    """Return what the middle level needs: values, and how differences become shift, turn and gain."""
    golden, by_x, by_y = _at(level, grid)
    right, down = _shares(grid)
    inverse, _ = _pseudo_inverse(np.stack([by_x, by_y, right * by_y - down * by_x, golden]), 0.0)
    packed, scale = _packed(inverse)
    return {"middle": golden.astype(np.uint8), "middle_rows": packed, "middle_scale": scale}


def _prepare_fine(level: FloatArray, grid: Grid) -> dict[str, np.ndarray]:
    """Return what full size needs: values, and how differences become shift, turn, shear, stretch and gain."""
    golden, by_x, by_y = _at(level, grid)
    right, down = _shares(grid)
    slopes = np.stack([by_x, by_y, right * by_y - down * by_x, down * by_x, down * by_y, golden])
    inverse, prior = _pseudo_inverse(slopes, _STIFFNESS * golden.size)
    packed, scale = _packed(inverse)
    return {"fine": golden.astype(np.uint8), "fine_rows": packed, "fine_scale": scale, "fine_prior": prior}


def _at(level: FloatArray, grid: Grid) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return values, rounded, and derivatives to the right and down by shares of the longest side, each (points,)."""
    level, scale = np.ascontiguousarray(level), max(level.shape) / 8
    slopes = (np.asarray(cv2.Sobel(level, cv2.CV_32F, *axis, scale=scale)) for axis in ((1, 0), (0, 1)))
    values, by_x, by_y = (_sampled(image, grid) for image in (level, *slopes))
    return np.rint(values), by_x, by_y


def _sampled(image: np.ndarray, grid: Grid) -> FloatArray:
    x, y = np.meshgrid(grid.columns, grid.rows)
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR), np.float32).ravel()


def _shares(grid: Grid) -> tuple[FloatArray, FloatArray]:
    right, down = np.meshgrid(grid.right, grid.down)
    return right.ravel(), down.ravel()


def _pseudo_inverse(slopes: np.ndarray, stiffness: float) -> tuple[np.ndarray, FloatArray]:
    """Return (unknowns, points) that turn a difference into unknowns, and (unknowns, 2) of the prior.

    With the derivatives J of the golden image by each unknown, the step that explains a difference d best is
    (JJᵀ + P)⁻¹ (J d − P p), where P holds the stiffness of shear and stretch, and p is what they are so far.

    Args:
        slopes: (unknowns, points): J; the last row is the image itself, its derivative by the gain.
        stiffness: of the fourth and fifth unknown, shear and stretch; 0 where those are not unknown.
    """
    slopes = slopes.astype(np.float64)
    square = slopes @ slopes.T
    diagonal = np.diag_indices_from(square)
    # A picture without structure says nothing of the pose: then the step is 0 instead of a division by 0.
    square[diagonal] *= 1 + 1e-4
    square[diagonal] += 1e-3
    held = slice(3, 5) if stiffness else slice(0, 0)
    square[held, held] += stiffness * np.eye(held.stop - held.start)
    inverse = np.linalg.inv(square)
    # The sign of the prior's pull is that of `Poses.after_inverse_of`: a positive step makes a pose smaller.
    return inverse @ slopes, (stiffness * inverse[:, held]).astype(np.float32)


def _packed(rows: np.ndarray) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """Return rows as int8, and what to multiply each with: rounding errors of a thousand points cancel out."""
    scale = np.maximum(np.abs(rows).max(axis=1), 1e-30) / 127
    return np.rint(rows / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def _slope(image_bgr: Pixels, grid: Grid) -> npt.NDArray[np.uint8]:
    smoothed = cv2.GaussianBlur(image_bgr.astype(np.float32), (0, 0), _SLOPE_SIGMA_PX)
    square = np.zeros(image_bgr.shape[:2], np.float32)
    for axis in ((1, 0), (0, 1)):
        square += np.square(np.asarray(cv2.Sobel(smoothed, cv2.CV_32F, *axis, scale=1 / 8))).sum(axis=2)
    return np.rint(np.minimum(np.sqrt(_sampled(square, grid)), 255)).astype(np.uint8)
