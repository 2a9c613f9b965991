import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from partsight.runtime import Recognizer
from partsight.runtime.calibration.setup import Setup
from partsight.runtime.calibration.setup_check import SetupCheck
from partsight.runtime.cameras.camera import Frame
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.line import Line, Policy
from partsight.runtime.line.health import monitor as health
from partsight.runtime.line.health import watchdog
from partsight.runtime.line.health.drift import MIN_SAMPLES, WINDOW, Recent
from partsight.runtime.line.health.expected_range import ExpectedRanges, expected_ranges
from partsight.runtime.line.health.monitor import SHARE_WINDOW, CameraHealth, Health, HealthState
from partsight.runtime.line.metrics.registry import Metrics
from partsight.runtime.sinks.record import Candidate, FrameEvent, Record
from tests.runtime.line.metrics.test_registry import of, read
from tests.runtime.line.real_parts import RealParts, blurred, exposed
from tests.runtime.line.scripted import ScriptedCamera, Step
from tests.tiny import ONE_THREAD, solid, tiny_manifest, tiny_matching, write_tiny_package
from tests.waiting import HANG_S, wait_until

BLOCK = Policy("block", 4)


@pytest.fixture(autouse=True)
def every_frame_is_measured(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(health, "EVERY_S", 0.0)
    monkeypatch.setattr(health, "MAX_WAITING", 1000)
    caplog.set_level(logging.INFO, "partsight.line")


@pytest.fixture
def recognizer(matching_package: Path) -> Iterator[Recognizer]:
    with Recognizer(matching_package, batch_size=4, engine=ONE_THREAD) as recognizer:
        yield recognizer


def dim(share: float) -> Pixels:
    return solid((round(255 * share), 0, 0))


def logged(caplog: pytest.LogCaptureFixture, *events: str) -> list[tuple[str, str, str]]:
    """Return level, event and camera of each record whose event begins so."""
    return [
        (record.levelname, record.event, getattr(record, "camera", ""))  # type: ignore[attr-defined]
        for record in caplog.records
        if getattr(record, "event", "").startswith(events or ("drift", "health"))
    ]


def test_a_lamp_that_fades_and_is_changed(recognizer: Recognizer, caplog: pytest.LogCaptureFixture) -> None:
    """In a running line: one warning for one camera, one record when it is well again, none for the other."""
    left, right = ScriptedCamera(), ScriptedCamera()
    line = Line(recognizer, {"left": lambda: left, "right": lambda: right}, policy=BLOCK)
    watch = Health(line)
    metrics = Metrics(line, watch)

    def judged(is_in: bool) -> Step:
        return lambda: wait_until(lambda: watch.state().cameras["left"].in_range.get("exposure_ev") is is_in)

    def ready() -> None:
        wait_until(lambda: watch.state().expected is not None)

    blue, dark = [solid("blue")] * WINDOW, [dim(0.8)] * WINDOW
    left.script([ready, *blue, judged(True), *dark, judged(False), *blue, judged(True)])
    right.script([ready, *[solid("green")] * WINDOW])
    with watch, line:
        assert line.wait(HANG_S)
        wait_until(lambda: watch.state().cameras["right"].recognised.samples == WINDOW)
        samples = read(metrics)
    assert logged(caplog) == [("WARNING", "drift", "left"), ("INFO", "drift_over", "left")]
    warning = vars(caplog.records[[record.levelname for record in caplog.records].index("WARNING")])
    assert warning["measure"] == "exposure_ev"
    assert -0.4 < warning["median"] < warning["low"]
    assert of(samples, "partsight_in_band", camera="left", measure="exposure_ev") == 1
    assert of(samples, "partsight_exposure_ev", camera="left", outcome="recognised") == 0
    assert -0.14 < of(samples, "partsight_exposure_ev_limit", limit="low") < -0.07
    assert of(samples, "partsight_score_median", camera="right", outcome="recognised") > 0.9
    assert of(samples, "partsight_measured_frames", camera="left", outcome="recognised") == WINDOW
    assert of(samples, "partsight_measured_frames", camera="left", outcome="unknown") == 0
    assert of(samples, "partsight_unknown_share", camera="right") == 0
    assert of(samples, "partsight_expected_unknown_share") == 0
    assert not [name for name, _ in samples if name.startswith("partsight_focus_ratio")]  # these parts have no detail


def test_a_lamp_that_goes_out(
    recognizer: Recognizer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "NOTHING_S", 0.0)
    monkeypatch.setattr(watchdog, "find_misfit", lambda *_: None)
    camera = ScriptedCamera()
    line = Line(recognizer, {"left": lambda: camera}, policy=BLOCK)
    watch = Health(line)

    def heard() -> list[tuple[str, str, str]]:
        return logged(caplog, "nothing_recognised", "recognised_again")

    def warned() -> None:
        wait_until(lambda: bool(heard()))

    def ready() -> None:
        wait_until(lambda: watch.state().expected is not None)

    dark = [dim(0.1)] * (SHARE_WINDOW + WINDOW)
    camera.script([ready, solid("blue"), *dark, warned, solid("blue"), solid("blue")])
    with watch, line:
        assert line.wait(HANG_S)
        wait_until(lambda: len(heard()) == 2)
    assert heard() == [("WARNING", "nothing_recognised", "left"), ("INFO", "recognised_again", "left")]
    (message,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert re.search(r"-\d+\.\d\d EV", message)


class FakeLine:
    """A stand-in for a line."""

    def __init__(self, recognizer: Any) -> None:
        self.recognizer = recognizer
        self.hear: Callable[[FrameEvent], None] = lambda _: None

    def listen(self, listener: Callable[[FrameEvent], None]) -> None:
        self.hear = listener


def event(image: Pixels, label: str, package_id: str, *, outcome: Any = "recognised", camera: str = "c") -> FrameEvent:
    record = Record(
        outcome=outcome,
        camera=camera,
        source="s",
        sequence=0,
        run="r",
        timestamp=0.0,
        package_id=package_id,
        label=label if outcome == "recognised" else None,
        score=0.5,
        margin=0.1,
        top=(Candidate(label, 0.5),),
    )
    return FrameEvent(record, Frame(image, "s", 0, 0.0))


@pytest.fixture(scope="module")
def real_parts(example_parts: Path) -> RealParts:
    return RealParts(example_parts, MIN_SAMPLES + 5)


@pytest.fixture(scope="module")
def real_ranges(real_parts: Any) -> ExpectedRanges | None:
    return expected_ranges(real_parts, lambda: True)


@pytest.fixture
def parts(real_parts: RealParts, real_ranges: ExpectedRanges | None, monkeypatch: pytest.MonkeyPatch) -> RealParts:
    monkeypatch.setattr(health, "expected_ranges", lambda *_: real_ranges)  # once for all tests: it takes a second
    monkeypatch.setattr(watchdog, "find_misfit", lambda *_: None)
    return real_parts


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda frame: frame, []),
        (blurred(1.5), [("focus_ratio", True)]),
        (blurred(3), [("focus_ratio", True)]),
        (exposed(-0.5), [("exposure_ev", True)]),
        (exposed(0.5), [("exposure_ev", False)]),
    ],
)
def test_frames_of_a_line(
    parts: RealParts,
    change: Callable[[Pixels], Pixels],
    expected: list[tuple[str, bool]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Honest frames of real parts are in range; those of a defocused or a badly lit camera are below it or above it."""
    line: Any = FakeLine(parts)
    with Health(line) as watch:
        wait_until(lambda: watch.state().expected is not None)
        for frame, label in zip(parts.frames, parts.labels, strict=True):
            line.hear(event(change(frame), label, parts.package_id))
        wait_until(
            lambda: bool(watch.state().cameras) and watch.state().cameras["c"].recognised.samples == len(parts.frames)
        )
        wait_until(lambda: len(watch.state().cameras["c"].in_range) == 2)
    state = watch.state().cameras["c"]
    assert list(state.in_range.values()).count(False) == len(expected)
    warnings = [vars(record) for record in caplog.records if record.levelno >= logging.WARNING]
    assert [(facts["measure"], facts["median"] < facts["low"]) for facts in warnings] == expected


def test_unknown_frames_are_measured_and_not_judged(parts: RealParts, caplog: pytest.LogCaptureFixture) -> None:
    line: Any = FakeLine(parts)
    dark = exposed(-1.0)
    with Health(line) as watch:
        wait_until(lambda: watch.state().expected is not None)
        for frame, label in zip(parts.frames, parts.labels, strict=True):
            line.hear(event(dark(frame), label, parts.package_id, outcome="unknown"))
        line.hear(event(parts.frames[0], parts.labels[0], parts.package_id))
        wait_until(lambda: watch.state().cameras["c"].recognised.samples == 1)
        state = watch.state().cameras["c"]
    assert state.unknown.samples == len(parts.frames)
    assert state.unknown.exposure_ev == pytest.approx(-1, abs=0.1)
    assert state.unknown_share == pytest.approx(len(parts.frames) / (len(parts.frames) + 1))
    assert state.in_range == {}
    assert logged(caplog) == []


def test_a_set_up_is_checked_in_the_thread_of_health(
    parts: RealParts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    checked: list[tuple[str, int]] = []

    def find(_: object, frames: list[Pixels], is_wanted: Callable[[], bool]) -> SetupCheck:
        assert is_wanted()
        checked.append((threading.current_thread().name, len(frames)))
        return SetupCheck(Setup(turn_deg=180), len(frames), 9, 0.0, 1.0, 0.1, 0.6)

    monkeypatch.setattr(watchdog, "find_misfit", find)
    line: Any = FakeLine(parts)
    with Health(line) as watch:
        wait_until(lambda: watch.state().expected is not None)
        for frame, label in zip(parts.frames, parts.labels, strict=True):
            line.hear(event(frame, label, parts.package_id, outcome="unknown"))
        wait_until(lambda: watch.state().cameras["c"].unknown.samples == len(parts.frames))
        wait_until(lambda: logged(caplog, "setup_misfit") == [("WARNING", "setup_misfit", "c")])
    assert checked == [("partsight-health", 8)]


class GatedParts:
    """Parts of which a frame is measured only once a test allows it."""

    def __init__(self, parts: RealParts, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started, self.opened, self.measured = threading.Event(), threading.Event(), 0
        self._measure = parts.appearance
        monkeypatch.setattr(parts, "appearance", self._appearance)

    def _appearance(self, frame: Pixels, label: str) -> Any:
        self.started.set()
        assert self.opened.wait(HANG_S)
        self.measured += 1
        return self._measure(frame, label)


def test_the_lines_thread_never_waits_and_frames_are_left_out(
    parts: RealParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "MAX_WAITING", 4)
    line: Any = FakeLine(parts)
    frame = event(parts.frames[0], parts.labels[0], parts.package_id)
    gate = GatedParts(parts, monkeypatch)
    with Health(line) as watch:
        wait_until(lambda: watch.state().expected is not None)
        line.hear(event(parts.frames[0], parts.labels[0], parts.package_id, outcome="unknown"))
        assert gate.started.wait(HANG_S)
        for _ in range(SHARE_WINDOW):
            line.hear(frame)
        line.hear(event(parts.frames[0], parts.labels[0], parts.package_id, outcome="failed"))
        assert watch.state().cameras["c"].unknown_share == 0  # of the last answers
        gate.opened.set()
        wait_until(lambda: watch.state().cameras["c"].recognised.samples == 4)
        line.hear(frame)
        wait_until(lambda: watch.state().cameras["c"].recognised.samples == 5)
    assert gate.measured == 1 + 4 + 1


def test_so_many_a_second_of_each_camera(parts: RealParts, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    line: Any = FakeLine(parts)
    gate = GatedParts(parts, monkeypatch)
    watch = Health(line)  # its thread does not run yet: it would see the clock stand still
    with monkeypatch.context() as patch:
        patch.setattr(health, "EVERY_S", 0.5)
        patch.setattr(health.time, "monotonic", lambda: now[0])
        for _ in range(40):  # ten a second of each, for four seconds
            for camera in ("left", "right"):
                line.hear(event(parts.frames[0], parts.labels[0], parts.package_id, camera=camera))
            now[0] += 0.1001
    gate.opened.set()
    with watch:
        wait_until(lambda: gate.measured == 2 * 8)


def test_a_swap_begins_anew(
    tmp_path: Path, matching_package: Path, recognizer: Recognizer, caplog: pytest.LogCaptureFixture
) -> None:
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
    other = write_tiny_package(tmp_path / "other.partsight", matching=tiny_matching(), decision=decision)
    line: Any = FakeLine(recognizer)
    with Health(line) as watch, Recognizer(other, engine=ONE_THREAD) as new:
        wait_until(lambda: watch.state().expected is not None)
        before = watch.state().expected
        line.hear(event(solid("blue"), "blue", recognizer.package_id))
        wait_until(lambda: watch.state().cameras["c"].recognised.samples == 1)
        line.recognizer = new
        wait_until(lambda: watch.state().package_id == new.package_id and watch.state().expected is not None)
        assert watch.state().cameras == {}
        assert watch.state().expected == before  # the same golden images
        line.hear(event(solid("blue"), "blue", recognizer.package_id))  # an answer of the old package comes late
        line.hear(event(dim(0.9), "blue", new.package_id))
        wait_until(lambda: watch.state().cameras["c"].recognised.samples == 1)
        assert watch.state().cameras["c"].recognised.exposure_ev == pytest.approx(-0.15, abs=0.01)
    assert logged(caplog) == []


def test_without_golden_images_scores_are_measured_all_the_same(
    tiny_package: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recognizer = Recognizer(tiny_package, engine=ONE_THREAD)
    camera = ScriptedCamera([solid("blue"), solid((0, 0, 0))], ends=False)
    line = Line(recognizer, {"c": lambda: camera}, policy=BLOCK)
    with Health(line) as watch, line:
        wait_until(lambda: bool(watch.state().cameras) and watch.state().cameras["c"].unknown.samples == 1)
        state = watch.state()
    assert state.expected is None
    camera_state = state.cameras["c"]
    assert camera_state.recognised.score == pytest.approx(1, abs=1e-3)
    assert (camera_state.recognised.focus_ratio, camera_state.recognised.exposure_ev) == (None, None)
    assert camera_state.unknown_share == 0.5
    assert logged(caplog) == [("INFO", "health_unwatched", "")]


def test_a_frame_that_cannot_be_measured_is_logged_once_and_the_next_is_measured(
    parts: RealParts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    appearance = parts.appearance

    def break_down(frame: Pixels, label: str) -> Any:
        if not frame.any():
            raise RuntimeError("a mistake of ours")
        return appearance(frame, label)

    monkeypatch.setattr(parts, "appearance", break_down)
    line: Any = FakeLine(parts)
    with Health(line) as watch:
        wait_until(lambda: watch.state().expected is not None)
        for frame in [np.zeros_like(parts.frames[0])] * 3 + parts.frames[:1]:
            line.hear(event(frame, parts.labels[0], parts.package_id))
        wait_until(lambda: watch.state().cameras["c"].recognised.samples == 1)
    assert logged(caplog) == [("WARNING", "health_failed", "")]
    assert "a mistake of ours" in caplog.text


def test_a_line_that_ends_is_no_trouble(
    recognizer: Recognizer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line closes its recogniser while frames wait, and while health finds the expected ranges."""
    line = Line(recognizer, {"c": lambda: ScriptedCamera([solid("blue")] * 200)}, policy=BLOCK)
    listeners, listen = [], line.listen
    monkeypatch.setattr(line, "listen", lambda listener: (listeners.append(listener), listen(listener)))
    with Health(line) as watch, line:
        assert line.wait(HANG_S)
    watch.close()
    before = watch.state()
    (hear,) = listeners
    hear(event(solid("blue"), "blue", line.package_id))
    assert watch.state() == before
    assert logged(caplog) == []
    assert "partsight-health" not in {thread.name for thread in threading.enumerate()}


def test_old_names_warn() -> None:
    state = HealthState(None, {"c": CameraHealth(Recent().medians(), Recent().medians(), {}, 0.0)})
    with pytest.warns(DeprecationWarning, match="expected"):
        assert state.bands is state.expected
    with pytest.warns(DeprecationWarning, match="in_range"):
        assert state.cameras["c"].in_band is state.cameras["c"].in_range


def test_closing_one_that_never_started(recognizer: Recognizer) -> None:
    Health(Line(recognizer, {"c": ScriptedCamera})).close()
