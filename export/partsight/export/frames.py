"""Frames for calibration and gate: golden images, and varied golden images as a line might see them."""

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

_CALIBRATION_SEED, _GATE_SEED = 101, 202  # the gate must not reuse the calibration frames


@dataclass(frozen=True)
class PreparedFrames:
    """Frames, prepared for network and comparison.

    Attributes:
        network: Frames for the network, (frames, height, width, 3) uint8 BGR.
        compared: The same frames for the comparison, (frames, height, width, 3) uint8 BGR; None without a comparison.
    """

    network: Pixels
    compared: Pixels | None

    @classmethod
    def room(cls, count: int, spec: PreprocessSpec, compared: PreprocessSpec | None) -> "PreparedFrames":
        """Return arrays for `count` frames, not yet filled."""
        return cls(_empty(count, spec), None if compared is None else _empty(count, compared))

    def put(self, slot: int, image: Pixels, spec: PreprocessSpec, compared: PreprocessSpec | None) -> None:
        """Prepare an image and store it as frame number `slot`."""
        preprocess([image], spec, self.network[slot : slot + 1])
        if self.compared is not None and compared is not None:
            preprocess([image], compared, self.compared[slot : slot + 1])

    def __len__(self) -> int:
        return len(self.network)


@dataclass(frozen=True)
class GateFrames:
    """Frames for the gate.

    Attributes:
        catalog: All golden images.
        varied: One varied frame of each golden image, of at most `MAX_VARIED` of them.
    """

    catalog: PreparedFrames
    varied: PreparedFrames


def calibration_frames(images: Sequence[Pixels], spec: PreprocessSpec) -> Pixels:
    """Return at most `CALIBRATION_FRAMES` frames, (frames, height, width, 3) uint8: golden and varied ones in turn.

    Args:
        images: Golden images as read from their files, each (height, width, 3) uint8 BGR.
        spec: Preprocessing of the network.
    """
    rng = np.random.default_rng(_CALIBRATION_SEED)
    indices = rng.permutation(len(images))
    # In a small catalogue each image comes several times, with another variation each time.
    chosen = np.resize(indices, min(CALIBRATION_FRAMES, 2 * len(images) + CALIBRATION_FRAMES // 2))
    frames = _empty(len(chosen), spec)
    for number, index in enumerate(progress(chosen.tolist(), len(chosen), "calibration frames", "image")):
        is_golden = number % 2 == 0 and number < len(images)
        image = images[index]
        preprocess([image if is_golden else vary(image, Variation(), rng)], spec, frames[number : number + 1])
    return frames


def gate_frames(images: Sequence[Pixels], spec: PreprocessSpec, compared: PreprocessSpec | None = None) -> GateFrames:
    """Return the frames for the gate; the same catalogue always gives the same frames.

    Args:
        images: Golden images as read from their files, each (height, width, 3) uint8 BGR.
        spec: Preprocessing of the network.
        compared: Preprocessing of the comparison with golden images; None without a comparison.
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
    """Return an array in a file for frames: ten thousand frames exceed a small machine's memory."""
    shape = (count, spec.height, spec.width, 3)
    with scratch(f"{count} frames to judge by"), tempfile.TemporaryFile() as file:
        reserve(file, math.prod(shape))
        # The map keeps the file open.
        return np.memmap(file, np.uint8, "w+", shape=shape)
