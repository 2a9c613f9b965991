"""A stand-in for a recogniser in tests of health: real golden images and no network."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from partsight.runtime.core.arrays import Pixels
from partsight.runtime.images.image_file import read_image
from partsight.runtime.matching.appearance import Appearance, appearance_of
from tests.laid import as_compared, golden


class RealParts:
    """The parts of the examples that have a frame of a line."""

    def __init__(self, example_parts: Path, count: int) -> None:
        folders = sorted((example_parts / "line").iterdir())[:count]
        self.labels = tuple(folder.name for folder in folders)
        self.frames = [read_image(next(folder.iterdir())) for folder in folders]
        self.package_id, self.is_closed = "0123456789abcdef", False
        self.manifest: Any = SimpleNamespace(preprocess=SimpleNamespace(region=None))
        self._golden = {label: as_compared(golden(example_parts, label)) for label in self.labels}

    def golden_image(self, label: str) -> Pixels:
        return self._golden[label]

    def appearance(self, frame: Pixels, label: str) -> Appearance:
        return appearance_of(as_compared(frame), self._golden[label])


def blurred(sigma_px: float) -> Callable[[Pixels], Pixels]:
    """Return what a lens out of focus makes of a frame; the sensor's noise comes after it."""
    rng = np.random.default_rng(0)

    def blur(frame: Pixels) -> Pixels:
        noise = rng.normal(0, 1.5, frame.shape)
        return np.clip(np.rint(cv2.GaussianBlur(frame, (0, 0), sigma_px) + noise), 0, 255).astype(np.uint8)

    return blur


def exposed(ev: float) -> Callable[[Pixels], Pixels]:
    """Return a function that changes the exposure of a frame; brighter pixels than white become white."""
    return lambda frame: np.clip(np.rint(frame * 2.0**ev), 0, 255).astype(np.uint8)
