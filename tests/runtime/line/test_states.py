"""A line and its components in states in which a call is an error."""

from pathlib import Path

import pytest

from partsight.runtime import MicroBatcher, PartsightError, Recognizer, SinkGoneError
from partsight.runtime.line import Line
from partsight.runtime.sinks import open_sink
from tests.runtime.line.scripted import ScriptedCamera
from tests.tiny import solid
from tests.waiting import HANG_S


@pytest.fixture
def recognizer(tiny_package: Path) -> Recognizer:
    return Recognizer(tiny_package)


CAMERAS = {"c": lambda: ScriptedCamera([solid("blue")])}


def test_started_twice(recognizer: Recognizer) -> None:
    with Line(recognizer, CAMERAS) as line:
        with pytest.raises(PartsightError, match="with"):
            line.start()
        assert line.wait(HANG_S)
    with pytest.raises(PartsightError, match="closed"):
        line.start()
    with pytest.raises(PartsightError, match="closed"), line:
        pass


def test_never_started(recognizer: Recognizer) -> None:
    line = Line(recognizer, CAMERAS)
    with pytest.raises(PartsightError, match="start"):
        line.wait()
    line.close()
    with pytest.raises(PartsightError, match="closed"):
        line.start()


def test_a_closed_recognizer(recognizer: Recognizer) -> None:
    batcher = MicroBatcher(recognizer)
    recognizer.close()
    with pytest.raises(PartsightError, match="Recognizer"):
        batcher.submit(solid("blue"))
    batcher.close()
    for make in (lambda: Line(recognizer, CAMERAS), lambda: MicroBatcher(recognizer), recognizer.__enter__):
        with pytest.raises(PartsightError, match="Recognizer"):
            make()
    with pytest.raises(PartsightError, match="MicroBatcher"), batcher:
        pass


@pytest.mark.parametrize("scheme", ["jsonl:out.jsonl", "csv:out.csv", "sqlite:out.db", "images:out"])
def test_a_closed_sink(recognizer: Recognizer, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line does not wait for it for ever."""
    monkeypatch.chdir(tmp_path)
    sink = open_sink(scheme)
    sink.close()
    cameras = {"c": lambda: ScriptedCamera([solid("blue") // 2] * 3)}
    with (
        Line(recognizer, cameras, {"closed": sink}) as line,
        pytest.raises(SinkGoneError),
    ):
        while not line.wait(0.01):
            pass
        line.close()
        line.wait()
