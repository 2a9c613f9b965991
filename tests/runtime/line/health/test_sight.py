import logging
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from partsight.runtime.calibration.setup import Setup
from partsight.runtime.calibration.setup_check import MAX_FRAMES, MIN_FRAMES, SetupCheck
from partsight.runtime.cameras.camera import Frame
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.core.errors import PartsightError
from partsight.runtime.line.health import sight as module
from partsight.runtime.line.health.band import Bands, ExpectedRange
from partsight.runtime.line.health.drift import WINDOW, Recent, Sample
from partsight.runtime.line.health.sight import CHECK_AGAIN_S, NOTHING_S, RecognitionWatchdog, RefusedFrames, SetupWatch
from partsight.runtime.sinks.record import FrameEvent, Record

BANDS = Bands(ExpectedRange(0.8, 1.25), ExpectedRange(-0.1, 0.1))
NO_FIT = SetupCheck(None, 16, 40, 0.0, 0.0, 0.1, 0.1)
NEARER = replace(NO_FIT, fits=Setup(scale=1.05), accepted_after=1.0, labels=("a", "b"))
PACKAGE: Any = SimpleNamespace(manifest=SimpleNamespace(preprocess=SimpleNamespace(region=None)))


@pytest.fixture(autouse=True)
def hear_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "partsight.line")


class Checks:
    """Stands for `find_misfit`: counts the frames of each check, and finds what a test says."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.finds: SetupCheck | None = NO_FIT

    def __call__(self, _: object, frames: Sequence[Pixels], *__: object) -> SetupCheck | None:
        self.frames.append(len(frames))
        return self.finds


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Checks:
    checks = Checks()
    monkeypatch.setattr(module, "find_misfit", checks)
    return checks


def measured(focus: float | None, exposure: float | None) -> Recent:
    recent = Recent()
    for _ in range(WINDOW):
        recent.add(Sample(focus, exposure, 0.1, 0.0))
    return recent


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.event for record in caplog.records]  # type: ignore[attr-defined]


def event(outcome: Any, image: Pixels | None = None) -> FrameEvent:
    record = Record(outcome=outcome, camera="left", source="s", sequence=0, run="r", timestamp=0.0)
    return FrameEvent(record, Frame(np.zeros((4, 4, 3), np.uint8) if image is None else image, "s", 0, 0.0))


class Camera:
    """A camera whose every frame is answered, kept and judged."""

    def __init__(self, unknown: Recent | None = None, bands: Bands | None = BANDS) -> None:
        self.sight, self.now = RecognitionWatchdog("left"), 0.0
        self._unknown, self._bands = unknown or measured(1.0, -3.2), bands

    def answer(self, count: int, *, is_refused: bool, every_s: float = 1.0) -> None:
        for _ in range(count):
            self.sight.take(is_refused=is_refused, now=self.now)
            if is_refused:
                self.sight.keep(event("unknown"), PACKAGE)
            self.sight.judge(PACKAGE, self._unknown, self._bands, self.now, lambda: True)
            self.now += every_s


def test_a_set_up_that_is_found_is_logged_after_a_few_frames_and_once(
    checks: Checks, caplog: pytest.LogCaptureFixture
) -> None:
    checks.finds, camera = NEARER, Camera()
    camera.answer(8, is_refused=True)
    camera.answer(500, is_refused=True)
    assert checks.frames == [8]
    (record,) = caplog.records
    facts: Any = record
    assert (facts.event, facts.levelname, facts.camera, facts.scale) == ("setup_misfit", "WARNING", "left", 1.05)
    assert facts.accepted_after == 1
    assert "scale 1.05: the camera is nearer" in record.message
    checks.finds = NO_FIT
    camera.answer(30, is_refused=False)
    assert events(caplog) == ["setup_misfit", "recognised_again"]


def test_where_some_are_recognised_the_set_up_is_checked_as_well(
    checks: Checks, caplog: pytest.LogCaptureFixture
) -> None:
    """In RGB, a third of the parts may be recognised all the same."""
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
    ("focus", "exposure", "bands", "words"),
    [
        (1.0, 0.02, BANDS, "as bright and as sharp as expected"),
        (0.41, 0.0, BANDS, "out of focus: 0.41"),
        (0.41, 2.0, BANDS, "too bright: +2.00 EV"),
        (1.9, None, BANDS, "sharper than"),
        (None, -2.0, BANDS, "too dark: -2.00 EV"),
        (0.4, 0.0, Bands(None, BANDS.exposure_ev), "as bright"),
        (None, None, BANDS, "not measured"),
        (0.4, -3.0, None, "not measured"),
    ],
)
def test_it_says_how_the_frames_look(
    *,
    focus: float | None,
    exposure: float | None,
    bands: Bands | None,
    words: str,
    checks: Checks,
    caplog: pytest.LogCaptureFixture,
) -> None:
    Camera(measured(focus, exposure), bands).answer(int(NOTHING_S) + 1, is_refused=True)
    assert checks.frames == [8]
    (message,) = caplog.messages
    assert words in message


def test_kept_frames_are_few_and_small() -> None:
    frames = RefusedFrames()
    for level in range(MAX_FRAMES + 3):
        frames.add(np.full((1000, 2000, 3), level, np.uint8), PACKAGE.manifest)
    assert [frame[0, 0, 0] for frame in frames.frames()] == list(range(MAX_FRAMES + 2, 2, -1))
    assert {frame.shape for frame in frames.frames()} == {(320, 640, 3)}


def test_frames_of_a_package_with_a_region_stay_whole_and_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT_BYTES", 6 * 800 * 800)
    frames, manifest = RefusedFrames(), SimpleNamespace(preprocess=SimpleNamespace(region=object()))
    for _ in range(MAX_FRAMES):
        frames.add(np.zeros((800, 800), np.uint8), manifest)  # type: ignore[arg-type]
    assert [frame.shape for frame in frames.frames()] == [(800, 800)] * 6


class EndingLine:
    """What `SetupWatch` needs of a line."""

    def __init__(self) -> None:
        self.recognizer = PACKAGE

    def listen(self, hear: Any) -> None:
        self.hear = hear


@pytest.mark.parametrize(
    ("unknown", "recognised", "finds", "expected"),
    [
        (20, 0, NEARER, ["setup_misfit"]),
        (20, 20, NEARER, ["setup_misfit"]),
        (20, 0, NO_FIT, ["nothing_fits"]),
        (20, 21, NEARER, []),
        (MIN_FRAMES - 1, 0, NEARER, []),
        (20, 0, None, []),
    ],
)
def test_a_line_that_ends(
    *,
    unknown: int,
    recognised: int,
    finds: SetupCheck | None,
    expected: list[str],
    checks: Checks,
    caplog: pytest.LogCaptureFixture,
) -> None:
    checks.finds, line = finds, EndingLine()
    watch: Any = SetupWatch(line)  # type: ignore[arg-type]
    for outcome, count in (("unknown", unknown), ("recognised", recognised), ("failed", 99)):
        for _ in range(count):
            line.hear(event(outcome))
    watch.check()
    assert events(caplog) == expected
    if recognised > unknown:
        assert checks.frames == []


def test_a_check_at_the_end_that_fails_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise PartsightError("gallery/00001.jpg is gone")

    monkeypatch.setattr(module, "find_misfit", fail)
    line = EndingLine()
    watch: Any = SetupWatch(line)  # type: ignore[arg-type]
    for _ in range(9):
        line.hear(event("unknown"))
    watch.check()
    assert events(caplog) == ["setup_unchecked"]
    assert "gallery/00001.jpg" in caplog.text
