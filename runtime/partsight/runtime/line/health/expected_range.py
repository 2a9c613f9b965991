"""The expected range: focus and exposure of frames while a line varies only as its package was calibrated for."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from partsight.runtime.calibration import Variation, vary
from partsight.runtime.matching import Appearance, appearance_of
from partsight.runtime.recognition import Recognizer

_MAX_PARTS = 64
_COPIES = 2  # varied images of each part: about a second in all
_RARE_SHARE = 0.01  # share of the varied images beyond each limit


@dataclass(frozen=True)
class ExpectedRange:
    """Limits between which a running median is expected, in the unit of its measure."""

    low: float
    high: float

    def side_of(self, value: float, slack: float = 0.0) -> int:
        """Return −1 for a value below the range, 1 for one above it, else 0.

        Args:
            value: Value to compare.
            slack: Share of the range's width by which it is narrower on both sides.
        """
        inset = slack * (self.high - self.low)
        return int(value > self.high - inset) - int(value < self.low + inset)


@dataclass(frozen=True)
class ExpectedRanges:
    """Expected ranges of `Appearance`; `focus_ratio` is None where no golden image has enough detail."""

    focus_ratio: ExpectedRange | None
    exposure_ev: ExpectedRange


def expected_ranges(recognizer: Recognizer, is_wanted: Callable[[], bool]) -> ExpectedRanges | None:
    """Measure varied golden images of some of the parts, the same ones each time.

    Args:
        recognizer: Recogniser that has the golden images.
        is_wanted: Function called before each part; returns False to give up.

    Returns:
        None where there are no golden images, or if it gave up.

    Raises:
        PartsightError: a golden image is damaged, or the recogniser was closed meanwhile.
    """
    labels = recognizer.labels
    rng = np.random.default_rng(0)
    found: list[Appearance] = []
    for index in sorted(set(np.linspace(0, len(labels) - 1, _MAX_PARTS).round().astype(int).tolist())):
        golden = recognizer.golden_image(labels[index]) if is_wanted() else None
        if golden is None:
            return None
        found += [appearance_of(vary(golden, Variation(), rng), golden) for _ in range(_COPIES)]
    return _ranges_of(found)


def _ranges_of(found: list[Appearance]) -> ExpectedRanges:
    low_ev, high_ev = np.quantile([appearance.exposure_ev for appearance in found], [_RARE_SHARE, 1 - _RARE_SHARE])
    exposure = ExpectedRange(min(0.0, float(low_ev)), max(0.0, float(high_ev)))
    focus = [appearance.focus_ratio for appearance in found if appearance.focus_ratio is not None]
    if not focus:
        return ExpectedRanges(None, exposure)
    # Variation blurs and never sharpens, so it gives only the lower limit. Frames are sharper than the golden images
    # where these are a little blurred themselves: the same factor is allowed on that side.
    low = min(1.0, float(np.quantile(focus, _RARE_SHARE)))
    return ExpectedRanges(ExpectedRange(low, 1 / low), exposure)
