"""Frames to calibrate a precision on and to judge it by: golden images, and how a line might see them."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from partsight.runtime.calibration import Variation, vary
from partsight.runtime.core import Pixels, progress, reserve, scratch
from partsight.runtime.images import PreprocessSpec, preprocess

CALIBRATION_FRAMES = 128
MAX_VARIED = 1000

_CALIBRATION_SEED, _GATE_SEED = 101, 202  # so that no frame is judged that was calibrated on


@dataclass(frozen=True)
class PreparedFrames:
    """Frames, prepared for both stages.

    Attributes:
        network: (frames, height, width, 3) uint8 BGR, as `preprocess` makes it.
        compared: the same frames at the size of the comparison with golden images; None where there is none.
    """

    network: Pixels
    compared: Pixels | None

    @classmethod
    def room(cls, count: int, spec: PreprocessSpec, compared: PreprocessSpec | None) -> "PreparedFrames":
        """Return room for frames."""
        return cls(_empty(count, spec), None if compared is None else _empty(count, compared))

    def put(self, slot: int, image: Pixels, spec: PreprocessSpec, compared: PreprocessSpec | None) -> None:
        """Prepare an image into its slot."""
        preprocess([image], spec, self.network[slot : slot + 1])
        if self.compared is not None and compared is not None:
            preprocess([image], compared, self.compared[slot : slot + 1])

    def __len__(self) -> int:
        return len(self.network)


@dataclass(frozen=True)
class GateFrames:
    """Frames that the gate judges a precision by.

    Attributes:
        catalog: every golden image.
        varied: one varied frame of each golden image, or of `MAX_VARIED` of them.
    """

    catalog: PreparedFrames
    varied: PreparedFrames


def calibration_frames(images: Sequence[Pixels], spec: PreprocessSpec) -> Pixels:
    """Return golden images and varied frames of others in turn, `CALIBRATION_FRAMES` at most.

    Args:
        images: the golden images, as read from their files.
        spec: the package's preprocessing.
    """
    rng = np.random.default_rng(_CALIBRATION_SEED)
    indices = rng.permutation(len(images))
    # A small catalogue contributes each image several times, each time with another variation.
    chosen = np.resize(indices, min(CALIBRATION_FRAMES, 2 * len(images) + CALIBRATION_FRAMES // 2))
    frames = _empty(len(chosen), spec)
    for number, index in enumerate(progress(chosen.tolist(), len(chosen), "calibration frames", "image")):
        is_golden = number % 2 == 0 and number < len(images)
        image = images[index]
        preprocess([image if is_golden else vary(image, Variation(), rng)], spec, frames[number : number + 1])
    return frames


def gate_frames(images: Sequence[Pixels], spec: PreprocessSpec, compared: PreprocessSpec | None = None) -> GateFrames:
    """Return the frames to judge by; the same for the same catalogue.

    Args:
        images: the golden images, as read from their files.
        spec: the network's preprocessing.
        compared: that of the comparison with golden images; None where there is none.
    """
    rng = np.random.default_rng(_GATE_SEED)
    chosen = np.sort(rng.permutation(len(images))[:MAX_VARIED])
    catalog, varied = (PreparedFrames.room(count, spec, compared) for count in (len(images), len(chosen)))
    slots = {int(index): slot for slot, index in enumerate(chosen)}
    for index in progress(range(len(images)), len(images), "frames to judge by", "image"):
        image = images[index]
        catalog.put(index, image, spec, compared)
        if index in slots:
            varied.put(slots[index], vary(image, Variation(), rng), spec, compared)
    return GateFrames(catalog, varied)


def _empty(count: int, spec: PreprocessSpec) -> Pixels:
    """Return room for frames, on the disk: ten thousand of them are more than a small machine's memory."""
    shape = (count, spec.height, spec.width, 3)
    with scratch(f"{count} frames to judge by"), tempfile.TemporaryFile() as file:
        reserve(file, math.prod(shape))
        # The map keeps the file.
        return np.memmap(file, np.uint8, "w+", shape=shape)
