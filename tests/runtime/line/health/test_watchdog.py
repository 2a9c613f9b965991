import re

import pytest

from partsight.runtime.line.health.drift import WINDOW, Recent, Sample
from partsight.runtime.line.health.expected_range import ExpectedRange, ExpectedRanges
from partsight.runtime.line.health.watchdog import CHECK_AGAIN_S, NOTHING_S, RecognitionWatchdog
from tests.runtime.line.health.checks import NEARER, NO_FIT, PACKAGE, Checks, event, events

EXPECTED = ExpectedRanges(ExpectedRange(0.8, 1.25), ExpectedRange(-0.1, 0.1))


def measured(focus: float | None, exposure: float | None) -> Recent:
    recent = Recent()
    for _ in range(WINDOW):
        recent.add(Sample(focus, exposure, 0.1, 0.0))
    return recent


class Camera:
    """A camera whose every frame is answered, kept and judged."""

    def __init__(self, unknown: Recent | None = None, expected: ExpectedRanges | None = EXPECTED) -> None:
        self.watchdog, self.now = RecognitionWatchdog("left"), 0.0
        self._unknown, self._expected = unknown or measured(1.0, -3.2), expected

    def answer(self, count: int, *, is_refused: bool, every_s: float = 1.0) -> None:
        for _ in range(count):
            self.watchdog.count(is_refused=is_refused, now=self.now)
            if is_refused:
                self.watchdog.keep(event("unknown"), PACKAGE)
            self.watchdog.judge(PACKAGE, self._unknown, self._expected, self.now, lambda: True)
            self.now += every_s


def test_a_set_up_that_is_found_is_logged_after_a_few_frames_and_once(
    checks: Checks, caplog: pytest.LogCaptureFixture
) -> None:
    checks.finds, camera = NEARER, Camera()
    camera.answer(8, is_refused=True)
    camera.answer(500, is_refused=True)
    assert checks.frames == [8]
    (record,) = caplog.records
    facts = vars(record)
    expected = {"event": "setup_misfit", "levelname": "WARNING", "camera": "left", "scale": 1.05, "accepted_after": 1}
    assert {name: facts[name] for name in expected} == expected
    checks.finds = NO_FIT
    camera.answer(30, is_refused=False)
    assert events(caplog) == ["setup_misfit", "recognised_again"]


def test_where_some_are_recognised_the_set_up_is_checked_as_well(
    checks: Checks, caplog: pytest.LogCaptureFixture
) -> None:
    """In RGB, the line may still recognise a third of the parts."""
    checks.finds, camera = NEARER, Camera()
    for _ in range(10):
        camera.answer(1, is_refused=False)
        camera.answer(2, is_refused=True)
    assert events(caplog) == ["setup_misfit"]


def test_nothing_runs_while_frames_are_recognised(checks: Checks, caplog: pytest.LogCaptureFixture) -> None:
    camera = Camera()
    for _ in range(200):
        camera.answer(3, is_refused=False)
        camera.answer(2, is_refused=True)
    assert checks.frames == []
    assert events(caplog) == []


def test_it_is_logged_once_that_nothing_is_recognised_and_once_that_it_is_over(
    checks: Checks, caplog: pytest.LogCaptureFixture
) -> None:
    camera = Camera()
    camera.answer(1, is_refused=False)
    camera.answer(int(NOTHING_S) - 1, is_refused=True)
    assert events(caplog) == []
    camera.answer(400, is_refused=True)
    assert events(caplog) == ["nothing_recognised"]
    camera.answer(2, is_refused=False)
    assert events(caplog) == ["nothing_recognised", "recognised_again"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    camera.answer(int(NOTHING_S) + 1, is_refused=True)
    assert events(caplog)[2:] == ["nothing_recognised"]
    assert len(checks.frames) == 1  # the share of refused frames was high all the time


def test_a_camera_that_never_saw_a_part(checks: Checks, caplog: pytest.LogCaptureFixture) -> None:
    camera = Camera()
    camera.answer(int(NOTHING_S), is_refused=True)
    assert events(caplog) == []
    camera.answer(1, is_refused=True)
    assert events(caplog) == ["nothing_recognised"]
    assert len(checks.frames) == 1


def test_a_check_that_finds_nothing_is_repeated_after_a_while_or_once_parts_were_recognised(checks: Checks) -> None:
    camera = Camera(measured(1.0, 0.0))
    for _ in range(int(CHECK_AGAIN_S) // 2 + 20):  # a few are recognised, so that there is no warning
        camera.answer(1, is_refused=True)
        camera.answer(1, is_refused=len(checks.frames) == 0)
    assert len(checks.frames) == 2
    camera.answer(100, is_refused=False)
    camera.answer(50, is_refused=True)
    assert len(checks.frames) == 3


@pytest.mark.parametrize(
    ("focus", "exposure", "expected", "figures"),
    [
        (1.0, 0.02, EXPECTED, []),
        (0.41, 0.0, EXPECTED, ["0.41"]),
        (0.41, 2.0, EXPECTED, ["+2.00 EV", "0.41"]),
        (1.9, None, EXPECTED, ["1.90"]),
        (None, -2.0, EXPECTED, ["-2.00 EV"]),
        (0.4, 0.0, ExpectedRanges(None, EXPECTED.exposure_ev), []),
        (None, None, EXPECTED, []),
        (0.4, -3.0, None, []),
    ],
)
def test_the_warning_has_each_measure_that_is_out_of_range(
    *,
    focus: float | None,
    exposure: float | None,
    expected: ExpectedRanges | None,
    figures: list[str],
    checks: Checks,
    caplog: pytest.LogCaptureFixture,
) -> None:
    Camera(measured(focus, exposure), expected).answer(int(NOTHING_S) + 1, is_refused=True)
    assert checks.frames == [8]
    (message,) = caplog.messages
    assert re.findall(r"[-+]?\d+\.\d+(?: EV)?", message) == figures
