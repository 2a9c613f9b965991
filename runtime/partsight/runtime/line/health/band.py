"""The band: how sharp and how bright frames are when a line varies as its package was calibrated for, and no more."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from partsight.runtime.calibration import Variation, vary
from partsight.runtime.matching import Appearance, appearance_of
from partsight.runtime.recognition import Recognizer

_MAX_PARTS = 64
_COPIES = 2  # varied images of each: about a second in all
_RARE_SHARE = 0.01  # of them, beyond each limit


@dataclass(frozen=True)
class ExpectedRange:
    """What is expected of a running median, in the unit of what is measured."""

    low: float
    high: float

    def side_of(self, value: float, slack: float = 0.0) -> int:
        """Return −1 for a value below the band, 1 for one above it, else 0.

        Args:
            value: to look at.
            slack: how much narrower the band is taken on both sides, as a share of its width.
        """
        inset = slack * (self.high - self.low)
        return int(value > self.high - inset) - int(value < self.low + inset)


@dataclass(frozen=True)
class Bands:
    """What is expected of `Appearance`; `focus_ratio` is None where no golden image has detail enough."""

    focus_ratio: ExpectedRange | None
    exposure_ev: ExpectedRange


def expected_bands(recognizer: Recognizer, is_wanted: Callable[[], bool]) -> Bands | None:
    """Measure varied golden images of some of the parts, the same each time.

    Args:
        recognizer: whose golden images.
        is_wanted: asked before each part; False to give up.

    Returns:
        None where there are no golden images, or it was given up.

    Raises:
        PartsightError: a golden image is damaged, or the recogniser was closed meanwhile.
    """
    labels = recognizer.labels
    rng = np.random.default_rng(0)
    found: list[Appearance] = []
    for place in sorted(set(np.linspace(0, len(labels) - 1, _MAX_PARTS).round().astype(int).tolist())):
        golden = recognizer.golden_image(labels[place]) if is_wanted() else None
        if golden is None:
            return None
        found += [appearance_of(vary(golden, Variation(), rng), golden) for _ in range(_COPIES)]
    return _bands_of(found)


def _bands_of(found: list[Appearance]) -> Bands:
    low_ev, high_ev = np.quantile([appearance.exposure_ev for appearance in found], [_RARE_SHARE, 1 - _RARE_SHARE])
    exposure = ExpectedRange(min(0.0, float(low_ev)), max(0.0, float(high_ev)))
    focus = [appearance.focus_ratio for appearance in found if appearance.focus_ratio is not None]
    if not focus:
        return Bands(None, exposure)
    # Variation blurs and never sharpens, so it says nothing of the other side, on which a line lies whose golden
    # images were a little blurred themselves: a factor is taken for as much there as here.
    least = min(1.0, float(np.quantile(focus, _RARE_SHARE)))
    return Bands(ExpectedRange(least, 1 / least), exposure)
