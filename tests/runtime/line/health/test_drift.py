import logging
from typing import Any

import pytest

from partsight.runtime.line.health.band import Bands, ExpectedRange
from partsight.runtime.line.health.drift import LEAST, WINDOW, Drift, Recent, Sample

BANDS = Bands(ExpectedRange(0.8, 1.25), ExpectedRange(-0.1, 0.1))


@pytest.fixture(autouse=True)
def hear_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "partsight.line")


def feed(drift: Drift, recent: Recent, count: int, focus: float | None = 1.0, exposure: float | None = 0.0) -> None:
    for _ in range(count):
        recent.add(Sample(focus, exposure, 0.5, 0.1))
        drift.judge(recent, BANDS)


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.message) for record in caplog.records]


def facts(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ("event", "camera", "measure", "median", "low", "high")}


def test_medians() -> None:
    recent = Recent()
    empty = recent.medians()
    assert (empty.focus_ratio, empty.exposure_ev, empty.score, empty.margin, empty.samples) == (None,) * 4 + (0,)
    for place in range(WINDOW + 10):
        recent.add(Sample(None if place % 2 else place, 0.1, 0.5, None))
    medians = recent.medians()
    assert medians.samples == WINDOW
    assert medians.focus_ratio == 34  # of 10, 12 … 58
    assert (medians.exposure_ev, medians.score, medians.margin) == (0.1, 0.5, None)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"focus": 0.6}, "camera c is out of focus: the sharpness of its frames is 0.60 of the golden images' where "),
        ({"focus": 1.5}, "camera c is sharper than the golden images: the sharpness of its frames is 1.50 of theirs"),
        ({"exposure": -0.42}, "camera c is too dark: its frames are at -0.42 EV beside the golden images where -0.10 "),
        ({"exposure": 0.42}, "camera c is too bright: its frames are at +0.42 EV beside the golden images where -0.1"),
    ],
)
def test_one_warning_says_what_was_measured_what_was_expected_and_what_to_do(
    values: dict[str, float], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    drift, recent = Drift("c"), Recent()
    feed(drift, recent, LEAST - 1, **values)
    assert said(caplog) == []
    assert drift.in_band() == {}
    feed(drift, recent, 2 * WINDOW, **values)
    ((level, message),) = said(caplog)
    assert level == "WARNING"
    assert message.startswith(words)
    assert "is expected; " in message
    (measure,) = values
    name = {"focus": "focus_ratio", "exposure": "exposure_ev"}[measure]
    assert drift.in_band() == {"focus_ratio": name != "focus_ratio", "exposure_ev": name != "exposure_ev"}
    band = getattr(BANDS, name)
    assert facts(caplog.records[0]) == {
        "event": "drift",
        "camera": "c",
        "measure": name,
        "median": values[measure],
        "low": band.low,
        "high": band.high,
    }


def test_when_it_is_over_that_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    drift, recent = Drift("c"), Recent()
    feed(drift, recent, WINDOW)
    feed(drift, recent, WINDOW, focus=0.5)
    feed(drift, recent, WINDOW)
    assert [level for level, _ in said(caplog)] == ["WARNING", "INFO"]
    assert caplog.records[1].message == (
        "camera c is as sharp as expected again: 1.00 of the golden images' sharpness, 0.80 to 1.25 is expected"
    )
    assert facts(caplog.records[1])["event"] == "drift_over"
    assert drift.in_band() == {"focus_ratio": True, "exposure_ev": True}


def test_a_median_at_the_limit_is_not_told_of_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    drift, recent = Drift("c"), Recent()
    for focus in (0.79, 0.81, 0.79, 0.81):
        feed(drift, recent, WINDOW, focus=focus)
    assert [level for level, _ in said(caplog)] == ["WARNING"]
    feed(drift, recent, WINDOW, focus=1.24)  # within, near the other limit
    assert [level for level, _ in said(caplog)] == ["WARNING", "INFO"]


def test_from_one_side_to_the_other(caplog: pytest.LogCaptureFixture) -> None:
    drift, recent = Drift("c"), Recent()
    feed(drift, recent, WINDOW, exposure=-0.5)
    for _ in range(WINDOW):
        recent.add(Sample(None, 0.5, None, None))
    drift.judge(recent, BANDS)
    assert ["too dark" in message for _, message in said(caplog)] == [True, False]
    assert "too bright" in said(caplog)[1][1]


def test_a_few_frames_out_of_the_band_are_none_of_its_business(caplog: pytest.LogCaptureFixture) -> None:
    drift, recent = Drift("c"), Recent()
    for _ in range(WINDOW):
        feed(drift, recent, 3)
        feed(drift, recent, 2, focus=0.2, exposure=-3.0)
    assert said(caplog) == []


def test_what_is_not_known_is_not_judged(caplog: pytest.LogCaptureFixture) -> None:
    """Too few frames of parts that have detail; no band."""
    drift, recent = Drift("c"), Recent()
    feed(drift, recent, WINDOW, focus=None)
    feed(drift, recent, LEAST - 1, focus=0.1)
    assert drift.in_band() == {"exposure_ev": True}
    drift = Drift("c")
    drift.judge(recent, Bands(None, BANDS.exposure_ev))
    assert drift.in_band() == {"exposure_ev": True}
    assert said(caplog) == []
