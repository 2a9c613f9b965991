"""Preprocessing: the one implementation, used in training, export parity and on the line.

It crops and resizes; nothing else. Channel order and normalisation are folded into the network.
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
    """The part of a frame that the network sees, in pixels of the frame."""

    x: Offset
    y: Offset
    width: Side
    height: Side


class PreprocessSpec(msgspec.Struct, frozen=True):
    """What happens to a frame before the network; travels with the weights.

    Attributes:
        height, width: of the network's input, in pixels.
        color: `bgr` if the network was taught colour images, `mono` if grey ones.
        region: cropped out of each frame first; None for the whole frame.
        resize: how the size changes, see `resize`. A field so that a package made with another rule is refused by a
            runtime that does not know it.
        via: (height, width) in pixels, at least the input's: the size to which a frame is shrunk first. The input is
            made from that, see `second_step`. Specs with the same `via` share the first step. None for straight to
            height × width; a frame with fewer rows or columns than `via` takes that way too.
        golden_hw: (height, width) in pixels of every golden image, before the region is cropped. With a region, frames
            of another size are refused. None where golden images differ in size, or of an earlier partsight.
    """

    height: Side
    width: Side
    color: Literal["bgr", "mono"] = "bgr"
    region: Region | None = None
    resize: Literal["sampled-area"] = "sampled-area"
    via: tuple[Side, Side] | None = None
    golden_hw: tuple[FrameSide, FrameSide] | None = None

    def __post_init__(self) -> None:
        """Refuse a first size from which the input would have to be enlarged.

        Raises:
            ValueError: `via` is smaller than the input; while a manifest is read, msgspec's error for a wrong value.
        """
        if self.via is not None and (self.via[0] < self.height or self.via[1] < self.width):
            raise ValueError(
                f"received via (height, width) {self.via}; expected at least the input's {(self.height, self.width)}"
            )


def check_frame(frame: object, spec: PreprocessSpec) -> Pixels:
    """Return `frame` if it can be preprocessed, at no cost for its pixels.

    Raises:
        FrameError: it is not a contiguous, non-empty uint8 array of the shape that the package was taught.
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
    """Refuse a frame in which the package's region lies elsewhere than in the golden images.

    Args:
        size_hw: Height and width of the frame, in pixels.
        spec: Preprocessing of the package; without a region frames may have any size.

    Raises:
        FrameError: the frame is not as large as the golden images, or does not hold the region.
    """
    region, golden_hw = spec.region, spec.golden_hw
    if region is None:
        return
    height, width = size_hw
    if golden_hw is not None and size_hw != golden_hw:
        raise FrameError(
            f"received {width}×{height} px, but the golden images have {golden_hw[1]}×{golden_hw[0]} px, and the "
            "package's region would cut another spot: set the camera to the size of the golden images, or train again "
            "on images of this size"
        )
    if region.x + region.width > width or region.y + region.height > height:
        raise FrameError(
            f"received {width}×{height} px, but the package's region reaches to "
            f"({region.x + region.width}, {region.y + region.height}): set the camera to the size of the golden images"
        )


def check_frames(frames: Sequence[object], spec: PreprocessSpec) -> list[Pixels]:
    """Return `frames` if all of them can be preprocessed.

    Raises:
        FrameError: one cannot; the message names its place if there are several.
    """
    return list(checked_frames(frames, spec))


def checked_frames(frames: Sequence[object], spec: PreprocessSpec) -> Iterator[Pixels]:
    """Yield `frames`, each as soon as it is known that it can be preprocessed, and keep none.

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
        frames: each (height, width, 3) uint8 BGR, or (height, width) uint8 for a mono package; sizes may differ.
        spec: the package's preprocessing.
        out: batch to write into, (at least len(frames), spec.height, spec.width, 3) uint8; a new one if None.

    Returns:
        (len(frames), spec.height, spec.width, 3) uint8 BGR, a view of `out`. A mono frame fills all channels.

    Raises:
        FrameError: a frame cannot be used; the message names its place in `frames`.
        ValueError: `out` cannot be written in place.
    """
    if out is None:
        out = np.empty((len(frames), spec.height, spec.width, 3), np.uint8)
    preprocess_sizes(frames, [spec], [out])
    return out[: len(frames)]


def preprocess_sizes(frames: Sequence[object], specs: Sequence[PreprocessSpec], outs: Sequence[Pixels]) -> None:
    """Crop and resize frames into a batch for each of several sizes; what their ways have in common is done once.

    Args:
        frames: see `preprocess`.
        specs: at least one; they differ in height, width and `via` alone.
        outs: for each, a batch to write into; see `preprocess`.

    Raises:
        FrameError, ValueError: see `preprocess`.
    """
    for out, spec in zip(outs, specs, strict=True):
        _check_out(out, len(frames), spec)
    for place, frame in enumerate(check_frames(frames, specs[0])):
        preprocess_into(frame, specs, [out[place] for out in outs])


def _check_out(out: Pixels, count: int, spec: PreprocessSpec) -> None:
    """Refuse what OpenCV would leave untouched, to write into an array of its own instead."""
    shape = (spec.height, spec.width, 3)
    fits = out.dtype == np.uint8 and out.shape[1:] == shape and len(out) >= count and out.flags.c_contiguous
    if not fits:
        raise ValueError(
            f"out is {out.dtype} of shape {out.shape} and strides {out.strides}; expected a contiguous uint8 array "
            f"of shape (at least {count}, {', '.join(map(str, shape))})"
        )


def preprocess_into(frame: Pixels, specs: Sequence[PreprocessSpec], slots: Sequence[Pixels]) -> None:
    """Crop and resize one frame into places of batches.

    Args:
        frame: checked, see `check_frame`.
        specs: see `preprocess_sizes`.
        slots: for each spec, (height, width, 3) uint8, contiguous.
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
    """Resize a frame into arrays that share the first size `via`, see `PreprocessSpec`."""
    # To enlarge a frame and shrink it again would blur it.
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
    """Return OpenCV's interpolation from the first size to the input: bilinear unless that would skip pixels."""
    return cv2.INTER_LINEAR if via[0] < 2 * size_hw[0] and via[1] < 2 * size_hw[1] else cv2.INTER_AREA


def resize(frame: Pixels, outs: Sequence[Pixels]) -> None:
    """Resize a frame into other arrays.

    To grow, OpenCV's INTER_LINEAR; to shrink by less than two, its INTER_AREA. From two on INTER_AREA would cost more
    than a fast network, because its loop over fractions of pixels is neither vectorised nor parallel. The same mean
    over the area is then taken in steps that are: means of 2×2 pixels while the frame is four times as large, bilinear
    samples at a power of two times the size, and means of those. On pictures of parts the result differs from
    INTER_AREA's by less than a grey level of 255 in the mean and by 9 at most (`benchmarks/preprocess.py`).

    Args:
        frame: (any height, any width, 3) or (any height, any width), uint8; may be a view of a larger one.
        outs: each (height, width, 3) or (height, width), uint8.
    """
    large = [out for out in outs if not _is_halved(frame, out)]
    small = [out for out in outs if _is_halved(frame, out)]
    for out in large:
        _resize_at_once(frame, out)
    if small:
        halved = (frame.shape[1] // 2, frame.shape[0] // 2)
        resize(np.asarray(cv2.resize(frame, halved, interpolation=cv2.INTER_AREA), np.uint8), small)


def _is_halved(frame: Pixels, out: Pixels) -> bool:
    """Say whether means of 2×2 pixels are taken first: the result is then at least twice as large as asked for."""
    rows, columns = frame.shape[:2]
    # Of an odd number the last row or column would be spread over all: OpenCV's slow way, and not the same area.
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
    # Half the size by INTER_LINEAR is the mean of two pixels or of four, and fast; by INTER_AREA only of four.
    cv2.resize(samples, size, dst=out, interpolation=cv2.INTER_LINEAR)


def _sample(frame: Pixels, height: int, width: int) -> Pixels:
    """Take bilinear samples at most 2.2 pixels apart, a power of two of them for each pixel of the result."""
    rows, columns = height * _samples(frame.shape[0] / height), width * _samples(frame.shape[1] / width)
    return np.asarray(cv2.resize(frame, (columns, rows), interpolation=cv2.INTER_LINEAR), np.uint8)


def _samples(ratio: float) -> int:
    # A sample is a mean over two pixels. A tenth more between them is not seen, and often saves half of the samples.
    return int(2 ** max(1, math.floor(math.log2(ratio / 1.1))))
