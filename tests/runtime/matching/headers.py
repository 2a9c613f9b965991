"""Real headers that differ in one pin, a matcher of them, and frames that show them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from partsight.runtime.core.arrays import Pixels
from partsight.runtime.matching import Bank, Matcher, Matches, MatchingSpec, prepare_all
from partsight.runtime.package.gallery import decode_golden_image, encode_golden_image
from tests.laid import as_compared, golden, laid

HEADERS = [
    *(f"PinHeader_1x{pins}_P2.00mm_Horizontal" for pins in (11, 12, 13, 15)),
    *(f"PinSocket_1x{pins}_P2.00mm_Horizontal" for pins in (10, 11, 12, 13)),
    "PinHeader_1x12_P2.54mm_Horizontal",
    "PinHeader_1x13_P2.54mm_Horizontal",
]
HEADER_12 = 1
"""Its place, of 12 pins."""
SPEC = MatchingSpec(height=192, width=192)


def images_of(example_parts: Path, names: Sequence[str] = HEADERS) -> list[Pixels]:
    """Return golden images, (256, 256, 3) each."""
    return [golden(example_parts, name) for name in names]


def bank_of(images: Sequence[Pixels], class_of: Sequence[int] | None = None) -> Bank:
    """Return the bank of golden images as a package holds them, one a class or as said."""
    stored = [decode_golden_image(encode_golden_image(as_compared(image)), "here") for image in images]
    return Bank.of(prepare_all(stored, range(len(images)) if class_of is None else class_of))


def matcher_of(
    images: Sequence[Pixels], class_of: Sequence[int] | None = None, spec: MatchingSpec | None = None
) -> Matcher:
    """Return a matcher with golden images, at their size."""
    height, width = as_compared(images[0]).shape[:2]
    return Matcher(bank_of(images, class_of), spec or MatchingSpec(height=height, width=width))


def frame_of(image: Pixels, **pose: float) -> Pixels:
    """Return a frame that shows a part a little shifted and turned."""
    return as_compared(laid(image, **{"turn_deg": 2, "x": 0.02, "y": -0.01, **pose}))


def tied(matcher: Matcher, frames: int) -> np.ndarray:
    """Return scores of a network that cannot tell."""
    return np.zeros((frames, matcher.bank.classes), np.float32)


def match_one(matcher: Matcher, frame: Pixels, score: np.ndarray | None = None) -> Matches:
    """Compare one frame."""
    return matcher.match(frame[None], tied(matcher, 1) if score is None else score[None])


def agreement_with(matches: Matches, index: int, frame: int = 0) -> float:
    """Return how well a frame agrees with a class; 0 where it is no finalist."""
    pairs = zip(matches.classes[frame].tolist(), matches.agreement[frame].tolist(), strict=True)
    return dict(pairs).get(index, 0.0)
