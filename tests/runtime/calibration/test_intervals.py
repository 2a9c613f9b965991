"""Intervals of rates."""

import numpy as np
import pytest

from partsight.runtime.calibration import wilson


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (1, 100, 0.0018, 0.0545), (100, 100, 0.9630, 1.0)],
)
def test_interval(hits: int, total: int, low: float, high: float) -> None:
    """The values are those of Wilson's formula, as in Newcombe, Statistics in Medicine 17 (1998)."""
    found = wilson(hits, total)
    assert (found.rate, found.low, found.high) == pytest.approx((hits / total, low, high), abs=1e-4)


def test_no_frames_say_nothing() -> None:
    found = wilson(0, 0)
    assert (found.rate, found.low, found.high) == (0, 0, 1)


@pytest.mark.parametrize("rate", [0.005, 0.02, 0.3, 0.98])
def test_the_interval_holds_the_rate_in_nineteen_of_twenty_samples(rate: float) -> None:
    hits = np.random.default_rng(0).binomial(500, rate, 2000)
    held = [found.low <= rate <= found.high for found in (wilson(int(count), 500) for count in hits)]
    assert 0.93 < np.mean(held) < 0.985


def test_description() -> None:
    assert wilson(12, 580).describe() == "2.1 % (1.2 to 3.6 %; 12 of 580 frames)"
    assert wilson(1, 2000).describe().startswith("0.05 % (0.01 to 0.28 %")
