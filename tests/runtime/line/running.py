"""Lines that run until their cameras end, and a network that a test holds up."""

import threading
from typing import Any

import pytest

from partsight.runtime import Recognizer
from partsight.runtime.line import Line, Policy
from tests.runtime.line.scripted import ListSink, ScriptedCamera
from tests.waiting import HANG_S

BLOCK = Policy("block", 4)


def run(recognizer: Recognizer, *cameras: Any, **options: Any) -> tuple[Line, ListSink]:
    """Run a line until its cameras end; each camera is a list of steps, or a function that opens one."""
    sink = ListSink()
    openers = {
        f"camera {index}": camera if callable(camera) else (lambda camera=camera: ScriptedCamera(camera))
        for index, camera in enumerate(cameras)
    }
    with Line(recognizer, openers, {"list": sink}, **{"policy": BLOCK} | options) as line:
        assert line.wait(HANG_S)
    assert sink.is_closed
    return line, sink


def gated(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Return events: the network has started, and it may go on."""
    started, opened = threading.Event(), threading.Event()
    for method in (recognizer.recognize_batch, recognizer.start_batch):

        def wait(frames: Any, method: Any = method) -> Any:
            started.set()
            assert opened.wait(HANG_S)
            return method(frames)

        monkeypatch.setattr(recognizer, method.__name__, wait)
    return started, opened
