import logging
from typing import Any

import pytest

from partsight.runtime.line.health.drift import MIN_SAMPLES, WINDOW, Drift, Recent, Sample
from partsight.runtime.line.health.expected_range import ExpectedRange, ExpectedRanges

EXPECTED = ExpectedRanges(ExpectedRange(0.8, 1.25), ExpectedRange(-0.1, 0.1))


@pytest.fixture(autouse=True)
def hear_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "partsight.line")


def measure(drift: Drift, recent: Recent, count: int, focus: float | None = 1.0, exposure: float | None = 0.0) -> None:
    for _ in range(count):
        recent.add(Sample(focus, exposure, 0.5, 0.1))
        drift.judge(recent, EXPECTED)


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.event) for record in caplog.records]  # type: ignore[attr-defined]


def facts(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ("event", "camera", "measure", "median", "low", "high")}


WARNING, OVER = ("WARNING", "drift"), ("INFO", "drift_over")


def test_medians() -> None:
    recent = Recent()
    empty = recent.medians()
    assert (empty.focus_ratio, empty.exposure_ev, empty.score, empty.margin, empty.samples) == (None,) * 4 + (0,)
    for index in range(WINDOW + 10):
        recent.add(Sample(None if index % 2 else index, 0.1, 0.5, None))
    medians = recent.medians()
    assert medians.samples == WINDOW
    assert medians.focus_ratio == 34  # of 10, 12 … 58
    assert (medians.exposure_ev, medians.score, medians.margin) == (0.1, 0.5, None)


@pytest.mark.parametrize(
    ("values", "figures"),
    [
        ({"focus": 0.6}, ("0.60", "0.80 to 1.25")),
        ({"focus": 1.5}, ("1.50", "0.80 to 1.25")),
        ({"exposure": -0.42}, ("-0.42 EV", "-0.10 to +0.10")),
        ({"exposure": 0.42}, ("+0.42 EV", "-0.10 to +0.10")),
    ],
)
def test_one_warning_has_the_median_and_the_expected_range(
    values: dict[str, float], figures: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    drift, recent = Drift("c"), Recent()
    measure(drift, recent, MIN_SAMPLES - 1, **values)
    assert logged(caplog) == []
    assert drift.in_range() == {}
    measure(drift, recent, 2 * WINDOW, **values)
    assert logged(caplog) == [WARNING]
    assert all(figure in caplog.messages[0] for figure in figures)
    (changed,) = values
    name = {"focus": "focus_ratio", "exposure": "exposure_ev"}[changed]
    assert drift.in_range() == {"focus_ratio": name != "focus_ratio", "exposure_ev": name != "exposure_ev"}
    limits = getattr(EXPECTED, name)
    assert facts(caplog.records[0]) == {
        "event": "drift",
        "camera": "c",
        "measure": name,
        "median": values[changed],
        "low": limits.low,
        "high": limits.high,
    }


def test_the_end_of_a_drift_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    drift, recent = Drift("c"), Recent()
    measure(drift, recent, WINDOW)
    measure(drift, recent, WINDOW, focus=0.5)
    measure(drift, recent, WINDOW)
    assert logged(caplog) == [WARNING, OVER]
    assert facts(caplog.records[1])["median"] == 1
    assert drift.in_range() == {"focus_ratio": True, "exposure_ev": True}


def test_a_median_at_the_limit_is_not_logged_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    drift, recent = Drift("c"), Recent()
    for focus in (0.79, 0.81, 0.79, 0.81):
        measure(drift, recent, WINDOW, focus=focus)
    assert logged(caplog) == [WARNING]
    measure(drift, recent, WINDOW, focus=1.24)  # within, near the other limit
    assert logged(caplog) == [WARNING, OVER]


def test_from_one_side_to_the_other(caplog: pytest.LogCaptureFixture) -> None:
    drift, recent = Drift("c"), Recent()
    measure(drift, recent, WINDOW, exposure=-0.5)
    for _ in range(WINDOW):
        recent.add(Sample(None, 0.5, None, None))
    drift.judge(recent, EXPECTED)
    assert logged(caplog) == [WARNING, WARNING]
    assert [facts(record)["median"] for record in caplog.records] == [-0.5, 0.5]


def test_a_few_frames_out_of_range_are_no_drift(caplog: pytest.LogCaptureFixture) -> None:
    drift, recent = Drift("c"), Recent()
    for _ in range(WINDOW):
        measure(drift, recent, 3)
        measure(drift, recent, 2, focus=0.2, exposure=-3.0)
    assert logged(caplog) == []


def test_an_unknown_measure_is_not_judged(caplog: pytest.LogCaptureFixture) -> None:
    """Too few frames of parts that have detail; no expected range."""
    drift, recent = Drift("c"), Recent()
    measure(drift, recent, WINDOW, focus=None)
    measure(drift, recent, MIN_SAMPLES - 1, focus=0.1)
    assert drift.in_range() == {"exposure_ev": True}
    drift = Drift("c")
    drift.judge(recent, ExpectedRanges(None, EXPECTED.exposure_ev))
    assert drift.in_range() == {"exposure_ev": True}
    assert logged(caplog) == []
