"""Frames to calibrate a precision on and to judge it by: golden images, and how a line might see them."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from partsight.runtime.images import Pixels
from partsight.runtime.preprocess import PreprocessSpec, preprocess
from partsight.runtime.variation import Variation, vary
from partsight.train.progress import progress

CALIBRATION_FRAMES = 128
MOST_VARIED = 1000

_CALIBRATION_SEED, _GATE_SEED = 101, 202  # so that no frame is judged that was calibrated on


@dataclass(frozen=True)
class GateFrames:
    """What a precision is judged by.

    Attributes:
        catalog: every golden image, (images, height, width, 3) uint8 BGR, as `preprocess` makes it.
        varied: one varied frame of each golden image, or of `MOST_VARIED` of them; of the same form.
    """

    catalog: Pixels
    varied: Pixels


def calibration_frames(images: Sequence[Pixels], spec: PreprocessSpec) -> Pixels:
    """Return golden images and varied frames of others in turn, `CALIBRATION_FRAMES` at most.

    Args:
        images: the golden images, as read from their files.
        spec: the package's preprocessing.
    """
    rng = np.random.default_rng(_CALIBRATION_SEED)
    places = rng.permutation(len(images))
    # Of a small catalogue each image is used several times, varied each time anew.
    chosen = np.resize(places, min(CALIBRATION_FRAMES, 2 * len(images) + CALIBRATION_FRAMES // 2))
    frames = _empty(len(chosen), spec)
    for number, place in enumerate(progress(chosen.tolist(), len(chosen), "calibration frames", "image")):
        is_golden = number % 2 == 0 and number < len(images)
        image = images[place]
        preprocess([image if is_golden else vary(image, Variation(), rng)], spec, frames[number : number + 1])
    return frames


def gate_frames(images: Sequence[Pixels], spec: PreprocessSpec) -> GateFrames:
    """Return the frames to judge by; the same for the same catalogue.

    Args:
        images: the golden images, as read from their files.
        spec: the package's preprocessing.
    """
    rng = np.random.default_rng(_GATE_SEED)
    chosen = np.sort(rng.permutation(len(images))[:MOST_VARIED])
    catalog, varied = _empty(len(images), spec), _empty(len(chosen), spec)
    slots = {int(place): slot for slot, place in enumerate(chosen)}
    for place in progress(range(len(images)), len(images), "frames to judge by", "image"):
        image = images[place]
        preprocess([image], spec, catalog[place : place + 1])
        if place in slots:
            slot = slots[place]
            preprocess([vary(image, Variation(), rng)], spec, varied[slot : slot + 1])
    return GateFrames(catalog, varied)


def _empty(count: int, spec: PreprocessSpec) -> Pixels:
    """Return room for frames, on the disk: ten thousand of them are more than a small machine's memory."""
    shape = (count, spec.height, spec.width, 3)
    with tempfile.TemporaryFile() as file:  # the map keeps what it needs of it
        return np.memmap(file, np.uint8, "w+", shape=shape)
