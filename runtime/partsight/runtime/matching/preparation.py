"""Preparation: from a golden image to a record of the bank, once, at export and enrolment.

A record holds everything that matching needs of a reference: values at the points of the layout, and at two levels the
rows of the pseudo-inverse that turn the difference to a frame into a step of the pose (see `alignment`). The rows are
int8 with one factor each, so that a record stays small.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from partsight.runtime.core import FloatArray, Pixels
from partsight.runtime.matching.layout import Grid, Layout
from partsight.runtime.matching.levels import levels_of
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.parallax import parallax_inverse
from partsight.runtime.matching.screening import thumbnail_of

MAX_RECORD_BYTES = 120_000
"""Largest record of a reference: ten thousand parts take about a gigabyte."""

RECORD_FIELDS = (
    "thumbnails",
    "middle",
    "middle_rows",
    "middle_scale",
    "fine",
    "fine_rows",
    "fine_scale",
    "fine_prior",
    "fine_slopes",
    "fine_slope_scale",
    "parallax_inverse",
    "image",
    "squares",
    "slope",
)
"""Fields of a record next to its class; see `Bank` for their shapes."""

STIFFNESS = 180.0
"""Weight of the prior on shear and stretch, in grey levels² for each pixel and unit² of shear or stretch."""

_SLOPE_SIGMA_PX = 1.0
_THREADS = 2


def prepare_all(images: Iterable[Pixels], class_of: Sequence[int] | None = None) -> np.ndarray:
    """Return the records of references, (references,) of `record_type`.

    Args:
        images: Golden images, each (height, width, 3) uint8 BGR, all of the references' size.
        class_of: Class of each image, rising, each class from 0 on at least once; None for one image of each class.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        rows = list(pool.map(prepare, images))
    records = np.zeros(len(rows), _type_of(rows[0]))
    records["class"] = np.arange(len(rows)) if class_of is None else class_of
    for name in RECORD_FIELDS:
        for index, row in enumerate(rows):
            records[name][index] = row[name]
    return records


def prepare(image_bgr: Pixels) -> dict[str, np.ndarray]:
    """Return the fields of the record of one reference, (height, width, 3) uint8 BGR."""
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
    """Return the type of records for a size of references."""
    return _type_of(prepare(np.zeros((*size_hw, 3), np.uint8)))


def _type_of(row: dict[str, np.ndarray]) -> "np.dtype[Any]":
    fields: list[Any] = [("class", "<i4")]
    fields += [(name, row[name].dtype.newbyteorder("<"), row[name].shape) for name in RECORD_FIELDS]
    return np.dtype(fields)


def _prepare_middle(level: FloatArray, grid: Grid) -> dict[str, np.ndarray]:
    """Return the fields of the middle level: values, and rows for shift, turn and gain."""
    golden, by_x, by_y = _at(level, grid)
    right, down = _shares(grid)
    inverse, _ = _pseudo_inverse(np.stack([by_x, by_y, right * by_y - down * by_x, golden]), 0.0)
    packed, scale = _packed(inverse)
    return {"middle": golden.astype(np.uint8), "middle_rows": packed, "middle_scale": scale}


def _prepare_fine(level: FloatArray, grid: Grid) -> dict[str, np.ndarray]:
    """Return the fields of full size: values, rows for shift, turn, shear, stretch and gain, and for the parallax."""
    golden, by_x, by_y = _at(level, grid)
    right, down = _shares(grid)
    # A shear s moves the point (right, down) by (s down, 0), a stretch by (0, s down); a turn by s (-down, right).
    slopes = np.stack([by_x, by_y, right * by_y - down * by_x, down * by_x, down * by_y, golden])
    inverse, prior = _pseudo_inverse(slopes, STIFFNESS * golden.size)
    packed, scale = _packed(inverse)
    steps = np.stack([by_x, by_y]) / np.float32(max(level.shape))  # in grey levels a pixel
    packed_steps, step_scale = _packed(steps)
    return {
        "fine": golden.astype(np.uint8),
        "fine_rows": packed,
        "fine_scale": scale,
        "fine_prior": prior,
        "fine_slopes": packed_steps,
        "fine_slope_scale": step_scale,
        "parallax_inverse": parallax_inverse(steps[0], steps[1], grid),
    }


def _at(level: FloatArray, grid: Grid) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return rounded grey levels and their derivatives to the right and down, each (points,).

    Derivatives are in grey levels a longest side. Sobel's operator divided by 8, the sum of its weights' magnitudes,
    gives grey levels a pixel.
    """
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
    """Return the matrix that turns a difference into unknowns, (unknowns, points), and the prior's, (unknowns, 2).

    Let J, (unknowns, points), hold the derivative of the golden image by each unknown, p the shear and stretch so far,
    and P the stiffness of both on its diagonal. `Poses.after_inverse_of` takes the step q to p − q, so the best step
    for a difference d minimises |Jᵀq − d|² + (p − q)ᵀ P (p − q). It is q = (JJᵀ + P)⁻¹ (J d + P p): one matrix for d
    and one for p, both from the golden image alone.

    Args:
        slopes: J, (unknowns, points), in grey levels for each unit of the unknown; its last row is the image itself,
            the derivative by the gain.
        stiffness: Weight of shear and stretch, the fourth and fifth unknown, in grey levels²; 0 if they are not
            unknowns.
    """
    slopes = slopes.astype(np.float64)
    square = slopes @ slopes.T
    diagonal = np.diag_indices_from(square)
    # A picture without structure determines no pose. With these terms the step is then 0, without a division by 0.
    square[diagonal] *= 1 + 1e-4
    square[diagonal] += 1e-3
    held = slice(3, 5) if stiffness else slice(0, 0)
    square[held, held] += stiffness * np.eye(held.stop - held.start)
    inverse = np.linalg.inv(square)
    return inverse @ slopes, (stiffness * inverse[:, held]).astype(np.float32)


def _packed(rows: np.ndarray) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """Return rows as int8, and the factor of each; the rounding errors of a thousand points cancel each other."""
    scale = np.maximum(np.abs(rows).max(axis=1), 1e-30) / 127
    return np.rint(rows / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def _slope(image_bgr: Pixels, grid: Grid) -> npt.NDArray[np.uint8]:
    """Return the length of the gradient over all channels, (points,) in grey levels a pixel, at most 255."""
    smoothed = cv2.GaussianBlur(image_bgr.astype(np.float32), (0, 0), _SLOPE_SIGMA_PX)
    square = np.zeros(image_bgr.shape[:2], np.float32)
    for axis in ((1, 0), (0, 1)):
        square += np.square(np.asarray(cv2.Sobel(smoothed, cv2.CV_32F, *axis, scale=1 / 8))).sum(axis=2)
    return np.rint(np.minimum(np.sqrt(_sampled(square, grid)), 255)).astype(np.uint8)
