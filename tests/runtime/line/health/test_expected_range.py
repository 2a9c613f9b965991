from pathlib import Path
from typing import Any

import pytest

from partsight.runtime import PackageError, Recognizer
from partsight.runtime.line.health.expected_range import ExpectedRange, expected_ranges
from tests.runtime.line.real_parts import RealParts
from tests.tiny import ONE_THREAD

SIDES = [(0.79, -1), (0.8, 0), (1.0, 0), (1.2, 0), (1.21, 1), (float("inf"), 1)]


@pytest.mark.parametrize(("value", "side"), SIDES)
def test_sides(value: float, side: int) -> None:
    assert ExpectedRange(0.8, 1.2).side_of(value) == side


@pytest.mark.parametrize(("value", "side"), [(0.83, -1), (0.85, 0), (1.15, 0), (1.17, 1)])
def test_slack_narrows_it_on_both_sides(value: float, side: int) -> None:
    assert ExpectedRange(0.8, 1.2).side_of(value, slack=0.1) == side


def test_of_real_parts(example_parts: Path) -> None:
    parts: Any = RealParts(example_parts, 24)
    ranges = expected_ranges(parts, lambda: True)
    assert ranges is not None and ranges.focus_ratio is not None
    assert 0.8 < ranges.focus_ratio.low < 0.93
    assert ranges.focus_ratio.high == pytest.approx(1 / ranges.focus_ratio.low)
    assert -0.14 < ranges.exposure_ev.low < -0.07
    assert 0.07 < ranges.exposure_ev.high < 0.14
    assert expected_ranges(parts, lambda: True) == ranges  # the same each time


def test_parts_without_detail_have_no_focus(matching_package: Path) -> None:
    with Recognizer(matching_package, engine=ONE_THREAD) as recognizer:
        ranges = expected_ranges(recognizer, lambda: True)
    assert ranges is not None
    assert ranges.focus_ratio is None
    assert ranges.exposure_ev.low < 0
    assert ranges.exposure_ev.high == 0  # these colours have no brighter one


def test_without_golden_images(tiny_package: Path) -> None:
    with Recognizer(tiny_package, engine=ONE_THREAD) as recognizer:
        assert expected_ranges(recognizer, lambda: True) is None


def test_given_up(matching_package: Path) -> None:
    answers = iter([True, True, False])
    with Recognizer(matching_package, engine=ONE_THREAD) as recognizer:
        assert expected_ranges(recognizer, lambda: next(answers)) is None


def test_a_damaged_golden_image(example_parts: Path) -> None:
    class Damaged(RealParts):
        def golden_image(self, label: str) -> Any:
            raise PackageError(f"{label} was altered")

    with pytest.raises(PackageError):
        expected_ranges(Damaged(example_parts, 1), lambda: True)  # type: ignore[arg-type]
