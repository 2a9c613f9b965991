"""Preprocessing: the one implementation, for training, the checks of export, and the line.

It only crops and resizes. Export folds channel order and normalisation into the network.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import cv2
import msgspec
import numpy as np

from partsight.runtime.core import FrameError, Pixels
from partsight.runtime.images.frame_fault import describe_fault, has_shape

Side = Annotated[int, msgspec.Meta(ge=1, le=8192)]
Offset = Annotated[int, msgspec.Meta(ge=0)]
FrameSide = Annotated[int, msgspec.Meta(ge=1)]


class Region(msgspec.Struct, frozen=True):
    """The crop of a frame that the network sees, in pixels of the frame."""

    x: Offset
    y: Offset
    width: Side
    height: Side


class PreprocessSpec(msgspec.Struct, frozen=True):
    """Preprocessing of a frame for the network; a package stores it next to the weights.

    Attributes:
        height, width: Size of the network's input, in pixels.
        color: `bgr` if the golden images are in colour, `mono` if they are grey.
        region: Crop of each frame, before the resize; None for the whole frame.
        resize: Rule of the resize, see `resize`. Without this field, a runtime would accept a package with another
            rule that it does not know.
        via: Intermediate size (height, width) in pixels, at least the input's. A frame is shrunk to `via`, and from
            there to the input, see `second_step`. Network and matching with the same `via` share the first step. None
            for one step. A frame with fewer rows or columns than `via` also takes one step.
        golden_hw: Size (height, width) in pixels of every golden image before the crop; with a region, frames must
            have this size. None if golden images differ in size, and in packages of an earlier partsight.
    """

    height: Side
    width: Side
    color: Literal["bgr", "mono"] = "bgr"
    region: Region | None = None
    resize: Literal["sampled-area"] = "sampled-area"
    via: tuple[Side, Side] | None = None
    golden_hw: tuple[FrameSide, FrameSide] | None = None

    def __post_init__(self) -> None:
        """Refuse an intermediate size that is smaller than the input.

        Raises:
            ValueError: `via` is smaller than the input. While msgspec decodes a manifest, it raises its own error.
        """
        if self.via is not None and (self.via[0] < self.height or self.via[1] < self.width):
            raise ValueError(
                f"received via (height, width) {self.via}; expected at least the input's {(self.height, self.width)}"
            )


def check_frame(frame: object, spec: PreprocessSpec) -> Pixels:
    """Return `frame` if it can be preprocessed, without reading its pixels.

    Args:
        frame: Object that the caller passed as a frame.
        spec: Preprocessing of the package.

    Raises:
        FrameError: the object is not a contiguous, non-empty uint8 array of the shape that the package needs.
    """
    if not (
        isinstance(frame, np.ndarray)
        and frame.dtype == np.uint8
        and frame.size
        and has_shape(frame, spec.color)
        and frame.flags.c_contiguous
    ):
        raise FrameError(describe_fault(frame, spec.color))
    check_size(frame.shape[:2], spec)
    return frame


def check_size(size_hw: tuple[int, ...], spec: PreprocessSpec) -> None:
    """Refuse a frame whose size differs from the golden images': the package's region would crop another spot.

    Args:
        size_hw: Height and width of the frame, in pixels.
        spec: Preprocessing of the package; without a region frames may have any size.

    Raises:
        FrameError: the frame's size differs from the golden images', or the region lies outside of the frame.
    """
    region, golden_hw = spec.region, spec.golden_hw
    if region is None:
        return
    height, width = size_hw
    if golden_hw is not None and size_hw != golden_hw:
        raise FrameError(
            f"received {width}×{height} px; expected {golden_hw[1]}×{golden_hw[0]} px like the golden images, because "
            "the package has a region: set the camera to this size, or train again on images of the camera's size"
        )
    if region.x + region.width > width or region.y + region.height > height:
        raise FrameError(
            f"received {width}×{height} px; expected at least {region.x + region.width}×{region.y + region.height} px, "
            "to where the package's region reaches: set the camera to the size of the golden images"
        )


def check_frames(frames: Sequence[object], spec: PreprocessSpec) -> list[Pixels]:
    """Return `frames` if all of them can be preprocessed.

    Raises:
        FrameError: a frame cannot be preprocessed; the message names its index if there are several.
    """
    return list(checked_frames(frames, spec))


def checked_frames(frames: Sequence[object], spec: PreprocessSpec) -> Iterator[Pixels]:
    """Yield `frames`, each after its check, without storing them.

    Raises:
        FrameError: see `check_frames`.
    """
    for index, frame in enumerate(frames):
        try:
            checked = check_frame(frame, spec)
        except FrameError as error:
            if len(frames) == 1:
                raise
            raise FrameError(f"frame {index} of {len(frames)}: {error}") from error
        yield checked


def preprocess(frames: Sequence[object], spec: PreprocessSpec, out: Pixels | None = None) -> Pixels:
    """Crop and resize frames into one batch.

    Args:
        frames: Frames of any sizes, each (height, width, 3) uint8 BGR, or (height, width) uint8 for a mono package.
        spec: Preprocessing of the package.
        out: Batch to write into, (at least len(frames), spec.height, spec.width, 3) uint8; None for a new one.

    Returns:
        Batch, (len(frames), spec.height, spec.width, 3) uint8 BGR, a view of `out`. A mono frame fills all channels.

    Raises:
        FrameError: a frame cannot be preprocessed; the message names its index if there are several.
        ValueError: `out` has another type or shape, or is not contiguous.
    """
    if out is None:
        out = np.empty((len(frames), spec.height, spec.width, 3), np.uint8)
    preprocess_sizes(frames, [spec], [out])
    return out[: len(frames)]


def preprocess_sizes(frames: Sequence[object], specs: Sequence[PreprocessSpec], outs: Sequence[Pixels]) -> None:
    """Crop and resize frames into several batches of different sizes; shared steps are done once.

    Args:
        frames: Frames, see `preprocess`.
        specs: Preprocessing of each batch, at least one; only height, width and `via` may differ.
        outs: Batches to write into, one for each of `specs`, see `preprocess`.

    Raises:
        FrameError, ValueError: see `preprocess`.
    """
    for out, spec in zip(outs, specs, strict=True):
        _check_out(out, len(frames), spec)
    for index, frame in enumerate(check_frames(frames, specs[0])):
        preprocess_into(frame, specs, [out[index] for out in outs])


def _check_out(out: Pixels, count: int, spec: PreprocessSpec) -> None:
    """Refuse an array that does not fit: OpenCV would silently write into a new one and leave this one untouched."""
    shape = (spec.height, spec.width, 3)
    fits = out.dtype == np.uint8 and out.shape[1:] == shape and len(out) >= count and out.flags.c_contiguous
    if not fits:
        raise ValueError(
            f"out is {out.dtype} of shape {out.shape} and strides {out.strides}; expected a contiguous uint8 array "
            f"of shape (at least {count}, {', '.join(map(str, shape))})"
        )


def preprocess_into(frame: Pixels, specs: Sequence[PreprocessSpec], slots: Sequence[Pixels]) -> None:
    """Crop and resize one frame into one row of each batch.

    Args:
        frame: Frame that `check_frame` accepts.
        specs: Preprocessing of each batch, see `preprocess_sizes`.
        slots: Row of each batch, (height, width, 3) uint8, contiguous.
    """
    region = specs[0].region
    if region is not None:
        frame = frame[region.y : region.y + region.height, region.x : region.x + region.width]
    is_mono = frame.ndim == 2
    outs = [np.empty(slot.shape[:2], np.uint8) for slot in slots] if is_mono else slots
    for via in dict.fromkeys(spec.via for spec in specs):
        _resize_via(frame, via, [out for spec, out in zip(specs, outs, strict=True) if spec.via == via])
    if is_mono:
        for mono, slot in zip(outs, slots, strict=True):
            cv2.cvtColor(mono, cv2.COLOR_GRAY2BGR, dst=slot)


def _resize_via(frame: Pixels, via: tuple[int, int] | None, outs: Sequence[Pixels]) -> None:
    """Resize a frame into arrays that share the intermediate size `via`, see `PreprocessSpec`."""
    # A frame smaller than `via` takes one step: enlarging it and shrinking it again would blur it.
    if via is None or frame.shape[0] < via[0] or frame.shape[1] < via[1]:
        resize(frame, outs)
        return
    first = next((out for out in outs if out.shape[:2] == via), None)
    if first is None:
        first = np.empty((*via, *frame.shape[2:]), np.uint8)
    resize(frame, [first])
    for out in outs:
        if out is not first:
            cv2.resize(first, out.shape[1::-1], dst=out, interpolation=second_step(via, out.shape[:2]))


def second_step(via: tuple[int, ...], size_hw: tuple[int, ...]) -> int:
    """Return OpenCV's interpolation from the intermediate size to the input.

    A bilinear sample is a mean over 2 × 2 pixels. Below a ratio of two, samples leave out no pixel; from two on only
    INTER_AREA covers all pixels. The bundle's ONNX graph repeats both rules.

    Args:
        via: Height and width of the intermediate size, in pixels.
        size_hw: Height and width of the input, in pixels.
    """
    return cv2.INTER_LINEAR if via[0] < 2 * size_hw[0] and via[1] < 2 * size_hw[1] else cv2.INTER_AREA


def resize(frame: Pixels, outs: Sequence[Pixels]) -> None:
    """Resize a frame into arrays of other sizes.

    The aim when shrinking by a ratio r on an axis is OpenCV's INTER_AREA: each result pixel is the mean over r × r
    pixels of the frame, which avoids aliasing. Its loop over fractions of pixels is neither vectorised nor parallel,
    and costs more than a fast network. So for r ≥ 2 the mean is taken in vectorised steps:

    1. While r ≥ 4 on both axes and both sides are even: exact means of 2 × 2 pixels, which halve the frame.
    2. Bilinear samples on a regular grid, s = 2, 4, 8 … per result pixel and axis. OpenCV aligns the centres of pixels:
       sample i is at (i + 0.5) r / s − 0.5. Each sample is a weighted mean of the 2 × 2 pixels around it.
    3. Means of 2 × 2 samples, again and again, down to the result: halving by INTER_LINEAR is this mean exactly.

    For 1 ≤ r < 2 on an axis INTER_AREA itself is used, and INTER_LINEAR to enlarge. On pictures of parts, of 255 grey
    levels, the result differs from INTER_AREA by less than 1 in the mean and by at most 9
    (`benchmarks/speed/preprocess.py`).

    Args:
        frame: Frame, (any height, any width, 3) or (any height, any width) uint8; may be a view of a larger frame.
        outs: Arrays to write into, each (height, width, 3) or (height, width) uint8.
    """
    large = [out for out in outs if not _is_halved(frame, out)]
    small = [out for out in outs if _is_halved(frame, out)]
    for out in large:
        _resize_at_once(frame, out)
    if small:
        halved = (frame.shape[1] // 2, frame.shape[0] // 2)
        resize(np.asarray(cv2.resize(frame, halved, interpolation=cv2.INTER_AREA), np.uint8), small)


def _is_halved(frame: Pixels, out: Pixels) -> bool:
    """Return whether step 1 of `resize` applies; the halved frame is still at least twice as large as the result."""
    rows, columns = frame.shape[:2]
    # For odd numbers OpenCV takes its slow loop: the last row or column is spread over all result pixels.
    is_even = rows % 2 == columns % 2 == 0
    return bool(is_even and rows >= 4 * out.shape[0] and columns >= 4 * out.shape[1])


def _resize_at_once(frame: Pixels, out: Pixels) -> None:
    height, width = out.shape[:2]
    size = (width, height)
    if frame.shape[0] < height or frame.shape[1] < width:
        cv2.resize(frame, size, dst=out, interpolation=cv2.INTER_LINEAR)
        return
    if frame.shape[0] < 2 * height or frame.shape[1] < 2 * width:
        cv2.resize(frame, size, dst=out, interpolation=cv2.INTER_AREA)
        return
    samples = _sample(frame, height, width)
    while samples.shape[0] > 2 * height or samples.shape[1] > 2 * width:
        smaller = max(samples.shape[1] // 2, width), max(samples.shape[0] // 2, height)
        samples = np.asarray(cv2.resize(samples, smaller, interpolation=cv2.INTER_LINEAR))
    # INTER_LINEAR, since the last halving may be along one axis only: then INTER_AREA would take its slow loop.
    cv2.resize(samples, size, dst=out, interpolation=cv2.INTER_LINEAR)


def _sample(frame: Pixels, height: int, width: int) -> Pixels:
    """Take bilinear samples at most 2.2 pixels apart, `_samples` per result pixel and axis; step 2 of `resize`."""
    rows, columns = height * _samples(frame.shape[0] / height), width * _samples(frame.shape[1] / width)
    return np.asarray(cv2.resize(frame, (columns, rows), interpolation=cv2.INTER_LINEAR), np.uint8)


def _samples(ratio: float) -> int:
    """Return the number of samples per result pixel on one axis: the least power of two from 2 with r / s < 2.2.

    A sample covers two pixels, so that r / s ≤ 2 leaves no gap. A gap of a tenth is invisible, and often saves half of
    the samples.
    """
    return int(2 ** max(1, math.floor(math.log2(ratio / 1.1))))
