"""Progress of long work: lines in a log, a bar in a terminal."""

import io
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from partsight.runtime.core.progress_bars import LINE_S, LineTimer, ProgressLines, progress, progress_bar


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Clock:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr("partsight.runtime.core.progress_bars.LINE_S", 60.0)  # off for other tests
    caplog.set_level(logging.INFO, "partsight.runtime.core.progress_bars")
    return Clock()


def slow(clock: Clock, count: int, seconds: float) -> Iterator[int]:
    for number in range(count):
        clock.now_s += seconds
        yield number


def test_one_line_a_minute(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    timer = LineTimer(clock)
    assert list(progress(slow(clock, 40, 5.0), 40, "features", "image", timer)) == list(range(40))
    assert len(caplog.records) == 200 // 60
    facts = vars(caplog.records[0])
    assert {name: facts[name] for name in ("event", "work", "done", "total", "share")} == {
        "event": "progress", "work": "features", "done": 12, "total": 40, "share": 0.3
    }  # fmt: skip
    assert (facts["per_s"], facts["left_s"]) == (pytest.approx(12 / 60), pytest.approx(140))
    assert caplog.messages[0] == "features: 30 %, 12 of 40 images, 12/min, 2 min 20 s left"


def test_short_work_logs_nothing(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    list(progress(slow(clock, 10, 5.0), 10, "features", "image", LineTimer(clock)))
    assert caplog.records == []


def test_many_short_stages_share_the_minute(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    timer = LineTimer(clock)
    for number in range(10):
        list(progress(slow(clock, 4, 5.0), 4, f"epoch {number}", "step", timer))
    assert [vars(record)["work"] for record in caplog.records] == ["epoch 2", "epoch 5", "epoch 8"]


def test_a_pause_of_the_program_is_no_progress(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    timer = LineTimer(clock)
    clock.now_s = 10 * LINE_S
    list(progress(slow(clock, 10, 5.0), 10, "features", "image", timer))
    assert caplog.records == []


def test_work_whose_end_nobody_knows(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with progress_bar(None, "recognising", "frame", LineTimer(clock)) as bar:
        clock.now_s = 100.0
        bar.update(4100)
    assert caplog.messages == ["recognising: 4,100 frames, 41/s"]


def test_work_of_a_given_time_has_no_rate(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with progress_bar(120.0, "loading", "s", LineTimer(clock)) as bar:
        bar.set_description_str("cpu fp32", refresh=False)
        clock.now_s = 60.0
        bar.update(60.0)
    assert caplog.messages == ["cpu fp32: 50 %, 60 of 120 s, 1 min 0 s left"]


def test_nothing_done_in_a_minute(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with progress_bar(8, "breaking", "fault", LineTimer(clock)) as bar:
        bar.set_postfix_str("full disk")
        clock.now_s = 61.0
        bar.update(0)
    assert caplog.messages == ["breaking (full disk): 0 %, 0 of 8 faults"]


class Broken(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("stderr", [io.StringIO(), Broken(), None], ids=["a file", "a lost terminal", "none"])
def test_a_program_without_a_log(clock: Clock, monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO | None) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(logging.Logger, "hasHandlers", lambda _: False)
    assert len(list(progress(slow(clock, 13, 5.0), 13, "features", "image", LineTimer(clock)))) == 13
    if stderr is not None and not isinstance(stderr, Broken):
        assert stderr.getvalue() == "partsight: features: 92 %, 12 of 13 images, 12/min, 5 s left\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_in_a_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    list(progress(slow(clock, 40, 5.0), 40, "features", "image", LineTimer(clock)))
    assert "features" in terminal.getvalue()
    assert "40/40 [" in terminal.getvalue()
    assert caplog.records == []
    assert not isinstance(progress_bar(1, "features", "image"), ProgressLines)


def test_a_closed_stderr_is_no_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    assert isinstance(progress_bar(1, "features", "image"), ProgressLines)
