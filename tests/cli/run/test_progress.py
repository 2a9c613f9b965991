"""The progress of a running line, in a terminal and in a log."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from partsight.cli.run.config import CameraConfig, LineConfig
from partsight.cli.run.progress import progress, terminal_width
from partsight.runtime import EngineSettings, Recognizer
from partsight.runtime.line import Line, Policy
from tests.runtime.line.scripted import ScriptedCamera, pictures

FILES = LineConfig(package="p", cameras={"c": CameraConfig("folder:x")}, sinks=("jsonl:r",))
LIVE = LineConfig(package="p", cameras={"c": CameraConfig("usb:0")}, sinks=("jsonl:r",))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def line(tiny_package: Path) -> Iterator[Line]:
    camera = ScriptedCamera(pictures(40))
    with Recognizer(tiny_package, batch_size=4, engine=EngineSettings(threads=1)) as recognizer:
        yield Line(recognizer, {"c": lambda: camera}, policy=Policy("block", 4))


def shown(
    line: Line, config: LineConfig, total: int | None, monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO
) -> str:
    monkeypatch.setattr(sys, "stderr", stderr)
    with line, progress(line, config, total) as show:
        while not line.wait(0.01):
            show()
    return stderr.getvalue()


def test_a_bar_for_files(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(line, FILES, 40, monkeypatch, Terminal())
    assert "recognising:   0%|" in text
    assert "recognising: 100%|" in text
    assert "40/40 [" in text


def test_a_bar_without_a_known_end(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "recognising: 40frame [" in shown(line, FILES, None, monkeypatch, Terminal())


def test_a_status_line_for_live_cameras(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(line, LIVE, None, monkeypatch, Terminal())
    last = text.removesuffix("\n").rpartition("\r\x1b[K")[2]
    counters = line.counters().cameras["c"]
    assert last.startswith("c ended: ")
    assert f" ms; {counters.recognised} recognised, {counters.unknown} unknown, 0 skipped" in last
    assert float(last.split()[2].removesuffix("/s,")) > 0
    assert "\n" not in text[:-1]


def test_a_status_line_is_no_longer_than_the_terminal(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal would wrap a longer one, and its first half would stay."""
    monkeypatch.setattr("partsight.cli.run.progress.terminal_width", lambda: 12)
    text = shown(line, LIVE, None, monkeypatch, Terminal())
    assert {len(part) for part in text.rstrip("\n").split("\r\x1b[K")[1:]} == {12}


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("columns", "expected"), [(50, 49), (0, 79)])  # 0: not known
def test_the_width_of_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int, expected: int) -> None:
    import termios

    master, slave = os.openpty()
    try:
        termios.tcsetwinsize(slave, (24, columns))
        with open(slave, "w", closefd=False) as stderr:
            monkeypatch.setattr(sys, "stderr", stderr)
            assert terminal_width() == expected
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("config", [FILES, LIVE], ids=["files", "live"])
def test_nothing_in_a_log_for_a_short_time(config: LineConfig, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(line, config, 40, monkeypatch, io.StringIO()) == ""


def test_lines_in_a_log_for_files(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "partsight.runtime.core.progress_bars")
    monkeypatch.setattr("partsight.runtime.core.progress_bars.LINE_S", 0.0)
    shown(line, FILES, 40, monkeypatch, io.StringIO())
    last = vars(caplog.records[-1])
    assert (last["event"], last["work"], last["done"], last["total"]) == ("progress", "recognising", 40, 40)


def test_a_line_an_hour_in_a_log_for_live_cameras(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One a minute would fill a journal for months."""
    caplog.set_level(logging.INFO, "partsight.cli")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    hours = iter((0.0, 0.9, 1.0, 1.0, 1.9))  # start, no log, log, no log
    with line, progress(line, LIVE, None, lambda: 3600 * next(hours)) as show:
        line.wait()
        for _ in range(3):
            show()
    (record,) = [record for record in caplog.records if vars(record).get("event") == "camera_counts"]
    counters = line.counters().cameras["c"]
    assert vars(record)["camera"] == "c"
    assert vars(record)["recognised"] == counters.recognised


def test_no_progress_between_results(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    config = LineConfig(package="p", cameras=FILES.cameras)
    assert shown(line, config, 40, monkeypatch, Terminal()) == ""
