from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from partsight.runtime.calibration.setup_check import MAX_FRAMES, MIN_FRAMES, SetupCheck
from partsight.runtime.core.errors import PartsightError
from partsight.runtime.line.health import setup_watch
from partsight.runtime.line.health.setup_watch import RefusedFrames, SetupWatch
from tests.runtime.line.health.checks import NEARER, NO_FIT, PACKAGE, Checks, event, events


def test_kept_frames_are_few_and_small() -> None:
    frames = RefusedFrames()
    for level in range(MAX_FRAMES + 3):
        frames.add(np.full((1000, 2000, 3), level, np.uint8), PACKAGE.manifest)
    assert [frame[0, 0, 0] for frame in frames.frames()] == list(range(MAX_FRAMES + 2, 2, -1))
    assert {frame.shape for frame in frames.frames()} == {(320, 640, 3)}


def test_frames_of_a_package_with_a_region_stay_whole_and_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup_watch, "MAX_KEPT_BYTES", 6 * 800 * 800)
    frames, manifest = RefusedFrames(), SimpleNamespace(preprocess=SimpleNamespace(region=object()))
    for _ in range(MAX_FRAMES):
        frames.add(np.zeros((800, 800), np.uint8), manifest)  # type: ignore[arg-type]
    assert [frame.shape for frame in frames.frames()] == [(800, 800)] * 6


class EndingLine:
    """A stand-in for a line."""

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

    monkeypatch.setattr(setup_watch, "find_misfit", fail)
    line = EndingLine()
    watch: Any = SetupWatch(line)  # type: ignore[arg-type]
    for _ in range(9):
        line.hear(event("unknown"))
    watch.check()
    assert events(caplog) == ["setup_unchecked"]
    assert "gallery/00001.jpg" in caplog.text
