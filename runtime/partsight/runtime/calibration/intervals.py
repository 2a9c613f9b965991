"""Intervals of rates: how far a share of some frames may lie from the share of all frames."""

from dataclasses import dataclass
from math import sqrt

_NORMAL_95 = 1.959964
"""Quantile of the normal distribution that holds 95 % between minus and plus itself."""


@dataclass(frozen=True)
class RateInterval:
    """A share of frames and its 95 % interval.

    Attributes:
        hits: Number of frames that count.
        total: Number of all frames.
        low, high: Ends of the interval, in [0, 1]; 0 and 1 without frames.
    """

    hits: int
    total: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Share of the frames that count; 0 without frames."""
        return self.hits / self.total if self.total else 0.0

    def describe(self) -> str:
        """Return the share with its interval and counts, such as "2.1 % (1.2 to 3.7 %; 12 of 580 frames)"."""
        digits = 2 if self.high < 0.01 or self.low > 0.99 else 1
        rate, low, high = (f"{100 * share:.{digits}f}" for share in (self.rate, self.low, self.high))
        return f"{rate} % ({low} to {high} %; {self.hits:,} of {self.total:,} frames)"


def wilson(hits: int, total: int) -> RateInterval:
    """Return the 95 % Wilson score interval of a share.

    The interval holds the share of all frames in 19 of 20 samples, also if no frame or every frame counts.
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    Args:
        hits: Number of frames that count.
        total: Number of all frames, independent of each other.
    """
    if not total:
        return RateInterval(hits, total, 0.0, 1.0)
    share, square = hits / total, _NORMAL_95**2 / total
    centre = (share + square / 2) / (1 + square)
    half = _NORMAL_95 * sqrt((share * (1 - share) + square / 4) / total) / (1 + square)
    return RateInterval(hits, total, max(0.0, centre - half), min(1.0, centre + half))
