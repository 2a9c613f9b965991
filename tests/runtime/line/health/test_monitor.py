import logging
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
from partsight.runtime.line.health import sight
from partsight.runtime.line.health.band import Bands, expected_bands
from partsight.runtime.line.health.drift import LEAST, WINDOW
from partsight.runtime.line.health.monitor import SHARE_WINDOW, Health
from partsight.runtime.line.metrics.registry import Metrics
from partsight.runtime.sinks.record import Candidate, FrameEvent, Record
from tests.runtime.line.metrics.test_registry import of, read
from tests.runtime.line.real_parts import RealParts, blurred, exposed
from tests.runtime.line.scripted import ScriptedCamera, Step
from tests.tiny import solid, tiny_manifest, tiny_matching, write_tiny_package
from tests.waiting import HANG_S, wait_until

BLOCK = Policy("block", 4)


@pytest.fixture(autouse=True)
def every_frame_is_measured(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(health, "EVERY_S", 0.0)
    monkeypatch.setattr(health, "_BOUND", 1000)
    caplog.set_level(logging.INFO, "partsight.line")


@pytest.fixture
def recognizer(verified_package: Path) -> Iterator[Recognizer]:
    with Recognizer(verified_package, batch_size=4, threads=1) as recognizer:
        yield recognizer


def dim(share: float) -> Pixels:
    return solid((round(255 * share), 0, 0))


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    return [
        (record.levelname, record.event, record.camera)  # type: ignore[attr-defined]
        for record in caplog.records
        if getattr(record, "event", "").startswith(("drift", "health"))
    ]


def test_a_lamp_that_fades_and_is_changed(recognizer: Recognizer, caplog: pytest.LogCaptureFixture) -> None:
    """In a running line: one camera is warned of once, told of once when it is well; the other is left alone."""
    left, right = (ScriptedCamera([]) for _ in range(2))
    line = Line(recognizer, {"left": lambda: left, "right": lambda: right}, policy=BLOCK)
    watch = Health(line)
    metrics = Metrics(line, watch)

    def judged(is_in: bool) -> Step:
        return lambda: wait_until(lambda: watch.state().cameras["left"].in_band.get("exposure_ev") is is_in)

    def ready() -> None:
        wait_until(lambda: watch.state().bands is not None)

    blue, dark = [solid("blue")] * WINDOW, [dim(0.8)] * WINDOW
    left._steps = iter([ready, *blue, judged(True), *dark, judged(False), *blue, judged(True)])
    right._steps = iter([ready, *[solid("green")] * WINDOW])
    with watch, line:
        assert line.wait(HANG_S)
        wait_until(watch._queue.empty)
        samples = read(metrics)
    assert said(caplog) == [("WARNING", "drift", "left"), ("INFO", "drift_over", "left")]
    assert "camera left is too dark: its frames are at -0." in caplog.text
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
    monkeypatch.setattr(sight, "NOTHING_S", 0.0)
    monkeypatch.setattr(sight, "find_misfit", lambda *_: None)
    camera = ScriptedCamera([])
    line = Line(recognizer, {"left": lambda: camera}, policy=BLOCK)
    watch = Health(line)

    def told_of(event: str) -> Step:
        return lambda: wait_until(lambda: event in {name for _, name, _ in heard()})

    def heard() -> list[tuple[str, str, str]]:
        return [(r.levelname, r.event, r.camera) for r in caplog.records if "recognised" in getattr(r, "event", "")]

    def ready() -> None:
        wait_until(lambda: watch.state().bands is not None)

    dark = [dim(0.1)] * (SHARE_WINDOW + WINDOW)
    camera._steps = iter([ready, solid("blue"), *dark, told_of("nothing_recognised"), solid("blue"), solid("blue")])
    with watch, line:
        assert line.wait(HANG_S)
        wait_until(watch._queue.empty)
        wait_until(lambda: len(heard()) == 2)
    assert heard() == [("WARNING", "nothing_recognised", "left"), ("INFO", "recognised_again", "left")]
    assert "its frames are too dark: -" in caplog.text


class FakeLine:
    """What health needs of a line."""

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
    return RealParts(example_parts, LEAST + 5)


@pytest.fixture(scope="module")
def real_bands(real_parts: Any) -> Bands | None:
    return expected_bands(real_parts, lambda: True)


@pytest.fixture
def parts(real_parts: RealParts, real_bands: Bands | None, monkeypatch: pytest.MonkeyPatch) -> RealParts:
    monkeypatch.setattr(health, "expected_bands", lambda *_: real_bands)  # once for all tests: it takes a second
    monkeypatch.setattr(sight, "find_misfit", lambda *_: None)
    return real_parts


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda frame: frame, []),
        (blurred(1.5), ["is out of focus"]),
        (blurred(3), ["is out of focus"]),
        (exposed(-0.5), ["is too dark"]),
        (exposed(0.5), ["is too bright"]),
    ],
)
def test_frames_of_a_line(
    parts: RealParts, change: Callable[[Pixels], Pixels], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Honest frames of real parts are within the band, and those of a defocused or a badly lit camera are not."""
    line: Any = FakeLine(parts)
    with Health(line) as watch:
        wait_until(lambda: watch.state().bands is not None)
        for frame, label in zip(parts.frames, parts.labels, strict=True):
            line.hear(event(change(frame), label, parts.package_id))
        wait_until(
            lambda: bool(watch.state().cameras) and watch.state().cameras["c"].recognised.samples == len(parts.frames)
        )
        wait_until(lambda: len(watch.state().cameras["c"].in_band) == 2)
    state = watch.state().cameras["c"]
    assert list(state.in_band.values()).count(False) == len(expected)
    assert [any(words in record.message for record in caplog.records) for words in expected] == [True] * len(expected)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == len(expected)


def test_unknown_frames_are_measured_and_not_judged(parts: RealParts, caplog: pytest.LogCaptureFixture) -> None:
    line: Any = FakeLine(parts)
    dark = exposed(-1.0)
    with Health(line) as watch:
        wait_until(lambda: watch.state().bands is not None)
        for frame, label in zip(parts.frames, parts.labels, strict=True):
            line.hear(event(dark(frame), label, parts.package_id, outcome="unknown"))
        line.hear(event(parts.frames[0], parts.labels[0], parts.package_id))
        wait_until(lambda: watch.state().cameras["c"].recognised.samples == 1)
        state = watch.state().cameras["c"]
    assert state.unknown.samples == len(parts.frames)
    assert state.unknown.exposure_ev == pytest.approx(-1, abs=0.1)
    assert state.unknown_share == pytest.approx(len(parts.frames) / (len(parts.frames) + 1))
    assert state.in_band == {}
    assert said(caplog) == []


def test_a_set_up_is_checked_in_the_thread_of_health(
    parts: RealParts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    checked: list[tuple[str, int]] = []

    def find(_: object, frames: list[Pixels], is_wanted: Callable[[], bool]) -> SetupCheck:
        assert is_wanted()
        checked.append((threading.current_thread().name, len(frames)))
        return SetupCheck(Setup(turn_deg=180), len(frames), 9, 0.0, 1.0, 0.1, 0.6)

    monkeypatch.setattr(sight, "find_misfit", find)
    line: Any = FakeLine(parts)
    with Health(line) as watch:
        for frame, label in zip(parts.frames, parts.labels, strict=True):
            line.hear(event(frame, label, parts.package_id, outcome="unknown"))
        wait_until(lambda: bool(checked) and "180°" in caplog.text)
        wait_until(watch._queue.empty)
    assert checked == [("partsight-health", 8)]


def test_the_lines_thread_never_waits_and_frames_are_left_out(
    parts: RealParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_BOUND", 4)
    line: Any = FakeLine(parts)
    watch = Health(line)  # its thread does not run yet
    for _ in range(300):
        line.hear(event(parts.frames[0], parts.labels[0], parts.package_id))
    assert watch._queue.qsize() == 4
    assert watch.state().cameras["c"].unknown_share == 0
    assert len(watch._cameras["c"].answers) == health.SHARE_WINDOW
    line.hear(event(parts.frames[0], parts.labels[0], parts.package_id, outcome="failed"))
    watch.close()


def test_so_many_a_second_of_each_camera(parts: RealParts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "EVERY_S", 0.5)
    now = [100.0]
    monkeypatch.setattr(health.time, "monotonic", lambda: now[0])
    line: Any = FakeLine(parts)
    watch = Health(line)
    for _ in range(40):  # ten a second of each, for four seconds
        for camera in ("left", "right"):
            line.hear(event(parts.frames[0], parts.labels[0], parts.package_id, camera=camera))
        now[0] += 0.1001
    assert watch._queue.qsize() == 2 * 8


def test_a_swap_begins_anew(tmp_path: Path, recognizer: Recognizer, caplog: pytest.LogCaptureFixture) -> None:
    other = write_tiny_package(
        tmp_path / "other.partsight",
        matching=tiny_matching(),
        decision=msgspec.structs.replace(tiny_manifest().decision, threshold=0.5),
    )
    camera = ScriptedCamera([solid("blue")] * 5, ends=False)
    line = Line(recognizer, {"c": lambda: camera}, policy=BLOCK)
    with Health(line) as watch, line:
        wait_until(lambda: line.counters().cameras["c"].recognised == 5)
        before = watch.state().bands
        line.swap(other, lambda path: Recognizer(path, threads=1))
        wait_until(lambda: watch._package_id == line.package_id and watch.state().bands is not None)
        assert watch.state().cameras == {}
        assert before is None or watch.state().bands == before  # the same golden images
        line._answerer.listeners[-1](event(solid("blue"), "blue", recognizer.package_id))  # late, of the old package
        line._answerer.listeners[-1](event(dim(0.9), "blue", line.package_id))
        wait_until(lambda: watch.state().cameras["c"].recognised.samples == 1)
        assert watch.state().cameras["c"].recognised.exposure_ev == pytest.approx(-0.15, abs=0.01)
    assert said(caplog) == []


def test_without_golden_images_scores_are_measured_all_the_same(
    tiny_package: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recognizer = Recognizer(tiny_package, threads=1)
    camera = ScriptedCamera([solid("blue"), solid((0, 0, 0))], ends=False)
    line = Line(recognizer, {"c": lambda: camera}, policy=BLOCK)
    with Health(line) as watch, line:
        wait_until(lambda: bool(watch.state().cameras) and watch.state().cameras["c"].unknown.samples == 1)
        state = watch.state()
    assert state.bands is None
    camera_state = state.cameras["c"]
    assert camera_state.recognised.score == pytest.approx(1, abs=1e-3)
    assert (camera_state.recognised.focus_ratio, camera_state.recognised.exposure_ev) == (None, None)
    assert camera_state.unknown_share == 0.5
    assert caplog.text.count("has no golden images, so focus and exposure are not watched") == 1


def test_what_cannot_be_measured_is_told_once_and_the_next_is_measured(
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
        wait_until(lambda: watch.state().bands is not None)
        for frame in [np.zeros_like(parts.frames[0])] * 3 + parts.frames[:1]:
            line.hear(event(frame, parts.labels[0], parts.package_id))
        wait_until(lambda: watch.state().cameras["c"].recognised.samples == 1)
    assert caplog.text.count("health: frames cannot be measured: a mistake of ours") == 1


def test_a_line_that_ends_is_no_trouble(recognizer: Recognizer, caplog: pytest.LogCaptureFixture) -> None:
    """The line closes its recogniser while frames wait, and while the band is being found out."""
    line = Line(recognizer, {"c": lambda: ScriptedCamera([solid("blue")] * 200)}, policy=BLOCK)
    with Health(line) as watch:
        with line:
            assert line.wait(HANG_S)
        wait_until(watch._queue.empty)
    watch.close()
    line._answerer.listeners[-1](event(solid("blue"), "blue", line.package_id))
    assert watch._queue.empty() or watch._queue.get_nowait() is None
    assert said(caplog) == []
    assert "partsight-health" not in {thread.name for thread in threading.enumerate()}


def test_closing_one_that_never_started(recognizer: Recognizer) -> None:
    Health(Line(recognizer, {"c": lambda: ScriptedCamera([])})).close()
